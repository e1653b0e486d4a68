"""`palaver list`: the conversations that are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.names import ref_of
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns, line, moment
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.library import Palaver

PAGE = 100
"""As many conversations as the API gives at a time."""


@takes(*WHERE)
def list_(
    show_all: Annotated[
        bool, typer.Option("--all", help="Also one-shot requests, which nothing has continued.")
    ] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Only those that are archived.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """List conversations, last updated first.

    Requests that nothing has continued, such as an app's for a title, are left out and counted; so is what is archived,
    without being counted.
    """
    from palaver.cli.link import run

    run(_list(config, limit, show_all, archived, as_json), config)


async def _list(config: Config, limit: int, show_all: bool, archived: bool, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        only = {"only": "archived"} if archived else {}
        found = await conversations(link.palaver, limit, include_tasks=show_all, **only)
        hidden = "" if show_all or archived else await hidden_count(link.palaver)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({"object": "list", "data": found}, ensure_ascii=False, indent=2))
        return
    for row in columns(rows(found)):
        terminal.say(row[: wide()])
    if hidden:
        terminal.note(f"Left out: {hidden} that nothing has continued; --all lists them too.")
    elif not found:
        terminal.note("No archived conversations." if archived else "No conversations yet.")


async def conversations(
    palaver: Palaver, limit: int, *, include_tasks: bool, **asked: Any
) -> list[dict[str, Any]]:
    """The last `limit` conversations, whatever the size of a page is; `asked` narrows them down.

    Raises PalaverError.
    """
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        page = await palaver.conversations(
            limit=min(PAGE, limit - len(found)),
            include_tasks=include_tasks,
            **asked,
            after=found[-1]["id"] if found else None,
        )
        found += page["data"]
        more = page["has_more"]
    return found


async def hidden_count(palaver: Palaver) -> str:
    """How many of the last requests nothing has continued, in words; empty for none. Raises PalaverError."""
    page = await palaver.conversations(limit=PAGE, include_tasks=True)
    count = sum(conversation["is_task"] for conversation in page["data"])
    if not count:
        return ""
    return (
        f"{count} of the last {PAGE} requests" if page["has_more"] else f"{count} request{'s'[: count > 1]}"
    )


def rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each conversation: what commands find it by, when, how many messages, whose, how it began."""
    return [
        [
            ref_of(each),
            moment(each["updated_at"]),
            f"{each['messages']} messages",
            "  ".join(part for part in (whose(each), line(each["title"] or "")) if part),
        ]
        for each in found
    ]


def whose(conversation: Mapping[str, Any]) -> str:
    """The name of a conversation that is listed by its id, and the end user; empty where there is neither."""
    name, user = conversation["name"], conversation["user"]
    named = line(name) if name and ref_of(conversation) != name else ""
    return " ".join(part for part in (named, f"of {line(user)}" if user else "") if part)
