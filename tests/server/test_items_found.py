"""Items in odd places: what a compaction leaves behind, and how much a few bytes may name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from palaver.engines.base import SAMPLING
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, HandEngine, opened
from tests.server.responding import ROUTE, body_of, by_hand, refused, respond
from tests.server.test_compactions import COMPACT
from tests.server.test_deletion import delete

PICTURE = base64.b64encode(bytes(range(256)) * 4).decode()
RESULT = {"type": "function_call_output", "call_id": "nobodys", "output": "x"}


async def conversations(door: Door) -> list[str]:
    _, page = await door.get("/v1/conversations?include_tasks=true&limit=100")
    return [each["id"] for each in page["data"]]


@pytest.mark.parametrize("has_place", [True, False])
async def test_a_compaction_that_fails_leaves_no_conversation(door: Door, has_place: bool) -> None:
    body = await respond(door, "Hello")
    before = await conversations(door)
    asked: dict[str, Any] = {"model": "scripted", "input": [{"role": "user", "content": "x"}, RESULT]}
    if has_place:
        asked["previous_response_id"] = body["id"]
    answered, error = await door.post(COMPACT, asked)
    assert (answered.status, error["error"]["param"]) == (400, "input[1].call_id")
    assert await conversations(door) == before


async def test_a_result_is_compacted_with_the_call_above_it(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | {"tools"}, context=8192)) as door:
        call = {"type": "function_call", "call_id": "nobodys", "name": "now", "arguments": "{}"}
        body = await by_hand(door, [{"role": "user", "content": "When?"}, call, RESULT], "Noon")
        asked = {"model": "scripted", "previous_response_id": body["id"], "input": [RESULT]}
        answered, compacted = await door.post(COMPACT, asked)
        assert answered.status == 200, compacted
        await by_hand(door, [compacted["output"][-1], {"role": "user", "content": "And?"}])
        roles = [message.role for message in door.hand.windows[-1].messages]
        assert roles == ["user", "assistant", "tool", "assistant", "tool", "user"]


async def test_references_name_no_more_than_a_body_may_hold(tmp_path: Path) -> None:
    """Each message was sent in a request of its own: a few bytes would stand for all of them at once."""
    settings = ServerSettings(max_body_bytes=4000)
    async with opened(tmp_path, settings, hand=HandEngine(SAMPLING | {"image_url"}, context=8192)) as door:
        part = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"}
        ids = []
        for place in range(3):
            item = {"role": "user", "content": [{"type": "input_text", "text": str(place)}, part]}
            answered, made = await door.post("/v1/conversations", {"items": [item]})
            assert answered.status == 200, made
            ids.append(made["head"])
        references = [{"type": "item_reference", "id": id} for id in ids]
        await by_hand(door, references[:2])
        await refused(door, body_of(references, model="test/hand"), "input")
        for path, param in ((f"{ROUTE}/input_tokens", "input"), (COMPACT, "input")):
            answered, error = await door.post(path, body_of(references, model="test/hand"))
            assert (answered.status, error["error"]["param"]) == (400, param), error
        answered, error = await door.post("/v1/conversations", {"items": references})
        assert (answered.status, error["error"]["param"]) == (400, "items")


async def test_what_is_deleted_is_gone_from_a_compaction_with_more(door: Door) -> None:
    """What comes with it hangs below the conversation, and is no copy of it."""
    body = await respond(door, "A secret")
    asked = {"model": "scripted", "previous_response_id": body["id"], "input": "More"}
    _, made = await door.post(COMPACT, asked)
    assert await conversations(door) == [body["conversation"]["id"]]
    assert (await delete(door, f"/v1/conversations/{body['conversation']['id']}"))[0] == 200
    items = [made["output"][-1], {"role": "user", "content": "Well?"}]
    await refused(door, body_of(items), "input[0].encrypted_content")
    assert await conversations(door) == []


async def test_a_picture_is_named_as_it_was_sent(door: Door) -> None:
    def looking(**part: str) -> dict[str, Any]:
        return body_of([{"role": "user", "content": [{"type": "input_image", **part}]}])

    at = "input[0].content[0]"
    await refused(door, looking(image_url="x"), f"{at}.image_url")
    await refused(door, looking(file_id="file-x"), f"{at}.file_id")
    await refused(door, looking(image_url="data:image/png;base64,AAAA", detail="ultra"), f"{at}.detail")
