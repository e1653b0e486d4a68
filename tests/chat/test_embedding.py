"""Vectors of messages, made while nothing else is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver.chat import HEAD, Chat, ChatSettings
from palaver.chat.between import RECALL_PATIENCE
from palaver.chat.embedding import TRIES, Embeddings
from palaver.core.errors import EngineUnavailable
from palaver.core.message import Message
from palaver.core.searching import read_query
from palaver.deletion import Deletion
from palaver.engines.base import Model
from palaver.finding import PATIENCE
from palaver.finding.meaning import Vectors
from palaver.stores.base import Scope
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.asking import request, user
from tests.chat.puppets import OneModel, WatchedStore
from tests.finding.embedders import WordEngine
from tests.stores.sqlite_files import ask
from tests.stores.talking import Talker

SOON = 20.0
NAN = float("nan")
SETTINGS = ChatSettings(embedding_model="puppet")


class Home:
    """A chat whose model makes vectors and replies."""

    def __init__(self, path: Path, store: WatchedStore, engine: WordEngine, settings: ChatSettings) -> None:
        self.path = path
        self.store = store
        self.engine = engine
        model = Model(name="puppet", served_as="words", engine=engine)
        self.chat = Chat(store, OneModel(model), settings)
        self.work.quiet.seconds = 0.0
        self.work.pause = 0.0

    @property
    def work(self) -> Embeddings:
        return self.chat.between.embeddings

    async def say(self, text: str, name: str | None = "c", **more: object) -> str | None:
        """Ask a conversation's head and be answered; its id."""
        asked = {"conversation": name, "parent": HEAD if name else None, **more}
        live = await self.chat.say(request(user(text), **asked))
        play = await self.engine.play_of(live.turn)
        play.say(f"re {text}")
        play.finish()
        await live.ended()
        return live.conversation

    async def done(self) -> None:
        """Wait until it does nothing more."""
        async with asyncio.timeout(SOON):
            while self.chat._running or self.work._working is not None:
                await asyncio.sleep(0.001)

    @property
    def kept(self) -> int:
        count: int = ask(self.path, "SELECT count(*) FROM message_vectors")
        return count

    @property
    def asked(self) -> list[str]:
        return [text for texts in self.engine.texts for text in texts]


@pytest.fixture
def settings() -> ChatSettings:
    return SETTINGS


@pytest.fixture
async def home(tmp_path: Path, settings: ChatSettings) -> AsyncIterator[Home]:
    path = tmp_path / "palaver.db"
    store = WatchedStore(await SqliteDatabase.open(path))
    home = Home(path, store, WordEngine(), settings)
    yield home
    await home.chat.close()
    await store.close()


async def test_messages_get_vectors_when_nothing_runs(home: Home) -> None:
    await home.say("one")
    await home.done()
    assert home.engine.texts == [["re one", "one"]]
    assert home.kept == 2
    window, options = home.engine.asked[0]
    assert (window.owner, window.conversation, window.messages, options.idle) == ("local", None, (), True)
    await home.say("two")
    await home.done()
    assert home.engine.texts[1:] == [["re two", "two"]]
    assert home.kept == 4


async def test_what_a_former_process_left_is_made_up_for_the_latest_first(home: Home) -> None:
    await Talker(home.store).talk(*(f"message {i}" for i in range(80)), conversation="old")
    await Talker(home.store, "another").talk("a", "b", conversation="old")
    home.chat.between.begin()
    await home.done()
    assert home.kept == 82
    assert sorted(map(len, home.engine.texts), reverse=True)[:2] == [32, 30]
    assert home.asked.index("message 79") < home.asked.index("message 0")
    assert {window.owner for window, _ in home.engine.asked} == {"local", "another"}
    for texts, (window, _) in zip(home.engine.texts, home.engine.asked, strict=True):
        assert ("a" in texts) == (window.owner == "another")


async def test_a_turn_that_comes_stops_it_and_it_goes_on_later(home: Home) -> None:
    home.engine.held_up.clear()
    await home.say("one")
    await asyncio.wait_for(home.engine.came.wait(), SOON)
    live = await home.chat.say(request("two", conversation="d"))
    home.engine.held_up.set()
    await asyncio.sleep(0.02)
    assert (len(home.engine.texts), home.kept) == (1, 0), "not while a turn runs"
    play = await home.engine.play_of(live.turn)
    play.finish()
    await live.ended()
    await home.done()
    assert home.kept == 3


