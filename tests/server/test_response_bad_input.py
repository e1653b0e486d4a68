"""Requests for responses that cannot be served: each a clear error in the API's shape, which names the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.engines.base import SAMPLING
from palaver.server.app import ServerSettings
from palaver.server.response_body import KNOWN
from tests.server.conftest import Door, HandEngine, opened
from tests.server.responding import NOBODYS, ROUTE, body_of, by_hand, found, refused, respond
from tests.server.test_deletion import delete

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = "previous_response_not_found"
LONG = "x" * 513
BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"input": None}, "input", None),
    ({"input": []}, "input", None),
    ({"input": 5}, "input", None),
    ({"input": {}}, "input", None),
    ({"input": ["x"]}, "input[0]", None),
    ({"input": [{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]}, "input[1].role", None),
    ({"input": [{"type": "item_reference", "id": f"msg_{NOBODYS}"}]}, "input[0].id", None),
    ({"input": [{"type": "item_reference", "id": f"fc_{NOBODYS}_1"}]}, "input[0].id", None),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id", None),
    ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "unsupported_parameter"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id", None),
    ({"model": None}, "model", None),
    ({"model": ""}, "model", None),
    ({"model": 5}, "model", None),
    ({"instructions": 5}, "instructions", None),
    ({"previous_response_id": f"resp_{NOBODYS}"}, "previous_response_id", OTHER),
    ({"previous_response_id": "resp_1"}, "previous_response_id", OTHER),
    ({"previous_response_id": f"msg_{NOBODYS}"}, "previous_response_id", OTHER),
    ({"previous_response_id": ""}, "previous_response_id", None),
    ({"previous_response_id": 5}, "previous_response_id", None),
    (
        {"previous_response_id": f"resp_{NOBODYS}", "conversation": "room"},
        "conversation",
        "mutually_exclusive_parameters",
    ),
    ({"conversation": {}}, "conversation.id", None),
    ({"conversation": ""}, "conversation", None),
    ({"conversation": 5}, "conversation", None),
    ({"conversation": LONG}, "conversation", None),
    ({"conversation": ".."}, "conversation", None),
    ({"conversation": "room", "store": False}, "store", None),
    ({"background": True, "store": False}, "background", None),
    ({"background": "yes"}, "background", None),
    ({"stream": "yes"}, "stream", None),
    ({"store": 1}, "store", None),
    ({"include": ["everything"]}, "include[0]", None),
    ({"include": "message.output_text.logprobs"}, "include", None),
    ({"max_output_tokens": 15}, "max_output_tokens", None),
    ({"max_output_tokens": 0}, "max_output_tokens", None),
    ({"max_output_tokens": 2**31}, "max_output_tokens", None),
    ({"max_output_tokens": 16.5}, "max_output_tokens", None),
    ({"max_tool_calls": 0}, "max_tool_calls", None),
    ({"metadata": {str(i): "" for i in range(17)}}, "metadata", None),
    ({"metadata": {"a": LONG}}, "metadata", None),
    ({"metadata": {"a" * 65: "x"}}, "metadata", None),
    ({"metadata": {"a": 1}}, "metadata", None),
    ({"metadata": "x"}, "metadata", None),
    ({"temperature": 2.1}, "temperature", None),
    ({"temperature": -1}, "temperature", None),
    ({"top_p": 2}, "top_p", None),
    ({"top_logprobs": 21}, "top_logprobs", None),
    ({"top_logprobs": 1}, "top_logprobs", None),
    ({"truncation": "some"}, "truncation", None),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", None),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary", None),
    ({"reasoning": "high"}, "reasoning", None),
    ({"text": "plain"}, "text", None),
    ({"concurrency": "wait", "conversation": "room"}, "concurrency", None),
    ({"concurrency": "queue"}, "concurrency", None),
    ({"parallel_tool_calls": "yes"}, "parallel_tool_calls", None),
    ({"context_management": [{"type": "forget"}]}, "context_management[0].type", None),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
    ({"user": ".."}, "user", None),
    ({"user": 5}, "user", None),
    ({"window": {"keep": 2}}, "window.keep", None),
    ({"window": {"joke": 2}}, "window", None),
    ({"seed": "x"}, "seed", None),
    (
        {"chat_template_kwargs": {"conversation": []}},
        "chat_template_kwargs.conversation",
        "unsupported_parameter",
    ),
]


def named(param: str | None) -> str:
    """The field, without the names of what is in a map."""
    return (param or "").partition("[...]")[0]


@pytest.mark.parametrize(("given", "param", "code"), BAD, ids=str)
async def test_what_is_wrong_is_named(
    shared_door: Door, given: dict[str, Any], param: str, code: str | None
) -> None:
    body = {"model": "scripted", "input": "x", **given}
    if given.get("model", "x") is None:
        del body["model"]
    for path in (ROUTE, f"{ROUTE}/input_tokens"):
        answered, error = await shared_door.post(path, body)
        if path != ROUTE and answered.status == 200:
            continue  # what only storing it forbids
        assert answered.status == 400, error
        detail = error["error"]
        assert (named(detail["param"]), detail["code"]) == (param, code), detail
        assert detail["type"] == "invalid_request_error"
        assert detail["message"]
        assert "messages[" not in detail["message"]
    assert not shared_door.chat._running


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"x"', None),
        (b'{"model": "scripted", "input": "\xff"}', None),
    ],
)
async def test_what_is_no_body(shared_door: Door, data: bytes, param: str | None) -> None:
    for path in (ROUTE, f"{ROUTE}/input_tokens", f"{ROUTE}/compact"):
        answered, error = await shared_door.post(path, data=data)
        assert (answered.status, error["error"]["param"]) == (400, param), error


async def test_a_model_that_is_not_there(shared_door: Door) -> None:
    await refused(shared_door, {"model": "none", "input": "x"}, "model", "model_not_available", 404)


async def test_headers_that_say_nothing(shared_door: Door) -> None:
    for name, value in (
        ("palaver-on-leave", "never"),
        ("x-stainless-retry-count", "x"),
        ("palaver-conversation", LONG),
    ):
        await refused(shared_door, body_of(), name, headers={name: value})


async def test_unknown_parameters_are_no_error(shared_door: Door) -> None:
    more: dict[str, Any] = {
        "service_tier": "auto",
        "prompt_cache_retention": "24h",
        "stream_options": {"include_obfuscation": True},
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
        "max_tool_calls": 3,
        "include": ["reasoning.encrypted_content", "web_search_call.results"],
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}},
        "moderation": None,
        "prompt": None,
    }
    assert (await respond(shared_door, "x", **more))["status"] == "completed"


async def test_null_is_as_if_it_were_not_there(shared_door: Door) -> None:
    nulls: dict[str, Any] = dict.fromkeys(KNOWN - {"model", "input"})
    answered, body = await shared_door.post(ROUTE, {"model": "scripted", "input": "x", **nulls})
    assert (answered.status, body["status"]) == (200, "completed")


async def test_a_deleted_one(shared_door: Door) -> None:
    body = await respond(shared_door, "x")
    await delete(shared_door, f"{ROUTE}/{body['id']}")
    await refused(shared_door, body_of(previous_response_id=body["id"]), "previous_response_id", OTHER)
    reference = {"type": "item_reference", "id": body["output"][0]["id"]}
    await refused(shared_door, body_of([reference, {"role": "user", "content": "x"}]), "input[0].id")


async def test_more_messages_than_the_server_takes(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(max_messages=3)) as door:
        said = await refused(door, body_of([{"role": "user", "content": "x"}] * 4), "input")
        assert "4 messages" in said


async def test_pictures_by_their_place(tmp_path: Path) -> None:
    async with opened(
        tmp_path, ServerSettings(max_attachment=5), hand=HandEngine(SAMPLING | {"image_url"})
    ) as door:
        for url, code in (
            ("https://example.org/a.png", "unsupported_parameter"),
            ("data:image/png;base64,AAAAAAAAAAAA", None),
            ("data:image/png;base64,?", None),
            ("data:image/png;blake2b," + "0" * 32, None),
            ("ftp://example.org/a.png", None),
        ):
            picture = {"type": "input_image", "image_url": url}
            items = [{"role": "user", "content": "Look"}, {"role": "user", "content": [picture]}]
            await refused(door, body_of(items, model="test/hand"), "input[1].content[0].image_url", code)
        known = {"type": "input_image", "file_id": "file-" + "0" * 32}
        items = [{"role": "user", "content": [{"type": "input_text", "text": "x"}, known]}]
        await refused(
            door, body_of(items, model="test/hand"), "input[0].content[1].file_id", "file_not_found"
        )


async def test_another_owners_are_not_there(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(local_key="mine", require_key=True)) as door:
        mine = {"authorization": "Bearer mine"}
        asked = {"name": "b", "owner": "bob", "scopes": ["chat", "read", "write"]}
        _, made = await door.post("/v1/keys", asked, mine)
        theirs = {"authorization": f"Bearer {made['key']}"}
        body = await respond(door, "A secret", mine, conversation="room")
        id, conversation = body["id"], body["conversation"]["id"]
        for path in ("", "?stream=true", "/input_items"):
            answered, error = await door.get(f"{ROUTE}/{id}{path}", theirs)
            assert (answered.status, error["error"]["code"]) == (404, "turn_not_found")
        assert (await door.post(f"{ROUTE}/{id}/cancel", None, theirs))[0].status == 404
        assert (await delete(door, f"{ROUTE}/{id}", **theirs))[0] == 404
        for store in (None, False):
            more = body_of(previous_response_id=id, store=store)
            await refused(door, more, "previous_response_id", OTHER, headers=theirs)
        named = body_of(conversation=conversation)
        await refused(door, named, "conversation", "conversation_not_found", 404, headers=theirs)
        reference = {"type": "item_reference", "id": body["output"][0]["id"]}
        await refused(
            door, body_of([reference, {"role": "user", "content": "x"}]), "input[0].id", headers=theirs
        )
        other = await respond(door, "Hi", theirs, conversation="room")
        assert other["conversation"]["id"] != conversation
        assert (await door.get(f"{ROUTE}/{id}", mine))[1] == body


async def test_another_end_users_are_not_there(shared_door: Door) -> None:
    door = shared_door
    ann = await respond(door, "A secret", user="ann")
    for more in ({"user": "bob"}, {"safety_identifier": "bob"}, {"user": "bob", "store": False}):
        await refused(door, body_of(previous_response_id=ann["id"], **more), "previous_response_id", OTHER)
    reference = {"type": "item_reference", "id": ann["output"][0]["id"]}
    await refused(door, body_of([reference, {"role": "user", "content": "x"}], user="bob"), "input[0].id")
    assert (await respond(door, "More", previous_response_id=ann["id"]))["conversation"] == ann[
        "conversation"
    ]
    assert (await by_hand(door, "More", previous_response_id=ann["id"], user="ann"))["status"] == "completed"
    assert (await found(door, ann["id"]))["user"] == "ann"
