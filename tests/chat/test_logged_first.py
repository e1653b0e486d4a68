"""Replies of which readers hear only what is logged: in its order, all of it, nothing that a crash would take back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from palaver.chat import Chat, ChatSettings
from palaver.core.errors import EngineBroke, StoreError
from palaver.core.message import FunctionCall, ToolCall
from palaver.core.reply import replies
from palaver.core.turn import ContentDelta, Delta, TurnState
from palaver.live import LiveReply, Outcome, replayed
from palaver.running import keeping
from tests.chat.asking import heard, request, texts
from tests.chat.puppets import Play, PuppetEngine, WatchedStore, out_of_order


@pytest.fixture
def settings() -> ChatSettings:
    """What is told is logged at once, however rarely the rest is."""
    return ChatSettings(log_interval=3600.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FINISH_RETRIES", (0.001, 0.002))


class Ear:
    """A reader, who notes what it hears and what was logged by then."""

    def __init__(self, store: WatchedStore, live: LiveReply, start: int = 0) -> None:
        self.deltas: list[Delta] = []
        self._store = store
        self._live = live
        self._start = start
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for news in self._live.follow(self._start):
            self.deltas += news
            if self._live.outcome is None:
                logged = self._store.logged.get(self._live.turn, [])
                assert self._start + len(self.deltas) <= len(logged)

    async def until(self, count: int) -> None:
        while len(self.deltas) < count:
            await asyncio.sleep(0)


async def asked(chat: Chat, engine: PuppetEngine, **more: Any) -> tuple[LiveReply, Play]:
    live = await chat.say(request("hi", logs_first=True, **more))
    return live, await engine.play_of(live.turn)


async def rounds(number: int = 50) -> None:
    """Let everybody who could do something do it."""
    for _ in range(number):
        await asyncio.sleep(0)


class TestHolding:
    async def test_nothing_is_heard_before_it_is_logged(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        async with store.held_up("log") as reached:
            play.say("hel", "lo")
            await reached.wait()
            await rounds()
            assert [len(live.events), live.told, ear.deltas] == [2, 0, []]
            assert await live.accepted(0)
        await ear.until(2)
        assert live.outcome is None
        play.say("!")
        play.finish()
        await ear.listening
        assert ear.deltas == [ContentDelta("hel"), ContentDelta("lo"), ContentDelta("!")]
        assert await texts(store, live) == ["hi", "hello!"]

    async def test_each_is_logged_as_it_comes(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live, play = await asked(chat, engine)
        early = Ear(store, live)
        for count in range(1, 6):
            play.say(f"{count} ")
            await early.until(count)
        late, middle = Ear(store, live), Ear(store, live, 3)
        await late.until(5)
        await middle.until(2)
        play.think("hm")
        play.call(0, ToolCall(FunctionCall("f", '{"a": 1}'), "c"))
        play.finish("tool_calls")
        await asyncio.gather(early.listening, late.listening, middle.listening)
        assert early.deltas == late.deltas == live.events
        assert middle.deltas == live.events[3:]
        assert len(live.events) == 8
        record = await store.turn("local", live.turn)
        assert replayed(record).events == live.events

    async def test_those_who_do_not_ask_for_it_hear_at_once(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live = await chat.say(request("hi"))
        play = await engine.play()
        play.say("hel")
        while not live.events:
            await asyncio.sleep(0)
        assert (live.told, store.logged) == (1, {})
        live.hold()
        assert live.told == 0
        play.say("lo")
        play.finish()
        assert await heard(live) == "hello"

    async def test_what_is_not_stored_is_heard_at_once(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live, play = await asked(chat, engine, store=False)
        play.say("hel")
        while not live.told:
            await asyncio.sleep(0)
        play.finish()
        assert await heard(live) == "hel"
        assert store.logged == {}

    async def test_a_reply_without_a_word(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live, play = await asked(chat, engine)
        play.finish()
        assert await heard(live) == ""
        assert (store.logged, store.done) == ({}, ["admit", "finish"])


class TestEnds:
    @pytest.mark.parametrize("how", ["broken", "cancelled"])
    async def test_all_is_heard_at_the_end(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, how: str
    ) -> None:
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        play.say("hel")
        await ear.until(1)
        async with store.held_up("log") as reached:
            play.say("lo")
            await reached.wait()
            if how == "broken":
                play.fail(EngineBroke())
                await play.closed.wait()
            else:
                stopping = asyncio.create_task(chat.cancel("local", live.turn))
                await play.closed.wait()
                await stopping
        await ear.listening
        assert ear.deltas == [ContentDelta("hel"), ContentDelta("lo")]
        assert await texts(store, live) == ["hi", "hello"]

    async def test_nobody_hears_the_end_before_it_is_stored(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        async with store.held_up("log") as logging, store.held_up("finish") as reached:
            play.say("hello")
            await logging.wait()
            play.finish()
            await reached.wait()
            await rounds()
            assert (ear.deltas, live.outcome) == ([], None)
        await ear.listening
        assert ear.deltas == [ContentDelta("hello")]
        assert live.outcome is not None


class TestFailing:
    async def test_a_log_that_fails_is_tried_again(
        self, store: WatchedStore, catalog: Any, engine: PuppetEngine
    ) -> None:
        chat = Chat(store, catalog, ChatSettings(log_interval=0.001))
        store.failures["log"] = out_of_order(3)
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        play.say("hel", "lo")
        await ear.until(2)
        assert store.logged[live.turn] == ear.deltas
        play.finish()
        await ear.listening
        await chat.close()

    async def test_while_nothing_can_be_logged_nothing_is_heard(
        self, store: WatchedStore, catalog: Any, engine: PuppetEngine
    ) -> None:
        chat = Chat(store, catalog, ChatSettings(log_interval=0.001))
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        store.failures["log"] = out_of_order(10_000)
        play.say("hel", "lo")
        while len(store.failures["log"]) > 9_990:
            await asyncio.sleep(0.001)
        assert (ear.deltas, live.told) == ([], 0)
        play.finish()
        await ear.listening
        assert ear.deltas == [ContentDelta("hel"), ContentDelta("lo")], "the end is stored, and all of it"
        await chat.close()

    async def test_of_an_end_that_cannot_be_stored_only_what_is_logged(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        """Who hears that comes back, and must find what it heard."""
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        play.say("hel")
        await ear.until(1)
        store.failures["log"] = out_of_order(1)
        store.failures["finish"] = out_of_order(20)
        play.say("lo")
        play.finish()
        await ear.listening
        outcome = await live.ended()
        assert isinstance(outcome.error, StoreError)
        assert ear.deltas == [ContentDelta("hel")]
        assert live.told == 1
        while "finish" not in store.done:
            await asyncio.sleep(0.001)
        late = replayed(await store.turn("local", live.turn))
        assert late.events == [ContentDelta("hel"), ContentDelta("lo")]
        assert late.told == 2

    async def test_a_log_with_a_bug_costs_only_that_it_is_heard_late(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        store.failures["log"] = [ValueError("a bug")]
        live, play = await asked(chat, engine)
        ear = Ear(store, live)
        play.say("hel", "lo")
        while store.failures["log"]:
            await asyncio.sleep(0)
        play.finish()
        await ear.listening
        assert ear.deltas == [ContentDelta("hel"), ContentDelta("lo")]
        assert (await live.ended()).state is TurnState.COMPLETED


async def test_what_was_heard_is_there_after_a_crash(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    """Another process closes what this one left behind: with at least what was told."""
    live, play = await asked(chat, engine)
    ear = Ear(store, live)
    for count in range(1, 4):
        play.say(f"{count} ")
        await ear.until(count)
    told = list(ear.deltas)
    assert await store.recover("another lease") == [live.turn]
    left = replayed(await store.turn("local", live.turn))
    assert left.events[: len(told)] == told
    play.finish()
    await ear.listening


class TestReplies:
    def reply(self) -> LiveReply:
        return LiveReply(turn="turn", conversation="conv", model="m", created=0, holds=True)

    async def test_what_is_told_grows_with_what_is_released(self) -> None:
        live = self.reply()
        for word in "abc":
            live.publish(ContentDelta(word))
        assert live.told == 0
        live.release(2)
        assert live.told == 2
        reading = live.follow()
        assert await anext(reading) == [ContentDelta("a"), ContentDelta("b")]
        live.end(Outcome(state=TurnState.COMPLETED, finish_reason="stop"))
        assert [news async for news in reading] == [[ContentDelta("c")]]
        assert replies(live.events)[0].content == "abc"

    @pytest.mark.parametrize("what", ["publish", "end"])
    async def test_news_are_there_before_they_are_told(self, what: str) -> None:
        live = self.reply()
        waiting = asyncio.create_task(live.news(0))
        await rounds(5)
        assert not waiting.done()
        if what == "publish":
            live.publish(ContentDelta("a"))
        else:
            live.end(Outcome(state=TurnState.COMPLETED))
        await waiting
