"""Turns for the head of a conversation while another answers there: they wait, in the order of their arrival."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from palaver.chat import Chat, ChatSettings, waiting
from palaver.core.errors import ConversationBusy, StoreRefused
from palaver.core.turn import TurnState
from palaver.deletion import Deletion
from palaver.live import LiveReply
from palaver.stores.base import Attempt
from tests.chat.asking import heard, request, texts
from tests.chat.puppets import OneModel, Play, PuppetEngine, WatchedStore

FIRST = "begin with this"


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(log_interval=0.005, max_waiting=3)


async def say(chat: Chat, text: str, **more: Any) -> LiveReply:
    """Say something at the head of the conversation `room`."""
    return await chat.say(request(text, **({"conversation": "room", "parent": "head"} | more)))


async def answer(engine: PuppetEngine, number: int, live: LiveReply) -> None:
    """Have the reply of this number be said, which is that of `live`."""
    play = await engine.play(number)
    assert play.window.turn == live.turn
    play.say(f"answer {number}")
    play.finish()
    assert (await live.ended()).state is TurnState.COMPLETED


def prompt(play: Play) -> list[str]:
    return [message.text for message in play.window.messages]


async def asked(store: WatchedStore, live: LiveReply) -> list[str]:
    """The path to a turn's question, as it is stored."""
    record = await store.turn("local", live.turn)
    assert record.conversation is not None
    assert record.question is not None
    items = await store.items("local", record.conversation, to=record.question, order="asc", limit=1000)
    return [item.message.text for item in items]


async def state(store: WatchedStore, live: LiveReply) -> TurnState:
    return (await store.turn("local", live.turn)).state


async def until_begun(store: WatchedStore, times: int) -> None:
    """Wait until turns have asked so many times whether they may begin."""
    while store.done.count("begin") < times:
        await asyncio.sleep(0.001)


async def three_wait(chat: Chat, store: WatchedStore, engine: PuppetEngine) -> list[LiveReply]:
    """A turn that runs, and three that wait and know it."""
    lives = [await say(chat, f"question {i}") for i in range(4)]
    await engine.play()
    await until_begun(store, 3)
    assert len(engine.plays) == 1
    return lives


