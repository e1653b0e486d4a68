"""A store that cannot be read or written gives 5xx on every route: never an empty list, a 404 or a new conversation."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import Door, opened

WITHOUT_THE_STORE = {"/health", "/models", "/models/{id}", "/docs", "/openapi.json", "/"}
"""What is answered without a look into the store, or may be."""
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]},
}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path) as door:
        yield door


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    """The store is out of reach, and comes back."""
    path, away = folder / "palaver.db", folder / "away.db"
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


async def operations(door: Door) -> list[tuple[str, str]]:
    """Every method and path that the server says it has."""
    _, document = await door.get("/openapi.json")
    return [(method, path) for path, methods in document["paths"].items() for method in methods]


def stem(path: str) -> str:
    return re.sub(r"^(/v1)+", "", path) or "/"


async def test_no_route_answers_as_if_there_were_nothing(door: Door, tmp_path: Path) -> None:
    _, conversation = await door.say([{"role": "user", "content": "hello"}], conversation="known")
    _, items = await door.get(f"/v1/conversations/{conversation}/items")
    message, turn = items["data"][0]["id"], items["data"][0]["turn"]
    known = {"conversation": conversation, "message": message, "item": message, "turn": turn}
    said = {}
    found = await operations(door)
    with gone(tmp_path):
        for method, path in found:
            if stem(path) in WITHOUT_THE_STORE:
                continue
            known["id"] = turn if "completions" in path else "key_nothing"
            filled = re.sub(r"\{(\w+)\}", lambda m: known.get(m[1], "x"), path)
            async with door.http.request(
                method, door.address + filled, json=body_for(method, stem(path), message)
            ) as response:
                said[method, path] = (response.status, (await response.text())[:200])
    assert len(said) >= 6
    wrong = {where: answer for where, answer in said.items() if answer[0] < 500}
    assert wrong == {}
    _, body = await door.get("/v1/conversations?include_tasks=true")
    assert [each["id"] for each in body["data"]] == [conversation]


def body_for(method: str, path: str, message: str) -> dict[str, Any] | None:
    """A body that the route accepts: what is wrong with it must not be told first."""
    if method in ("get", "delete"):
        return None
    return BODIES.get(path, {"message": message, "head": message, "name": "n"})


async def test_a_history_that_is_sent_again_goes_on_where_it_was(door: Door, tmp_path: Path) -> None:
    history = [{"role": "user", "content": "hello"}]
    text, conversation = await door.say(history)
    history += [{"role": "assistant", "content": text}, {"role": "user", "content": "more"}]
    with gone(tmp_path):
        response, body = await door.post("/v1/chat/completions", {"model": "scripted", "messages": history})
        assert response.status == 503
        assert body["error"]["code"] == "store_unavailable"
        assert response.headers["retry-after"]
        streamed = {"model": "scripted", "messages": history, "stream": True}
        response, body = await door.post("/v1/chat/completions", streamed)
        assert response.status == 503
    _, same = await door.say(history)
    assert same == conversation
    _, body = await door.get("/v1/conversations?include_tasks=true")
    assert len(body["data"]) == 1


async def test_what_needs_no_store_is_answered_all_the_same(door: Door, tmp_path: Path) -> None:
    with gone(tmp_path):
        response, _ = await door.get("/health")
        assert response.status == 200
