"""Titles that a model makes, as lists show them; with engines as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.chat import ChatSettings
from palaver.config import load
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.engines.base import SAMPLING
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.wiring import assembly
from tests.engines.fake_upstream import FakeUpstream, fake_upstream
from tests.engines.llama.models import random_model
from tests.engines.llama.templates import PLAIN
from tests.server.conftest import Door, HandEngine, opened, until

ON = ChatSettings(titles="model")


@asynccontextmanager
async def named(folder: Path, **more: Any) -> AsyncIterator[Door]:
    """A door where conversations get titles at once."""
    async with opened(folder, chat_settings=ON, **more) as door:
        door.chat.between.titling.quiet.seconds = 0.0
        yield door


async def ask(door: Door, model: str, text: str = "Hello there", **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "conversation": "c", **more}
    response, reply = await door.post("/v1/chat/completions", body)
    assert response.status == 200, reply
    return reply


async def conversation(door: Door) -> Any:
    return (await door.get("/v1/conversations/c"))[1]


async def until_named(door: Door) -> None:
    async with asyncio.timeout(30):
        await until(lambda: door.chat.between.titling._working is None)


async def test_lists_show_the_title_and_whose_it_is(tmp_path: Path) -> None:
    hand = HandEngine(SAMPLING | {"titles"}, context=4096)
    async with named(tmp_path, hand=hand) as door:
        hand.put(Accepted(), ContentDelta("Slowly."), Finish("stop"))
        reply = await ask(door, "test/hand", "How do I bake bread?")
        found = await conversation(door)
        assert (found["title"], found["titled_by"]) == ("How do I bake bread?", "words")
        hand.put(Accepted(), ContentDelta("Baking bread"), Finish("stop"))
        await until_named(door)
        (listed,) = (await door.get("/v1/conversations"))[1]["data"]
        assert (listed["title"], listed["titled_by"]) == ("Baking bread", "model")
        _, stored = await door.get("/v1/chat/completions")
        assert [each["id"] for each in stored["data"]] == [reply["id"]]


async def test_a_user_says_better(tmp_path: Path) -> None:
    hand = HandEngine(SAMPLING | {"titles"}, context=4096)
    async with named(tmp_path, hand=hand) as door:
        hand.put(Accepted(), ContentDelta("Slowly."), Finish("stop"))
        await ask(door, "test/hand", "How do I bake bread?")
        await until(lambda: len(hand.windows) == 2)
        id = (await conversation(door))["id"]
        await door.chat.store.update_conversation("local", id, title="Mine")
        hand.put(Accepted(), ContentDelta("Baking bread"), Finish("stop"))
        await until_named(door)
        found = await conversation(door)
        assert (found["title"], found["titled_by"]) == ("Mine", "user")


async def test_an_upstream_on_this_machine_gets_one_request_more(tmp_path: Path) -> None:
    async with upstream_named(tmp_path, "http://127.0.0.1") as (door, server):
        await ask(door, "house/wordy")
        await until_named(door)
        assert len(server.requests) == 2
        asked = server.requests[1]
        assert (asked["max_tokens"], asked["temperature"]) == (24, 0.0)
        assert "Hello there" in asked["messages"][-1]["content"]
        assert "X-Session-ID" not in server.headers, "it is of no conversation"
        assert (await conversation(door))["titled_by"] == "model"
        await ask(door, "house/wordy", "Well?", parent="head")
        await until_named(door)
        assert len(server.requests) == 3


async def test_one_that_may_cost_something_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.engines.upstream.address._is_here", lambda url: False)
    async with upstream_named(tmp_path, "http://127.0.0.1") as (door, server):
        await ask(door, "house/wordy")
        await until_named(door)
        assert len(server.requests) == 1
        assert (await conversation(door))["titled_by"] == "words"


@asynccontextmanager
async def upstream_named(folder: Path, host: str) -> AsyncIterator[tuple[Door, FakeUpstream]]:
    async with fake_upstream() as server:
        assert server.url.startswith(host)
        engine = UpstreamEngine("house", server.url, kind="vllm")
        async with named(folder, upstreams=[engine]) as door:
            yield door, server


@pytest.mark.parametrize("model", ["pocket", "random"])
async def test_with_models_on_this_machine(tmp_path: Path, model: str) -> None:
    """The bundled one is never asked; another may say what it likes."""
    path = str(random_model(tmp_path / "random.gguf", PLAIN)) if model == "random" else model
    config = load({"data_dir": str(tmp_path / "data"), "model": path, "threads": "1"}, environment={})
    async with assembly.running(config, private=True) as running:
        chat = running.chat
        assert chat.settings.titles == "model"
        chat.between.titling.quiet.seconds = 0.0
        engine = (await chat.catalog.find(running.owner.model)).engine
        assert ("titles" in engine.capabilities) is (model == "random")
        headers = {"authorization": f"Bearer {running.owner.key}"}
        body = {
            "model": running.owner.model,
            "messages": [{"role": "user", "content": "Hello there"}],
            "conversation": "c",
            "max_tokens": 4,
        }
        async with aiohttp.ClientSession(running.owner.address, headers=headers) as http:
            for _ in range(2):
                async with http.post("/v1/chat/completions", json=body) as response:
                    assert response.status == 200
                async with asyncio.timeout(60):
                    await until(lambda: chat.between.titling._working is None)
        found = await chat.store.conversation("local", "c")
        assert found.title
        if model == "pocket":
            assert (found.title, found.titled_by) == ("Hello there", "words")
        assert len(await chat.store.turns("local", door="chat.completions")) == 2
