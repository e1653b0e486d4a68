"""200 facts, then 20 new windows with summaries: what is found stays the same, and what is deleted is on no road."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from hashlib import blake2b

import msgspec
import pytest

from palaver.chat import HEAD, Chat, ChatSettings
from palaver.core.message import Message
from palaver.core.searching import read_query
from palaver.core.summaries import INSTRUCTION
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, Finish
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.deletion import Deletion
from palaver.engines.base import Model, Options
from palaver.stores.base import Scope
from tests.chat.asking import assistant, request, system, user
from tests.chat.puppets import OneModel, WatchedStore
from tests.chat.summing import Home, SummingEngine

CODE = re.compile(r"The code of the \w+ is \d+\.")
FACTS = 200
EPOCHS = 20
TOLD = [system("Be brief.")]
WORDS = ("anchor", "basket", "candle", "dagger", "engine", "feather", "garden", "hammer", "island", "jacket")
ALWAYS = WindowSettings(summaries=True, recall="always")


class EchoEngine(SummingEngine):
    """Sums up by repeating the first fact that it reads: what it may read may stand in what it says."""

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        if not window.messages[0].text.startswith(INSTRUCTION):
            async for event in super().generate(window, options):
                yield event
            return
        self.summed.append(window)
        yield Accepted()
        codes = CODE.findall(window.messages[1].text)
        yield ContentDelta(f"{codes[0]} And so on." if codes else "They talked.")
        yield Finish("stop")


def key(number: int) -> str:
    """A word that stands in one fact only."""
    return f"{WORDS[number % 10]}{WORDS[number // 10 % 10]}{number}"


def planted() -> list[Message]:
    messages: list[Message] = []
    for number in range(FACTS):
        messages += [user(f"The code of the {key(number)} is {number * 37}."), assistant("I see, thank you.")]
    return messages


@pytest.fixture
async def home(store: WatchedStore) -> AsyncIterator[Home]:
    engine = EchoEngine(1200)
    settings = ChatSettings(window=WindowSettings(summaries=True))
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), settings)
    home = Home(chat, engine)
    home.id = (await store.create_conversation("local", planted(), name="c")).id
    yield home
    await chat.close()


async def found(home: Home) -> list[str]:
    """For each fact the message that is found first."""
    messages = []
    for number in range(FACTS):
        query, scope = read_query(f"What is the code of the {key(number)}?"), Scope(conversation=home.id)
        messages.append((await home.chat.between.finding.find("local", query, scope)).found[0].message)
    return messages


async def transcript(home: Home, length: int) -> bytes:
    head = (await home.chat.store.conversation("local", home.id)).head or ""
    path = await home.chat.store.path("local", head)
    return blake2b(msgspec.json.encode(path[:length])).digest()


async def until_epochs(home: Home, count: int) -> None:
    epochs = 0
    while epochs < count:
        live = await home.ask(40, instructions=TOLD)
        assert home.engine.prompts[-1].messages[0] == TOLD[0]
        epochs += bool(live.receipt and live.receipt.began)


async def recalled(home: Home, number: int) -> str:
    """What a question about a fact has quoted."""
    question = f"Which code had {key(number)}?"
    asked = request(question, conversation="c", parent=HEAD, window=ALWAYS, instructions=TOLD)
    live = await home.chat.say(asked)
    await live.ended()
    await home.until_settled()
    return home.engine.prompts[-1].messages[-1].text


async def test_nothing_is_lost_and_what_is_deleted_is(home: Home) -> None:
    length = 2 * FACTS
    before, said = await found(home), await transcript(home, length)
    items = {item.id: item.message.text for item in await home.chat.store.tree("local", home.id, limit=1000)}
    assert [items[message] for message in before] == [each.text for each in planted()[::2]]

    await until_epochs(home, EPOCHS)
    assert len(await home.summaries()) >= EPOCHS - 1
    assert await found(home) == before
    assert await transcript(home, length) == said
    assert str(7 * 37) in await recalled(home, 7)

    gone = key(0)
    assert any(gone in summary.text for summary in await home.summaries())
    await Deletion(home.chat).message("local", home.id, before[0])
    home.engine.prompts.clear()
    home.engine.summed.clear()
    await until_epochs(home, 3)
    assert home.engine.summed
    windows = [*home.engine.prompts, *home.engine.summed]
    assert all(gone not in message.text for window in windows for message in window.messages)
    assert all(gone not in summary.text for summary in await home.summaries())
    query = read_query(gone)
    assert (await home.chat.store.search("local", query, Scope())).found == []
    assert (await home.chat.store.latest("local", query, Scope())).found == []
    assert await home.chat.store.excerpts("local", query, before[:1]) == {}
    quotes, _, asked = (await recalled(home, 0)).rpartition("Which code had")
    assert gone in asked
    assert gone not in quotes
    left = await home.chat.store.tree("local", home.id, limit=1000)
    assert all(gone not in item.message.text or item.message.text.startswith("Which") for item in left)
