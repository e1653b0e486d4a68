"""Turns of several replies: siblings below one question."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat
from palaver.core.errors import EngineBroke, EngineUnavailable, UnsupportedParameter
from palaver.core.message import FunctionCall, ToolCall
from palaver.core.parameters import Parameters
from palaver.core.turn import ContentDelta, TokenLogprob, TurnState, Usage
from palaver.live import LiveReply
from palaver.stores.base import Attempt
from tests.chat.asking import assistant, request, texts, user
from tests.chat.puppets import PuppetEngine, WatchedStore

THREE = Parameters(n=3, logprobs=0)
CALL = ToolCall(FunctionCall("look", '{"at": 1}'), "call_1")


async def three(chat: Chat, engine: PuppetEngine, number: int = 0, count: int = 0) -> LiveReply:
    """A turn of three replies, as they come: mixed."""
    attempt = Attempt(route="test", body=b"which?", count=count)
    live = await chat.say(request("which?", parameters=THREE, attempt=attempt))
    play = await engine.play(number)
    play.say("o", choice=0, logprob=-0.5)
    play.think("hm", choice=2)
    play.say("two", choice=1)
    play.say("ne", choice=0, logprob=-0.25)
    play.call(0, CALL, choice=2)
    play.finish("stop", Usage(1, 9), others=["length", "tool_calls"], warnings=["The prompt was cut."])
    await live.ended()
    while chat.live("local", live.turn):
        await asyncio.sleep(0)
    return live


async def test_they_are_stored_as_siblings(chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
    live = await three(chat, engine)
    assert engine.plays[0].options.parameters.n == 3
    outcome = await live.ended()
    assert (outcome.finish_reason, outcome.others) == ("stop", ["length", "tool_calls"])
    assert outcome.warnings == ["The prompt was cut."]
    one, two, three_ = live.replies()
    assert (one.content, one.finish_reason, two.content, two.finish_reason) == (
        "one",
        "stop",
        "two",
        "length",
    )
    assert (three_.reasoning, three_.tool_calls, three_.finish_reason) == ("hm", [CALL], "tool_calls")
    record = await store.turn("local", live.turn)
    assert (record.usage, record.warnings) == (Usage(1, 9), ["The prompt was cut."])
    assert record.reply is not None
    assert (record.reply.message, record.logprobs) == (one.message, one.logprobs)
    assert [other.item.message for other in record.others if other.item] == [two.message, three_.message]
    question, *replies = await store.tree("local", str(live.conversation))
    assert {reply.parent for reply in replies} == {question.id}
    assert await texts(store, live) == ["which?", "one"]


async def test_the_head_moves_to_the_one_that_is_gone_on_from(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await three(chat, engine)
    more = await chat.say(request("which?", live.replies()[2].message, user("more")))
    assert more.conversation == live.conversation
    assert await texts(store, live) == ["which?", "", "more"]
    play = await engine.play(1)
    assert play.window.messages[1].tool_calls == [CALL]
    play.say("sure")
    play.finish()
    await more.ended()
    back = await chat.say(request("which?", assistant("one"), user("and?")))
    assert back.conversation == live.conversation
    assert await texts(store, live) == ["which?", "one", "and?"]


async def test_a_request_that_is_repeated_hears_all_of_them_again(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    first = await three(chat, engine)
    attempt = Attempt(route="test", body=b"which?", count=1)
    again = await chat.say(request("which?", parameters=THREE, attempt=attempt))
    assert (again.turn, again.replies()) == (first.turn, first.replies())
    assert (again.outcome, first.outcome) == (await first.ended(), again.outcome)
    assert again.events[:2] == [
        ContentDelta("o", 0, [TokenLogprob("o", -0.5)]),
        ContentDelta("ne", 0, [TokenLogprob("ne", -0.25)]),
    ]
    assert len(again.events) == len(first.events)
    assert len(engine.plays) == 1


async def test_one_that_is_cancelled_keeps_all_that_came(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("which?", parameters=THREE))
    play = await engine.play()
    play.say("hal", choice=1)
    play.say("hel", choice=0)
    while len(live.events) < 2:
        await asyncio.sleep(0)
    await chat.cancel("local", live.turn)
    assert [reply.content for reply in live.replies()] == ["hel", "hal", ""]
    outcome = await live.ended()
    assert (outcome.finish_reason, outcome.others, outcome.error) == ("stop", ["stop", "stop"], None)
    record = await store.turn("local", live.turn)
    assert record.state is TurnState.CANCELLED
    assert [other.item is None for other in record.others] == [False, True]
    assert [i.message.text for i in await store.tree("local", str(live.conversation))] == [
        "which?",
        "hel",
        "hal",
    ]
    again = await chat.say(request("which?", assistant("hal"), user("go on")))
    assert again.conversation == live.conversation


async def test_one_that_breaks_off_is_tried_again_beside_what_came(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    attempt = Attempt(route="test", body=b"which?")
    live = await chat.say(request("which?", parameters=THREE, attempt=attempt))
    play = await engine.play()
    play.say("tw", choice=1)
    play.fail(EngineBroke("It broke."))
    await live.ended()
    while chat.live("local", live.turn):
        await asyncio.sleep(0)
    record = await store.turn("local", live.turn)
    assert (record.state, record.reply) == (TurnState.INCOMPLETE, None)
    assert await texts(store, live) == ["which?", "tw"]
    again = await three(chat, engine, number=1, count=1)
    assert again.conversation == live.conversation
    tree = await store.tree("local", str(live.conversation))
    assert [item.message.text for item in tree] == ["which?", "tw", "one", "two", ""]
    assert {item.depth for item in tree[1:]} == {1}
    assert await texts(store, again) == ["which?", "one"]


async def test_another_process_finds_what_was_logged_of_each(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("which?", parameters=THREE))
    play = await engine.play()
    play.say("o", choice=0)
    play.call(0, CALL, choice=2)
    while len(store.logged.get(live.turn, [])) < 3:
        await asyncio.sleep(0.001)
    assert await store.recover("another lease") == [live.turn]
    record = await store.turn("local", live.turn)
    assert record.reply is not None
    assert record.reply.message == assistant("o")
    nothing, called = record.others
    assert nothing.item is None
    assert called.item is not None
    assert called.item.message.tool_calls == [CALL]
    play.finish()
    await live.ended()


async def test_a_reply_that_was_cut_off_goes_on_in_one_way(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    engine.capabilities |= {"prefill"}
    live = await chat.say(request("count", conversation="room"))
    play = await engine.play()
    play.think("hm")
    play.say("1 ")
    while len(live.events) < 2:
        await asyncio.sleep(0)
    await chat.cancel("local", live.turn)
    [cut] = await store.items("local", str(live.conversation), limit=1)
    refused = await chat.say(request(parent=cut.id, parameters=Parameters(n=2)))
    error = (await refused.ended()).error
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "n"
    assert len(engine.plays) == 1
    more = await chat.say(request(parent=cut.id))
    play = await engine.play(1)
    play.say("2")
    play.finish()
    await more.ended()
    assert [(reply.reasoning, reply.content) for reply in more.replies()] == [("hm", "1 2")]


async def test_what_fails_before_it_goes_on_leaves_no_second_copy_of_the_beginning(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    engine.capabilities |= {"prefill"}
    live = await chat.say(request("count", conversation="room"))
    (await engine.play()).say("1 ")
    while not live.events:
        await asyncio.sleep(0)
    await chat.cancel("local", live.turn)
    [cut] = await store.items("local", str(live.conversation), limit=1)
    more = await chat.say(request(parent=cut.id))
    play = await engine.play(1)
    await more.accepted()
    play.fail(EngineUnavailable("It is away."))
    assert (await more.ended()).state is TurnState.FAILED
    assert (await store.turn("local", more.turn)).reply is None
    [head] = await store.items("local", str(live.conversation), limit=1)
    assert head.id == cut.id


@pytest.mark.parametrize("others", [[], ["stop"], ["stop", "stop", "stop"]])
async def test_an_engine_that_tells_more_or_fewer_ends_than_there_are(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, others: list[str]
) -> None:
    live = await chat.say(request("which?", parameters=THREE))
    play = await engine.play()
    for choice in range(3):
        play.say("x", choice=choice)
    play.finish("stop", others=others)
    await live.ended()
    record = await store.turn("local", live.turn)
    assert record.state is TurnState.COMPLETED
    assert [other.item is None for other in record.others] == [False, False, True][: max(2, len(others))]
