"""Measuring several things in turns, so that the noise of a machine hits all of them alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.store.keeper import Keeper

WARM_UP = 3
FEWEST = 11
"""So many times everything is measured, however slow it is."""


class Arm:
    """One keeper with its conversations of one size, and what its turns took, in seconds; `phases` splits each."""

    def __init__(self, keeper: Keeper, conversations: Sequence[str]) -> None:
        self.keeper = keeper
        self.conversations = conversations
        self.turns: list[float] = []
        self.phases: list[dict[str, float]] = []


class Measured(msgspec.Struct, frozen=True):
    """Milliseconds."""

    median: float
    p95: float
    mean: float
    times: int


def summary(seconds: Sequence[float]) -> Measured:
    ordered = sorted(seconds)
    return Measured(
        median=statistics.median(ordered) * 1000,
        p95=ordered[int(len(ordered) * 0.95)] * 1000,
        mean=statistics.mean(ordered) * 1000,
        times=len(ordered),
    )


async def append_in_turns(arms: Sequence[Arm], laps: int, budget: float) -> None:
    """Have each arm append a turn, over and over, each lap in another order.

    An arm that has used up `budget` seconds is left out, once it was measured often enough.
    """
    os.sync()  # what filling has left to be written would be waited for by the first commits
    for lap in range(laps + WARM_UP):
        shift = lap % len(arms)
        for arm in (*arms[shift:], *arms[:shift]):
            if len(arm.turns) >= FEWEST and sum(arm.turns) > budget:
                continue
            conversation = arm.conversations[lap % len(arm.conversations)]
            arm.keeper.prepare(conversation)
            begun = time.perf_counter()
            await arm.keeper.append(conversation)
            taken = time.perf_counter() - begun
            if lap >= WARM_UP:
                arm.turns.append(taken)
                arm.phases.append(dict(arm.keeper.phases))


async def in_turns(
    things: Mapping[str, Callable[[], Awaitable[object]]], laps: int, budget: float
) -> dict[str, Measured]:
    """The same for anything."""
    taken: dict[str, list[float]] = {name: [] for name in things}
    for lap in range(laps + 1):
        for name, thing in things.items():
            if len(taken[name]) >= FEWEST and sum(taken[name]) > budget:
                continue
            begun = time.perf_counter()
            await thing()
            if lap:
                taken[name].append(time.perf_counter() - begun)
    return {name: summary(seconds) for name, seconds in taken.items()}


def sync_time(folder: Path, times: int) -> Measured:
    """What it takes to append 4 kB to a file and have the disk confirm them."""
    taken = []
    handle = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(times):
            begun = time.perf_counter()
            os.write(handle, bytes(4096))
            os.fsync(handle)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(handle)
    return summary(taken)
