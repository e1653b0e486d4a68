"""`palaver backup`: one file with everything in it, while palaver runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import size
from palaver.config import Config


@takes(*WHERE)
def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Where to; a new file in the data directory's `backups` if left out."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Copy the store into one file, also while palaver runs.

    The copy is of one moment, is checked, and has its name only when it is whole. Only this user can read it.
    """
    from palaver.cli.direct import counted, directly
    from palaver.cli.terminal import Terminal
    from palaver.wiring import upkeep

    with directly(config):
        made = upkeep.backup(config, target, force=force)
    terminal = Terminal()
    if as_json:
        terminal.say(msgspec.json.format(msgspec.json.encode(made)).decode())
        return
    terminal.say(made.file)
    terminal.note(f"{counted(made.rows)}; {size(made.size)}")
