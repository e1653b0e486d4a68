"""What is measured, each in files of its own in one folder."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from bench.store.bare import BareKeeper
from bench.store.figures import Appended, PeerFigures, Plan, Results
from bench.store.keeper import Keeper, size_of
from bench.store.measuring import Arm, Measured, append_in_turns, in_turns, summary, sync_time
from bench.store.ours import PalaverKeeper, Road, no_prompts
from bench.store.peers import find_peers

PAGE = 20
QUERIED = 10
"""Turns over which the time of each query is taken."""
Opener = Callable[[Path], Awaitable[Keeper]]


class Filled(msgspec.Struct, frozen=True):
    """A store of palaver and its bare twins, with the same conversations by size."""

    palaver: PalaverKeeper
    least: BareKeeper
    all_rows: BareKeeper
    conversations: dict[int, list[str]]


class Case(msgspec.Struct, frozen=True):
    """A size, how many messages stand in other conversations of the file, and who appends there."""

    size: int
    others: int
    arms: list[Arm]


async def measure(folder: Path, plan: Plan) -> Results:
    """Everything, in files in this folder. Takes some minutes."""
    load, sync = os.getloadavg(), sync_time(folder, plan.laps)
    resent = await _resent(folder, plan)
    kept, head, queries, read, durability = await _at_head(folder, plan)
    kinds, missing = find_peers()
    openers = [_palaver, *(_opener(kind) for kind in kinds)]
    return Results(
        plan=plan,
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        cores=os.cpu_count(),
        load_before=load,
        resent=resent,
        kept=kept,
        head=head,
        queries=queries,
        reads=read,
        durability=durability,
        peers=await peer_figures(folder, openers, plan),
        missing=missing,
        sync_before=sync,
        sync_after=sync_time(folder, plan.laps),
        load_after=os.getloadavg(),
    )


async def _palaver(path: Path) -> Keeper:
    return await PalaverKeeper.open(path)


def _opener(kind: Callable[[Path], Keeper]) -> Opener:
    async def opened(path: Path) -> Keeper:
        return kind(path)

    return opened


async def _at_head(
    folder: Path, plan: Plan
) -> tuple[list[Appended], list[Appended], dict[int, dict[str, float]], dict[str, Measured], str]:
    """Turns in conversations of each size, and in the smallest ones beside the largest; then what reads them."""
    few, *more, many = plan.sizes
    async with AsyncExitStack() as open_stores:

        async def a_store(*sizes: int) -> Filled:
            return await open_stores.enter_async_context(filled(folder, "head", *sizes, plan=plan))

        stores = [await a_store(size) for size in (few, *more)] + [await a_store(many, few)]
        cases = [case_of(store, size) for store, size in zip(stores, plan.sizes, strict=True)]
        with no_prompts():
            kept = await appends([case_of(stores[0], few), case_of(stores[-1], many)], plan)
        found = await appends([*cases, case_of(stores[-1], few, many)], plan)
        path = next(store for store in stores if plan.path in store.conversations)
        read = await reads(stores[-1], path, await a_store(plan.short), plan)
        queries = {
            size: await store.palaver.queries(
                store.conversations[size], QUERIED if plan.laps > QUERIED else 1
            )
            for store, size in ((stores[0], few), (stores[-1], many))
        }
        return kept, found, queries, read, stores[0].palaver.durability()


async def _resent(folder: Path, plan: Plan) -> list[Appended]:
    """Turns of clients that resend their histories, which are of each size."""
    async with AsyncExitStack() as open_stores:
        stores = [
            await open_stores.enter_async_context(filled(folder, "resent", size, plan=plan))
            for size in plan.resent
        ]
        return await appends([case_of(*pair) for pair in zip(stores, plan.resent, strict=True)], plan)


@asynccontextmanager
async def filled(folder: Path, road: Road, *sizes: int, plan: Plan) -> AsyncIterator[Filled]:
    """A store with conversations of these sizes, its journal merged into its file, and its twins."""
    name = "-".join([road, *(str(size) for size in sizes)])
    path = folder / f"{name}.db"
    palaver = await PalaverKeeper.open(path, road)
    conversations = {
        size: [await palaver.fill(size) for _ in range(plan.conversations(size))] for size in sizes
    }
    await palaver.close()
    least = BareKeeper(folder / f"{name}-least.db", path)
    all_rows = BareKeeper(folder / f"{name}-all-rows.db", path, "all rows")
    await palaver.reopen()
    try:
        yield Filled(palaver, least, all_rows, conversations)
    finally:
        for keeper in (palaver, least, all_rows):
            await keeper.close()


def case_of(store: Filled, size: int, others: int = 0) -> Case:
    keepers: tuple[Keeper, ...] = (store.palaver, store.least, store.all_rows)
    return Case(size, others, [Arm(keeper, store.conversations[size]) for keeper in keepers])


async def appends(cases: list[Case], plan: Plan) -> list[Appended]:
    """A turn in each case, by palaver and by its bare twins, all in turns."""
    await append_in_turns([arm for case in cases for arm in case.arms], plan.laps, plan.budget)
    found = [_appended(case) for case in cases]
    few = found[0].unread.median
    return [msgspec.structs.replace(each, over_few=each.unread.median / few) for each in found]


def _appended(case: Case) -> Appended:
    ours = case.arms[0]
    turn, least, all_rows = (summary(arm.turns) for arm in case.arms)
    unread = summary(_unread(ours))
    return Appended(
        size=case.size,
        others=case.others,
        turn=turn,
        unread=unread,
        phases={
            phase: statistics.median(split[phase] for split in ours.phases) * 1000 for phase in ours.phases[0]
        },
        least=least,
        all_rows=all_rows,
        over_least=unread.median / least.median,
        over_all_rows=unread.median / all_rows.median,
    )


def _unread(arm: Arm) -> list[float]:
    return [taken - split.get("prompt", 0.0) for taken, split in zip(arm.turns, arm.phases, strict=True)]


async def reads(long: Filled, path: Filled, short: Filled, plan: Plan) -> dict[str, Measured]:
    """Pages of a long conversation and of a short one, and a whole path."""
    many, few = plan.sizes[-1], plan.short
    last, first = long.conversations[many][0], short.conversations[few][0]
    whole = path.conversations[plan.path][0]
    return await in_turns(
        {
            f"the last {PAGE} messages of {few:,}": partial(short.palaver.read, first, PAGE),
            f"the last {PAGE} messages of {many:,}": partial(long.palaver.read, last, PAGE),
            f"the first {PAGE} messages of {many:,}": partial(long.palaver.read_first, last, PAGE),
            f"a path of {plan.path:,}": partial(path.palaver.read, whole),
            f"a path of {plan.path:,}, bare SQLite": partial(path.least.read, whole),
        },
        plan.laps,
        plan.budget,
    )


async def peer_figures(folder: Path, openers: list[Opener], plan: Plan) -> list[PeerFigures]:
    """The same jobs for all, in turns: each with a file for each size, and one more to be weighed."""
    rows = [
        [await _arm(await opener(folder / f"peer-{i}-{size}.db"), size, plan) for size in plan.peers]
        for i, opener in enumerate(openers)
    ]
    arms = [arm for row in rows for arm in row]
    await append_in_turns(arms, plan.peer_laps, plan.budget)
    reading = {str(i): partial(arm.keeper.read, arm.conversations[0]) for i, arm in enumerate(arms)}
    paging = {
        str(i): partial(row[-1].keeper.read, row[-1].conversations[0], PAGE) for i, row in enumerate(rows)
    }
    read = await in_turns(reading, plan.peer_laps, plan.budget)
    page = await in_turns(paging, plan.peer_laps, plan.budget)
    found = []
    for i, (row, opener) in enumerate(zip(rows, openers, strict=True)):
        keeper = row[0].keeper
        figures = PeerFigures(
            name=keeper.name,
            durability=keeper.durability(),
            commits=keeper.commits,
            append={size: summary(_unread(arm)) for size, arm in zip(plan.peers, row, strict=True)},
            read={size: read[str(arms.index(arm))] for size, arm in zip(plan.peers, row, strict=True)},
            page=page[str(i)],
            bytes=await disk(await opener(folder / f"peer-{i}-disk.db"), plan.turns),
        )
        found.append(figures)
    for arm in arms:
        await arm.keeper.close()
    return found


async def _arm(keeper: Keeper, size: int, plan: Plan) -> Arm:
    count = max(1, min(plan.peer_laps, 10_000 // size))
    return Arm(keeper, [await keeper.fill(size) for _ in range(count)])


async def disk(keeper: Keeper, turns: int) -> int:
    """Bytes of a file after so many turns of one conversation."""
    conversation = await keeper.fill(2)
    for _ in range(turns - 1):
        keeper.prepare(conversation)
        await keeper.append(conversation)
    await keeper.close()
    return size_of(keeper.path)
