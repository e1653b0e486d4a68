"""Replies that nobody waits for: they take nothing that is needed, and leave nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import Accepted, ContentDelta
from palaver.core.window import Window
from palaver.engines.base import Held, Options
from palaver.engines.llama import LlamaEngine, LlamaSettings, ModelMemory
from palaver.engines.pocket import POCKET
from tests.engines.contract import collect, finish_of, text_of
from tests.engines.llama.warm import Houses, Talk, counts, prefilled

WINDOW = Window(
    owner="ada",
    conversation=None,
    turn="t2",
    messages=(Message("system", "Give it a name."), Message("user", "What is the sea like today? " * 20)),
)
IDLE = Options(model="m", idle=True, parameters=Parameters(temperature=0.0, max_tokens=8))


async def held(engine: LlamaEngine) -> list[Held]:
    cache = await engine.kv_cache()
    assert cache is not None
    return [each for each in cache.held if each.where == "slot"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.005)


async def test_it_leaves_nothing_and_takes_nothing(houses: Houses) -> None:
    engine = await houses.open()
    talk = Talk(engine, kept=False)
    await talk.settled("Hello.")
    before = await counts(engine)
    events = await collect(engine, WINDOW, IDLE)
    assert text_of(events)
    assert finish_of(events).usage is not None
    assert [each.conversation for each in await held(engine)] == ["c"]
    after = await counts(engine)
    assert [after[name] for name in ("prefilled", "reused")] == [before[n] for n in ("prefilled", "reused")]

    async def is_erased() -> bool:
        return (await counts(engine)).get("erased", 0) > before.get("erased", 0)

    await until(is_erased)
    assert prefilled(await talk.say("And now?")) <= 30


async def test_what_stands_in_the_way_is_saved_first(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    talk = Talk(engine)
    await talk.settled("Hello.")
    assert text_of(await collect(engine, WINDOW, IDLE))
    assert await held(engine) == []
    assert prefilled(await talk.say("And now?")) <= 30


async def test_what_cannot_be_saved_stays(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    talk = Talk(engine, kept=False)
    await talk.settled("Hello.")
    with pytest.raises(EngineUnavailable, match="next turn needs"):
        await collect(engine, WINDOW, IDLE)
    assert prefilled(await talk.say("And now?")) <= 30


async def test_it_waits_until_no_turn_is_at_work(houses: Houses) -> None:
    engine = await houses.open()
    window = Window(owner="ada", conversation="c", turn="t1", messages=(Message("user", "Say more."),))
    options = Options(model="m", parameters=Parameters(max_tokens=64, temperature=0.0))
    async with aclosing(engine.generate(window, options)) as turn:
        assert isinstance(await anext(turn), Accepted)
        idle = asyncio.create_task(collect(engine, WINDOW, IDLE))
        async for _ in turn:
            assert not idle.done()
            assert engine.waiting == 0, "it is no turn"
    assert text_of(await idle)


async def test_one_that_is_left_leaves_nothing_either(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    async with aclosing(engine.generate(WINDOW, IDLE)) as events:
        async for event in events:
            if isinstance(event, ContentDelta):
                break
    talk = Talk(engine)
    await talk.say("Hello.")
    assert [each.conversation for each in await held(engine)] == ["c"]


async def test_no_model_makes_room_for_it(temporary: Path) -> None:
    one = LlamaEngine(LlamaSettings(POCKET, "one", threads=1, context=512), memory := ModelMemory(1 << 30))
    other = LlamaEngine(LlamaSettings(POCKET, "other", threads=1, context=512), memory)
    try:
        assert text_of(await collect(one, WINDOW, IDLE)), "it is started where there is room"
        memory.limit = one.footprint.total
        with pytest.raises(EngineUnavailable, match="make room"):
            await collect(other, WINDOW, IDLE)
        assert one.worker_pid is not None
        assert text_of(await collect(one, WINDOW, IDLE))
    finally:
        await one.close()
        await other.close()


def test_what_is_not_worth_asking_for_titles() -> None:
    assert "titles" in LlamaEngine(LlamaSettings(POCKET, "m")).capabilities
    assert "titles" not in LlamaEngine(LlamaSettings(POCKET, "m", titles=False)).capabilities
