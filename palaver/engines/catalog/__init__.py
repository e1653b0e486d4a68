"""Which models there are, under which names, and where their files are.

names    what a request's model stands for, by the configuration alone
catalog  the models that run here, aliases, and what upstreams list
"""

from palaver.engines.catalog.catalog import ModelCatalog, ModelSpec

__all__ = ["ModelCatalog", "ModelSpec"]
