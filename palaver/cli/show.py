"""`palaver show`: what was said in a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.resent import text_of
from palaver.cli.wording import harmless, moment
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.cli.terminal import Terminal
    from palaver.library import Palaver

PAGE = 100


@takes(*WHERE)
def show(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    limit: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="How many of the last messages; 0 shows all.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Show what was said in a conversation.

    These are the messages on the path to its last one, the oldest first.
    """
    from palaver.cli.link import run

    run(_show(config, conversation, limit, as_json), config)


async def _show(config: Config, ref: str, limit: int, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        items = await last_items(link.palaver, conversation["id"], limit)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({**conversation, "items": items}, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    if len(items) < conversation["messages"]:
        terminal.note(f"The last {len(items)} of {conversation['messages']} messages; --limit 0 shows all.")
    for item in items:
        terminal.say("")
        show_item(terminal, item)


async def last_items(palaver: Palaver, ref: str, limit: int) -> list[dict[str, Any]]:
    """The last `limit` messages of a conversation (0: all), the oldest first. Raises PalaverError."""
    found: list[dict[str, Any]] = []
    more = True
    while more and (not limit or len(found) < limit):
        page = await palaver.items(
            ref,
            limit=min(PAGE, limit - len(found)) if limit else PAGE,
            after=found[-1]["id"] if found else None,
        )
        found += page["data"]
        more = page["has_more"]
    return found[::-1]


def heading(conversation: Mapping[str, Any]) -> str:
    """The first line about a conversation."""
    name = f"{harmless(conversation['name'])}  " if conversation["name"] else ""
    of = f"  of {harmless(conversation['user'])}" if conversation["user"] else ""
    return f"{name}{conversation['id']}{of}  {moment(conversation['updated_at'])}"


def show_item(terminal: Terminal, item: Mapping[str, Any]) -> None:
    """Print a message: who, when, which model, whether it was cut off; then its text."""

    marks = [item["role"], moment(item["created_at"]), item["model"] or ""]
    marks += ["cut off" if item["status"] == "incomplete" else ""]
    marks += [f"calls {call['function']['name']}" for call in item.get("tool_calls", ())]
    terminal.say("  ".join(harmless(mark) for mark in marks if mark), "dim")
    if text := text_of(item):
        terminal.paragraph(text)
