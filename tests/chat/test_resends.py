"""Requests that a client repeats: one question, one reply, for every reader the same."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat, ChatRequest
from palaver.core.errors import EngineUnavailable, StoreRefused, UnsupportedParameter
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.turn import ContentDelta, ReasoningDelta, TokenLogprob, ToolCallDelta, TurnState, Usage
from palaver.stores.base import Attempt
from tests.chat.asking import assistant, heard, request, texts, user
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore


def repeated(count: int = 0, *messages: Message | str, store: bool | None = None) -> ChatRequest:
    attempt = Attempt(route="test", body=repr(messages).encode(), count=count)
    return request(*(messages or ("hi",)), attempt=attempt, store=store)


async def test_who_asks_again_reads_the_same_reply(chat: Chat, engine: PuppetEngine) -> None:
    first = await chat.say(repeated())
    play = await engine.play()
    play.say("hel")
    again = await chat.say(repeated(1))
    assert again is first
    reading = [asyncio.create_task(heard(live)) for live in (first, again)]
    play.say("lo")
    play.finish()
    assert await asyncio.gather(*reading) == ["hello", "hello"]
    assert len(engine.plays) == 1


@pytest.mark.parametrize("store_it", [True, False])
async def test_two_at_once_are_one_turn(chat: Chat, engine: PuppetEngine, store_it: bool) -> None:
    first, second = await asyncio.gather(
        chat.say(repeated(0, store=store_it)), chat.say(repeated(1, store=store_it))
    )
    assert first is second
    (await engine.play()).finish()
    await first.ended()


async def test_an_answer_of_a_while_ago_is_told_again_event_by_event(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(repeated())
    play = await engine.play()
    call = ToolCall(FunctionCall("look", '{"at":1}'), id="call_1")
    play.think("hm", ", well")
    play.say("hel", "lo", logprob=-0.5)
    play.call(0, call)
    play.finish("tool_calls", Usage(3, 4))
    outcome = await first.ended()
    while chat.live("local", first.turn):
        await asyncio.sleep(0)
    again = await chat.say(repeated(1))
    assert again is not first
    assert again.events == [
        ReasoningDelta("hm"),
        ReasoningDelta(", well"),
        ContentDelta("hel", logprobs=[TokenLogprob("hel", -0.5)]),
        ContentDelta("lo", logprobs=[TokenLogprob("lo", -0.5)]),
        ToolCallDelta(0, "call_1", "look", '{"'),
        ToolCallDelta(0, arguments='at":1}'),
    ]
    assert len(again.events) == len(first.events)
    assert again.replies() == first.replies()
    told = await again.ended()
    assert (told.state, told.finish_reason, told.usage) == (
        outcome.state,
        outcome.finish_reason,
        outcome.usage,
    )
    assert (again.turn, again.conversation, again.created, again.model) == (
        first.turn,
        first.conversation,
        first.created,
        first.model,
    )
    assert len(engine.plays) == 1


async def test_a_failed_turn_is_tried_again_beside_it(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(repeated())
    (await engine.play()).fail(EngineUnavailable())
    assert (await first.ended()).state is TurnState.FAILED
    while chat.live("local", first.turn):
        await asyncio.sleep(0)
    again = await chat.say(repeated(1))
    play = await engine.play(1)
    assert play.window.messages == (user("hi"),)
    play.say("hello")
    play.finish()
    await again.ended()
    assert again.conversation == first.conversation
    assert await texts(store, again) == ["hi", "hello"]


async def test_nobody_waits_for_a_turn_that_was_lost(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(repeated())
    store.failures["finish"] += [StoreRefused(), StoreRefused()]
    (await engine.play()).finish()
    await first.ended()
    while chat.live("local", first.turn):
        await asyncio.sleep(0)
    assert (await store.turn("local", first.turn)).state is TurnState.RUNNING
    again = await chat.say(repeated(1))
    play = await engine.play(1)
    play.say("hello")
    play.finish()
    await again.ended()
    assert await texts(store, again) == ["hi", "hello"]
    assert (await store.turn("local", first.turn)).state is TurnState.INCOMPLETE


async def test_what_is_not_stored_is_joined_while_it_runs(chat: Chat, engine: PuppetEngine) -> None:
    first = await chat.say(repeated(0, store=False))
    other = await chat.say(repeated(0, store=False))
    assert other is not first, "a first request is its own"
    joined = {await chat.say(repeated(1, store=False)), await chat.say(repeated(1, store=False))}
    assert joined == {first, other}
    for number in range(2):
        (await engine.play(number)).finish()
    for live in (first, other):
        await live.ended()
        while chat.live("local", live.turn):
            await asyncio.sleep(0)
    late = await chat.say(repeated(1, store=False))
    assert late not in joined
    (await engine.play(2)).finish()
    await late.ended()


async def test_an_idempotency_key_joins_what_is_not_stored(chat: Chat, engine: PuppetEngine) -> None:
    keyed = Attempt(route="test", body=b"hi", idempotency_key="key")
    first, again = [await chat.say(request("hi", attempt=keyed, store=False)) for _ in range(2)]
    assert first is again
    (await engine.play()).finish()
    await first.ended()


async def test_a_reader_that_comes_back_keeps_the_turn(chat: Chat, engine: PuppetEngine) -> None:
    first = await chat.say(repeated())
    play = await engine.play()
    with first.reader():
        pass
    again = await chat.say(repeated(1))
    with again.reader():
        assert first.readers == 1
        play.finish()
        await again.ended()


class TestContinuing:
    async def cut(self, chat: Chat, store: WatchedStore, engine: PuppetEngine) -> str:
        """A reply that was cut off; its id."""
        live = await chat.say(request("count", conversation="room"))
        play = await engine.play()
        play.think("hm")
        play.say("1", " 2")
        while len(live.events) < 3:
            await asyncio.sleep(0)
        await chat.cancel("local", live.turn)
        assert live.conversation is not None
        [reply] = await store.items("local", live.conversation, limit=1)
        return reply.id

    async def test_a_reply_goes_on_and_is_told_whole(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        engine.capabilities |= {"prefill"}
        cut = await self.cut(chat, store, engine)
        live = await chat.say(request(parent=cut))
        play = await engine.play(1)
        assert [m.text for m in play.window.messages] == ["count", "1 2"]
        play.say(" 3")
        play.finish()
        assert await heard(live) == "1 2 3"
        assert [reply.reasoning for reply in live.replies()] == ["hm"]
        assert await texts(store, live) == ["count", "1 2 3"]

    async def test_an_engine_that_cannot_says_so(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        cut = await self.cut(chat, store, engine)
        outcome = await (await chat.say(request(parent=cut))).ended()
        assert isinstance(outcome.error, UnsupportedParameter)
        assert outcome.error.param == "parent"


async def test_what_hangs_below_a_parent_is_shown_with_all_above(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, catalog: OneModel
) -> None:
    live = await chat.say(request(Message("system", "Be brief."), "one", conversation="room"))
    play = await engine.play()
    play.think("hm")
    play.say("1")
    play.finish()
    await live.ended()
    more = await chat.say(request("two", conversation="room", parent="head"))
    play = await engine.play(1)
    assert play.window.messages[:2] == (Message("system", "Be brief."), user("one"))
    assert play.window.messages[2].content == assistant("1").content
    assert play.window.messages[3:] == (user("two"),)
    play.finish()
    await more.ended()
