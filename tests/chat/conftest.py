"""A chat over a real store in a file, with an engine that does as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver.chat import Chat, ChatSettings
from palaver.core.parameters import Sampling
from palaver.engines.base import Model
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore
from tests.chat.settled import App, WarmEngine


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    store = WatchedStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    yield store
    await store.close()


@pytest.fixture
async def engine() -> PuppetEngine:
    return PuppetEngine()


@pytest.fixture
async def model(engine: PuppetEngine) -> Model:
    return Model(name="puppet", served_as="puppet-7b", engine=engine, defaults=Sampling(temperature=0.5))


@pytest.fixture
async def catalog(model: Model) -> OneModel:
    return OneModel(model)


@pytest.fixture
def settings() -> ChatSettings:
    """A module that wants others has a fixture of the same name."""
    return ChatSettings(log_interval=0.005)


@pytest.fixture
async def chat(store: WatchedStore, catalog: OneModel, settings: ChatSettings) -> AsyncIterator[Chat]:
    chat = Chat(store, catalog, settings)
    yield chat
    store.failures["finish"].clear()
    await chat.close()


@pytest.fixture
async def app(store: WatchedStore) -> AsyncIterator[App]:
    warm = WarmEngine()
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=warm)))
    yield App(chat, warm)
    await chat.close()
