"""`palaver show`: what was said in a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.messages import is_cut, message_id, shown_text
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import harmless, line, moment
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
    to: Annotated[
        str | None,
        typer.Option(
            metavar="MESSAGE",
            help="Those up to this message, on whichever branch: its id, or the end of it, as `palaver tree` says "
            "it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Show what was said in a conversation.

    These are the messages on the path to its head, the oldest first.
    """
    from palaver.cli.link import run

    run(_show(config, conversation, limit, to, as_json), config)


async def _show(config: Config, ref: str, limit: int, to: str | None, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        end = await message_id(link.palaver, conversation["id"], to) if to else None
        items = await last_items(link.palaver, conversation["id"], limit, end)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({**conversation, "items": items}, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    if items and items[0]["parent"] is not None:
        of = f" of {conversation['messages']}" if end is None else ""
        terminal.note(f"The last {len(items)}{of} messages; --limit 0 shows all.")
    for item in items:
        terminal.say("")
        show_item(terminal, item)


async def last_items(
    palaver: Palaver, ref: str, limit: int, to: str | None = None, include: str | None = None
) -> list[dict[str, Any]]:
    """The last `limit` messages (0: all) on the path to one, by default the head, the oldest first, with what is to be
    `include`d.

    Raises PalaverError.
    """
    found: list[dict[str, Any]] = []
    more = True
    while more and (not limit or len(found) < limit):
        page = await palaver.messages(
            ref,
            to=to,
            limit=min(PAGE, limit - len(found)) if limit else PAGE,
            after=found[-1]["id"] if found else None,
            include=include,
        )
        found += page["data"]
        more = page["has_more"]
    return found[::-1]


def heading(conversation: Mapping[str, Any]) -> str:
    """The first line about a conversation."""
    name = f"{line(conversation['name'])}  " if conversation["name"] else ""
    of = f"  of {line(conversation['user'])}" if conversation["user"] else ""
    return f"{name}{conversation['id']}{of}  {moment(conversation['updated_at'])}"


def show_item(terminal: Terminal, item: Mapping[str, Any]) -> None:
    """Print a message: who, when, which model, whether it was cut off; then its text."""
    marks = [item["role"], moment(item["created_at"]), item["model"] or ""]
    marks += ["cut off" if is_cut(item) else ""]
    marks += [f"calls {call['function']['name']}" for call in item.get("tool_calls", ())]
    terminal.say("  ".join(harmless(mark) for mark in marks if mark), "dim")
    if text := shown_text(item):
        terminal.paragraph(text)
