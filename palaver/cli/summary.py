"""`palaver summary`: what stands in a conversation's windows for what they leave out."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config
from palaver.core.errors import ConfigError


@takes(*WHERE)
def summary(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    edit: Annotated[str | None, typer.Option("--edit", metavar="TEXT", help="Have it say this.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Have no window show it.")] = False,
    on: Annotated[bool, typer.Option("--on", help="Have windows show it again.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Have a model make it now, or anew.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; what it is about stays.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Show the summary of a conversation, the one that covers most, or change it.

    A model makes it in idle time where the setting `summaries` is on. The messages themselves stay.
    """
    from palaver.cli.link import run

    if sum((edit is not None, off, on, again, delete)) > 1:
        raise typer.BadParameter("--edit, --off, --on, --again and --delete exclude each other.")
    change: dict[str, Any] = {"text": edit} if edit is not None else {}
    if off or on:
        change["enabled"] = on
    run(_summary(config, conversation, change, again, delete, as_json), config)


async def _summary(
    config: Config, ref: str, change: dict[str, Any], again: bool, delete: bool, as_json: bool
) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        found = next((each for each in await link.palaver.summaries(ref) if not each["stale"]), None)
        if found is None and (change or delete):
            raise ConfigError("This conversation has no summary.")
        if again:
            found = await link.palaver.make_summary(ref, to=found["message"] if found else None)
        elif change and found is not None:
            found = await link.palaver.update_summary(ref, found["id"], **change)
        elif delete and found is not None:
            await link.palaver.delete_summary(ref, found["id"])
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(found, ensure_ascii=False, indent=2))
    elif found is None:
        terminal.note("It has no summary.")
    elif delete:
        terminal.note("It is deleted.")
    else:
        terminal.say(found["text"])
        terminal.note(_about(found))


def _about(summary: dict[str, Any]) -> str:
    by = f"by {summary['model']}" if summary["model"] else "by you"
    is_off = "" if summary["enabled"] else "; it is off"
    return f"Of {summary['last'] + 1} messages, version {summary['version']}, {by}{is_off}."
