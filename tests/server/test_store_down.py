"""A store that cannot be read or written gives 5xx on every route: never an empty list, a 404 or a new conversation."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from palaver.core.turn import Accepted, ContentDelta, Finish, TurnState
from palaver.server.app import ServerSettings
from palaver.server.keyring import new_key
from tests.server.conftest import Door, opened

WITHOUT_THE_STORE = {
    "/health",
    "/models",
    "/models/{id}",
    "/server",
    "/completions",
    "/embeddings",
    "/docs",
    "/openapi.json",
    "/",
    "/ui",
    "/assets/{name}",
}
"""What is answered without a look into the store, or may be."""
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]},
    "/chat/completions/dry_run": {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]},
    "/conversations/{conversation}/window": {"mode": "auto"},
    "/responses": {"model": "scripted", "input": "hi"},
    "/responses/compact": {"model": "scripted", "input": "hi"},
    "/responses/input_tokens": {"model": "scripted", "input": "hi"},
    "/session": {"api_key": new_key()},
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
    _, items = await door.get(f"/v1/conversations/{conversation}/messages")
    message, turn = items["data"][0]["id"], items["data"][0]["turn"]
    known = {"conversation": conversation, "message": message, "item": message, "turn": turn}
    said = {}
    found = await operations(door)
    with gone(tmp_path), capture_logs() as logs:
        for method, path in found:
            if stem(path) in WITHOUT_THE_STORE:
                continue
            known["id"] = "key_nothing" if "keys" in path else turn
            filled = re.sub(r"\{(\w+)\}", lambda m: known.get(m[1], "x"), path)
            filled += "?q=hello" if path.endswith("/search") else ""
            async with door.http.request(
                method, door.address + filled, json=body_for(method, stem(path), message)
            ) as response:
                said[method, path] = (response.status, await response.text())
    assert len(said) >= 6
    wrong = {where: answer for where, answer in said.items() if answer[0] < 500}
    assert wrong == {}
    assert [where for where, answer in said.items() if str(tmp_path) in answer[1]] == []
    reasons = [entry["reason"] for entry in logs if entry["event"] == "the store failed a request"]
    assert len(reasons) == len(said)
    assert all(str(tmp_path / "palaver.db") in reason for reason in reasons)
    _, body = await door.get("/v1/conversations?include_tasks=true")
    assert [each["id"] for each in body["data"]] == [conversation]


def body_for(method: str, path: str, message: str) -> dict[str, Any] | None:
    """A body that the route accepts: what is wrong with it must not be told first."""
    if method in ("get", "delete"):
        return None
    items = [{"role": "user", "content": "more"}]
    return BODIES.get(
        path, {"message": message, "head": message, "name": "n", "items": items, "metadata": {}}
    )


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


async def test_no_reply_says_where_the_store_is(tmp_path: Path) -> None:
    """Whatever the folder's trouble is; a key's holder is no one who has to know."""
    folder = tmp_path / "inner"
    folder.mkdir()
    settings = ServerSettings(local_key="local-secret")
    async with opened(folder, settings) as door:
        _, made = await door.post("/v1/keys", {"name": "app"}, {"authorization": "Bearer local-secret"})
        key = {"authorization": f"Bearer {made['key']}"}
        path = folder / "palaver.db"
        away = folder / "away.db"
        path.rename(away)
        for trouble in ("gone", "replaced", "a loop"):
            if trouble == "replaced":
                path.write_bytes(b"")
            elif trouble == "a loop":
                path.unlink()
                os.symlink(path, path)
            for given in (key, {"authorization": "Bearer local-secret"}):
                for where in ("/v1/conversations", "/v1/keys", "/v1/chat/completions/turn_x"):
                    response, body = await door.get(where, given)
                    assert response.status in (403, 404, 503), (trouble, where)
                    assert str(tmp_path) not in str(body), trouble
            response, body = await door.post("/v1/chat/completions", BODIES["/chat/completions"], key)
            assert (response.status, body["error"]["code"]) == (503, "store_unavailable")
            assert str(tmp_path) not in str(body), trouble
        path.unlink()
        away.rename(path)


async def test_a_reply_that_could_not_be_stored_does_not_say_where(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.hand.put(Accepted(), ContentDelta("x"))
        body = {"model": "test/hand", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with door.http.post(f"{door.address}/v1/chat/completions", json=body) as response:
            assert response.status == 200
            with gone(tmp_path):
                door.hand.put(Finish("stop"))
                said = await response.text()
                assert "store_unavailable" in said
            turn = response.headers["palaver-turn"]
        assert str(tmp_path) not in said
        await door.until_ended(turn, TurnState.COMPLETED)
