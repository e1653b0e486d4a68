"""`palaver cache`: what models hold of the prompts of conversations, shown and cleared."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.delete import make_sure
from palaver.cli.list import whose
from palaver.cli.names import ref_of
from palaver.cli.options import WHERE, takes
from palaver.cli.wording import ago, columns, counted, line, size
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.library import Palaver

FEW = 10
"""So many entries of a model are listed without being asked for."""
TOKENS = {"prefilled": "prefilled", "reused": "reused", "settled": "prefilled while nobody waited"}
TIMES = {name: name for name in ("saved", "restored", "evicted", "erased")} | {"unsaved": "not saved"}
REFUSED = "refused_"
"""What the names of counts begin with that say why a snapshot was not used."""
WHY = {
    "model": "of another model",
    "engine": "of another engine",
    "template": "of another chat template",
    "layout": "of other slots",
    "form": "of another form",
    "corrupt": "damaged",
    "truncated": "cut off",
}
Cache = Mapping[str, Any]
Known = Mapping[str, Mapping[str, Any]]
"""Conversations by their ids."""

AllOwners = Annotated[bool, typer.Option("--all-owners", help="Of all owners, not of local alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

cache = typer.Typer(name="cache", rich_markup_mode=None)


@cache.callback(invoke_without_command=True)
@takes(*WHERE)
def show(
    long: Annotated[bool, typer.Option("--long", help="Each prompt, however many there are.")] = False,
    all_owners: AllOwners = False,
    as_json: AsJson = False,
    *,
    config: Config,
    subcommand: str | None,
) -> None:
    """Say what models hold of the prompts of conversations.

    What is held need not be computed again: in the slots of a model, and as snapshots in memory and on disk. What is
    counted is of all owners, since the model's engine started.
    """
    from palaver.cli.link import run

    if subcommand is None:
        run(_show(config, long, all_owners, as_json), config)


async def _show(config: Config, long: bool, all_owners: bool, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        caches = await link.palaver.kv_cache(all=all_owners)
        known = {} if as_json else await _known(link.palaver, caches, long=long)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({"object": "list", "data": caches}, ensure_ascii=False, indent=2))
        return
    for each in caches:
        for text in [*lines_of(each, known, time.time(), long=long), *counts_of(each["counts"])]:
            terminal.say(text[: wide()])
    if not caches:
        terminal.note("No model here says what it holds.")
    elif not all(long or len(each["held"]) <= FEW for each in caches):
        terminal.note("--long lists all that is held.")


@cache.command()
@takes(*WHERE)
def clear(
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this model, as `palaver models` says it.")
    ] = None,
    conversation: Annotated[
        str | None, typer.Option(metavar="NAME_OR_ID", help="Only of this one, as `palaver list` says it.")
    ] = None,
    all_owners: AllOwners = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")] = False,
    as_json: AsJson = False,
    *,
    config: Config,
) -> None:
    """Erase what models hold of the prompts of conversations.

    From slots, memory and disk. Shows what that is, and asks first. No message is deleted; the next turn of a
    conversation takes longer to begin.
    """
    from palaver.cli.link import run

    if conversation is not None and all_owners:
        raise typer.BadParameter("a conversation is one of local: --conversation or --all-owners, not both.")
    asked = {"model": model, "conversation": conversation, "all": all_owners}
    run(_clear(config, asked, yes, as_json), config)


async def _clear(config: Config, asked: dict[str, Any], yes: bool, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    terminal = Terminal()
    async with Link(config) as link:
        caches = [each for each in await link.palaver.kv_cache(**asked) if each["held"]]
        if caches and not yes:
            known = await _known(link.palaver, caches)
            make_sure(
                terminal,
                [text for each in caches for text in lines_of(each, known, time.time())],
                "Clear this?",
            )
        # Asked for in any case: there may be what no model tells of.
        done = await link.palaver.clear_kv_cache(**asked)
    if as_json:
        terminal.say(json.dumps(done, ensure_ascii=False, indent=2))
    elif not done["cleared"]:
        terminal.note("There is nothing to clear.")
    else:
        terminal.note(f"Cleared {counted(done['cleared'], 'prompt')}.")


async def _known(palaver: Palaver, caches: Iterable[Cache], *, long: bool = False) -> Known:
    """The conversations of what is listed; those of other owners cannot be looked up. Raises PalaverError."""
    from palaver.cli.link import unless_missing

    ids = {each["conversation"] for cache in caches for each in _listed(cache, long) if each["conversation"]}
    found = {id: await unless_missing(palaver.conversation(id)) for id in ids}
    return {id: conversation for id, conversation in found.items() if conversation is not None}


def lines_of(cache: Cache, known: Known, now: float, *, long: bool = False) -> list[str]:
    """What a model holds: in one line, then a line for each prompt, of many the first."""
    held, listed = cache["held"], _listed(cache, long)
    more = [f"  and {len(held) - len(listed):,} more"] if len(held) > len(listed) else []
    return [_summary(cache), *(f"  {row}" for row in columns(rows(listed, known, now))), *more]


def _listed(cache: Cache, long: bool) -> Sequence[Cache]:
    listed: Sequence[Cache] = cache["held"]
    return listed if long else listed[:FEW]


def _summary(cache: Cache) -> str:
    held = cache["held"]
    slots = sum(each["where"] == "slot" for each in held)
    parts = [counted(slots, "slot")] if slots else []
    parts += [counted(len(held) - slots, "snapshot")] if len(held) > slots else []
    parts += [f"about {counted(sum(each['tokens'] for each in held), 'token')}"] if held else ["nothing held"]
    rooms = [(cache[name], words) for name, words in (("memory", "in memory"), ("disk", "on disk"))]
    told = [
        f"{size(room['bytes'])} of {size(room['quota'])} {words}"
        for room, words in rooms
        if room["quota"] or room["bytes"]
    ]
    unkept = [] if cache["kept"] else [f"no snapshots because {line(cache['reason'])}"]
    return "  ".join([line(cache["model"]), ", ".join(parts), *told, *unkept])


def rows(held: Iterable[Cache], known: Known, now: float) -> list[list[str]]:
    """A line for each prompt: whose, where, how long, how large, when it was used last, how the conversation began."""
    return [
        [
            _name(each, known),
            f"slot {each['slot']}" if each["where"] == "slot" else each["where"],
            f"about {counted(each['tokens'], 'token')}",
            size(each["bytes"]) if each["bytes"] else "",
            f"used {ago(now - each['used'])}",
            _about(each, known),
        ]
        for each in held
    ]


def _name(held: Cache, known: Known) -> str:
    id = held["conversation"]
    if id is None:
        return "(not stored)"
    return ref_of(known[id]) if id in known else line(id)


def _about(held: Cache, known: Known) -> str:
    conversation = known.get(held["conversation"] or "")
    found = [f"of {line(held['owner'])}"] if "owner" in held else []
    if conversation is not None:
        found += [whose(conversation), line(conversation["title"] or "")]
    return "  ".join(part for part in found if part)


def counts_of(counts: Mapping[str, int]) -> list[str]:
    """What an engine has counted since it started, in words; nothing where it has counted nothing."""
    tokens = [f"{counts[name]:,} {words}" for name, words in TOKENS.items() if counts.get(name)]
    times = [f"{counts[name]:,} {words}" for name, words in TIMES.items() if counts.get(name)]
    refused = {name: count for name, count in counts.items() if name.startswith(REFUSED) and count}
    if refused:
        why = [f"{count:,} {_why(name.removeprefix(REFUSED))}" for name, count in refused.items()]
        times.append(f"{sum(refused.values()):,} refused ({', '.join(why)})")
    told = (("tokens since it started:", tokens), ("snapshots since it started:", times))
    return [f"  {row}" for row in columns([what, ", ".join(parts)] for what, parts in told if parts)]


def _why(name: str) -> str:
    return WHY.get(name, line(name.replace("_", " ")))
