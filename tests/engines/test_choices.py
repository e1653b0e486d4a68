"""Several replies of an engine that gives one at a time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from palaver.core.errors import EngineBroke, EngineError, EngineRefused
from palaver.core.parameters import Parameters
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    EngineEvent,
    Finish,
    InLine,
    Prefilled,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from palaver.engines.base import Options
from palaver.engines.choices import several

Step = EngineEvent | Exception


class Singles:
    """Engines of one reply each, in the test's hand: choice `i` says what is put into ``steps[i]``."""

    def __init__(self, count: int) -> None:
        self.steps: list[asyncio.Queue[Step]] = [asyncio.Queue() for _ in range(count)]
        self.asked: list[Options] = []
        self.open: set[int] = set()
        self.said: list[int] = [0] * count

    def put(self, choice: int, *steps: Step) -> None:
        for step in steps:
            self.steps[choice].put_nowait(step)

    async def generate(self, options: Options) -> AsyncGenerator[EngineEvent, None]:
        choice = len(self.asked)
        self.asked.append(options)
        self.open.add(choice)
        try:
            while True:
                step = await self.steps[choice].get()
                if isinstance(step, Exception):
                    raise step
                self.said[choice] += 1
                yield step
                if isinstance(step, Finish):
                    return
        finally:
            self.open.discard(choice)


def options(n: int, seed: int | None = None) -> Options:
    return Options(model="m", parameters=Parameters(n=n, seed=seed, temperature=0.5))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_reply_is_left_as_it_is() -> None:
    singles = Singles(1)
    steps: list[EngineEvent] = [Accepted(), ContentDelta("a"), Finish("stop", Usage(3, 1), "m")]
    singles.put(0, *steps)
    assert [event async for event in several(singles.generate, options(1, 7))] == steps
    assert singles.asked == [options(1, 7)]


async def test_all_replies_in_one() -> None:
    singles = Singles(3)
    singles.put(0, Accepted(), ContentDelta("a"), Finish("stop", Usage(9, 1, 4, 1), "served", prompt="P"))
    singles.put(1, Accepted(), ReasoningDelta("b"), Finish("length", Usage(9, 2, 9, 2), warnings=["w"]))
    singles.put(2, Accepted(), ToolCallDelta(0, "id", "f"), Finish("tool_calls", Usage(9, 4), warnings=["w"]))
    events = [event async for event in several(singles.generate, options(3))]
    assert events[0] == Accepted()
    assert sorted(events[1:-1], key=lambda event: getattr(event, "choice", 0)) == [
        ContentDelta("a", 0),
        ReasoningDelta("b", 1),
        ToolCallDelta(0, "id", "f", choice=2),
    ]
    assert events[-1] == Finish(
        "stop", Usage(9, 7, 4, 3), "served", others=["length", "tool_calls"], prompt="P", warnings=["w"]
    )
    assert not singles.open


@pytest.mark.parametrize(
    ("seed", "seeds"),
    [(None, [None] * 3), (5, [5, 6, 7]), (2**63 - 2, [2**63 - 2, 2**63 - 1, -(2**63)]), (-1, [-1, 0, 1])],
)
async def test_each_reply_has_a_seed_of_its_own(seed: int | None, seeds: list[int | None]) -> None:
    singles = Singles(3)
    for choice in range(3):
        singles.put(choice, Accepted(), Finish("stop"))
    events = [event async for event in several(singles.generate, options(3, seed))]
    assert [asked.parameters for asked in singles.asked] == [
        Parameters(n=1, seed=each, temperature=0.5) for each in seeds
    ]
    assert events == [Accepted(), Finish("stop", others=["stop", "stop"])], "no usage where one is missing"


async def test_accepted_is_told_once_all_are() -> None:
    singles = Singles(2)
    events = several(singles.generate, options(2))
    first = asyncio.ensure_future(anext(events))
    singles.put(0, Accepted())
    await settled()
    assert not first.done()
    singles.put(1, Accepted())
    assert await first == Accepted()
    await events.aclose()


async def test_what_waits_for_a_place_holds_nobody_up() -> None:
    singles = Singles(2)
    events = several(singles.generate, options(2))
    singles.put(0, Accepted(), ContentDelta("a"))
    assert [await anext(events), await anext(events)] == [Accepted(), ContentDelta("a")]
    await events.aclose()


async def test_a_refusal_before_any_text_is_raised_in_place_of_accepted() -> None:
    singles = Singles(2)
    singles.put(0, Accepted())
    singles.put(1, EngineRefused("no"))
    events = several(singles.generate, options(2))
    with pytest.raises(EngineRefused, match="no"):
        await anext(events)
    assert not singles.open


async def test_a_failure_ends_the_others() -> None:
    singles = Singles(2)
    singles.put(0, Accepted(), ContentDelta("a"))
    events = several(singles.generate, options(2))
    assert [await anext(events), await anext(events)] == [Accepted(), ContentDelta("a")]
    singles.put(1, EngineBroke("broke"))
    with pytest.raises(EngineBroke, match="broke"):
        await anext(events)
    assert not singles.open


async def test_a_reply_that_just_ends_is_a_failure() -> None:
    async def ending(options: Options) -> AsyncGenerator[EngineEvent, None]:
        yield Accepted()

    with pytest.raises(EngineError, match="without saying so"):
        async for _ in several(ending, options(2)):
            pass


async def test_a_reply_that_is_given_up_is_a_failure() -> None:
    async def giving_up(options: Options) -> AsyncGenerator[EngineEvent, None]:
        yield Accepted()
        raise asyncio.CancelledError

    async with asyncio.timeout(30):
        with pytest.raises(EngineError, match="gave up"):
            async for _ in several(giving_up, options(2)):
                pass


async def test_what_is_waited_for_is_told_of_the_first_until_one_says_something() -> None:
    singles = Singles(2)
    events = several(singles.generate, options(2))
    singles.put(1, InLine(7))
    singles.put(0, InLine(3), Prefilled(), Prefilled(5, 10), Accepted(), Prefilled(6, 10))
    assert [await anext(events) for _ in range(4)] == [
        InLine(3),
        Prefilled(),
        Prefilled(5, 10),
        Prefilled(6, 10),
    ]
    singles.put(1, Prefilled(1, 10), Accepted(), ContentDelta("b"))
    assert [await anext(events), await anext(events)] == [Accepted(), ContentDelta("b", 1)]
    singles.put(0, Prefilled(9, 10), ContentDelta("a"))
    assert await anext(events) == ContentDelta("a")
    await events.aclose()


async def test_closing_closes_all() -> None:
    singles = Singles(3)
    for choice in range(3):
        singles.put(choice, Accepted(), ContentDelta("a"))
    async with contextlib.aclosing(several(singles.generate, options(3))) as events:
        await anext(events)
        assert singles.open == {0, 1, 2}
    assert not singles.open


async def test_cancelling_the_reader_closes_all() -> None:
    singles = Singles(2)
    events = several(singles.generate, options(2))
    reading = asyncio.ensure_future(anext(events))
    await settled()
    assert singles.open == {0, 1}
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not singles.open


async def test_a_slow_reader_slows_the_engine_down() -> None:
    singles = Singles(2)
    for choice in range(2):
        singles.put(choice, Accepted(), *[ContentDelta("a")] * 50)
    events = several(singles.generate, options(2))
    await anext(events)
    await settled()
    assert max(singles.said) <= 6
    await events.aclose()
