"""Titles of conversations that were single requests first, and of palavers that close."""

from __future__ import annotations

import asyncio

from palaver.core.message import Message
from tests.chat.asking import assistant, request, user
from tests.chat.test_titling import Home, home, settings

__all__ = ["home", "settings"]


async def test_what_is_continued_later_gets_a_title(home: Home) -> None:
    """A person takes longer to go on than palaver to look for titles."""
    await home.ask(conversation=None, parent=None)
    await asyncio.sleep(0.05)
    await home.done()
    assert home.titles == [], "a single request may be a chore"
    history: list[Message] = [user("How do I bake bread?"), assistant("Slowly."), user("And rye?")]
    live = await home.chat.say(request(*history))
    play = await home.engine.play_of(live.turn)
    play.say("Longer.")
    play.finish()
    await live.ended()
    (await home.asked_for_title()).say("Bread")
    home.titles[0].finish()
    await home.done()
    assert live.conversation is not None
    found = await home.chat.store.conversation("local", live.conversation)
    assert (found.title, found.titled_by) == ("Bread", "model")


async def test_closing_leaves_nothing_that_makes_titles(home: Home) -> None:
    await home.ask()
    play = await home.asked_for_title()
    before = asyncio.all_tasks()
    await home.chat.close()
    assert play.closed.is_set()
    assert asyncio.all_tasks() <= before, "nothing new has begun"


async def test_another_model_may_answer_later_and_make_the_title(home: Home) -> None:
    home.engine.capabilities -= {"titles"}
    await home.ask()
    await asyncio.sleep(0.05)
    await home.done()
    home.engine.capabilities |= {"titles"}
    await home.ask("And rye?")
    (await home.asked_for_title()).say("Bread")
    home.titles[0].finish()
    await home.done()
    assert (await home.conversation()).titled_by == "model"
