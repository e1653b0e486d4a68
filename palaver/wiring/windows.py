"""How the windows of a palaver are chosen: what its settings say for all models, and for some."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.core.window_settings import WindowSettings

FIELDS = WindowSettings.__struct_fields__


def window_of(config: Config) -> WindowSettings:
    """What holds where nothing nearer to a request says otherwise."""
    return WindowSettings(
        mode=config.window,
        truncation=config.truncation,
        size=config.window_size or None,
        keep=config.window_keep,
        reserve=config.window_reserve or None,
        summaries=config.summaries or None,
        recall=config.recall,
        context_length_exceeded_behavior=config.context_length_exceeded_behavior,
    )


def windows_of(config: Config) -> dict[str, WindowSettings]:
    """What is said of models, by the names that the settings have for them. Raises ConfigError."""
    return {model: _read(model, text) for model, text in config.window_of.items()}


def _read(model: str, text: str) -> WindowSettings:
    """Settings as they are written: ``mode:auto+keep:0.25``. Raises ConfigError, naming the one that is wrong."""
    said: dict[str, Any] = {}
    for pair in text.split("+"):
        name, _, value = (part.strip() for part in pair.partition(":"))
        if name not in FIELDS:
            raise _wrong(model, f"{name!r} is none of {', '.join(FIELDS)}")
        if name in said:
            raise _wrong(model, f"`{name}` is said twice")
        said[name] = _converted(model, name, value)
    return WindowSettings(**said)


def _converted(model: str, name: str, value: str) -> Any:
    try:
        converted = getattr(msgspec.convert({name: value}, WindowSettings, strict=False), name)
        reason = "that says nothing"
    except msgspec.ValidationError as error:
        converted, reason = None, str(error).split(" - at ")[0]
    if converted is None:
        raise _wrong(model, f"`{name}` is {value!r}: {reason}")
    return converted


def _wrong(model: str, why: str) -> ConfigError:
    return ConfigError(
        f"window_of: {why}, in what is said of {model}; it is MODEL=NAME:VALUE, further ones after a +",
        setting="window_of",
    )