async def test_what_is_not_kept_for_long_gets_none(home: Home) -> None:
    await home.say("A chore.", None)
    await home.say("Not kept.", None, store=False)
    await home.say("Goes by itself.", "t", temporary=True)
    await home.done()
    assert home.engine.texts == []


async def test_a_task_that_is_continued_is_none_any_more(home: Home) -> None:
    first = await home.chat.say(request("A chore."))
    play = await home.engine.play_of(first.turn)
    play.say("Done.")
    play.finish()
    await first.ended()
    await home.say("something else")
    await home.done()
    history = [user("A chore."), Message("assistant", "Done."), user("And more?")]
    live = await home.chat.say(request(*history))
    assert live.conversation == first.conversation
    (await home.engine.play_of(live.turn)).finish()
    await live.ended()
    await home.done()
    assert home.asked.count("A chore.") == 1


async def test_a_turn_waits_less_long_for_meaning_than_a_search(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def near(*_: object, patience: float) -> None:
        waited.append(patience)

    monkeypatch.setattr(Vectors, "near", near)
    await home.say("one")
    await home.done()
    query = read_query("one")
    for finding in (home.chat.between.finding, home.chat.windows._recalling._finding):
        assert (await finding.find("local", query, Scope())).found
    assert waited == [PATIENCE, RECALL_PATIENCE]
    assert RECALL_PATIENCE < PATIENCE


async def test_without_a_model_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    store = WatchedStore(await SqliteDatabase.open(path))
    home = Home(path, store, WordEngine(), ChatSettings())
    home.chat.between.begin()
    await home.say("one")
    await home.done()
    assert (home.kept, home.engine.texts) == (0, [])
    await home.chat.close()
    await store.close()


async def test_what_fails_is_tried_again_but_not_for_ever(home: Home) -> None:
    home.engine.failures += [EngineUnavailable("no")] * (TRIES - 1)
    await home.say("one")
    await home.done()
    assert home.kept == 2
    home.engine.texts.clear()
    home.engine.failures += [EngineUnavailable("no")] * TRIES
    await home.say("two")
    await home.done()
    assert (len(home.engine.texts), home.kept) == (TRIES, 2)
    await home.say("three")
    await home.done()
    assert home.kept == 6, "the next turn has it tried again"


async def test_wrong_vectors_are_not_asked_for_for_ever(home: Home) -> None:
    home.engine.spoil = lambda vectors: [[NAN] * 16 for _ in vectors]
    for number in range(TRIES + 3):
        await home.say(f"message {number}")
        await home.done()
    assert (len(home.engine.texts), home.kept) == (TRIES, 0)


async def test_one_that_has_no_vector_stops_no_other(home: Home) -> None:
    home.engine.spoil = lambda vectors: [[0.0] * 16, *vectors[1:]]
    await home.say("one")
    await home.done()
    assert home.kept == 1
    home.engine.spoil = lambda vectors: vectors
    await home.say("two")
    await home.done()
    assert home.kept == 3
    assert home.asked.count("re one") == 1, "it is not tried again"


async def test_another_size_has_all_of_them_made_anew(home: Home) -> None:
    await home.say("one")
    await home.done()
    home.engine.dimensions = 8
    await home.say("two")
    await home.done()
    assert home.kept == 4
    assert ask(home.path, "SELECT count(*) FROM message_vectors WHERE length(vector) = 8") == 4
    assert ask(home.path, "SELECT count(*) FROM embedders") == 1


@pytest.mark.parametrize("what", ["message", "conversation", "owner"])
async def test_what_is_deleted_meanwhile_has_none(home: Home, what: str) -> None:
    id = await home.say("kept", "d")
    await home.done()
    home.engine.held_up.clear()
    home.engine.came.clear()
    id = await home.say("one")
    assert id is not None
    await asyncio.wait_for(home.engine.came.wait(), SOON)
    home.work.quiet.seconds = 3600.0
    deletion = Deletion(home.chat)
    if what == "message":
        last = (await home.store.items("local", id, limit=1, order="desc"))[0].id
        await deletion.message("local", id, last)
    elif what == "conversation":
        await deletion.conversation("local", id)
    else:
        await deletion.owner("local")
    assert home.work._making is None
    assert home.kept == (0 if what == "owner" else 2)
    home.work.quiet.seconds = 0.0


async def test_closing_waits_for_nothing(home: Home) -> None:
    home.engine.held_up.clear()
    await home.say("one")
    await asyncio.wait_for(home.engine.came.wait(), SOON)
    await home.chat.close()
    assert (home.work._making, home.work._working) == (None, None)
    assert home.kept == 0
