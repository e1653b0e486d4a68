"""A real embedding model finds what words alone miss: `make minilm` fetches it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.minilm import WHEEL, folder, write_model
from palaver.chat import Chat, ChatSettings
from palaver.config import Config
from palaver.core.searching import read_query
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine
from palaver.stores.base import Scope
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from palaver.wiring.embeddings import embedding_name
from palaver.wiring.models import catalog_of
from tests.stores.talking import Talker

SAID = (
    "We built a kennel and put it under the apple tree.",
    "The train to Ghent leaves at nine.",
    "I cannot find my keys anywhere.",
    "Grandmother has a new car, an electric one.",
    "Pancakes need an hour of rest before they are fried.",
)
SEARCHED = "a place to sleep for the dog"
PUBLISHED = [0.0677, 0.0635, 0.0487, 0.0793, 0.0374, 0.0027]
"""How the vector of "This is an example sentence" begins, by the model's own documentation."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = folder()
    if source is None:
        reason = f"{WHEEL} is not installed: run `make minilm`"
        if os.environ.get("CI") and not os.environ.get("NO_MINILM"):
            pytest.fail(reason)
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("minilm") / "MiniLM.gguf"
    write_model(path, source)
    return path


@pytest.fixture
async def chat(model: Path, tmp_path: Path) -> AsyncIterator[Chat]:
    """A chat as the setting `embedding_model` makes it, which names the model's file."""
    config = Config(data_dir=str(tmp_path), model="scripted", embedding_model=str(model))
    catalog, _ = catalog_of(config)
    store = SqlStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    chat = Chat(store, catalog, ChatSettings(embedding_model=embedding_name(config)))
    chat.between.embeddings.quiet.seconds = 0.0
    yield chat
    await chat.close()
    await store.close()


async def test_its_vectors_are_those_that_are_published(chat: Chat) -> None:
    (found,) = [each for each in await chat.catalog.models() if each.kind == "embedding"]
    assert isinstance(found.engine, LlamaEngine)
    window = Window(owner="local", conversation=None, turn="t", messages=())
    texts = ["This is an example sentence", *SAID, SEARCHED]
    embedded = await found.engine.embed(texts, None, window, Options(model=found.served_as))
    first, *vectors, searched = embedded.vectors
    assert first[: len(PUBLISHED)] == pytest.approx(PUBLISHED, abs=0.002)
    near = [sum(a * b for a, b in zip(searched, vector, strict=True)) for vector in vectors]
    assert near.index(max(near)) == 0


async def test_it_finds_what_words_alone_miss(chat: Chat) -> None:
    for number, text in enumerate(SAID):
        await Talker(chat.store).talk(text, "I see.", conversation=f"c{number}")
    query = read_query(SEARCHED)
    assert (await chat.store.search("local", query, Scope())).found == []
    chat.between.begin()
    async with asyncio.timeout(60):
        while chat.between.embeddings._working is not None:
            await asyncio.sleep(0.01)
    found = (await chat.between.finding.find("local", query, Scope())).found
    item = (await chat.store.items("local", found[0].conversation, to=found[0].message, limit=1))[0]
    assert item.message.text == SAID[0]
