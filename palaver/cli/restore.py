"""`palaver restore`: make a backup the store again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config
from palaver.core.errors import ConfigError


@takes(*WHERE)
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `palaver backup` has made.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where `palaver check` finds something wrong in it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Make a backup the store again, while no palaver runs.

    The backup is checked first, as by `palaver check`. The present store is kept beside it, for 30 days; its
    name is printed.
    """
    from palaver.cli.direct import counted, directly
    from palaver.cli.terminal import Terminal
    from palaver.wiring import upkeep

    with directly(config):
        if not yes and config.store_path.exists():
            _ask(config, source)
        done = upkeep.restore(config, source, force=force)
    terminal = Terminal()
    if as_json:
        terminal.say(msgspec.json.format(msgspec.json.encode(done)).decode())
        return
    terminal.say(done.file)
    terminal.note(counted(done.rows) + _told_of(done.before))


def _told_of(before: str | None) -> str:
    if before is None:
        return ""
    what = (
        "the journal that was there without its store" if before.endswith("-wal") else "what was there before"
    )
    return f"; {what} is {before}"


def _ask(config: Config, source: Path) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("Give --yes to put a backup in the place of the present store.")
    question = f"Put {source} in the place of {config.store_path}? The present store is kept beside it."
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
