"""Which model is the default: checked before it is written into the configuration file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from palaver.config import Config
from palaver.config.writing import write_setting
from palaver.core.errors import ConfigError, ModelNotFound
from palaver.engines.catalog.added import AddedModels
from palaver.wiring.models import catalog_of

__all__ = ["Chosen", "choose"]


class Chosen(msgspec.Struct, frozen=True):
    """What was written as `model`, and what stood there before; None where nothing did."""

    model: str
    before: str | None


async def choose(config: Config, name: str, file: Path) -> Chosen:
    """Make a model the default in this configuration file.

    It must be one that answers: an upstream is asked whether it has it. Raises ConfigError, ModelNotFound and
    EngineError where it is none; SettingError where the file cannot be written.
    """
    written = _written(config, name)
    asked = msgspec.structs.replace(config, model=written)
    catalog, default = catalog_of(asked)
    try:
        await catalog.verify(default)
        model = await catalog.find(default)
        if model.kind == "embedding":
            raise ConfigError(f"{model.name} makes embeddings; it cannot answer.", setting="model")
    except ModelNotFound as error:
        raise ConfigError(error.message, setting="model") from error
    finally:
        await catalog.close()
    return Chosen(written, write_setting(file, "model", written))


def _written(config: Config, name: str) -> str:
    """A path is written whole: palaver may be started in another folder. Raises ConfigError for a model that has
    gone."""
    model = AddedModels(config.folder).named(name)
    if model is not None and model.missing():
        raise ConfigError(f"The file of {name} is gone: {model.missing()[0]}.", setting="model")
    if model is not None or name in config.alias or name.partition("/")[0] in config.upstream:
        return name
    path = Path(name).expanduser()
    return str(path.absolute()) if path.suffix.lower() == ".gguf" and path.is_file() else name
