"""Turns that run in the background: without a reader, because that was asked for."""

from __future__ import annotations

import asyncio

import pytest

from palaver.chat import Chat, ChatSettings
from palaver.core.errors import TooManyRequests
from palaver.core.turn import TurnState
from tests.chat.asking import request, texts
from tests.chat.puppets import PuppetEngine, WatchedStore

MOST = 3


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(grace=0.005, readerless_turns=MOST, readerless_max_tokens=2)


async def test_it_goes_on_to_its_end_whether_somebody_looks_or_not(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi", background=True, on_leave="grace"))
    play = await engine.play()
    play.say("one ", "two ", "three ", "four")
    with live.reader():
        await live.accepted()
    play.say(" five")
    play.finish()
    assert (await live.ended()).state is TurnState.COMPLETED
    assert await texts(store, live) == ["hi", "one two three four five"]


async def test_more_than_may_are_refused_and_those_that_run_go_on(chat: Chat, engine: PuppetEngine) -> None:
    asked = [chat.say(request(f"question {i}", background=True)) for i in range(MOST + 2)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, TooManyRequests)]
    running = [each for each in answers if not isinstance(each, BaseException)]
    assert (len(refused), len(running)) == (2, MOST)
    assert all(live.outcome is None for live in running)

    (await engine.play()).finish()
    await asyncio.wait([asyncio.create_task(live.ended()) for live in running], return_when="FIRST_COMPLETED")
    await chat.say(request("one more", background=True))


async def test_another_owner_has_places_of_their_own(chat: Chat) -> None:
    for i in range(MOST):
        await chat.say(request(f"question {i}", background=True))
    await chat.say(request("hers", background=True, owner="ann"))
    with pytest.raises(TooManyRequests, match="background"):
        await chat.say(request("one more", background=True))


async def test_readers_that_leave_others_stop_none_of_them(chat: Chat, engine: PuppetEngine) -> None:
    apart = await chat.say(request("apart", background=True))
    others = [await chat.say(request(f"question {i}", on_leave="finish")) for i in range(MOST + 1)]
    for live in others:
        with live.reader():
            await asyncio.sleep(0)
    assert (await others[0].ended()).state is TurnState.INCOMPLETE
    assert apart.outcome is None
