"""The model that makes vectors of messages, as the settings name it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.engines.catalog import ModelSpec
from palaver.engines.catalog.gone import GoneEngine
from palaver.engines.catalog.references import usable_name

SETTING = "embedding_model"
NO_NUMPY = "embedding_model: search by meaning needs one more package: pip install 'palaver[embeddings]'"


def embedding_file(config: Config) -> Path | None:
    """The GGUF file that `embedding_model` names by its path; None where it names no file."""
    path = Path(config.embedding_model).expanduser()
    return path if path.suffix.lower() == ".gguf" else None


def embedding_name(config: Config) -> str | None:
    """The name of the model that makes vectors; None where there is to be none."""
    path = embedding_file(config)
    return usable_name(path.name) if path is not None else config.embedding_model or None


def check_embedding(config: Config, here: Mapping[str, ModelSpec]) -> None:
    """Raises ConfigError where `embedding_model` names no model of those `here`, or one that makes no vectors, and
    where the package is missing that compares them."""
    name = embedding_name(config)
    if name is None:
        return
    if importlib.util.find_spec("numpy") is None:
        raise ConfigError(NO_NUMPY, setting=SETTING)
    while name in config.alias:
        name = config.alias[name]
    if name.partition("/")[0] in config.upstream:
        return
    if name not in here:
        raise ConfigError(f"{SETTING}: there is no model {config.embedding_model!r}", setting=SETTING)
    engine = here[name].engine
    if "embeddings" not in engine.capabilities and not isinstance(engine, GoneEngine):
        raise ConfigError(f"{SETTING}: {config.embedding_model} makes no embeddings", setting=SETTING)
