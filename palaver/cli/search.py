"""`palaver search`: what was said, by the words in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.names import ref_of
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import line, moment
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.cli.terminal import Terminal
    from palaver.library import Palaver

PAGE = 100
TITLE = "title"
BREAKS = re.compile(r"\s*[\r\n]\s*")


@takes(*WHERE)
def search(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY…", help="Words, 'phrases in \"quotes\"', and beginnings of words with a *."
        ),
    ],
    conversation: Annotated[
        str | None, typer.Option(metavar="NAME_OR_ID", help="Only this one, as `palaver list` says it.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Only messages of system, developer, user, assistant or tool."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only from this day or time on (2026-03-01; UTC).")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="DATE", help="Only before this day or time.")] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Only conversations that a program of this name began."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only those of this end user.")] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="The newest first, of those with every word.")
    ] = False,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all", help="Also one-shot requests, which nothing has continued, and temporary ones."
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many at most.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Search everything that is kept: messages, and titles of conversations.

    The best are first. `palaver show CONVERSATION --to MESSAGE` shows what stands around one.
    """
    from palaver.cli.link import run

    asked = {
        "q": " ".join(query),
        "conversation": conversation,
        "role": role,
        "since": since,
        "before": before,
        "source": source,
        "user": user,
        "sort": "newest" if newest else None,
        "include_tasks": show_all or None,
        "include_temporary": show_all or None,
    }
    run(_search(config, asked, limit, as_json), config)


async def _search(config: Config, asked: Mapping[str, Any], limit: int, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        hits = await hits_of(link.palaver, asked, limit)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({"object": "list", "data": hits}, ensure_ascii=False, indent=2))
        return
    for number, hit in enumerate(hits):
        if number:
            terminal.say("")
        show_hit(terminal, hit)
    if not hits:
        terminal.note("Nothing was found.")


async def hits_of(palaver: Palaver, asked: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """The first `limit` hits, whatever the size of a page is. Raises PalaverError."""
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        page = await palaver.search(
            **asked, limit=min(PAGE, limit - len(found)), after=found[-1]["id"] if found else None
        )
        found += page["data"]
        more = page["has_more"] and bool(page["data"])
    return found


def show_hit(terminal: Terminal, hit: Mapping[str, Any]) -> None:
    """Print a hit: where, when, whose it is, and which message; below it an excerpt."""
    conversation = hit["conversation"]
    whose = f"of {conversation['user']}" if conversation["user"] else ""
    about = (
        ref_of(conversation),
        moment(hit["created_at"]),
        hit["role"] or TITLE,
        whose,
        hit["message"] or "",
    )
    terminal.say("  ".join(line(part) for part in about if part), "dim")
    at = 0
    for start, end in hit["marks"]:
        terminal.say(line_of(hit["text"][at:start]), end="")
        terminal.say(line_of(hit["text"][start:end]), "bold", end="")
        at = end
    terminal.say(line_of(hit["text"][at:]))


def line_of(text: str) -> str:
    """A part of a text as a part of a line: its own line breaks are spaces."""
    return BREAKS.sub(" ", text)
