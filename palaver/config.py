"""Every setting: its default, then the configuration file, then the environment, then flags.

A setting `data_dir` is `data_dir = …` in the file (TOML), `PALAVER_DATA_DIR` in the environment and
`--data-dir` on the command line. Lists are comma-separated in the environment, tables are `NAME=VALUE` pairs.
This module is a leaf: it knows no room of palaver.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta

PREFIX = "PALAVER_"
FILE_NAME = "palaver.toml"
SECRET = ("api_key", "upstream_key")
"""Settings whose values no error repeats."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Days = Annotated[float, Meta(ge=0, le=36_500)]
Hours = Annotated[float, Meta(ge=0, le=876_000)]


class SettingError(Exception):
    """A setting that cannot be used. `setting` is its name in the configuration file."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one palaver."""

    host: Annotated[str, Meta(description="The address that `serve` listens on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port; 0 takes a free one.")] = 7400
    store: Annotated[
        str, Meta(description="Where conversations are kept, as `sqlite:///PATH`; by default in `data_dir`.")
    ] = ""
    data_dir: Annotated[str, Meta(description="The folder for all that palaver keeps.")] = ""
    model: Annotated[
        str,
        Meta(
            description="What answers: `pocket`, a path to a GGUF file, `UPSTREAM/model` or `scripted[:FILE]`."
        ),
    ] = "pocket"
    alias: Annotated[
        dict[str, str],
        Meta(description="Other names for models, as NAME=MODEL; `*=MODEL` catches all names."),
    ] = {}
    upstream: Annotated[
        dict[str, str],
        Meta(description="OpenAI-compatible servers, as NAME=URL; their models are `NAME/model`."),
    ] = {}
    upstream_key: Annotated[dict[str, str], Meta(description="API keys of upstreams, as NAME=KEY.")] = {}
    api_key: Annotated[
        list[str],
        Meta(
            description="API keys that clients may send, besides those made with `palaver keys`. On other than "
            "loopback one of the two is needed."
        ),
    ] = []
    no_auth: Annotated[bool, Meta(description="Listen on other than loopback while there is no API key.")] = (
        False
    )
    allowed_host: Annotated[
        list[str], Meta(description="Names besides loopback's that a Host header may have.")
    ] = []
    cors_origin: Annotated[
        list[str],
        Meta(description="Origins of web pages that may call this server, such as https://app.example."),
    ] = []
    record: Annotated[
        Literal["all", "asked", "none"],
        Meta(
            description="Which turns are stored: all, those that ask for it (`store`, `conversation`), none."
        ),
    ] = "all"
    context: Annotated[
        int,
        Meta(ge=0, description="The context of a GGUF model per slot, in tokens; 0 takes the model's own."),
    ] = 0
    slots: Annotated[Count, Meta(description="How many replies a GGUF model works on at a time.")] = 2
    threads: Annotated[int, Meta(ge=0, description="Threads that a GGUF model uses; 0 takes all cores.")] = 0
    grace: Annotated[
        Seconds,
        Meta(
            description="How long a turn whose reader left keeps its place against waiting turns, in seconds."
        ),
    ] = 60.0
    readerless_turns: Annotated[
        Count, Meta(description="How many turns of one owner may go on without a reader.")
    ] = 16
    readerless_max_tokens: Annotated[
        Count, Meta(description="Where a turn without a reader ends if it set no `max_tokens` itself.")
    ] = 4096
    concurrency: Annotated[
        Literal["queue", "branch", "reject"],
        Meta(
            description="What a turn for the head of a conversation does while another answers there: wait for "
            "it, hang beside it, or be refused."
        ),
    ] = "queue"
    max_waiting: Annotated[Count, Meta(description="How many turns may wait for one conversation.")] = 8
    max_wait: Annotated[
        Seconds, Meta(description="How long a turn may wait for others in its conversation, in seconds.")
    ] = 300.0
    retain: Annotated[
        Days,
        Meta(
            description="After how many days without a turn a conversation is deleted; 0 keeps it for ever."
        ),
    ] = 0.0
    temporary_hours: Annotated[
        Hours, Meta(description="How long a temporary conversation is kept after its last turn, in hours.")
    ] = 24.0
    max_open_turns: Annotated[Count, Meta(description="How many turns may run and wait at a time.")] = 1000
    max_body: Annotated[Count, Meta(description="The largest request body, in bytes.")] = 32 * 1024 * 1024
    max_messages: Annotated[Count, Meta(description="The most messages in one request.")] = 10_000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="The form of log lines, which go to standard error.")
    ] = "text"

    @property
    def folder(self) -> Path:
        """The data directory; by default the platform's own for this user."""
        return (
            Path(self.data_dir).expanduser()
            if self.data_dir
            else Path(platformdirs.user_data_dir("palaver", False))
        )

    @property
    def store_path(self) -> Path:
        """The file of a SQLite store."""
        if not self.store:
            return self.folder / "palaver.db"
        return Path(self.store.removeprefix("sqlite://")[1:]).expanduser()

    @property
    def on_loopback(self) -> bool:
        return self.host in LOOPBACK


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
        value = _table(name, value.split(","), source)
    elif isinstance(value, list) and plain == dict[str, str]:
        value = _table(name, value, source)
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


def _table(name: str, pairs: list[str], source: str) -> dict[str, str]:
    table = {}
    for pair in pairs:
        key, equals, value = pair.strip().partition("=")
        if not (equals and key and value):
            raise SettingError(name, f"{_shown(name, pair)} is not NAME=VALUE ({source})")
        table[key] = value
    return table


def _check(config: Config) -> None:
    if config.store and not config.store.removeprefix("sqlite:///").rpartition("/")[2]:
        raise SettingError("store", f"{config.store!r} names no file: it is sqlite:///PATH")
    if config.store and not config.store.startswith("sqlite:///"):
        raise SettingError("store", f"{config.store!r} is not sqlite:///PATH")
    unknown = sorted(set(config.upstream_key) - set(config.upstream))
    if unknown:
        raise SettingError("upstream_key", f"there is no upstream {unknown[0]!r}")
