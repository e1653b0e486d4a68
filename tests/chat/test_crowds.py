"""Many turns at once, from question to stored reply."""

from __future__ import annotations

import asyncio

from palaver.chat import Chat, ChatRequest, ChatSettings
from palaver.core.message import Message
from palaver.core.turn import TurnState
from palaver.engines.base import Model
from palaver.engines.scripted import ScriptedEngine
from tests.chat.asking import assistant, heard, request, user
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore

EXAMPLES = [user("Is water wet?"), assistant("Yes.")]


async def converse(chat: Chat, words: list[str]) -> list[Message]:
    """An app that resends its history; what it holds in the end."""
    history = list(EXAMPLES)
    for word in words:
        history.append(user(word))
        live = await chat.say(
            ChatRequest(owner="local", model="scripted", messages=list(history), door="test")
        )
        history.append(assistant(await heard(live)))
    return history


async def test_fifty_strangers_with_the_same_first_words(store: WatchedStore) -> None:
    """The engine gives equal histories equal replies, and nobody says who they are."""
    model = Model(name="scripted", served_as="scripted", engine=ScriptedEngine())
    chat = Chat(store, OneModel(model), ChatSettings())
    histories = await asyncio.gather(
        *(converse(chat, ["hi", "what?", f"I am {i}.", "thanks"]) for i in range(50))
    )
    found = await store.conversations("local", one_shots=True, limit=100)
    assert len(found) == 50
    paths = [await store.items("local", c.id, order="asc", limit=100) for c in found]
    stored = sorted([item.message.text for item in path] for path in paths)
    assert stored == sorted([m.text for m in history] for history in histories)
    await chat.close()


async def test_fifty_turns_run_at_once(chat: Chat, store: WatchedStore, engine: PuppetEngine) -> None:
    lives = await asyncio.gather(*(chat.say(request(f"{i}")) for i in range(50)))
    await engine.play(49)
    plays = {play.window.turn: play for play in engine.plays}
    reading = [asyncio.create_task(heard(live)) for live in lives]
    for word in range(20):
        for i, live in enumerate(lives):
            plays[live.turn].say(f"{i}:{word} ")
        await asyncio.sleep(0)
    for live in reversed(lives):
        plays[live.turn].finish()
    for i, text in enumerate(await asyncio.gather(*reading)):
        assert text == "".join(f"{i}:{word} " for word in range(20))
    for live in lives:
        assert (await store.turn("local", live.turn)).state is TurnState.COMPLETED
    assert {play.closed.is_set() for play in engine.plays} == {True}


async def test_a_thousand_readers_of_one_reply_hear_the_end_after_it_is_stored(
    chat: Chat, store: WatchedStore, engine: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    slow_may_go_on = asyncio.Event()

    async def slow() -> str:
        with live.reader():
            text = ""
            async for news in live.follow():
                await slow_may_go_on.wait()
                text += "".join(getattr(event, "text", "") for event in news)
            return text

    behind = asyncio.create_task(slow())
    reading = [asyncio.create_task(heard(live)) for _ in range(1000)]
    await asyncio.sleep(0)
    play.say(*(f"{i} " for i in range(20)))
    play.finish()
    texts = await asyncio.gather(*reading)
    assert store.done[-1] == "finish"
    assert set(texts) == {"".join(f"{i} " for i in range(20))}
    assert not behind.done()
    slow_may_go_on.set()
    assert await behind == texts[0]
    assert live.readers == 0
