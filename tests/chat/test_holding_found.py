"""What is on record of a reply that tells nothing before it is logged, while it has said nothing."""

from __future__ import annotations

import asyncio

from palaver.chat import Chat
from tests.chat.asking import heard, request
from tests.chat.puppets import PuppetEngine, WatchedStore


async def test_what_it_shows_is_noted_before_it_says_anything(
    chat: Chat, engine: PuppetEngine, store: WatchedStore
) -> None:
    """A long prompt may be computed for minutes: whoever is killed then must know what it was."""
    live = await chat.say(request("hi", logs_first=True))
    play = await engine.play()
    async with asyncio.timeout(20):
        while (await store.turn("local", live.turn)).receipt is None:
            await asyncio.sleep(0.001)
    assert live.events == []
    play.say("Well", ", yes.")
    play.finish()
    assert await heard(live) == "Well, yes."
