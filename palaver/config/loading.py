"""Where settings come from: the file, the environment, flags; and what of them cannot be used."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import platformdirs

from palaver.config.settings import Config

PREFIX = "PALAVER_"
FILE_NAME = "palaver.toml"
SECRET = ("api_key", "upstream_key")
"""Settings whose values no error repeats."""
WELL_KNOWN = {
    "together": "https://api.together.xyz/v1",
    "openai": "https://api.openai.com/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "sglang": "http://127.0.0.1:30000/v1",
    "llama-server": "http://127.0.0.1:8080/v1",
}
"""Where upstreams of these names are, unless a URL says otherwise."""
SIZES = ("memory", "max_attachment", "max_body")
"""Settings that are a number of bytes, and may be said with a unit."""
SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<prefix>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE)


class SettingError(Exception):
    """A setting that cannot be used. `setting` is its name in the configuration file."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


def load(
    flags: Mapping[str, Any], *, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Config:
    """The settings in force. A flag that is None or empty was not given.

    Without `file`, `PALAVER_CONFIG` names it, else `palaver.toml` in the user's configuration folder is read if
    it is there. Raises SettingError, naming the setting and where it stands.
    """
    values: dict[str, Any] = {}
    for source, settings in (
        _from_file(file, environment),
        _from_environment(environment),
        (
            "the command line",
            {name: value for name, value in flags.items() if value not in (None, [], {}, "")},
        ),
    ):
        for name, value in settings.items():
            values[name] = _converted(name, value, source)
    config = Config(**values)
    _check(config)
    return config


def settings_file(file: Path | None, environment: Mapping[str, str]) -> Path:
    """The configuration file that counts, whether it exists or not."""
    if file is not None:
        return file
    named = environment.get(PREFIX + "CONFIG")
    return Path(named) if named else Path(platformdirs.user_config_dir("palaver", False)) / FILE_NAME


def _from_file(file: Path | None, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    path = settings_file(file, environment)
    asked = file is not None or bool(environment.get(PREFIX + "CONFIG"))
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if asked:
            raise SettingError("config", f"there is no file {path}") from None
        return str(path), {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError("config", f"{path} cannot be read: {error}") from None


def _from_environment(environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    found = {}
    for name in Config.__struct_fields__:
        text = environment.get(PREFIX + name.upper())
        if text:
            found[name] = text
    return "the environment", found


def _converted(name: str, value: Any, source: str) -> Any:
    types = get_type_hints(Config, include_extras=True)
    if name not in types:
        raise SettingError(name, f"there is no such setting ({source})")
    plain = get_args(types[name])[0] if hasattr(types[name], "__metadata__") else types[name]
    if isinstance(value, str) and plain == dict[str, str]:
        value = _table(name, [pair for pair in value.split(",") if pair.strip()], source)
    elif isinstance(value, list) and all(isinstance(pair, str) for pair in value) and plain == dict[str, str]:
        value = _table(name, value, source)
    elif isinstance(value, str) and name in SIZES:
        value = _bytes(name, value, source)
    elif isinstance(value, str) and plain == list[str]:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, types[name], strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(
            name, f"{str(error).split(' - at ')[0]}, but {source} says {_shown(name, value)}"
        ) from None


def _shown(name: str, value: Any) -> str:
    return "something else" if name in SECRET else repr(value)


def _bytes(name: str, text: str, source: str) -> int:
    """A number of bytes: ``8GB`` is 8·10⁹, ``8GiB`` 8·2³⁰."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise SettingError(name, f"{text!r} is no number of bytes such as 8GB or 512MiB ({source})")
    power = " kmgt".index(found["prefix"].lower() or " ")
    return int(float(found["number"]) * (1024 if found["binary"] else 1000) ** power)


def _table(name: str, pairs: list[str], source: str) -> dict[str, str]:
    table = {}
    for pair in pairs:
        key, equals, value = pair.strip().partition("=")
        if name == "upstream" and not equals:
            value = equals = WELL_KNOWN.get(key, "")
        if not (equals and key and value):
            raise SettingError(name, f"{_shown(name, pair)} is not NAME=VALUE ({source})")
        table[key] = value
    return table


def _check(config: Config) -> None:
    if config.store and not config.store.removeprefix("sqlite:///").rpartition("/")[2]:
        raise SettingError("store", f"{config.store!r} names no file: it is sqlite:///PATH")
    if config.store and not config.store.startswith("sqlite:///"):
        raise SettingError("store", f"{config.store!r} is not sqlite:///PATH")
    if config.llama_server and not config.llama_server.startswith(("http://", "https://")):
        raise SettingError(
            "llama_server", f"{config.llama_server!r} is no address such as http://127.0.0.1:8080"
        )
    for setting, named in (("upstream_key", config.upstream_key), ("upstream_kind", config.upstream_kind)):
        unknown = sorted(set(named) - set(config.upstream))
        if unknown:
            raise SettingError(setting, f"there is no upstream {unknown[0]!r}")