class TestOrder:
    async def test_they_begin_as_they_came(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        for i, live in enumerate(lives):
            assert [await state(store, later) for later in lives[i + 1 :]] == [TurnState.QUEUED] * (3 - i)
            await answer(engine, i, live)
        for before, after in itertools.pairwise(engine.plays):
            assert prompt(after)[: len(prompt(before))] == prompt(before)
        expected = [text for i in range(4) for text in (f"question {i}", f"answer {i}")]
        assert await texts(store, lives[0]) == expected

    async def test_arrivals_in_one_moment_are_one_line(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await asyncio.gather(*(say(chat, f"question {i}") for i in range(4)))
        for i in range(4):
            play = await engine.play(i)
            play.say(f"answer {i}")
            play.finish()
        for live in lives:
            await live.ended()
        assert len(await texts(store, lives[0])) == 8
        assert [len(prompt(play)) for play in engine.plays] == [1, 3, 5, 7]

    async def test_other_conversations_wait_for_nobody(self, chat: Chat, engine: PuppetEngine) -> None:
        await say(chat, "one")
        await say(chat, "two")
        other = await say(chat, "else", conversation="hall")
        await engine.play_of(other.turn)

    async def test_a_reply_is_heard_from_its_beginning(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        reading = [asyncio.create_task(heard(live)) for live in lives]
        for i, live in enumerate(lives):
            await answer(engine, i, live)
        assert await asyncio.gather(*reading) == [f"answer {i}" for i in range(4)]

    async def test_a_repetition_waits_with_what_it_repeats(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first = await say(chat, "one")
        attempt = Attempt(route="chat", body=b"two")
        second = await say(chat, "two", attempt=attempt)
        again = await say(chat, "two", attempt=Attempt(route="chat", body=b"two", count=1))
        assert again is second
        await answer(engine, 0, first)
        await answer(engine, 1, second)
        assert len(await texts(store, first)) == 4


class TestEnds:
    async def test_a_turn_that_fails_lets_the_next_begin(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        await answer(engine, 0, await say(chat, FIRST))
        lives = [await say(chat, text) for text in ("breaks", "goes on")]
        (await engine.play(1)).fail(RuntimeError("out of order"))
        assert (await lives[0].ended()).state is TurnState.FAILED
        await answer(engine, 2, lives[1])
        assert prompt(engine.plays[2]) == [FIRST, "answer 0", "goes on"]
        assert await asked(store, lives[0]) == [FIRST, "answer 0", "breaks"]

    async def test_one_that_is_cancelled_while_it_waits_is_a_branch(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        await answer(engine, 0, await say(chat, FIRST))
        running, stopped, last = [await say(chat, text) for text in ("runs", "waits", "comes last")]
        await engine.play(1)
        await chat.cancel("local", stopped.turn)
        assert (await stopped.ended()).state is TurnState.CANCELLED
        assert await state(store, stopped) is TurnState.CANCELLED
        assert await asked(store, stopped) == [FIRST, "answer 0", "waits"]
        await answer(engine, 1, running)
        await answer(engine, 2, last)
        assert prompt(engine.plays[2]) == [FIRST, "answer 0", "runs", "answer 1", "comes last"]
        assert "waits" not in await texts(store, last)

    @pytest.mark.parametrize("moments", range(0, 12))
    async def test_a_cancellation_in_the_moment_it_may_begin(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, moments: int
    ) -> None:
        """Whichever comes first, the question is kept and the next one's time comes."""
        running, stopped, last = [await say(chat, text) for text in ("runs", "waits", "comes last")]
        play = await engine.play()
        await until_begun(store, 2)
        async with store.held_up("finish") as reached:
            play.finish()
            await reached.wait()
        for _ in range(moments):
            await asyncio.sleep(0)
        await chat.cancel("local", stopped.turn)
        assert (await running.ended()).state is TurnState.COMPLETED
        assert await state(store, stopped) is TurnState.CANCELLED
        assert (await asked(store, stopped))[-1] == "waits"
        while not (plays := [play for play in engine.plays if play.window.turn == last.turn]):
            await asyncio.sleep(0.001)
        plays[0].finish()
        assert (await last.ended()).state is TurnState.COMPLETED

    async def test_a_store_that_refuses_when_its_time_has_come(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = [await say(chat, text) for text in ("one", "two", "three")]
        await engine.play()
        await until_begun(store, 2)
        store.failures["begin"] = [StoreRefused()]
        (await engine.play()).finish()
        outcomes = [await lives[0].ended(), await lives[1].ended()]
        assert [outcome.state for outcome in outcomes] == [TurnState.COMPLETED, TurnState.FAILED]
        assert isinstance(outcomes[1].error, StoreRefused)
        (await engine.play(1)).finish()
        assert (await lives[2].ended()).state is TurnState.COMPLETED

    async def test_a_reader_that_leaves_while_it_waits_loses_nothing(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        first, second = await say(chat, "one"), await say(chat, "two", on_leave="finish")
        with second.reader():
            await asyncio.sleep(0)
        await answer(engine, 0, first)
        await answer(engine, 1, second)
        assert await texts(store, first) == ["one", "answer 0", "two", "answer 1"]


class TestLimits:
    async def test_no_more_may_wait_than_the_limit(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        for _ in range(2):
            with pytest.raises(ConversationBusy):
                await say(chat, "too many")
        await answer(engine, 0, lives[0])
        await engine.play(1)
        late = await say(chat, "room again")
        for i, live in enumerate((*lives[1:], late), 1):
            await answer(engine, i, live)
        assert "too many" not in await texts(store, late)

    async def test_a_turn_waits_for_so_long(
        self, store: WatchedStore, catalog: OneModel, engine: PuppetEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waiting, "LOOK_AGAIN", 0.005)
        chat = Chat(store, catalog, ChatSettings(max_wait=0.01))
        running, late = await say(chat, "one"), await say(chat, "two")
        outcome = await late.ended()
        assert outcome.state is TurnState.FAILED
        assert isinstance(outcome.error, ConversationBusy)
        assert await state(store, late) is TurnState.FAILED
        assert (await asked(store, late))[-1] == "two"
        await answer(engine, 0, running)
        assert await texts(store, running) == ["one", "answer 0"]
        await chat.close()

    async def test_what_is_refused_leaves_nothing(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        running = await say(chat, "one", concurrency="reject")
        await engine.play()
        with pytest.raises(ConversationBusy):
            await say(chat, "two", concurrency="reject")
        await answer(engine, 0, running)
        assert await texts(store, running) == ["one", "answer 0"]


class TestExactParents:
    async def test_an_edit_never_waits(self, chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
        first = await say(chat, FIRST)
        await answer(engine, 0, first)
        assert first.conversation is not None
        path = await store.items("local", first.conversation, order="asc", limit=10)
        running, waits = await say(chat, "runs"), await say(chat, "waits")
        await engine.play(1)
        edit = await chat.say(request("edited", parent=path[1].id))
        again = await chat.say(request(parent=path[0].id))
        resent = await chat.say(request(FIRST, path[1].message, "resent"))
        prompts = {(await engine.play(i)).window.turn: prompt(engine.plays[i]) for i in (2, 3, 4)}
        assert prompts == {
            edit.turn: [FIRST, "answer 0", "edited"],
            again.turn: [FIRST],
            resent.turn: [FIRST, "answer 0", "resent"],
        }
        assert await state(store, waits) is TurnState.QUEUED
        for play in engine.plays[1:]:
            play.finish()
        for live in (running, edit, again, resent):
            assert (await live.ended()).state is TurnState.COMPLETED
        (await engine.play(5)).finish()
        assert (await waits.ended()).state is TurnState.COMPLETED

    async def test_a_branch_waits_for_nobody(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        await answer(engine, 0, await say(chat, FIRST))
        await say(chat, "runs")
        beside = await say(chat, "beside", concurrency="branch")
        assert prompt(await engine.play_of(beside.turn)) == [FIRST, "answer 0", "beside"]
        assert await state(store, beside) is TurnState.RUNNING


class TestStops:
    async def test_closing_ends_what_runs_and_what_waits(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        engine.plays[0].say("half")
        await anext(lives[0].follow())
        await chat.close()
        assert len(engine.plays) == 1
        for i, live in enumerate(lives):
            assert (await live.ended()).state is TurnState.INCOMPLETE
            assert await state(store, live) is TurnState.INCOMPLETE
            assert (await asked(store, live))[-1] == f"question {i}"
        assert await store.recover("another lease") == []
        assert await texts(store, lives[0]) == ["question 0", "half"]

    async def test_closing_with_patience_lets_the_line_go_on(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        closing = asyncio.create_task(chat.close(patience=60))
        for i, live in enumerate(lives):
            await answer(engine, i, live)
        await closing
        assert len(await texts(store, lives[0])) == 8

    @pytest.mark.parametrize("all_of_them", [True, False])
    async def test_stopping_a_conversation_s_turns(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine, all_of_them: bool
    ) -> None:
        lives = await three_wait(chat, store, engine)
        other = await say(chat, "else", conversation="hall")
        foreign = await say(chat, "else", owner="other")
        await chat.stop_turns(
            "local", "Stopped.", conversation=None if all_of_them else lives[0].conversation
        )
        for live in lives:
            assert await state(store, live) is TurnState.CANCELLED
        assert (other.outcome is not None) is all_of_them
        assert foreign.outcome is None
        assert len([play for play in engine.plays if play.window.turn in {x.turn for x in lives}]) == 1
        again = await say(chat, "and on")
        assert await state(store, again) is TurnState.RUNNING

    async def test_deleting_a_conversation_ends_what_waits_there(
        self, chat: Chat, store: WatchedStore, engine: PuppetEngine
    ) -> None:
        lives = await three_wait(chat, store, engine)
        assert lives[0].conversation is not None
        reading = [asyncio.create_task(heard(live)) for live in lives]
        await asyncio.sleep(0)
        deleted = await Deletion(chat).conversation("local", lives[0].conversation)
        assert (deleted.conversations, deleted.messages, deleted.turns) == (1, 4, 4)
        assert await asyncio.gather(*reading) == [""] * 4
        assert await store.conversations("local", one_shots=True) == []
        anew = await say(chat, "anew")
        assert anew.conversation != lives[0].conversation
        assert prompt(await engine.play(1)) == ["anew"]
