"""Conversations that clients make, fill, change and empty, beside turns."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.stores.sqlite_upkeep import check
from tests.server.conftest import Door, opened, until
from tests.server.test_deletion import delete

NOBODYS = "conv_01arz3ndektsv4rrffq69g5fav"
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(id: str = "call_1") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": "now", "arguments": "{}"}


def output(id: str = "call_1", said: Any = "noon") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": said}


async def made(door: Door, *items: Any, **more: Any) -> dict[str, Any]:
    response, body = await door.post("/v1/conversations", {"items": list(items), **more})
    assert response.status == 200, body
    conversation: dict[str, Any] = body
    return conversation


async def listed(door: Door, conversation: str) -> list[dict[str, Any]]:
    _, page = await door.get(f"/v1/conversations/{conversation}/items?order=asc&limit=100")
    items: list[dict[str, Any]] = page["data"]
    return items


async def test_an_empty_one(door: Door) -> None:
    for data in (b"", b"{}", b'{"items": null, "metadata": null, "name": null, "title": null, "user": null}'):
        response, body = await door.post("/v1/conversations", data=data)
        assert response.status == 200
        assert body.pop("id").startswith("conv_")
        assert isinstance(body.pop("created_at"), int)
        assert isinstance(body.pop("updated_at"), int)
        assert body.pop("source").startswith("Python")
        assert body == {
            "object": "conversation",
            "metadata": {},
            "name": None,
            "title": None,
            "titled_by": None,
            "user": None,
            "head": None,
            "messages": 0,
            "pinned": False,
            "archived": False,
            "is_task": False,
            "expires_at": None,
            "window": None,
        }


async def test_one_with_everything(door: Door, tmp_path: Path) -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "When?"}, PICTURE]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        calls("call_1"),
        calls("call_2"),
        output("call_1"),
        output("call_2", [{"type": "input_text", "text": "then"}]),
    ]
    more = {"name": "notes", "title": "A trip", "user": "ann", "temporary": True, "metadata": {"a": "b"}}
    body = await made(door, *items, **more)
    assert {name: body[name] for name in ("name", "title", "user", "metadata", "messages", "is_task")} == {
        "name": "notes",
        "title": "A trip",
        "user": "ann",
        "metadata": {"a": "b"},
        "messages": 5,
        "is_task": False,
    }
    assert body["expires_at"] == body["updated_at"] + 24 * 3600
    assert [item["type"] for item in await listed(door, body["id"])] == [
        "message",
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
    ]
    _, found = await door.get("/v1/conversations/notes?user=ann")
    assert found.pop("instructions") == []
    assert found.pop("running") == []
    assert found == body
    assert check(tmp_path / "palaver.db").findings == []


async def test_the_end_user_may_stand_in_a_header(door: Door) -> None:
    _, body = await door.post("/v1/conversations", {}, {"palaver-user": "ann"})
    assert body["user"] == "ann"
    _, body = await door.post("/v1/conversations", {"user": "bob"}, {"palaver-user": "ann"})
    assert body["user"] == "bob"


async def test_a_turn_goes_on_below_the_items(door: Door) -> None:
    body = await made(door, {"role": "system", "content": "Be brief."}, user("1"))
    door.hand.put(Accepted(), ContentDelta("two"), Finish("stop"))
    response, _ = await door.ask("2", model="test/hand", conversation=body["id"], parent="head")
    assert response.status == 200
    assert [message.text for message in door.hand.windows[0].messages] == ["Be brief.", "1", "2"]
    assert [item["content"][0]["text"] for item in await listed(door, body["id"])] == [
        "Be brief.",
        "1",
        "2",
        "two",
    ]


async def test_items_are_added_below_the_head(door: Door, tmp_path: Path) -> None:
    _, conversation = await door.say([user("Hello")], conversation="notes")
    path = f"/v1/conversations/{conversation}/items"
    response, page = await door.post(path, {"items": [user("What time is it?"), calls()]})
    assert response.status == 200
    data = page.pop("data")
    assert page == {
        "object": "list",
        "first_id": data[0]["id"],
        "last_id": data[1]["id"],
        "has_more": False,
    }
    assert data[1] == {
        "type": "function_call",
        "id": data[1]["id"],
        "call_id": "call_1",
        "name": "now",
        "arguments": "{}",
        "status": "completed",
    }
    response, page = await door.post("/v1/conversations/notes/items", {"items": [output()]})
    assert (response.status, len(page["data"])) == (200, 1)
    assert (await listed(door, conversation))[2:] == [*data, *page["data"]]
    _, found = await door.get(f"/v1/conversations/{conversation}")
    assert (found["messages"], found["title"]) == (5, "Hello")
    assert check(tmp_path / "palaver.db").findings == []


async def test_items_that_are_stored_can_be_named(door: Door) -> None:
    one = await made(door, user("1"), calls(), user("2"), user=None)
    ids = [item["id"] for item in await listed(door, one["id"])]
    other = await made(door, *({"type": "item_reference", "id": id} for id in ids), output())
    copies = await listed(door, other["id"])
    assert [item["type"] for item in copies] == [
        "message",
        "function_call",
        "message",
        "function_call_output",
    ]
    assert not set(ids) & {item["id"] for item in copies}
    picture = await made(door, {"role": "user", "content": [PICTURE]})
    (item,) = await listed(door, picture["id"])
    again = await made(door, {"id": item["id"]}, {"role": "user", "content": item["content"]})
    first, second = await listed(door, again["id"])
    assert first["content"] == second["content"] == item["content"]


async def test_while_a_turn_runs_nothing_is_added(door: Door) -> None:
    body = await made(door, user("1"))
    path = f"/v1/conversations/{body['id']}/items"
    asking = asyncio.create_task(door.ask("2", model="test/hand", conversation=body["id"], parent="head"))
    await until(lambda: door.hand.windows)
    response, error = await door.post(path, {"items": [user("3")]})
    assert (response.status, error["error"]["code"], error["error"]["param"]) == (
        409,
        "conversation_locked",
        "conversation",
    )
    assert response.headers["retry-after"] == "1"
    door.hand.put(Accepted(), ContentDelta("two"), Finish("stop"))
    await asking
    response, _ = await door.post(path, {"items": [user("3")]})
    assert response.status == 200


async def test_notes_and_title_are_changed(door: Door) -> None:
    body = await made(door, user("Hello"), metadata={"a": "b"})
    path = f"/v1/conversations/{body['id']}"
    for change, metadata, title in (
        ({"metadata": {"c": "d"}}, {"c": "d"}, "Hello"),
        ({"title": " My\ntrip "}, {"c": "d"}, "My trip"),
        ({"metadata": None}, {}, "My trip"),
        ({"title": "", "metadata": {"e": ""}}, {"e": ""}, "Hello"),
        ({"title": None, "metadata": {}}, {}, "Hello"),
    ):
        response, changed = await door.post(path, change)
        assert response.status == 200
        assert (changed["metadata"], changed["title"]) == (metadata, title)
        _, found = await door.get(path)
        assert {**changed, "instructions": [], "running": []} == found


async def test_an_item_goes_with_the_message_that_it_is_a_part_of(door: Door) -> None:
    reply = [{"role": "assistant", "content": "So."}, calls(), calls("call_2")]
    for which in (1, 2, 3):
        body = await made(door, user("1"), *reply, output(), user("2"))
        items = await listed(door, body["id"])
        status, left = await delete(door, f"/v1/conversations/{body['id']}/items/{items[which]['id']}")
        assert (status, left["id"], left["object"]) == (200, body["id"], "conversation")
        after = await listed(door, body["id"])
        assert after == [items[0], *items[4:]]
        for gone in items[1:4]:
            response, error = await door.get(f"/v1/conversations/{body['id']}/items/{gone['id']}")
            assert (response.status, error["error"]["code"]) == (404, "message_not_found")


async def test_what_was_made_stays_when_its_last_item_goes(door: Door) -> None:
    body = await made(door, user("1"))
    (item,) = await listed(door, body["id"])
    _, left = await delete(door, f"/v1/conversations/{body['id']}/items/{item['id']}")
    assert (left["messages"], left["head"], left["title"]) == (0, None, None)
    response, found = await door.get(f"/v1/conversations/{body['id']}")
    assert (response.status, found["messages"]) == (200, 0)
    response, gone = await door.post(f"/v1/conversations/{body['id']}/items", {"items": [user("2")]})
    assert (response.status, len(gone["data"])) == (200, 1)


async def test_deleting_takes_the_items_along(door: Door) -> None:
    body = await made(door, user("canary"))
    (item,) = await listed(door, body["id"])
    status, gone = await delete(door, f"/v1/conversations/{body['id']}")
    assert (status, gone) == (
        200,
        {"id": body["id"], "object": "conversation.deleted", "deleted": True},
    )
    other = await made(door)
    path = f"/v1/conversations/{other['id']}/items"
    for response, error in (
        await door.get(f"/v1/conversations/{body['id']}/items"),
        await door.get(f"{path}/{item['id']}"),
    ):
        assert (response.status, error["error"]["type"]) == (404, "invalid_request_error")
    response, error = await door.post(path, {"items": [{"type": "item_reference", "id": item["id"]}]})
    assert (response.status, error["error"]["param"]) == (400, "items[0].id")


@pytest.mark.parametrize("ref", [NOBODYS, "nobody", "conv_", "msg_x"])
async def test_an_unknown_conversation(door: Door, ref: str) -> None:
    path = f"/v1/conversations/{ref}"
    for response, error in (
        await door.post(path, {"metadata": {}}),
        await door.post(f"{path}/items", {"items": [user("1")]}),
        await door.get(f"{path}/items"),
        await door.get(f"{path}/items/msg_01arz3ndektsv4rrffq69g5fav"),
        await door.get(f"{path}/messages"),
    ):
        assert (response.status, error["error"]["code"]) == (404, "conversation_not_found")


async def test_another_end_users_conversation_and_items(door: Door) -> None:
    body = await made(door, user("1"), user="ann")
    (item,) = await listed(door, body["id"])
    path = f"/v1/conversations/{body['id']}"
    for response, _ in (
        await door.post(path, {"title": "x"}, {"palaver-user": "bob"}),
        await door.post(f"{path}/items?user=bob", {"items": [user("1")]}),
        await door.get(f"{path}/items/{item['id']}?user=bob"),
    ):
        assert response.status == 404
    reference = {"type": "item_reference", "id": item["id"]}
    response, error = await door.post("/v1/conversations", {"items": [reference], "user": "bob"})
    assert (response.status, error["error"]["param"]) == (400, "items[0].id")
    response, _ = await door.post("/v1/conversations", {"items": [reference], "user": "ann"})
    assert response.status == 200


async def test_where_nothing_is_recorded_nothing_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(record="none")) as door:
        response, error = await door.post("/v1/conversations", {})
        assert response.status == 400
        assert "records nothing" in error["error"]["message"]


async def test_what_was_made_is_no_task_and_temporary_ones_are_asked_for(door: Door) -> None:
    kept, passing = await made(door), await made(door, temporary=True)
    _, page = await door.get("/v1/conversations")
    assert [each["id"] for each in page["data"]] == [kept["id"]]
    _, page = await door.get("/v1/conversations?include_temporary=true")
    assert {each["id"] for each in page["data"]} == {kept["id"], passing["id"]}
