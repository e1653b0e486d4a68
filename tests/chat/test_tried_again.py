"""Requests that come again while the conversation has moved: their place is that of what they asked, or the end."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat, ChatSettings, waiting
from palaver.core.errors import ConversationBusy, EngineBroke, EngineUnavailable, StoreUnavailable
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.turn import TurnState
from palaver.deletion import Deletion
from palaver.live import LiveReply
from palaver.stores.base import Attempt
from tests.chat.asking import assistant, heard, request, system, texts, user
from tests.chat.puppets import Play, PuppetEngine, WatchedStore, out_of_order
from tests.chat.test_queueing import answer, prompt, say, state


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(log_interval=0.005, max_wait=5.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_AGAIN", 0.01)


def attempt(body: str, count: int = 0) -> Attempt:
    return Attempt(route="test", body=body.encode(), count=count)


async def until_gone(chat: Chat, live: LiveReply) -> None:
    while chat.live("local", live.turn):
        await asyncio.sleep(0)


async def broken(chat: Chat, play: Play, live: LiveReply, said: str = "") -> None:
    """The engine breaks off, after it has said this."""
    if said:
        play.say(said)
    play.fail(EngineBroke("It broke.") if said else EngineUnavailable("It is away."))
    await live.ended()
    await until_gone(chat, live)


class TestHeads:
    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest) -> ChatSettings:
        short = "too_long" in request.node.name
        return ChatSettings(log_interval=0.005, max_wait=0.05 if short else 5.0)

    async def test_what_waited_too_long_waits_again(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        await answer(engine, 0, await say(chat, "zero"))
        first = await say(chat, "A")
        play = await engine.play(1)
        second = await say(chat, "B", attempt=attempt("B"))
        assert isinstance((await second.ended()).error, ConversationBusy)
        await until_gone(chat, second)
        chat._queues._max_wait = 60.0  # so that this one does not, however slow the machine is
        again = await say(chat, "B", attempt=attempt("B", 1))
        assert await state(store, again) is TurnState.QUEUED
        play.say("to A")
        play.finish()
        await first.ended()
        await answer(engine, 2, again)
        assert await texts(store, again) == ["zero", "answer 0", "A", "to A", "B", "answer 2"]

    async def test_what_failed_is_refused_where_another_answers_now(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        await answer(engine, 0, await say(chat, "zero"))
        first = await say(chat, "A", attempt=attempt("A"))
        second = await say(chat, "B")
        await broken(chat, await engine.play(1), first)
        await engine.play(2)
        with pytest.raises(ConversationBusy):
            await say(chat, "A", attempt=attempt("A", 1), concurrency="reject")
        again = await say(chat, "A", attempt=attempt("A", 1))
        await answer(engine, 2, second)
        await answer(engine, 3, again)
        path = ["zero", "answer 0", "B", "answer 2", "A", "answer 3"]
        assert await texts(store, again) == path

    async def test_what_failed_and_nobody_followed_has_its_question_answered(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "A", attempt=attempt("A"))
        await broken(chat, await engine.play(), first)
        again = await say(chat, "A", attempt=attempt("A", 1))
        await answer(engine, 1, again)
        records = [await store.turn("local", live.turn) for live in (first, again)]
        assert records[0].question == records[1].question
        assert await texts(store, again) == ["A", "answer 1"]

    async def test_what_broke_off_and_was_gone_on_from_keeps_its_place(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "A", attempt=attempt("A"))
        second = await say(chat, "B")
        await broken(chat, await engine.play(), first, "half of A")
        play = await engine.play(1)
        assert prompt(play) == ["A", "half of A", "B"]
        again = await say(chat, "A", attempt=attempt("A", 1))
        assert prompt(await engine.play(2)) == ["A"]
        await answer(engine, 1, second)
        await answer(engine, 2, again)
        assert await texts(store, again) == ["A", "half of A", "B", "answer 1"]

    async def test_what_broke_off_last_is_answered_whole(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "A", attempt=attempt("A"))
        await broken(chat, await engine.play(), first, "half of A")
        await answer(engine, 1, await say(chat, "A", attempt=attempt("A", 1)))
        assert await texts(store, first) == ["A", "answer 1"]


async def test_a_late_repetition_does_not_take_the_head(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(request("one", attempt=attempt("one")))
    await broken(chat, await engine.play(), first, "half")
    more = await chat.say(request("one", assistant("half"), "go on"))
    await answer(engine, 1, more)
    late = await chat.say(request("one", attempt=attempt("one", 1)))
    await answer(engine, 2, late)
    assert await texts(store, more) == ["one", "half", "go on", "answer 1"]
    assert late.conversation == first.conversation


async def test_a_reply_that_the_store_did_not_take_is_told_once_it_has(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(request("hi", attempt=attempt("hi")))
    play = await engine.play()
    store.failures["finish"] += out_of_order(1)
    play.say("hello")
    play.finish()
    assert (await first.ended()).error is not None
    again = await chat.say(request("hi", attempt=attempt("hi", 1)))
    assert await heard(again) == "hello"
    assert (await again.ended()).error is None
    assert len(engine.plays) == 1


async def test_while_the_store_does_not_take_it_the_error_is_told_again(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await chat.say(request("hi", attempt=attempt("hi")))
    store.failures["finish"] += out_of_order(1, 1, 1)
    (await engine.play()).finish()
    await first.ended()
    assert await chat.say(request("hi", attempt=attempt("hi", 1))) is first


async def test_a_store_that_stumbles_fails_nobody_who_waits(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await say(chat, "A")
    await engine.play()
    store.failures["begin"] += [StoreUnavailable() for _ in range(5)]
    others = [await say(chat, f"B{i}") for i in range(3)]
    await answer(engine, 0, first)
    for number, live in enumerate(others, 1):
        await answer(engine, number, live)
    assert not store.failures["begin"]


async def test_a_reply_that_came_at_the_second_try_is_deleted_with_all_that_was_asked(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    history = [user("one"), assistant("their own"), user("two")]
    first = await chat.say(request(*history, conversation="room", attempt=attempt("x")))
    await broken(chat, await engine.play(), first)
    again = await chat.say(request(*history, conversation="room", attempt=attempt("x", 1)))
    await answer(engine, 1, again)
    await Deletion(chat).turn("local", again.turn)
    assert again.conversation is not None
    assert await store.tree("local", again.conversation) == []


class TestInstructions:
    async def test_what_the_system_says_later_stays_where_it_was_said(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "", messages=[system("You are S."), user("weather?")])
        (await engine.play()).call(0, ToolCall(FunctionCall("weather"), "c1"))
        await answer(engine, 0, first)
        result, reminder = Message("tool", "4 C", tool_call_id="c1"), system("Be brief.")
        second = await say(chat, "", messages=[result, reminder])
        play = await engine.play(1)
        assert prompt(play) == ["You are S.", "weather?", "answer 0", "4 C", "Be brief."]
        await answer(engine, 1, second)
        third = await say(chat, "more")
        assert prompt(await engine.play(2))[:5] == prompt(play)
        await answer(engine, 2, third)

    async def test_so_it_does_where_it_had_to_wait(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "", messages=[system("You are S."), user("zero")])
        await engine.play()
        second = await say(
            chat, "", messages=[system("You are T."), assistant("note"), system("now"), user("one")]
        )
        await answer(engine, 0, first)
        assert prompt(await engine.play(1)) == ["You are T.", "zero", "answer 0", "note", "now", "one"]
        await answer(engine, 1, second)
