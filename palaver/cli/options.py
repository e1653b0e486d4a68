"""The options that stand for settings, made from the settings themselves.

A command says which settings it takes and gets them as one `Config`. Options are read as text and converted
by `palaver.config`, so that a bad value is told in the same words whether it stands in the file, the
environment or on the command line.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from msgspec import Meta

from palaver.config import PREFIX, SIZES, Config, SettingError, load, settings_file

WHERE = ("store", "data_dir")
"""Which store: every command that uses one takes these, and so does `palaver` itself."""
ANSWERING = (
    *(
        "upstream",
        "upstream_kind",
        "upstream_timeout",
        "upstream_retries",
        "llama_server",
        "alias",
        "fallback",
    ),
    *("window", "truncation", "window_size", "window_keep", "window_reserve"),
    *("recall", "context_length_exceeded_behavior", "window_of"),
    *("context", "slots", "threads", "memory", "log_level"),
)
"""What a command may set that answers by itself where no other palaver does."""
SERVING = tuple(name for name in Config.__struct_fields__ if name not in ("upstream_key", *WHERE))
"""What `serve` takes besides: everything but the keys of upstreams, which a process list would show."""
TABLES = {
    "alias": "NAME=MODEL",
    "fallback": "MODEL=OTHER",
    "upstream": "NAME[=URL]",
    "upstream_kind": "NAME=KIND",
    "window_of": "MODEL=SETTINGS",
}
CONFIG_HELP = "The configuration file.  [env: PALAVER_CONFIG]"

GIVEN = ("config", "file", "subcommand", "wrong")
"""What a command is called with besides its own parameters."""

Command = Callable[..., None]


def takes(*settings: str) -> Callable[[Command], Command]:
    """Give a command the options of these settings, and --config.

    It is called with `config`, a `Config`, and, where it takes a `file`, with the path of the configuration
    file that counts. One that takes a `subcommand` stands before others: it hears which one is called, or None,
    and those take over the options given to it. Raises SettingError before the command begins where a setting
    cannot be used; a command that takes `wrong` gets that error, or None, and the defaults.
    """

    def decorate(command: Command) -> Command:
        own = _own_parameters(command)
        parameters = inspect.signature(command).parameters
        takes_file, has_subcommands = "file" in parameters, "subcommand" in parameters
        hears_wrong = "wrong" in parameters

        def run(called: typer.Context, **given: Any) -> None:
            rest = {name: given.pop(name) for name in own}
            flags = dict(called.obj or {}) | {
                name: value for name, value in given.items() if value not in (None, [])
            }
            if has_subcommands:
                called.obj = dict(flags)
                rest["subcommand"] = called.invoked_subcommand
            file = flags.pop("config_file", None)
            named = Path(file).expanduser() if file else None
            rest |= {"file": settings_file(named, os.environ)} if takes_file else {}
            try:
                config = load(flags, file=named)
                rest |= {"wrong": None} if hears_wrong else {}
            except SettingError as error:
                if not hears_wrong:
                    raise
                config, rest["wrong"] = Config(), error
            command(config=config, **rest)

        return _signed(run, command, settings)

    return decorate


def passes_on(*settings: str) -> Callable[[Command], Command]:
    """Give the function before all commands these options, and --config, for whichever command is called."""

    def decorate(callback: Command) -> Command:
        own = _own_parameters(callback)

        def run(called: typer.Context, **given: Any) -> None:
            rest = {name: given.pop(name) for name in own}
            called.obj = {name: value for name, value in given.items() if value}
            callback(**rest)

        return _signed(run, callback, settings)

    return decorate


def _own_parameters(function: Command) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function, eval_str=True).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in GIVEN}


def _signed(run: Command, command: Command, settings: tuple[str, ...]) -> Command:
    """`run`, with the signature that typer is to read: the command's own parameters, then the settings'."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("called", keyword, annotation=typer.Context),
        *(each.replace(kind=keyword) for each in _own_parameters(command).values()),
        *(
            inspect.Parameter(name, keyword, default=None, annotation=annotation)
            for name, annotation in setting_options(*settings).items()
        ),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def setting_options(*settings: str) -> dict[str, Any]:
    """The options of these settings and --config, as annotations for typer, by parameter name."""
    options = {name: _option(name) for name in settings}
    options["config_file"] = Annotated[str | None, typer.Option("--config", metavar="FILE", help=CONFIG_HELP)]
    return options


def flag(setting: str) -> str:
    """The option of a setting: ``--data-dir`` for `data_dir`."""
    return "--" + setting.replace("_", "-")


def variable(setting: str) -> str:
    """The environment variable of a setting: ``PALAVER_DATA_DIR`` for `data_dir`."""
    return PREFIX + setting.upper()


def described(setting: str) -> tuple[Any, str]:
    """A setting's type without its limits, and what it means."""
    kind, *notes = get_args(_types()[setting])
    return kind, " ".join(note.description for note in notes if isinstance(note, Meta) and note.description)


@functools.cache
def _types() -> dict[str, Any]:
    """The settings' types, read once: that takes a millisecond, and commands have a hundred options."""
    return get_type_hints(Config, include_extras=True)


def default_text(setting: str) -> str:
    """A setting's default in words; empty where there is none to speak of."""
    value = getattr(Config(), setting)
    return "" if value in ("", [], {}, False) else str(value)


def _option(setting: str) -> Any:
    kind, meaning = described(setting)
    default = default_text(setting)
    text = f"{meaning}  [env: {variable(setting)}]" + (f"  [default: {default}]" if default else "")
    if kind is bool:
        return Annotated[bool | None, typer.Option(flag(setting), help=text)]
    option = typer.Option(flag(setting), metavar=_metavar(setting, kind), help=text)
    if get_origin(kind) in (list, dict):
        return Annotated[list[str] | None, option]
    return Annotated[str | None, option]


def _metavar(setting: str, kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is Annotated or kind in (int, float):
        return "SIZE" if setting in SIZES else "NUMBER"
    if get_origin(kind) is list:
        return setting.rpartition("_")[2].upper()
    return TABLES.get(
        setting, {"store": "sqlite:///PATH", "data_dir": "FOLDER"}.get(setting, setting.upper())
    )
