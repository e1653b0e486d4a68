"""Pages of items: none is lost, none comes twice, wherever in a message a page ends."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core.errors import InvalidRequest
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.server.item_pages import ItemPageQuery
from palaver.server.item_pages import Path as ItemPath
from palaver.server.items import items_of
from palaver.stores.base import Order, Store
from tests.server.conftest import Door
from tests.stores.sqlite_files import opened

LIMITS = (1, 2, 3, 5, 100)
ORDERS: tuple[Order, Order] = ("asc", "desc")
said = st.builds(Message, role=st.sampled_from(["user", "developer"]), content=st.sampled_from(["hi", ""]))
replies = st.builds(
    Message,
    role=st.just("assistant"),
    content=st.sampled_from([None, "So."]),
    reasoning=st.sampled_from([None, "Hm."]),
    tool_calls=st.none() | st.lists(st.just(ToolCall(FunctionCall("f"), "call_1")), min_size=1, max_size=3),
)


def path_of(store: Store, conversation: str, order: Order) -> ItemPath:
    async def read(after: str | None, limit: int) -> Any:
        return await store.items("local", conversation, after=after, limit=limit, order=order)

    return ItemPath(store, "local", read, partial(store.message, "local", conversation))


async def all_of(store: Store, conversation: str, order: Order, limit: int) -> list[str]:
    """The ids of all items, page by page."""
    path, seen, after = path_of(store, conversation, order), [], None
    while True:
        page = await path.page(ItemPageQuery(after=after, limit=limit, order=order))
        ids = [item.id for item in page.data]
        assert (page.first_id, page.last_id) == ((ids[0], ids[-1]) if ids else ("", ""))
        assert len(ids) == limit or not page.has_more
        seen += ids
        assert len(seen) < 1000
        if not page.has_more:
            return seen
        after = page.last_id


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(said | replies, max_size=8), st.sets(st.integers(0, 7), max_size=4))
def test_pages_together_are_all_items_once(messages: list[Message], deleted: set[int]) -> None:
    async def run(folder: Path) -> None:
        async with opened(folder / "palaver.db") as store:
            made = await store.create_conversation("local", messages)
            path = await store.items("local", made.id, order="asc", limit=100)
            for place in sorted(deleted):
                if place < len(path):
                    await store.delete_message("local", path[place].id)
            left = await store.items("local", made.id, order="asc", limit=100)
            expected = [item.id for message in left for item in items_of(message)]
            for limit in LIMITS:
                assert await all_of(store, made.id, "asc", limit) == expected
                assert await all_of(store, made.id, "desc", limit) == expected[::-1]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


REPLY = Message("assistant", "So.", reasoning="Hm.", tool_calls=2 * [ToolCall(FunctionCall("now"), "call_1")])


@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_begins_after_any_item(tmp_path: Path, order: Order) -> None:
    async with opened(tmp_path / "palaver.db") as store:
        made = await store.create_conversation("local", [Message("user", "hi"), REPLY, Message("user", "on")])
        everything = await all_of(store, made.id, order, 100)
        assert [id.partition("_")[0] for id in everything] == ["msg", "rs", "msg", "fc", "fc", "msg"][
            :: 1 if order == "asc" else -1
        ]
        path = path_of(store, made.id, order)
        for place, id in enumerate(everything):
            page = await path.page(ItemPageQuery(after=id, limit=2, order=order))
            assert [item.id for item in page.data] == everything[place + 1 : place + 3]
            assert page.has_more is (place + 3 < len(everything))


@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_begins_after_what_was_deleted_since(tmp_path: Path, order: Order) -> None:
    async with opened(tmp_path / "palaver.db") as store:
        made = await store.create_conversation("local", [Message("user", "hi"), REPLY, Message("user", "on")])
        first, reasoning, _, call, _, last = await all_of(store, made.id, "asc", 100)
        await store.delete_message("local", (await store.items("local", made.id))[1].id)
        path = path_of(store, made.id, order)
        for gone in (reasoning, call):
            page = await path.page(ItemPageQuery(after=gone, limit=5, order=order))
            assert [item.id for item in page.data] == [last if order == "asc" else first]


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_cursor_of_another_list(tmp_path: Path, limit: int) -> None:
    async with opened(tmp_path / "palaver.db") as store:
        made = await store.create_conversation("local", [Message("user", "hi")])
        assert made.head is not None
        aside = await store.add_items("local", made.id, [REPLY])
        await store.set_head("local", made.id, made.head)
        other = await store.create_conversation("local", [REPLY])
        (elsewhere,) = await store.items("local", other.id)
        cursors = [items_of(item)[0].id for item in (aside[0], elsewhere)]
        wrong_part = made.head.replace("msg_", "rs_")
        for cursor in (*cursors, wrong_part, "msg_01arz3ndektsv4rrffq69g5fav", "msg_", "", "x" * 1000):
            for order in ORDERS:
                with pytest.raises(InvalidRequest) as caught:
                    await path_of(store, made.id, order).page(
                        ItemPageQuery(after=cursor, limit=limit, order=order)
                    )
                assert caught.value.param == "after"


async def test_items_lead_to_any_message_or_item(door: Door) -> None:
    made = await door.chat.store.create_conversation("local", [Message("user", "hi"), REPLY])
    _, page = await door.get(f"/v1/conversations/{made.id}/items?order=asc")
    ids = [item["id"] for item in page["data"]]
    assert len(ids) == 5
    await door.chat.store.add_items("local", made.id, [Message("user", "on")])
    for id in ids:
        _, page = await door.get(f"/v1/conversations/{made.id}/items?to={id}&order=asc")
        expected = ids[:1] if id == ids[0] else ids
        assert [item["id"] for item in page["data"]] == expected
    response, body = await door.get(f"/v1/conversations/{made.id}/items?to=msg_nobodys")
    assert (response.status, body["error"]["code"]) == (404, "message_not_found")


PICTURE = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("form", ["include[]", "include"])
async def test_pictures_are_shown_where_that_is_asked_for(door: Door, form: str) -> None:
    content = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_file", "file_data": "AAAA"}]
    _, made = await door.post("/v1/conversations", {"items": [{"role": "user", "content": content}]})
    path = f"/v1/conversations/{made['id']}/items"
    query = f"?{form}=message.input_image.image_url&{form}=reasoning.encrypted_content"
    _, plain = await door.get(path)
    (item,) = plain["data"]
    picture, file = item["content"]
    assert (picture["image_url"], picture["file_id"][:5], file["file_id"][:5]) == (None, "file-", "file-")
    _, shown = await door.get(path + query)
    _, one = await door.get(f"{path}/{item['id']}{query}")
    assert shown["data"] == [one]
    assert [part.get("image_url") for part in one["content"]] == [PICTURE, None]
    assert one["content"][1] == file
    _, added = await door.post(path + query, {"items": [{"role": "user", "content": content}]})
    assert added["data"][0]["content"] == one["content"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("order=up", "order"),
        ("after=msg_none", "after"),
        ("include=everything", "include[0]"),
        ("include[]=reasoning.encrypted_content&include[]=", "include[1]"),
    ],
)
async def test_a_bad_query(door: Door, query: str, param: str) -> None:
    _, conversation = await door.say([{"role": "user", "content": "Hello"}])
    response, body = await door.get(f"/v1/conversations/{conversation}/items?{query}")
    assert response.status == 400, body
    assert body["error"]["param"] == param
    if param.startswith("include"):
        assert "must be one of file_search_call.results" in body["error"]["message"]


async def test_an_empty_list_has_strings_for_ids(door: Door) -> None:
    _, made = await door.post("/v1/conversations", {})
    _, page = await door.get(f"/v1/conversations/{made['id']}/items")
    assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


async def test_a_reply_is_shown_as_its_items(door: Door) -> None:
    made = await door.chat.store.create_conversation("local", [REPLY])
    _, page = await door.get(f"/v1/conversations/{made.id}/items?order=asc")
    body = made.head and made.head.removeprefix("msg_")
    done = {"status": "completed"}
    call = {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}", **done}
    assert page["data"] == [
        {
            "type": "reasoning",
            "id": f"rs_{body}",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
            **done,
        },
        {
            "type": "message",
            "id": f"msg_{body}",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "So.", "annotations": []}],
            **done,
        },
        {"id": f"fc_{body}", **call},
        {"id": f"fc_{body}_1", **call},
    ]
    for item in page["data"]:
        _, one = await door.get(f"/v1/conversations/{made.id}/items/{item['id']}")
        assert one == item
