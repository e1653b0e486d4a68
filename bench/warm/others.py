"""A long prompt of somebody else's beside a reply that runs and a short question: in pieces, and all at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from bench.warm import speech
from bench.warm.home import Asking, Home, Subject, heard, opened
from bench.warm.plan import SEED, Plan
from palaver.core.message import Message
from palaver.core.turn import ContentDelta
from palaver.live import LiveReply

SLOTS = 4
UNDER_WAY = 24
"""Tokens of the stream before anything else is asked."""
HEAD_START = 0.25
"""Seconds that the long prompt has before the short question."""
ANSWER = 8


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """One meeting, in seconds: the longest time between two tokens of the stream while the long prompt was prefilled,
    and the time to the first token of the short question and of the long prompt."""

    gap: float
    short: float
    long: float


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """All figures: prefilled in pieces as palaver does, and all at once. `usual_gap` and `usual_short` are without
    the long prompt, of `tokens`."""

    tokens: int
    pieces: list[Met]
    at_once: list[Met]
    usual_gap: float
    usual_short: float

    def of(self, read: Callable[[Met], float], *, pieces: bool) -> float:
        """The median of a figure."""
        return statistics.median(map(read, self.pieces if pieces else self.at_once))

    def over(self, read: Callable[[Met], float]) -> float:
        """So many times as long it takes all at once."""
        return self.of(read, pieces=False) / self.of(read, pieces=True)


class _Lap:
    """A stream, and those who meet it; each lap has owners of its own."""

    def __init__(self, home: Home, number: int) -> None:
        self._home = home
        self._number = number
        self.came: list[float] = []
        self.under_way = asyncio.Event()

    async def begin(self, who: str, messages: Sequence[Message], tokens: int) -> LiveReply:
        owner = f"{who}-{self._number}"
        return await self._home.begin(
            Asking(name="talk", owner=owner, messages=messages, tokens=tokens, at_head=False, endless=True)
        )

    async def first(self, who: str, messages: Sequence[Message]) -> float:
        """Seconds to the first token of an answer."""
        begun = time.perf_counter()
        live = await self.begin(who, messages, ANSWER)
        _, came = await heard(live, begun)
        return came[0]

    async def read(self, live: LiveReply) -> None:
        """Note when each token of the stream comes."""
        with live.reader():
            async for news in live.follow():
                self.came += [time.perf_counter()] * sum(isinstance(each, ContentDelta) for each in news)
                if len(self.came) >= UNDER_WAY:
                    self.under_way.set()

    def gaps(self, start: float, end: float) -> list[float]:
        """The times between tokens of the stream, of those that ended in this time."""
        return [new - old for old, new in pairwise(self.came) if start < new and old < end]


async def measure(plan: Plan, subject: Subject, folder: Path) -> Others:
    found: dict[bool, list[Met]] = {True: [], False: []}
    gaps: list[float] = []
    shorts: list[float] = []
    async with opened(folder, msgspec.structs.replace(subject, slots=SLOTS), keeps=False) as home:
        prefill = home.engine._replying._prefill
        is_long = prefill.is_long
        messages = await speech.history(home, plan.long, SEED)
        for number in range(2 * plan.laps):
            in_pieces = number % 2 == 0
            prefill.is_long = is_long if in_pieces else _never  # type: ignore[method-assign]
            met, gap, short = await _meet(home, number, messages)
            found[in_pieces].append(met)
            gaps.append(gap)
            shorts.append(short)
    return Others(
        tokens=plan.long,
        pieces=found[True],
        at_once=found[False],
        usual_gap=statistics.median(gaps),
        usual_short=statistics.median(shorts),
    )


async def _meet(home: Home, number: int, messages: Sequence[Message]) -> tuple[Met, float, float]:
    """The long prompt, and the short question after it; and before both the stream's usual gap, and how long a short
    question usually takes."""
    lap = _Lap(home, number)
    questions = [[Message("user", text)] for text in speech.questions(3, SEED + number)]
    stream = await lap.begin("stream", questions[0], home.engine.slot_context - 256)
    reading = asyncio.create_task(lap.read(stream))
    await lap.under_way.wait()
    gap = max(lap.gaps(lap.came[0], time.perf_counter()))
    usual = await lap.first("before", questions[1])
    begun = time.perf_counter()
    long = asyncio.create_task(lap.first("long", messages))
    await asyncio.sleep(HEAD_START)
    short = await lap.first("short", questions[2])
    met = Met(short=short, long=await long, gap=0.0)
    if stream.outcome is not None:
        raise SystemExit("The stream had ended before the long prompt was prefilled.")
    longest = max(lap.gaps(begun, begun + met.long))
    await home.chat.cancel(f"stream-{number}", stream.turn)
    await reading
    return msgspec.structs.replace(met, gap=longest), gap, usual


def _never(new_tokens: int) -> bool:
    return False
