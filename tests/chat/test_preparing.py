"""Epochs that are ready: for whom, and for how long. And work ahead that is stopped, because what it is about goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from palaver.chat import HEAD, Chat
from palaver.core.epoch import Epoch
from palaver.core.parameters import Parameters
from palaver.core.path import Span
from palaver.core.window import Window
from palaver.engines.base import Model, Options
from palaver.engines.scripted import ScriptedEngine
from palaver.running import preparing
from palaver.running.preparing import Prepared
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.asking import request, user
from tests.chat.puppets import OneModel

EPOCH = Epoch(id="epoch_1", model="m", reason="overflow", span=Span(4), began=1)


def other(id: str, model: str = "m") -> Epoch:
    return msgspec.structs.replace(EPOCH, id=id, model=model)


def test_an_epoch_is_for_the_turns_below_one_turn_and_for_its_model() -> None:
    prepared = Prepared()
    prepared.put("turn_1", EPOCH)
    assert prepared.get("turn_1", "m") == prepared.get("turn_1", "m") == EPOCH
    assert prepared.get("turn_1", "another") is None
    assert prepared.get("turn_2", "m") is None
    assert prepared.get(None, "m") is None
    assert prepared.get("", "m") is None


def test_the_last_one_that_was_prepared_counts() -> None:
    prepared = Prepared()
    prepared.put("turn_1", EPOCH)
    prepared.put("turn_1", other("epoch_2", "another"))
    assert prepared.get("turn_1", "m") is None
    assert prepared.get("turn_1", "another") == other("epoch_2", "another")


def test_what_was_prepared_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "MOST", 3)
    prepared = Prepared()
    for number in range(5):
        prepared.put(f"turn_{number}", other(f"epoch_{number}"))
    found = [prepared.get(f"turn_{number}", "m") for number in range(5)]
    assert found == [None, None, *(other(f"epoch_{number}") for number in (2, 3, 4))]


class SlowEngine(ScriptedEngine):
    """Settles until it is stopped, and takes a moment to stop: as long as a batch."""

    def __init__(self) -> None:
        super().__init__(context=200)
        self.capabilities |= {"settle"}
        self.settling: set[str] = set()
        self.may_stop = asyncio.Event()

    async def settle(self, window: Window, options: Options) -> bool:
        name = f"{window.owner} {window.messages[0].text}"
        self.settling.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            while not self.may_stop.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.may_stop.wait()
            self.settling.remove(name)
        return True


@pytest.fixture
def engine() -> SlowEngine:
    return SlowEngine()


@pytest.fixture
async def chat(tmp_path: Path, engine: SlowEngine) -> AsyncIterator[Chat]:
    store = SqlStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)))
    yield chat
    engine.may_stop.set()
    await chat.close()
    await store.close()


async def settling(chat: Chat, engine: SlowEngine, *conversations: str, owner: str = "local") -> list[str]:
    """Have conversations of these names settled; their ids."""
    ids = []
    for name in conversations:
        asked = {"parameters": Parameters(max_tokens=12), "conversation": name, "parent": HEAD}
        live = await chat.say(request(user(name), owner=owner, **asked))
        await live.ended()
        ids.append(live.conversation or "")
    async with asyncio.timeout(10):
        while not engine.settling >= {f"{owner} {name}" for name in conversations}:
            await asyncio.sleep(0.001)
    return ids


async def test_what_is_done_for_a_conversation_that_goes_is_stopped_and_has_ended_then(
    chat: Chat, engine: SlowEngine
) -> None:
    first, _ = await settling(chat, engine, "one", "two")
    stopping = asyncio.create_task(chat._settling.stop("local", {first}))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not stopping.done(), "it may still compute"
    engine.may_stop.set()
    await stopping
    assert engine.settling == {"local two"}


async def test_or_for_an_owner_and_nobody_else(chat: Chat, engine: SlowEngine) -> None:
    await settling(chat, engine, "one", "two")
    (theirs,) = await settling(chat, engine, "one", owner="bob")
    engine.may_stop.set()
    await chat._settling.stop("local", {theirs})
    assert engine.settling == {"local one", "local two", "bob one"}
    await chat._settling.stop("local")
    assert engine.settling == {"bob one"}
    await chat._settling.stop("eve")
    assert engine.settling == {"bob one"}


async def test_also_what_a_turn_has_stopped_and_has_not_ended_yet(chat: Chat, engine: SlowEngine) -> None:
    (id,) = await settling(chat, engine, "one")
    chat._settling._cancel(id)
    stopping = asyncio.create_task(chat._settling.stop("local", {id}))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not stopping.done()
    engine.may_stop.set()
    await stopping
    assert engine.settling == set()


async def test_closing_waits_for_it_too(chat: Chat, engine: SlowEngine) -> None:
    (id,) = await settling(chat, engine, "one")
    chat._settling._cancel(id)
    closing = asyncio.create_task(chat._settling.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    engine.may_stop.set()
    await closing
    assert engine.settling == set()
