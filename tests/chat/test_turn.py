"""The life of a turn: admit, generate, finish, tell, in this order."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat
from palaver.core.errors import ConversationNotFound, ModelNotFound, StoreFull
from palaver.core.message import FunctionCall, Message, TextPart, ToolCall
from palaver.core.parameters import Parameters, Tool
from palaver.core.turn import ContentDelta, TurnState, Usage
from palaver.engines.base import Model
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.asking import assistant, heard, request, system, texts, user
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore


async def test_the_question_is_stored_before_anybody_hears_of_the_turn(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    async with store.held_up("admit") as reached:
        saying = asyncio.create_task(chat.say(request("hi")))
        await reached.wait()
        assert not saying.done()
        assert engine.plays == []
    live = await saying
    assert (await store.turn("local", live.turn)).state is TurnState.RUNNING
    assert await texts(store, live) == ["hi"]


async def test_readers_hear_the_end_only_when_it_is_stored(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    reading = asyncio.create_task(heard(live))
    async with store.held_up("finish") as reached:
        play.say("hel", "lo")
        play.finish()
        await reached.wait()
        assert [reply.content for reply in live.replies()] == ["hello"]
        assert live.outcome is None
        assert not reading.done()
        assert (await store.turn("local", live.turn)).state is TurnState.RUNNING
    assert await reading == "hello"
    assert store.done[-1] == "finish"
    assert (await live.ended()).state is TurnState.COMPLETED
    assert await texts(store, live) == ["hi", "hello"]


async def test_what_is_on_record(store: WatchedStore, catalog: OneModel, engine: PuppetEngine) -> None:
    chat = Chat(store, catalog, clock=lambda: 1_700_000_000.5)
    asked = request(
        system("Be brief."), "hi", parameters=Parameters(max_tokens=9), metadata={"a": "b"}, source="curl/8"
    )
    live = await chat.say(asked)
    play = await engine.play()
    play.think("Hm.")
    play.say("hel", "lo")
    play.finish("length", Usage(3, 4, 1, 2))
    outcome = await live.ended()
    assert (outcome.finish_reason, outcome.usage, outcome.error) == ("length", Usage(3, 4, 1, 2), None)
    record = await store.turn("local", live.turn)
    assert (record.state, record.finish_reason, record.usage) == (
        TurnState.COMPLETED,
        "length",
        outcome.usage,
    )
    assert (record.door, record.requested_model, record.model) == ("test", "puppet", "puppet")
    assert (record.parameters, record.metadata) == (Parameters(max_tokens=9, temperature=0.5), {"a": "b"})
    assert (record.first_token_at, record.deltas) == (1_700_000_000_500, [-3, 3, 2])
    assert record.reply is not None
    assert record.reply.message == Message("assistant", "hello", reasoning="Hm.")
    assert (live.model, live.created, live.conversation) == ("puppet", 1_700_000_000, record.conversation)
    assert (await store.conversation("local", str(live.conversation))).source == "curl/8"
    await chat.close()


async def test_calls_of_tools_are_heard_and_stored(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    first, second = (ToolCall(FunctionCall("f", f'{{"a":{i}}}'), f"call_{i}") for i in range(2))
    play.call(0, first)
    play.call(1, second)
    play.finish("tool_calls")
    assert (await live.ended()).finish_reason == "tool_calls"
    record = await store.turn("local", live.turn)
    assert record.reply is not None
    assert record.reply.message.tool_calls == [first, second]


async def test_the_engine_gets_what_the_client_sent(chat: Chat, engine: PuppetEngine) -> None:
    sent = [
        system("one"),
        assistant("Welcome."),
        Message("developer", "two"),
        user("hi"),
        assistant("of mine"),
        system("in the middle"),
        Message("user", [TextPart("more")]),
    ]
    asked = request(
        *sent,
        parameters=Parameters(top_p=0.5, temperature=0.0, reasoning=False),
        tools=[Tool(name="now")],
        extra={"raw": True},
    )
    live = await chat.say(asked)
    play = await engine.play()
    assert play.window.messages == tuple(sent)
    assert (play.window.owner, play.window.conversation, play.window.turn) == (
        "local",
        live.conversation,
        live.turn,
    )
    assert play.options.model == "puppet-7b"
    assert play.options.parameters == Parameters(top_p=0.5, temperature=0.0, reasoning=False)
    assert play.window.tools == (Tool(name="now"),)
    assert play.options.extra == {"raw": True}


async def test_known_messages_are_seen_as_stored_but_for_the_reasoning_that_was_sent(
    chat: Chat, engine: PuppetEngine
) -> None:
    live = await chat.say(request(system("1 o'clock"), "hi"))
    play = await engine.play()
    play.think("Hm.")
    play.say("hello")
    play.finish()
    await live.ended()
    more = Message("user", [TextPart("more")])
    again = await chat.say(
        request(Message("user", [TextPart("hi")]), system("mid"), assistant("hello"), more)
    )
    assert again.conversation != live.conversation  # the system text stands where it did not stand
    again = await chat.say(
        request(
            system("2 o'clock"),
            Message("user", [TextPart("hi")]),
            Message("assistant", [TextPart("hello")], reasoning_content="Mine."),
            more,
        )
    )
    assert again.conversation == live.conversation
    play = await engine.play(2)
    reply = Message("assistant", "hello", reasoning_content="Mine.")
    assert play.window.messages == (system("2 o'clock"), user("hi"), reply, more)


async def test_a_window_is_what_was_sent_where_the_beginning_was_dropped(
    chat: Chat, engine: PuppetEngine
) -> None:
    history = [user("one")]
    for number in range(3):
        live = await chat.say(request(*history))
        play = await engine.play(number)
        play.say(f"reply {number}")
        play.finish()
        await live.ended()
        history += [assistant(f"reply {number}"), user(f"more {number}")]
    cut = await chat.say(request(system("now"), *history[4:]))
    assert cut.conversation == live.conversation
    assert (await engine.play(3)).window.messages == (system("now"), *history[4:])


async def test_text_is_logged_in_batches_while_it_comes(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    words = [f"{i} " for i in range(20)]
    for word in words:
        play.say(word)
        while ContentDelta(word) not in store.logged.get(live.turn, []):
            await asyncio.sleep(0.001)
    assert store.logged[live.turn] == [ContentDelta(word) for word in words]
    play.say("not logged yet")
    play.finish()
    await live.ended()
    assert (await texts(store, live))[-1] == "".join(words) + "not logged yet"


async def test_another_process_finds_what_a_dead_one_logged(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    play.say("hel", "lo")
    while len(store.logged.get(live.turn, [])) < 2:
        await asyncio.sleep(0.001)
    assert await store.recover("another lease") == [live.turn]
    assert await texts(store, live) == ["hi", "hello"]
    play.finish()
    outcome = await live.ended()
    assert outcome.state is TurnState.INCOMPLETE
    assert outcome.error is not None
    assert (await store.turn("local", live.turn)).error_code == "interrupted"


async def test_each_chat_has_a_lease_of_its_own(store: WatchedStore, catalog: OneModel) -> None:
    assert Chat(store, catalog).lease != Chat(store, catalog).lease


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request("hi", model="gpt"), ModelNotFound),
        (request("hi", conversation="conv_01arz3ndektsv4rrffq69g5fav"), ConversationNotFound),
    ],
)
async def test_a_request_that_cannot_be_served_leaves_nothing(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, asked: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await chat.say(asked)  # type: ignore[arg-type]
    assert await store.conversations("local", one_shots=True) == []
    assert engine.plays == []


async def test_a_store_that_cannot_admit_says_so(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    store.failures["admit"] = [StoreFull()]
    with pytest.raises(StoreFull):
        await chat.say(request("hi"))
    assert engine.plays == []
    live = await chat.say(request("hi"))
    assert (await engine.play()).window.turn == live.turn


async def test_a_live_reply_is_its_owners(chat: Chat, engine: PuppetEngine) -> None:
    live = await chat.say(request("hi"))
    assert chat.live("local", live.turn) is live
    assert chat.live("other", live.turn) is None
    assert chat.live("local", "turn_01arz3ndektsv4rrffq69g5fav") is None
    (await engine.play()).finish()
    await live.ended()
    await asyncio.sleep(0)
    assert chat.live("local", live.turn) is None


async def test_an_empty_reply_is_a_reply(chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
    live = await chat.say(request("hi"))
    (await engine.play()).finish()
    assert await heard(live) == ""
    assert (await store.turn("local", live.turn)).state is TurnState.COMPLETED
    assert await texts(store, live) == ["hi"]


async def test_the_model_is_looked_up_anew_each_time(
    chat: Chat, catalog: OneModel, engine: PuppetEngine
) -> None:
    first = await chat.say(request("hi"))
    catalog.model = Model(name="other", served_as="o", engine=engine)
    with pytest.raises(ModelNotFound):
        await chat.say(request("hi"))
    second = await chat.say(request("hi", model="other"))
    assert (first.model, second.model) == ("puppet", "other")


async def test_a_store_of_its_own_is_left_open(chat: Chat, store: WatchedStore) -> None:
    await chat.close()
    assert await store.conversations("local") == []
    assert isinstance(store._database, SqliteDatabase)
