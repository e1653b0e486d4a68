"""Conversations that are pinned, archived, or deleted with some time to think again; what runs in them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.idle import Keeper
from tests.server.conftest import Door, until

USER = {"role": "user", "content": "Hello"}


async def made(door: Door, *names: str) -> list[str]:
    found = []
    for name in names:
        response, body = await door.post("/v1/conversations", {"name": name, "items": [USER]})
        assert response.status == 200
        found.append(body["id"])
    return found


async def change(door: Door, name: str, **said: Any) -> dict[str, Any]:
    response, body = await door.post(f"/v1/conversations/{name}", said)
    assert response.status == 200, body
    changed: dict[str, Any] = body
    return changed


async def listed(door: Door, query: str = "") -> list[str]:
    response, page = await door.get(f"/v1/conversations{query}")
    assert response.status == 200, page
    return [each["name"] for each in page["data"]]


async def test_pinned_and_archived(door: Door) -> None:
    await made(door, "plain", "pinned", "archived")
    pinned = await change(door, "pinned", pinned=True)
    assert (pinned["pinned"], pinned["archived"]) == (True, False)
    archived = await change(door, "archived", archived=True, title="Old")
    assert (archived["pinned"], archived["archived"], archived["title"]) == (False, True, "Old")
    assert await listed(door) == ["pinned", "plain"]
    assert await listed(door, "?include_archived=true") == ["archived", "pinned", "plain"]
    assert await listed(door, "?only=archived") == ["archived"]
    assert await listed(door, "?only=pinned") == ["pinned"]
    await change(door, "archived", archived=False)
    assert await listed(door, "?only=archived") == []
    _, hits = await door.get("/v1/search?q=Hello&in=messages")
    await change(door, "archived", archived=True)
    _, same = await door.get("/v1/search?q=Hello&in=messages")
    assert len(same["data"]) == len(hits["data"]) == 3, "searches find what is archived"


async def test_tasks_and_temporary_ones_alone(door: Door) -> None:
    await made(door, "plain")
    await door.ask("A title, please")
    await door.post("/v1/conversations", {"name": "temporary", "temporary": True})
    assert await listed(door, "?only=tasks") == [None]
    assert await listed(door, "?only=temporary") == ["temporary"]


async def test_deleting_with_time_to_think_again(door: Door) -> None:
    await made(door, "kept", "gone")
    before = int(time.time())
    changed = await change(door, "gone", expires_in=60)
    assert before + 60 <= changed["expires_at"] <= int(time.time()) + 60
    assert await listed(door) == ["kept"]
    _, hits = await door.get("/v1/search?q=Hello&in=messages")
    assert [hit["conversation"]["name"] for hit in hits["data"]] == ["kept"]
    _, conversation = await door.say([{"role": "user", "content": "more"}], conversation="gone")
    _, found = await door.get(f"/v1/conversations/{conversation}")
    assert (found["name"], found["expires_at"]) == ("gone", changed["expires_at"])
    assert (await change(door, "gone", expires_in=None))["expires_at"] is None
    assert await listed(door) == ["gone", "kept"]
    await change(door, "gone", expires_in=60)
    await Keeper(door.chat, clock=lambda: time.time() + 61).glance()
    response, _ = await door.get("/v1/conversations/gone")
    assert response.status == 404
    assert await listed(door, "?include_temporary=true") == ["kept"]


async def test_what_is_answered_there_is_stopped_when_it_goes(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("So"))
    body = {"model": "test/hand", "messages": [USER], "conversation": "gone", "stream": True}
    async with door.http.post(f"{door.address}/v1/chat/completions", json=body) as response:
        await response.content.readany()
        await change(door, "gone", expires_in=60)
        await Keeper(door.chat, clock=lambda: time.time() + 61).glance()
        assert b"was deleted" in await response.read()
    response_after, _ = await door.get("/v1/conversations/gone")
    assert response_after.status == 404


async def test_what_runs_in_a_conversation(door: Door) -> None:
    await door.say([USER], conversation="trip")
    _, idle = await door.get("/v1/conversations/trip")
    assert idle["running"] == []
    first = await door.http.post(
        f"{door.address}/v1/chat/completions",
        json={
            "model": "test/hand",
            "messages": [USER],
            "conversation": "trip",
            "parent": "head",
            "stream": True,
        },
    )
    await door.hand.began.wait()
    second = await door.http.post(
        f"{door.address}/v1/responses",
        json={"model": "test/hand", "input": "And?", "conversation": "trip", "background": True},
    )
    queued = (await second.json())["id"]
    _, found = await door.get("/v1/conversations/trip")
    _, tree = await door.get("/v1/conversations/trip/tree")
    assert found["running"] == [
        {
            "id": found["running"][0]["id"],
            "status": "running",
            "question": tree["data"][-1]["id"],
        },
        {"id": queued.replace("resp_", "chatcmpl-"), "status": "queued", "question": None},
    ]
    assert found["running"][0]["id"].startswith("chatcmpl-")
    for _ in range(2):
        door.hand.put(Accepted(), ContentDelta("Yes."), Finish("stop"))
    await first.read()
    await until(lambda: not door.chat._running)
    _, idle = await door.get("/v1/conversations/trip")
    assert idle["running"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "metadata"),
        ({"pinned": None, "archived": None}, "metadata"),
        ({"pinned": 1}, "pinned"),
        ({"archived": "yes"}, "archived"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": -5}, "expires_in"),
        ({"expires_in": 31536001}, "expires_in"),
        ({"expires_in": 10**30}, "expires_in"),
        ({"expires_in": 1.5}, "expires_in"),
        ({"expires_in": "60"}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
    ],
)
async def test_what_is_not_valid_names_the_field(door: Door, body: Any, param: str) -> None:
    await made(door, "a")
    response, answer = await door.post("/v1/conversations/a", body)
    assert (response.status, answer["error"]["param"]) == (400, param), answer
    assert await listed(door) == ["a"]


@pytest.mark.parametrize(
    ("query", "param"),
    [("only=mine", "only"), ("only=", "only"), ("include_archived=perhaps", "include_archived")],
)
async def test_a_list_that_there_is_not(door: Door, query: str, param: str) -> None:
    response, answer = await door.get(f"/v1/conversations?{query}")
    assert (response.status, answer["error"]["param"]) == (400, param)
    if query == "only=mine":
        assert "pinned, archived, tasks, temporary" in answer["error"]["message"]
