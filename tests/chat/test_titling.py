"""Titles that a model makes, while nothing else is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from palaver.chat import HEAD, Chat, ChatSettings
from palaver.chat.titling import TRIES
from palaver.core.errors import EngineBroke, EngineRefused, EngineUnavailable, UnsupportedParameter
from palaver.core.message import ImagePart, ImageUrl, Message
from palaver.core.turn import Finish
from palaver.deletion import Deletion
from palaver.engines.base import Model
from palaver.live import LiveReply
from palaver.stores.base import Conversation
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.asking import request, user
from tests.chat.puppets import OneModel, Play, PuppetEngine, WatchedStore

SOON = 20.0


class Home:
    """A chat whose model is worth asking for titles, and apps that talk there."""

    def __init__(self, chat: Chat, engine: PuppetEngine, store: WatchedStore) -> None:
        self.chat = chat
        self.engine = engine
        self.store = store

    async def ask(self, text: str = "How do I bake bread?", name: str = "c", **more: object) -> LiveReply:
        """Ask a conversation's head and be answered."""
        asked = {"conversation": name, "parent": HEAD, **more}
        live = await self.chat.say(request(user(text), **asked))
        play = await self.engine.play_of(live.turn)
        play.say("Slowly.")
        play.finish()
        assert (await live.ended()).error is None
        return live

    async def asked_for_title(self, number: int = 0) -> Play:
        """What was asked for the title of this number."""
        async with asyncio.timeout(SOON):
            while len(self.titles) <= number:
                await asyncio.sleep(0.001)
        return self.titles[number]

    @property
    def titles(self) -> list[Play]:
        return [play for play in self.engine.plays if play.options.idle]

    async def conversation(self, name: str = "c") -> Conversation:
        return await self.chat.store.conversation("local", name)

    async def done(self) -> None:
        """Wait until nothing is left to be named."""
        async with asyncio.timeout(SOON):
            while self.chat.between.titling._working is not None:
                await asyncio.sleep(0.001)


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(titles="model")


@pytest.fixture
async def home(tmp_path: Path, settings: ChatSettings) -> AsyncIterator[Home]:
    engine = PuppetEngine()
    engine.capabilities |= {"titles"}
    store = WatchedStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    chat = Chat(store, OneModel(Model(name="puppet", served_as="puppet-7b", engine=engine)), settings)
    chat.between.titling.quiet.seconds = 0.0
    yield Home(chat, engine, store)
    await chat.close()
    await store.close()


async def test_a_conversation_gets_a_title_when_nothing_runs(home: Home) -> None:
    live = await home.ask()
    play = await home.asked_for_title()
    assert (await home.conversation()).title == "How do I bake bread?"
    play.say('"Baking ', 'bread."')
    play.finish()
    await home.done()
    found = await home.conversation()
    assert (found.title, found.titled_by) == ("Baking bread", "model")
    window, options = play.window, play.options
    assert (window.conversation, window.kept, window.epoch, window.owner) == (None, False, "", "local")
    assert "How do I bake bread?" in window.messages[-1].text
    assert [message.role for message in window.messages] == ["system", "user"]
    assert (options.model, options.parameters.max_tokens, options.parameters.temperature) == (
        "puppet-7b",
        24,
        0.0,
    )
    assert window.turn != live.turn
    await home.ask("And rye?")
    await home.done()
    assert len(home.titles) == 1, "once is enough"


async def test_nothing_of_it_is_kept_but_the_title(home: Home) -> None:
    live = await home.ask()
    (await home.asked_for_title()).say("Bread")
    home.titles[0].finish()
    await home.done()
    assert live.conversation is not None
    assert len(await home.store.tree("local", live.conversation)) == 2
    assert [turn.id for turn in await home.store.turns("local", door="test")] == [live.turn]
    assert len(await home.store.epochs("local", live.conversation)) == 1
    assert home.store.done == ["admit", "finish"]


