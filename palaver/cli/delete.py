"""`palaver delete`: conversations, messages, and all of somebody."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from palaver.cli.keys import days
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns, harmless
from palaver.config import Config
from palaver.core.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from palaver.cli.terminal import Terminal
    from palaver.library import Palaver

PAGE = 100
SHOWN = 20
"""As many conversations as a preview names."""
ANY_AGE = 1e-9
"""So many days ago is just now."""


class Plan(msgspec.Struct, frozen=True):
    """What is to be deleted: in words, a line each; nothing where `count` is 0. `do` does it and says how much."""

    count: int
    lines: list[str]
    do: Callable[[], Awaitable[dict[str, Any]]]


@takes(*WHERE)
def delete(
    conversations: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME_OR_ID]", help="As `palaver list` says it.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            metavar="MESSAGE", help="Only this message: its id, or the end of it, as `palaver tree` says it."
        ),
    ] = None,
    branch: Annotated[bool, typer.Option("--branch", help="With --message: all below it too.")] = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="All of an end user of the owner local.")
    ] = None,
    everything_of: Annotated[
        str | None, typer.Option(metavar="OWNER", help="All of an owner, API keys too.")
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            parser=days, metavar="SPAN", help="Whatever nobody has gone on with for so long: 30d, 8w, 1y."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Delete conversations, with every copy of them in the store.

    Shows what that is, and asks first. Backups are files of their own and keep what they hold.
    """
    from palaver.cli.link import run

    named = {
        "NAME_OR_ID": conversations,
        "--user": user,
        "--everything-of": everything_of,
        "--older-than": older_than,
    }
    given = [name for name, value in named.items() if value not in (None, [])]
    if len(given) != 1:
        raise typer.BadParameter(f"give one of {', '.join(named)}" + (", not several." if given else "."))
    if (message or branch) and (len(conversations or []) != 1 or not message):
        raise typer.BadParameter(
            "a message is one of one conversation: NAME_OR_ID --message MESSAGE [--branch]."
        )

    async def planned(palaver: Palaver) -> Plan:
        if conversations and message:
            return await message_plan(palaver, conversations[0], message, branch=branch)
        if conversations:
            return await conversations_plan(palaver, conversations)
        if user is not None:
            return await user_plan(palaver, user)
        return await retention_plan(palaver, older_than, everything_of)

    run(_delete(config, planned, yes, as_json), config)


async def _delete(
    config: Config, planned: Callable[[Palaver], Awaitable[Plan]], yes: bool, as_json: bool
) -> int:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    terminal = Terminal()
    async with Link(config) as link:
        plan = await planned(link.palaver)
        if plan.count:
            if not yes:
                make_sure(terminal, plan.lines, "Delete this for good?")
            done = await plan.do()
        else:
            done = {"conversations": 0, "messages": 0}
    if as_json:
        terminal.say(json.dumps(done, ensure_ascii=False, indent=2))
    elif not plan.count:
        terminal.note("There is nothing to delete.")
    else:
        terminal.note(f"Deleted {_amount(done)}.")
    return 0


def make_sure(terminal: Terminal, lines: Sequence[str], question: str) -> None:
    """Show what is to go, and go on only if that is meant."""
    for line in lines:
        terminal.errors.print(harmless(line))
    if not sys.stdin.isatty():
        raise ConfigError("Give --yes to do this without being asked.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _amount(done: dict[str, Any]) -> str:
    parts = [
        f"{done[name]} {name if done[name] != 1 else name[:-1]}"
        for name in ("conversations", "messages")
        if done.get(name) or (name == "conversations" and not done.get("messages"))
    ]
    return " with ".join(parts)


async def message_plan(palaver: Palaver, ref: str, given: str, *, branch: bool) -> Plan:
    """A message, with `branch` and all below it. Raises RequestError."""
    from palaver.cli.messages import message_id, tree_of
    from palaver.cli.resent import text_of

    message = await message_id(palaver, ref, given)
    items = await tree_of(palaver, ref)
    going = {message}
    if branch:
        for item in items:  # what hangs below another comes after it
            if item["parent"] in going:
                going.add(item["id"])

    async def do() -> dict[str, Any]:
        await palaver.delete_item(ref, message, branch=branch)
        return {"messages": len(going)}

    lines = [
        f"{item['role']}: {' '.join(text_of(item).split())}"[:100] for item in items if item["id"] in going
    ]
    return Plan(len(going), _some(lines, "messages"), do)


async def conversations_plan(palaver: Palaver, refs: Sequence[str]) -> Plan:
    """Conversations, by names and ids. Raises RequestError where one of them is not there."""
    found = [await palaver.conversation(ref) for ref in dict.fromkeys(refs)]

    async def do() -> dict[str, Any]:
        for each in found:
            await palaver.delete_conversation(each["id"])
        return {"conversations": len(found)}

    return Plan(len(found), _listed(found, len(found)), do)


async def user_plan(palaver: Palaver, user: str) -> Plan:
    """All of an end user of this owner. Raises PalaverError."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        page = await palaver.conversations(
            user=user,
            include_tasks=True,
            include_temporary=True,
            include_archived=True,
            limit=PAGE,
            after=found[-1]["id"] if found else None,
        )
        found += page["data"]
        more = page["has_more"]
    if not found:
        raise NotFound(
            f"The owner local has nothing of an end user {user}. "
            "What another owner has is deleted over HTTP, with a key of that owner."
        )

    async def do() -> dict[str, Any]:
        return await palaver.delete_user(user)

    return Plan(len(found), _listed(found, len(found)), do)


async def retention_plan(palaver: Palaver, older_than: float | None, owner: str | None) -> Plan:
    """All of an owner, or whatever is so many days old. Raises PalaverError."""
    of = {} if owner is None else {"owner": owner}
    age = ANY_AGE if older_than is None else older_than
    preview = await palaver.retention(age, **of)
    keys = [] if owner is None else [key for key in await palaver.api_keys() if key["owner"] == owner]

    async def do() -> dict[str, Any]:
        if owner is None:
            return await palaver.retention(age, dry_run=False)
        done = await palaver.delete_owner(owner)
        if not keys and not done["conversations"]:
            raise NotFound(f"There is nothing of an owner {owner}.")
        return done

    lines = _listed(preview["data"], preview["conversations"])
    if owner is None:
        return Plan(preview["conversations"], lines, do)
    # What runs just now is not in the preview, so an empty one does not say that there is nothing.
    lines.append(f"and {len(keys)} API key{'s'[: len(keys) != 1]} of {owner}")
    return Plan(max(1, preview["conversations"]), lines, do)


def _listed(found: Sequence[dict[str, Any]], count: int) -> list[str]:
    from palaver.cli.list import rows

    return _some(columns(rows(found[:SHOWN])) if found else [], "conversations", count)


def _some(lines: Sequence[str], what: str, count: int | None = None) -> list[str]:
    """The first lines, and how many more there are."""
    more = (len(lines) if count is None else count) - len(lines[:SHOWN])
    return [*lines[:SHOWN], *([f"and {more} more {what}"] if more > 0 else [])]
