"""`palaver epochs`: the epochs of a conversation, and why each began."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.receipt import reason
from palaver.cli.wording import columns, counted, line, moment
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.library import Palaver

PAGE = 100


@takes(*WHERE)
def epochs(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """List the epochs of a conversation, the latest first.

    An epoch is a stretch of turns in which what the model sees only grows at its end. Each line says when it began,
    with which model, from which message on, for how many turns, and why it began.
    """
    from palaver.cli.link import run

    run(_epochs(config, conversation, limit, as_json), config)


async def _epochs(config: Config, ref: str, limit: int, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.show import heading
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        found = await _last(link.palaver, conversation["id"], limit)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({"object": "list", "data": found}, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    for row in columns(rows(found)):
        terminal.say(row[: wide()])
    if not found:
        terminal.note("No epochs yet: no model has answered here.")


async def _last(palaver: Palaver, ref: str, limit: int) -> list[dict[str, Any]]:
    """The last `limit` epochs, whatever the size of a page is. Raises PalaverError."""
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        after = found[-1]["id"] if found else None
        page = await palaver.epochs(ref, limit=min(PAGE, limit - len(found)), after=after)
        found += page["data"]
        more = page["has_more"]
    return found


def rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each epoch: when, the end of its id, model, from where on, how many turns, why."""
    from palaver.cli.messages import short_ids

    short = short_ids(each["id"] for each in found)
    return [
        [
            moment(each["created_at"]),
            short[each["id"]],
            line(each["model"]),
            f"from message {each['start'] + 1}" + _without(each["gap"]),
            counted(each["turns"], "turn"),
            reason(each["reason"]),
        ]
        for each in found
    ]


def _without(gap: Sequence[int] | None) -> str:
    return "" if gap is None else f" without {gap[0] + 1}–{gap[1]}"
