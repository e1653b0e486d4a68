"""Engines and stores that fail: the turn ends all the same, what was said is kept, readers hear why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from palaver.chat import Chat
from palaver.core.errors import (
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    LeaseLost,
    StoreError,
    StoreFull,
)
from palaver.core.turn import ContentDelta, EngineEvent, TurnState
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.running import keeping
from tests.chat.asking import assistant, heard, request, texts
from tests.chat.puppets import PuppetEngine, WatchedStore, out_of_order


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FINISH_RETRIES", (0.001, 0.002))


class TestEngines:
    @pytest.mark.parametrize(
        "error", [EngineUnavailable(), EngineRefused("No.", status=422), EngineTimeout()]
    )
    async def test_a_failure_before_any_text(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, error: EngineError
    ) -> None:
        await self._answered(chat, engine, "hi", "hello")
        live = await chat.say(request("hi", assistant("hello"), "more"))
        (await engine.play(1)).fail(error)
        outcome = await live.ended()
        assert (outcome.state, outcome.error) == (TurnState.FAILED, error)
        with pytest.raises(type(error)):
            await live.accepted()
        record = await store.turn("local", live.turn)
        assert (record.state, record.error_code, record.error_message, record.reply) == (
            TurnState.FAILED,
            type(error).__name__,
            error.message,
            None,
        )
        assert await texts(store, live) == ["hi", "hello"]
        again = await chat.say(request("hi", assistant("hello"), "more"))
        assert again.conversation == live.conversation
        assert await texts(store, live) == ["hi", "hello", "more"]

    async def _answered(self, chat: Chat, engine: PuppetEngine, question: str, answer: str) -> None:
        live = await chat.say(request(question))
        play = await engine.play()
        play.say(answer)
        play.finish()
        await live.ended()

    @pytest.mark.parametrize("error", [EngineBroke(), EngineTimeout(), RuntimeError("a bug"), KeyError("x")])
    async def test_a_failure_after_text(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, error: Exception
    ) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hel")
        play.fail(error)
        assert await heard(live) == "hel"
        assert await live.accepted()
        outcome = await live.ended()
        assert outcome.state is TurnState.INCOMPLETE
        assert isinstance(outcome.error, EngineError)
        record = await store.turn("local", live.turn)
        assert record.state is TurnState.INCOMPLETE
        assert await texts(store, live) == ["hi", "hel"]

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("a bug"),
            KeyError("x"),
            StopAsyncIteration(),
            ExceptionGroup("g", [OSError()]),
            OSError(),
        ],
    )
    async def test_nonsense_ends_the_turn_and_tells_no_secret(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, error: Exception
    ) -> None:
        live = await chat.say(request("hi"))
        (await engine.play()).fail(error)
        outcome = await live.ended()
        assert outcome.state is TurnState.FAILED
        assert isinstance(outcome.error, EngineError)
        assert "bug" not in outcome.error.message
        assert (await store.turn("local", live.turn)).state is TurnState.FAILED

    async def test_an_engine_that_cancels_itself_has_failed(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        """A task inside it was cancelled, say: that is no word of ours."""
        live = await chat.say(request("hi"))
        (await engine.play()).fail(asyncio.CancelledError())
        outcome = await live.ended()
        assert outcome.state is TurnState.FAILED
        assert outcome.error is not None
        assert "shut down" not in outcome.error.message

    async def test_an_engine_that_ends_without_saying_so_has_failed(
        self, chat: Chat, engine: PuppetEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def nothing(window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
            return
            yield

        monkeypatch.setattr(engine, "generate", nothing)
        outcome = await (await chat.say(request("hi"))).ended()
        assert outcome.state is TurnState.FAILED
        assert isinstance(outcome.error, EngineError)

    async def test_an_engine_that_yields_nonsense_has_failed(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi"))
        (await engine.play()).events.put_nowait("hello")  # type: ignore[arg-type]
        outcome = await live.ended()
        assert outcome.state is TurnState.FAILED
        assert live.events == []

    @pytest.mark.parametrize("verb", ["count", "context_size"])
    @pytest.mark.parametrize("error", [EngineUnavailable(), RuntimeError("a bug")])
    async def test_an_engine_that_cannot_count_has_failed(
        self, chat: Chat, engine: PuppetEngine, monkeypatch: pytest.MonkeyPatch, verb: str, error: Exception
    ) -> None:
        async def fails(*_: object) -> int:
            raise error

        engine.size = 10
        monkeypatch.setattr(engine, verb, fails)
        outcome = await (await chat.say(request("hi"))).ended()
        assert outcome.state is TurnState.FAILED
        assert isinstance(outcome.error, EngineError)

    async def test_what_comes_after_the_end_is_not_heard(self, chat: Chat, engine: PuppetEngine) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hello")
        play.finish()
        play.say(" again")
        assert await heard(live) == "hello"
        await play.closed.wait()


class TestStores:
    async def test_an_end_that_cannot_be_stored_is_told_at_once_and_stored_later(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        store.failures["finish"] = [StoreFull(), *out_of_order(5)]
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hello")
        play.finish()
        assert await heard(live) == "hello"
        outcome = await live.ended()
        assert isinstance(outcome.error, StoreFull)
        while "finish" not in store.done:
            await asyncio.sleep(0.001)
        record = await store.turn("local", live.turn)
        assert record.state is TurnState.COMPLETED
        assert await texts(store, live) == ["hi", "hello"]

    async def test_until_then_the_turn_is_not_given_up(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        store.failures["finish"] = out_of_order(1000)
        live = await chat.say(request("hi"))
        (await engine.play()).finish()
        await live.ended()
        left = len(store.failures["finish"])
        while len(store.failures["finish"]) > left - 20:
            await asyncio.sleep(0.001)
        assert chat.live("local", live.turn) is live

    async def test_a_store_that_stays_broken_holds_up_no_shutdown(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keeping, "FINISH_RETRIES", (3600.0,))
        store.failures["finish"] = out_of_order(100)
        ended, cut = await chat.say(request("hi")), await chat.say(request("ho"))
        (await engine.play_of(ended.turn)).finish()
        await ended.ended()
        (await engine.play_of(cut.turn)).say("x")
        await chat.close()
        assert isinstance((await cut.ended()).error, StoreError)
        assert 90 < len(store.failures["finish"]) < 100

    async def test_a_store_with_a_bug_lets_no_reader_wait_for_ever(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        store.failures["finish"] = [ValueError("a bug")]
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hello")
        play.finish()
        assert await heard(live) == "hello"
        assert isinstance((await live.ended()).error, StoreError)

    async def test_a_log_that_fails_costs_nothing_but_itself(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        store.failures["log"] = out_of_order(3)
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hel", "lo")
        while live.turn not in store.logged:
            await asyncio.sleep(0.001)
        assert store.logged[live.turn] == [ContentDelta("hel"), ContentDelta("lo")]
        play.finish()
        assert await heard(live) == "hello"
        assert (await live.ended()).error is None

    @pytest.mark.parametrize("verb", ["log", "finish"])
    async def test_a_turn_that_another_process_took_over(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, verb: str
    ) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        await store.recover("another lease")
        if verb == "log":
            play.say("hello")
        else:
            play.finish()
        outcome = await live.ended()
        assert outcome.state is TurnState.INCOMPLETE
        assert isinstance(outcome.error, EngineError | LeaseLost)
        await play.closed.wait()
