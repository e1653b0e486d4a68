"""Readers that leave: the reply goes on, within limits."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat, ChatSettings, leaving
from palaver.core.parameters import Parameters
from palaver.core.turn import TurnState
from palaver.live import LiveReply
from tests.chat.asking import heard, request, texts
from tests.chat.puppets import PuppetEngine, WatchedStore


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(grace=0.005, readerless_turns=3, readerless_max_tokens=5)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LOOK_AGAIN", 0.005)


async def leave(live: LiveReply) -> None:
    """Read nothing, and go."""
    with live.reader():
        await asyncio.sleep(0)


async def looked_at(engine: PuppetEngine, times: int = 3) -> None:
    """Wait until the grace is over and the queue was looked at so many times."""
    before = engine.asked_for_waiting
    while engine.asked_for_waiting < before + times:
        await asyncio.sleep(0.001)


async def test_a_reply_outlives_its_reader(chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
    live = await chat.say(request("hi", on_leave="finish"))
    play = await engine.play()
    engine.queue = 1
    play.say("hel")
    with live.reader():
        async for _ in live.follow():
            break
    play.say("lo")
    play.finish()
    assert (await live.ended()).state is TurnState.COMPLETED
    assert await texts(store, live) == ["hi", "hello"]
    assert engine.asked_for_waiting == 0


class TestGrace:
    async def test_it_goes_on_while_nobody_waits(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", on_leave="grace"))
        play = await engine.play()
        await leave(live)
        await looked_at(engine)
        assert live.outcome is None
        play.say("hello")
        play.finish()
        assert (await live.ended()).state is TurnState.COMPLETED

    async def test_it_gives_way_when_somebody_waits(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi", on_leave="grace"))
        (await engine.play()).say("hel")
        await anext(live.follow())
        await leave(live)
        await looked_at(engine)
        assert live.outcome is None
        engine.queue = 1
        outcome = await live.ended()
        assert outcome.state is TurnState.INCOMPLETE
        assert outcome.error is not None
        assert await texts(store, live) == ["hi", "hel"]

    async def test_who_comes_back_keeps_it(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", on_leave="grace"))
        play = await engine.play()
        other = await chat.say(request("ho", on_leave="grace"))
        await leave(live)
        with live.reader():
            await leave(other)
            await looked_at(engine)
            engine.queue = 1
            assert (await other.ended()).state is TurnState.INCOMPLETE
            play.say("hello")
            play.finish()
            assert (await live.ended()).state is TurnState.COMPLETED

    async def test_a_turn_that_is_not_stored_ends(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", on_leave="grace", store=False))
        await engine.play()
        await leave(live)
        assert (await live.ended()).state is TurnState.INCOMPLETE

    async def test_nothing_is_left_of_a_turn_that_has_ended(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        """A reader that leaves while the end is being stored starts a timer that must not outlive the turn."""
        live = await chat.say(request("hi", on_leave="grace"))
        play = await engine.play()
        async with store.held_up("finish") as reached:
            play.finish()
            await reached.wait()
            await leave(live)
        await live.ended()
        other = await chat.say(request("ho", on_leave="grace", parameters=Parameters(max_tokens=1)))
        await leave(other)
        await looked_at(engine, 5)
        (await engine.play(1)).finish()
        await other.ended()
        await asyncio.sleep(0)
        looks = engine.asked_for_waiting
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert engine.asked_for_waiting == looks


class TestLimits:
    async def test_the_oldest_gives_way_to_the_newest(self, chat: Chat, engine: PuppetEngine) -> None:
        read = await chat.say(request("read"))
        with read.reader():
            others = await chat.say(request("others", owner="other", on_leave="finish"))
            await leave(others)
            lives = [await chat.say(request(f"{i}", on_leave="finish")) for i in range(5)]
            for live in lives:
                await leave(live)
            assert {(await live.ended()).state for live in lives[:2]} == {TurnState.INCOMPLETE}
            assert [live.outcome for live in (*lives[2:], read, others)] == [None] * 5

    async def test_replies_that_nobody_could_read_yet_are_not_counted(
        self, chat: Chat, engine: PuppetEngine
    ) -> None:
        """Many are admitted at once, and their readers are about to come."""
        early = await chat.say(request("early", on_leave="finish"))
        burst = [await chat.say(request(f"{i}", on_leave="finish")) for i in range(20)]
        await leave(early)
        for live in burst:
            play = await engine.play_of(live.turn)
            play.say("hello")
            play.finish()
            assert await heard(live) == "hello"
            assert (await live.ended()).state is TurnState.COMPLETED

    async def test_alone_a_reply_without_a_limit_gets_one(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi", on_leave="finish"))
        play = await engine.play()
        await leave(live)
        play.say(*"abcdefgh")
        outcome = await live.ended()
        assert outcome.state is TurnState.INCOMPLETE
        assert outcome.error is not None
        assert await texts(store, live) == ["hi", "abcde"]

    async def test_a_limit_of_the_request_stands(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", on_leave="finish", parameters=Parameters(max_tokens=100)))
        play = await engine.play()
        await leave(live)
        play.say(*"abcdefgh")
        play.finish()
        assert (await live.ended()).state is TurnState.COMPLETED

    async def test_who_comes_back_lifts_it(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", on_leave="finish"))
        play = await engine.play()
        await leave(live)
        reading = asyncio.create_task(heard(live))
        await asyncio.sleep(0)
        play.say(*"abcdefgh")
        play.finish()
        assert await reading == "abcdefgh"

    async def test_a_caller_who_left_before_there_was_a_reader_is_one_who_left(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        async with store.held_up("admit") as reached:
            saying = asyncio.create_task(chat.say(request("hi", on_leave="finish")))
            await reached.wait()
            saying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saying
        play = await engine.play()
        play.say(*"abcdefgh")
        live = chat.live("local", play.window.turn)
        assert live is not None
        assert (await live.ended()).state is TurnState.INCOMPLETE
        assert await texts(store, live) == ["hi", "abcde"]
