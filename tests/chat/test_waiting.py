"""What a reply waits for, as its readers hear it, until something of it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from palaver.chat import Chat
from palaver.core.errors import EngineUnavailable
from palaver.core.turn import Finish, InLine, Prefilled, TurnState
from palaver.core.waiting import PROMPT, Waiting
from palaver.engines.base import Model
from palaver.live import LiveReply
from palaver.stores.base import Ending
from tests.chat.asking import request
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore


def behind(turns: int) -> Waiting:
    return Waiting(what="queue", ahead=turns)


def reading(progress: float, tokens: int) -> Waiting:
    return Waiting(what="prompt", progress=progress, tokens=tokens)


async def say(chat: Chat, text: str, **more: Any) -> LiveReply:
    return await chat.say(request(text, **({"conversation": "room", "parent": "head"} | more)))


async def until_waiting(live: LiveReply, wanted: Waiting | None) -> None:
    now = live.waiting
    async with asyncio.timeout(10):
        while now != wanted:
            now = await live.waits(now)


async def test_what_the_engine_tells_is_told_until_something_comes(chat: Chat, engine: PuppetEngine) -> None:
    live = await chat.say(request("hi"))
    await until_waiting(live, PROMPT)
    play = await engine.play()
    for told, waiting in (
        (InLine(2), Waiting(what="place", ahead=2)),
        (InLine(), Waiting(what="place")),
        (Prefilled(), PROMPT),
        (Prefilled(30, 120), reading(0.25, 120)),
        (Prefilled(130, 120), reading(1, 120)),
    ):
        play.events.put_nowait(told)
        await until_waiting(live, waiting)
    play.say("Hi")
    await until_waiting(live, None)
    play.events.put_nowait(Prefilled(1, 2))
    play.say(" there")
    play.finish()
    await live.ended()
    assert live.waiting is None
    assert await live.waits() is None
    assert len(live.events) == 2, "it is no delta"


@pytest.mark.parametrize("told", [InLine(1), Prefilled(), Prefilled(1, 2)])
async def test_none_of_it_says_that_the_request_is_taken(
    chat: Chat, engine: PuppetEngine, told: InLine | Prefilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def generate(*_: object) -> Any:
        yield told
        await going.wait()
        raise EngineUnavailable("It has died.")

    going = asyncio.Event()
    monkeypatch.setattr(engine, "generate", generate)
    live = await chat.say(request("hi"))
    assert not await live.accepted(0.05)
    going.set()
    with pytest.raises(EngineUnavailable):
        await live.accepted(10)


async def test_who_waits_for_others_hears_how_many(chat: Chat, engine: PuppetEngine) -> None:
    first = await say(chat, "one")
    second, third, fourth = [await say(chat, text) for text in ("two", "three", "four")]
    assert [live.waiting for live in (first, second, third, fourth)] == [
        PROMPT,
        behind(1),
        behind(2),
        behind(3),
    ]
    await chat.cancel("local", third.turn)
    await until_waiting(fourth, behind(2))
    assert third.waiting is None
    (await engine.play()).finish()
    await until_waiting(second, PROMPT)
    await until_waiting(fourth, behind(1))


async def test_who_is_stopped_before_the_wait_begins_is_in_no_line(chat: Chat, engine: PuppetEngine) -> None:
    await say(chat, "one")
    second, third = await say(chat, "two"), await say(chat, "three")
    chat._running[second.turn].stop(TurnState.CANCELLED)  # its task has had no time yet
    await second.ended()
    await until_waiting(third, behind(1))
    await chat.stop_turns("local", "enough")
    assert chat._queues._lines == {}


async def test_a_model_that_is_being_loaded_goes_first(
    chat: Chat, engine: PuppetEngine, catalog: OneModel, model: Model
) -> None:
    loaded: list[float | None] = [0.25]
    catalog.model = msgspec.structs.replace(model, progress=lambda: loaded[0])
    live = await say(chat, "one")
    waits = await say(chat, "two")
    play = await engine.play()
    play.events.put_nowait(InLine(1))
    await until_waiting(live, Waiting(what="loading", progress=0.25))
    loaded[0] = 0.5  # nobody tells of that
    await until_waiting(live, Waiting(what="loading", progress=0.5))
    assert waits.waiting == behind(1), "which waits for the turn, whatever that waits for"
    loaded[0] = None
    await until_waiting(live, Waiting(what="place", ahead=1))


async def test_a_fallback_begins_anew(
    chat: Chat, engine: PuppetEngine, catalog: OneModel, model: Model
) -> None:
    other = PuppetEngine()
    fallback = msgspec.structs.replace(model, name="other", engine=other)
    catalog.model = msgspec.structs.replace(model, fallbacks=(fallback,))
    live = await chat.say(request("hi"))
    play = await engine.play()
    play.events.put_nowait(Prefilled(5, 10))
    await until_waiting(live, reading(0.5, 10))
    play.fail(EngineUnavailable("It has died."))
    await other.play()
    await until_waiting(live, PROMPT)


class TestFirstText:
    """When the first text came that is no thinking."""

    @pytest.fixture
    def endings(self, store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> list[Ending]:
        endings: list[Ending] = []
        finish = store.finish

        async def noted(ending: Ending) -> None:
            endings.append(ending)
            await finish(ending)

        monkeypatch.setattr(store, "finish", noted)
        return endings

    async def test_after_the_thinking(
        self, store: WatchedStore, catalog: OneModel, engine: PuppetEngine, endings: list[Ending]
    ) -> None:
        now = [1000.0]
        chat = Chat(store, catalog, clock=lambda: now[0])
        live = await chat.say(request("hi"))
        play = await engine.play()
        for at, say in ((1001, play.think), (1003, play.think), (1007, play.say), (1009, play.say)):
            events = len(live.events)
            now[0] = at
            say("so")
            while len(live.events) == events:
                await asyncio.sleep(0)
        play.events.put_nowait(Finish("stop"))
        await live.ended()
        await chat.close()
        (ending,) = endings
        assert (ending.first_token_at, ending.first_text_at) == (1001_000, 1007_000)

    async def test_none_where_there_was_none(
        self, chat: Chat, engine: PuppetEngine, endings: list[Ending]
    ) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.think("so")
        play.finish("length")
        await live.ended()
        (ending,) = endings
        assert ending.first_token_at is not None
        assert ending.first_text_at is None
