"""Turns that are stopped, callers that go before they are admitted, and shutting down."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat, ChatSettings
from palaver.core.errors import EngineUnavailable, TooManyRequests, TurnNotFound
from palaver.core.turn import TurnState
from tests.chat.asking import heard, request, texts
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore


class TestCancel:
    async def test_it_keeps_the_text(self, chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hel")
        reading = asyncio.create_task(heard(live))
        await live.accepted()
        while not live.events:
            await asyncio.sleep(0)
        await chat.cancel("local", live.turn)
        assert await reading == "hel"
        outcome = await live.ended()
        assert (outcome.state, outcome.error, outcome.finish_reason) == (TurnState.CANCELLED, None, "stop")
        assert play.closed.is_set()
        assert (await store.turn("local", live.turn)).state is TurnState.CANCELLED
        assert await texts(store, live) == ["hi", "hel"]

    async def test_it_comes_before_the_engine_has_begun(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi"))
        await chat.cancel("local", live.turn)
        assert (await live.ended()).state is TurnState.CANCELLED
        assert (await store.turn("local", live.turn)).state is TurnState.CANCELLED
        assert all(play.closed.is_set() for play in engine.plays)

    async def test_it_answers_when_the_end_is_stored(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi"))
        await engine.play()
        async with store.held_up("finish") as reached:
            cancelling = [asyncio.create_task(chat.cancel("local", live.turn)) for _ in range(2)]
            await reached.wait()
            assert not any(task.done() for task in cancelling)
        await asyncio.gather(*cancelling)
        assert store.done.count("finish") == 1

    async def test_what_has_ended_stays_as_it_is(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi"))
        async with store.held_up("finish") as reached:
            (await engine.play()).finish()
            await reached.wait()
            late = asyncio.create_task(chat.cancel("local", live.turn))
            await asyncio.sleep(0)
        await late
        assert (await live.ended()).state is TurnState.COMPLETED
        await chat.cancel("local", live.turn)
        assert (await store.turn("local", live.turn)).state is TurnState.COMPLETED

    async def test_nobody_cancels_anothers(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi"))
        for owner, turn in (("other", live.turn), ("local", "turn_01arz3ndektsv4rrffq69g5fav")):
            with pytest.raises(TurnNotFound):
                await chat.cancel(owner, turn)
        assert live.outcome is None

    async def test_a_turn_that_is_not_stored(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi", store=False))
        (await engine.play()).say("hel")
        await chat.cancel("local", live.turn)
        assert (await live.ended()).state is TurnState.CANCELLED
        await asyncio.sleep(0)
        with pytest.raises(TurnNotFound):
            await chat.cancel("local", live.turn)


class TestCallers:
    async def test_one_who_goes_while_the_turn_is_admitted_loses_nothing(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        async with store.held_up("admit") as reached:
            saying = asyncio.create_task(chat.say(request("hi")))
            await reached.wait()
            saying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saying
        play = await engine.play()
        live = chat.live("local", play.window.turn)
        assert live is not None
        play.say("hello")
        play.finish()
        await live.ended()
        assert await texts(store, live) == ["hi", "hello"]

    async def test_one_who_goes_before_that_asks_nothing(
        self, chat: Chat, store: WatchedStore, catalog: OneModel
    ) -> None:
        catalog.held_up.clear()
        saying = asyncio.create_task(chat.say(request("hi")))
        await asyncio.sleep(0)
        saying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saying
        assert store.done == []


class TestLimit:
    @pytest.fixture
    def settings(self) -> ChatSettings:
        return ChatSettings(max_open_turns=3)

    async def test_turns_over_it_are_refused(self, chat: Chat, engine: PuppetEngine) -> None:
        lives = [await chat.say(request("hi")) for _ in range(3)]
        with pytest.raises(TooManyRequests, match="at most 3"):
            await chat.say(request("hi"))
        (await engine.play_of(lives[0].turn)).finish()
        await lives[0].ended()
        await asyncio.sleep(0)
        await chat.say(request("hi"))

    async def test_many_at_once_do_not_slip_through(
        self, chat: Chat, store: WatchedStore, catalog: OneModel
    ) -> None:
        catalog.held_up.clear()
        saying = [asyncio.create_task(chat.say(request("hi"))) for _ in range(10)]
        await asyncio.sleep(0)
        catalog.held_up.set()
        results = await asyncio.gather(*saying, return_exceptions=True)
        assert sum(isinstance(result, TooManyRequests) for result in results) == 7
        assert store.done.count("admit") == 3


class TestClose:
    async def test_it_ends_what_runs_and_keeps_the_text(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = [await chat.say(request(f"{i}")) for i in range(3)]
        for i in range(3):
            (await engine.play(i)).say("hel")
        for live in lives:
            await anext(live.follow())
        await chat.close()
        for live in lives:
            record = await store.turn("local", live.turn)
            assert record.state is TurnState.INCOMPLETE
            assert record.error_message == "palaver was shut down."
            assert (await texts(store, live))[-1] == "hel"
        assert engine.closed

    async def test_with_patience_it_lets_replies_end(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        closing = asyncio.create_task(chat.close(patience=60))
        await asyncio.sleep(0)
        play.say("hello")
        play.finish()
        await closing
        assert (await live.ended()).state is TurnState.COMPLETED

    async def test_it_waits_for_what_is_being_admitted(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        async with store.held_up("admit") as reached:
            saying = asyncio.create_task(chat.say(request("hi")))
            await reached.wait()
            closing = asyncio.create_task(chat.close())
            await asyncio.sleep(0)
            assert not closing.done()
        live = await saying
        await closing
        assert (await store.turn("local", live.turn)).state is TurnState.INCOMPLETE

    async def test_afterwards_nothing_begins(self, chat: Chat, store: WatchedStore) -> None:
        await chat.close()
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await chat.say(request("hi"))
        assert store.done == []
        await chat.close()

    async def test_what_was_about_to_begin_does_not(
        self, chat: Chat, store: WatchedStore, catalog: OneModel
    ) -> None:
        catalog.held_up.clear()
        saying = asyncio.create_task(chat.say(request("hi")))
        await asyncio.sleep(0)
        await chat.close()
        catalog.held_up.set()
        with pytest.raises(EngineUnavailable):
            await saying
        assert store.done == []

    async def test_a_loop_that_is_torn_down_keeps_the_text(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        """As `asyncio.run` does it at its end: every task is cancelled."""
        live = await chat.say(request("hi"))
        (await engine.play()).say("hel")
        await anext(live.follow())
        chat._running[live.turn].task.cancel()
        outcome = await live.ended()
        assert outcome.state is TurnState.INCOMPLETE
        assert await texts(store, live) == ["hi", "hel"]
