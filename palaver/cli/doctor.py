"""`palaver doctor`: what state palaver and this machine are in, safe to show to anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.options import SERVING, WHERE, takes
from palaver.cli.wording import columns, harmless, line
from palaver.config import Config, SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palaver.wiring.doctor import Finding


@takes(*SERVING, *WHERE)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
    file: Path,
    wrong: SettingError | None,
) -> None:
    """Say what state everything is in.

    That is versions, the machine and its memory, what models compute on, settings, the store, the port, models and
    upstreams. It starts and changes nothing. No keys, messages, names of people or machines are in it, so that it
    can be pasted into an issue. The exit code is 1 where something is broken.
    """
    import asyncio

    from palaver.cli import logs
    from palaver.cli.terminal import Terminal
    from palaver.wiring.doctor import examine

    logs.configure(config, quiet=True)
    found = asyncio.run(examine(config, file, wrong))
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(as_object(found), ensure_ascii=False, indent=2))
    else:
        for text in lines(found):
            terminal.say(text)
    if any(each.word == "broken" for each in found):
        raise typer.Exit(1)


def as_object(found: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON has them."""
    return {
        "broken": sum(each.word == "broken" for each in found),
        "notes": sum(each.word == "note" for each in found),
        "findings": [
            {"word": each.word, "what": each.what, "text": each.text, "do": each.do or None} for each in found
        ],
    }


def lines(found: Sequence[Finding]) -> list[str]:
    """The findings for people, and how many are not well."""
    rows = columns([each.word, each.what, line(each.text)] for each in found)
    told = []
    for each, row in zip(found, rows, strict=True):
        told.append(row)
        if each.do:
            told.append(f"        → {line(each.do)}")
    broken = sum(each.word == "broken" for each in found)
    notes = sum(each.word == "note" for each in found)
    noted = f", {notes} note{'' if notes == 1 else 's'}" if notes else ""
    return [*told, "", harmless(f"{broken} broken{noted}" if broken else f"nothing is broken{noted}")]
