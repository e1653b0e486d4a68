"""Who is speaking, where a response says where it goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Door


async def respond(door: Door, **more: Any) -> tuple[int, Any]:
    response, body = await door.post("/v1/responses", {"model": "scripted", "input": "Hello", **more})
    return response.status, body


@pytest.mark.parametrize("name", ["user", "safety_identifier", "prompt_cache_key"])
async def test_what_is_nobodys_is_open_to_whoever_speaks(door: Door, name: str) -> None:
    _, made = await door.post("/v1/conversations", {})
    first, body = await respond(door, conversation=made["id"], **{name: "ann"})
    second, _ = await respond(door, previous_response_id=body["id"], **{name: "ann"})
    assert (first, second) == (200, 200)
    _, kept = await door.get(f"/v1/conversations/{made['id']}")
    assert (kept["user"], kept["messages"]) == (None, 4)


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
async def test_what_is_somebodys_is_theirs(door: Door, name: str) -> None:
    _, made = await door.post("/v1/conversations", {"user": "ann"})
    _, body = await respond(door, conversation=made["id"], user="ann")
    other, refused = await respond(door, conversation=made["id"], **{name: "bob"})
    below, missing = await respond(door, previous_response_id=body["id"], **{name: "bob"})
    assert (other, refused["error"]["code"]) == (404, "conversation_not_found")
    assert (below, missing["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_cache_key_names_nobody_where_an_id_says_where_it_goes_on(door: Door) -> None:
    _, body = await respond(door, user="ann")
    again, _ = await respond(door, previous_response_id=body["id"], prompt_cache_key="some-app")
    there, _ = await respond(door, conversation=body["conversation"]["id"], prompt_cache_key="some-app")
    assert (again, there) == (200, 200)


async def test_deleting_an_end_user_leaves_what_is_nobodys(door: Door) -> None:
    _, made = await door.post("/v1/conversations", {})
    await respond(door, conversation=made["id"], user="ann")
    await respond(door, user="ann")
    async with door.http.delete(door.address + "/v1/users/ann") as response:
        assert (response.status, (await response.json())["conversations"]) == (200, 1)
    _, kept = await door.get(f"/v1/conversations/{made['id']}")
    assert kept["messages"] == 2


async def test_a_cache_key_names_nobody_in_compact_either(door: Door) -> None:
    _, body = await respond(door, user="ann")
    asked = {"model": "scripted", "previous_response_id": body["id"], "prompt_cache_key": "some-app"}
    response, _ = await door.post("/v1/responses/compact", asked)
    assert response.status == 200


async def test_a_cache_key_tells_names_apart_also_at_the_head(door: Door) -> None:
    """`head` is no id: whose conversation of that name it is, the key says, as it did when the name was new."""
    asked = {"conversation": "trip", "prompt_cache_key": "k"}
    _, first = await door.say([{"role": "user", "content": "Hello"}], **asked)
    _, second = await door.say([{"role": "user", "content": "More"}], parent="head", **asked)
    assert second == first
