"""What cannot be made, added or changed in conversations: each is a 400 that names the field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Door

ITEM = {"role": "user", "content": "hi"}
OUTPUT = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
SEVERAL = [{"type": "input_text", "text": "x"}]
LONG = {f"k{i}": "v" for i in range(17)}

BAD_ITEMS: list[tuple[Any, str, str]] = [
    (None, "items", "must be an array, not null"),
    ([], "items", "length >= 1"),
    ([ITEM] * 21, "items", "length <= 20"),
    ("hi", "items", "must be an array"),
    ([ITEM, "hi"], "items[1]", "must be an object"),
    ([ITEM, {"role": "critic", "content": "hi"}], "items[1].role", "user, assistant, system, developer"),
    ([ITEM, {"type": "joke"}], "items[1].type", "must be one of message"),
    ([ITEM, {"type": "mcp_call"}], "items[1].type", "no mcp_call is taken"),
    (
        [ITEM, {"type": "compaction", "encrypted_content": "x"}],
        "items[1].type",
        "no compaction can stand here",
    ),
    ([ITEM, OUTPUT], "items[1].call_id", "'call_9'"),
    ([{"type": "item_reference", "id": "msg_01arz3ndektsv4rrffq69g5fav"}], "items[0].id", "no item"),
    ([{"type": "item_reference", "id": "msg_1"}], "items[0].id", "no item"),
    ([{"type": "reasoning", "summary": [], "encrypted_content": "x"}], "items", "say nothing"),
    (
        [
            ITEM,
            {
                "role": "user",
                "content": [*SEVERAL, {"type": "input_image", "image_url": "data:image/png;base64,?"}],
            },
        ],
        "items[1].content[1].image_url",
        "not valid base64",
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]}],
        "items[0].content[0].image_url",
        "remote address",
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://example.org/a.png"}]}],
        "items[0].content[0].image_url",
        "data: URL",
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "input_image", "file_id": "file-00112233445566778899aabbccddeeff"}],
            }
        ],
        "items[0].content[0].file_id",
        "no file with the id",
    ),
    (
        [{"role": "user", "content": [{"type": "input_file", "file_data": ""}]}],
        "items[0].content[0].file_data",
        "empty",
    ),
    (
        [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.org/a"}]}],
        "items[0].content[0].file_url",
        "fetches no files",
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}],
            }
        ],
        "items[0].content[0].input_audio.data",
        "not valid base64",
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "data:image/png;blake2b," + 32 * "0"}],
            }
        ],
        "items[0].content[0].image_url",
        "hash",
    ),
]


@pytest.mark.parametrize(("items", "param", "text"), BAD_ITEMS)
async def test_items_that_cannot_be_kept(door: Door, items: Any, param: str, text: str) -> None:
    _, made = await door.post("/v1/conversations", {})
    response, body = await door.post(f"/v1/conversations/{made['id']}/items", {"items": items})
    assert (response.status, body["error"]["param"]) == (400, param)
    assert text in body["error"]["message"]
    _, after = await door.get(f"/v1/conversations/{made['id']}")
    assert after["messages"] == 0
    if items and param != "items":
        response, body = await door.post("/v1/conversations", {"items": items})
        assert (response.status, body["error"]["param"]) == (400, param)
        _, page = await door.get("/v1/conversations?include_tasks=true")
        assert [each["id"] for each in page["data"]] == [made["id"]]


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"metadata": LONG}, "metadata"),
    ({"metadata": {"k" * 65: "v"}}, "metadata"),
    ({"metadata": {"k": "v" * 513}}, "metadata"),
    ({"metadata": {"k": 1}}, "metadata"),
    ({"metadata": {"k": None}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"metadata": "x"}, "metadata"),
    ({"title": "x" * 513}, "title"),
    ({"title": 5}, "title"),
]


@pytest.mark.parametrize(("field", "param"), BAD_FIELDS)
async def test_what_cannot_be_said_of_a_conversation(door: Door, field: dict[str, Any], param: str) -> None:
    _, made = await door.post("/v1/conversations", {"metadata": {"a": "b"}, "title": "Mine"})
    for path in ("/v1/conversations", f"/v1/conversations/{made['id']}"):
        response, body = await door.post(path, field)
        assert (response.status, body["error"]["param"]) == (400, param), body
    _, found = await door.get(f"/v1/conversations/{made['id']}")
    assert (found["metadata"], found["title"]) == ({"a": "b"}, "Mine")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "."}, "name"),
        ({"name": "conv_x"}, "name"),
        ({"name": "x" * 513}, "name"),
        ({"name": "taken"}, "name"),
        ({"user": "x" * 513}, "user"),
        ({"user": ".."}, "user"),
        ({"temporary": "yes"}, "temporary"),
        ({"items": {}}, "items"),
        ({"items": [ITEM] * 21}, "items"),
        ([], None),
    ],
)
async def test_what_cannot_be_made(door: Door, body: Any, param: str | None) -> None:
    await door.post("/v1/conversations", {"name": "taken"})
    response, error = await door.post("/v1/conversations", body)
    assert (response.status, error["error"]["param"]) == (400, param), error


@pytest.mark.parametrize("body", [{}, {"title": None}, {"name": "x"}])
async def test_a_change_of_nothing(door: Door, body: Any) -> None:
    _, made = await door.post("/v1/conversations", {})
    response, error = await door.post(f"/v1/conversations/{made['id']}", body)
    assert (response.status, error["error"]["param"]) == (400, "metadata")


@pytest.mark.parametrize(
    "item", ["msg_01arz3ndektsv4rrffq69g5fav", "rs_01arz3ndektsv4rrffq69g5fav", "item_1", "%00", "x" * 2000]
)
async def test_no_such_item(door: Door, item: str) -> None:
    _, made = await door.post("/v1/conversations", {"items": [ITEM]})
    _, other = await door.post("/v1/conversations", {"items": [ITEM]})
    _, page = await door.get(f"/v1/conversations/{other['id']}/items")
    for id in (item, page["data"][0]["id"], page["data"][0]["id"].replace("msg_", "rs_")):
        path = f"/v1/conversations/{made['id']}/items/{id}"
        response, body = await door.get(path)
        assert (response.status, body["error"]["code"]) == (404, "message_not_found")
        async with door.http.delete(door.address + path) as gone:
            assert gone.status == 404
    for query in ("include=x", "include[]=x"):
        response, body = await door.get(
            f"/v1/conversations/{made['id']}/items/{page['data'][0]['id']}?{query}"
        )
        assert (response.status, body["error"]["param"]) == (400, "include[0]")
    path = f"/v1/conversations/{made['id']}/items?include[]=x"
    response, body = await door.post(path, {"items": [ITEM]})
    assert (response.status, body["error"]["param"]) == (400, "include[0]")


async def test_a_part_that_a_message_has_not(door: Door) -> None:
    _, made = await door.post("/v1/conversations", {"items": [ITEM]})
    _, page = await door.get(f"/v1/conversations/{made['id']}/items")
    for prefix in ("rs_", "fc_", "fco_"):
        path = f"/v1/conversations/{made['id']}/items/{page['data'][0]['id'].replace('msg_', prefix)}"
        response, _ = await door.get(path)
        assert response.status == 404
        async with door.http.delete(door.address + path) as gone:
            assert gone.status == 404
    _, left = await door.get(f"/v1/conversations/{made['id']}")
    assert left["messages"] == 1