async def test_a_turn_that_comes_stops_it_and_it_is_made_later(home: Home) -> None:
    await home.ask()
    play = await home.asked_for_title()
    play.say("Bak")
    live = await home.chat.say(request("Hello.", conversation="other"))
    await play.closed.wait()
    await asyncio.sleep(0.02)
    assert len(home.titles) == 1, "not while a turn runs"
    other = await home.engine.play_of(live.turn)
    other.say("Hi.")
    other.finish()
    await live.ended()
    for number in (1, 2):
        title = await home.asked_for_title(number)
        title.say(f"Title {number}")
        title.finish()
    await home.done()
    assert {(await home.conversation(name)).titled_by for name in ("c", "other")} == {"model"}


async def test_one_that_is_always_stopped_is_given_up(home: Home) -> None:
    await home.ask()
    for number in range(TRIES):
        play = await home.asked_for_title(number)
        await home.ask("Hello.", "d", store=False, conversation=None, parent=None)
        await play.closed.wait()
    await home.done()
    await home.ask("And rye?")
    await home.done()
    assert len(home.titles) == TRIES
    assert (await home.conversation()).titled_by == "words"


async def test_titles_are_made_one_at_a_time(home: Home) -> None:
    for name in ("a", "b", "c"):
        await home.ask(f"Of {name}", name)
    for number in range(3):
        play = await home.asked_for_title(number)
        await asyncio.sleep(0.01)
        assert len(home.titles) == number + 1
        play.say(f"Title {number}")
        play.finish()
    await home.done()
    assert {(await home.conversation(name)).titled_by for name in ("a", "b", "c")} == {"model"}


async def test_what_is_not_to_have_one(home: Home) -> None:
    await home.ask("A chore.", "", conversation=None, parent=None)
    await home.ask("Not kept.", "", conversation=None, parent=None, store=False)
    await home.ask("Goes by itself.", "t", temporary=True)
    await home.ask("A task.", "b", is_task=True, parent=None)
    picture = Message("user", [ImagePart(ImageUrl("data:image/png;base64,aGk="))])
    live = await home.chat.say(request(picture, conversation="p"))
    (await home.engine.play_of(live.turn)).finish()
    await live.ended()
    failed = await home.chat.say(request("Hm", conversation="f"))
    (await home.engine.play_of(failed.turn)).fail(EngineUnavailable("no"))
    await failed.ended()
    await home.done()
    assert home.titles == []


@pytest.mark.parametrize("words", [frozenset(), frozenset({"titles", "paid"})])
async def test_a_model_that_is_not_to_be_asked_is_not(home: Home, words: frozenset[str]) -> None:
    home.engine.capabilities = (home.engine.capabilities - {"titles"}) | words
    await home.ask()
    await home.done()
    assert home.titles == []


async def test_words_alone_are_the_default(tmp_path: Path) -> None:
    assert ChatSettings().titles == "words"


class TestNamed:
    @pytest.fixture
    def settings(self) -> ChatSettings:
        return ChatSettings(titles="model", title_model="puppet")

    async def test_a_model_that_the_settings_name_may_cost_something(self, home: Home) -> None:
        home.engine.capabilities |= {"paid"}
        await home.ask()
        (await home.asked_for_title()).say("Bread")
        home.titles[0].finish()
        await home.done()
        assert (await home.conversation()).title == "Bread"

    async def test_but_never_makes_titles_where_it_cannot(self, home: Home) -> None:
        home.engine.capabilities -= {"titles"}
        await home.ask()
        await home.done()
        assert home.titles == []


class TestNobodys:
    @pytest.fixture
    def settings(self) -> ChatSettings:
        return ChatSettings(titles="model", title_model="nobody")

    async def test_a_model_that_is_not_there_makes_none(self, home: Home) -> None:
        await home.ask()
        await home.done()
        assert (await home.conversation()).titled_by == "words"


async def test_a_model_that_fails_leaves_the_words_and_is_asked_after_the_next_turn(home: Home) -> None:
    errors = [EngineBroke("no"), RuntimeError("unforeseen"), EngineRefused("busy", status=429)]
    for number, error in enumerate(errors):
        await home.ask(f"How do I bake bread {number}?")
        (await home.asked_for_title(number)).fail(error)
        await home.done()
        assert (await home.conversation()).title == "How do I bake bread 0?"
    await home.ask("And rye?")
    await home.done()
    assert len(home.titles) == len(errors) == TRIES


@pytest.mark.parametrize("text", ["", "...", "A weekend in the", "<think>Hm, a title", "\ufffd\ufffd"])
async def test_what_is_no_title_leaves_the_words(home: Home, text: str) -> None:
    await home.ask()
    play = await home.asked_for_title()
    if text:
        play.say(text)
    play.finish("length" if text.startswith("A") else "stop")
    await home.done()
    assert (await home.conversation()).titled_by == "words"


@pytest.mark.parametrize(
    "error", [EngineRefused("no system role"), UnsupportedParameter("reasoning", param="reasoning")]
)
async def test_a_model_that_takes_less_is_asked_for_less(home: Home, error: Exception) -> None:
    home.engine.capabilities |= {"reasoning"}
    await home.ask()
    first = await home.asked_for_title()
    assert first.options.parameters.reasoning is False
    first.fail(error)
    second = await home.asked_for_title(1)
    assert [message.role for message in second.window.messages] == ["user"]
    assert (second.options.parameters.reasoning, second.options.parameters.temperature) == (None, None)
    second.say("Bread")
    second.finish()
    await home.done()
    assert (await home.conversation()).title == "Bread"


async def test_a_long_question_is_not_read_to_its_end(home: Home) -> None:
    await home.ask("bread " * 1000)
    play = await home.asked_for_title()
    assert len(play.window.messages[-1].text) < 2100
    play.events.put_nowait(Finish("stop"))


async def test_deleting_the_question_takes_the_title_along_and_stops_what_makes_it(home: Home) -> None:
    live = await home.ask()
    play = await home.asked_for_title()
    play.say("Bread")
    assert live.conversation is not None
    question = (await home.store.items("local", live.conversation, order="asc"))[0]
    await Deletion(home.chat).message("local", live.conversation, question.id)
    assert play.closed.is_set()
    await home.done()
    assert (await home.conversation()).title is None
    await home.ask("What is the sea?")
    (await home.asked_for_title(1)).say("The sea")
    home.titles[1].finish()
    await home.done()
    assert (await home.conversation()).title == "The sea"
    question = (await home.store.items("local", live.conversation))[1]
    await Deletion(home.chat).message("local", live.conversation, question.id)
    assert (await home.conversation()).title is None


async def test_what_waits_and_is_deleted_is_not_asked_for(home: Home) -> None:
    home.chat.between.titling.quiet.seconds = 3600.0
    for name in ("a", "b"):
        await home.ask(f"Of {name}", name)
    await Deletion(home.chat).conversation("local", (await home.conversation("a")).id)
    assert set(home.chat.between.titling._waiting) == {(await home.conversation("b")).id}
    await home.chat.stop_turns("eve", "no")
    assert len(home.chat.between.titling._waiting) == 1
    await home.chat.stop_turns("local", "no")
    assert not home.chat.between.titling._waiting


async def test_nothing_is_asked_for_once_it_is_closed(home: Home) -> None:
    await home.ask()
    play = await home.asked_for_title()
    live = await home.chat.say(request("Hello.", conversation="other"))
    await home.chat.close()
    assert play.closed.is_set()
    await live.ended()
    assert home.chat.between.titling._working is None
    assert len(home.titles) == 1


async def test_a_title_waits_until_it_is_quiet(home: Home) -> None:
    home.chat.between.titling.quiet.seconds = 3600.0
    await home.ask()
    await asyncio.sleep(0.05)
    assert home.titles == []
    assert home.chat.between.titling._working is not None
    assert msgspec.structs.asdict(home.chat.settings)["titles"] == "model"
