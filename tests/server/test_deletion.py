"""Deleting over HTTP: what is gone, what stays, and what is heard by those who wait there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened, until

USER = [{"role": "user", "content": "Hello."}]


async def delete(door: Door, path: str, **headers: str) -> tuple[int, Any]:
    async with door.http.delete(door.address + path, headers=headers) as response:
        return response.status, await response.json()


async def path_of(door: Door, conversation: str) -> list[dict[str, Any]]:
    _, body = await door.get(f"/v1/conversations/{conversation}/messages?order=asc")
    items: list[dict[str, Any]] = body["data"]
    return items


async def talk(door: Door, *questions: str, **more: Any) -> str:
    """Questions and answers, each with the whole history before; the conversation."""
    history: list[dict[str, Any]] = []
    for question in questions:
        history.append({"role": "user", "content": question})
        reply, conversation = await door.say(history, **more)
        history.append({"role": "assistant", "content": reply})
    return conversation


async def streaming(door: Door, path: str = "/v1/chat/completions", **more: Any) -> aiohttp.ClientResponse:
    """A reply of the hand engine that has begun, and does not end by itself."""
    before = len(door.hand.windows)
    door.hand.put(Accepted(), ContentDelta("some"))
    body = {"model": "test/hand", "messages": USER, "stream": True, **more}
    response = await door.http.post(door.address + path, json=body)
    await until(lambda: len(door.hand.windows) > before)
    assert response.status == 200
    return response


async def test_a_conversation_is_gone(door: Door) -> None:
    kept, gone = await talk(door, "one", "two"), await talk(door, "three", conversation="my notes")
    assert await delete(door, "/v1/conversations/my%20notes") == (
        200,
        {"id": gone, "object": "conversation.deleted", "deleted": True},
    )
    for method in (door.get, lambda path: delete(door, path)):
        status, body = await method(f"/v1/conversations/{gone}")
        assert getattr(status, "status", status) == 404
        assert body["error"]["code"] == "conversation_not_found"
    assert len(await path_of(door, kept)) == 4


async def test_a_message_is_gone_and_one_in_the_middle_leaves_its_place(door: Door) -> None:
    conversation = await talk(door, "one", "two")
    first, second, third, fourth = await path_of(door, conversation)
    status, body = await delete(door, f"/v1/conversations/{conversation}/items/{second['id']}")
    assert (status, body["id"], body["messages"]) == (200, conversation, 4)
    items = await path_of(door, conversation)
    assert [item["id"] for item in items] == [first["id"], second["id"], third["id"], fourth["id"]]
    assert items[1]["content"] == []
    status, body = await delete(door, f"/v1/conversations/{conversation}/items/{second['id']}?branch=true")
    assert (status, body["messages"], body["head"]) == (200, 1, first["id"])
    status, body = await delete(door, f"/v1/conversations/{conversation}/items/{first['id']}")
    assert (status, body["messages"], body["title"], body["head"]) == (200, 0, None, None)
    status, _ = await delete(door, f"/v1/conversations/{conversation}")
    assert status == 404, "it went with its last message"


async def test_a_message_is_looked_for_in_its_conversation(door: Door) -> None:
    one, other = await talk(door, "one", "two"), await talk(door, "three", "four")
    message = (await path_of(door, one))[0]["id"]
    for path in (f"{other}/items/{message}", f"{one}/items/msg_nobodys"):
        status, body = await delete(door, f"/v1/conversations/{path}")
        assert (status, body["error"]["code"]) == (404, "message_not_found")
    assert len(await path_of(door, one)) == 4


async def test_a_stored_reply_is_gone_with_its_question(door: Door) -> None:
    response, body = await door.post("/v1/chat/completions", {"model": "scripted", "messages": USER})
    conversation = response.headers["palaver-conversation"]
    assert await delete(door, f"/v1/chat/completions/{body['id']}") == (
        200,
        {"id": body["id"], "object": "chat.completion.deleted", "deleted": True},
    )
    for path in (f"/v1/chat/completions/{body['id']}", f"/v1/conversations/{conversation}"):
        assert (await delete(door, path))[0] == 404
    assert (await delete(door, "/v1/chat/completions/nonsense"))[0] == 404


@pytest.mark.parametrize(
    "repeats",
    [
        ({"idempotency-key": "once"}, {"idempotency-key": "once"}),
        ({"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}),
    ],
)
async def test_a_reply_deleted_in_the_middle_is_no_empty_answer(
    door: Door, repeats: tuple[dict[str, str], dict[str, str]]
) -> None:
    first, again = repeats
    asked = {"model": "scripted", "messages": USER}
    response, reply = await door.post("/v1/chat/completions", asked, first)
    history = [*USER, reply["choices"][0]["message"], {"role": "user", "content": "And?"}]
    _, conversation = await door.say(history)
    assert conversation == response.headers["palaver-conversation"]
    message = (await path_of(door, conversation))[1]["id"]
    assert (await delete(door, f"/v1/conversations/{conversation}/items/{message}"))[0] == 200
    response, body = await door.get(f"/v1/chat/completions/{reply['id']}")
    assert (response.status, body["error"]["code"]) == (404, "message_deleted")
    response, anew = await door.post("/v1/chat/completions", asked, again)
    assert response.status == 200
    assert anew["id"] != reply["id"]
    assert anew["choices"][0]["message"]["content"].startswith("Reply")


@pytest.mark.parametrize("what", ["conversation", "item", "reply", "user", "owner"])
async def test_who_reads_a_reply_that_is_deleted_hears_its_end(door: Door, what: str) -> None:
    response = await streaming(door, conversation="c", user="ada")
    waiting = asyncio.create_task(
        door.http.post(
            door.address + "/v1/chat/completions",
            json={
                "model": "test/hand",
                "messages": USER,
                "parent": "head",
                "conversation": "c",
                "user": "ada",
                "stream": True,
            },
        )
    )
    await until(lambda: len(door.chat._running) == 2)
    conversation = response.headers["palaver-conversation"]
    question = (await door.chat.store.items("local", conversation))[0].id
    path = {
        "conversation": f"/v1/conversations/{conversation}",
        "item": f"/v1/conversations/{conversation}/items/{question}?branch=true",
        "reply": f"/v1/chat/completions/{response.headers['palaver-turn']}",
        "user": "/v1/users/ada",
        "owner": "/v1/owners/local",
    }[what]
    if what == "reply":
        door.hand.put(Accepted())  # what waited goes on
    status, _ = await delete(door, path)
    assert status == 200
    assert b"some" in await response.read()
    if what == "reply":
        assert (await door.get(f"/v1/chat/completions/{response.headers['palaver-turn']}"))[0].status == 404
        await door.chat.stop_turns("local", "Stopped.")
    (await waiting).close()
    await until(lambda: not door.chat._running)
    left = await door.chat.store.conversations("local", one_shots=True)
    messages = [item.message.text for c in left for item in await door.chat.store.items("local", c.id)]
    assert "some" not in messages


async def test_a_turn_that_a_deletion_overtakes_ends_in_an_error(door: Door) -> None:
    """It was admitted just before, and nobody knew yet that it ran."""
    response = await streaming(door)
    await door.chat.store.delete_conversation("local", response.headers["palaver-conversation"])
    door.hand.put(ContentDelta(" more"), Finish("stop"))
    body = await response.read()
    assert b'"error"' in body
    assert b"[DONE]" not in body
    await until(lambda: not door.chat._running)
    assert await door.chat.store.conversations("local", one_shots=True) == []


async def test_a_turn_that_is_not_stored_is_stopped(door: Door) -> None:
    response = await streaming(door, store=False)
    status, _ = await delete(door, f"/v1/chat/completions/{response.headers['palaver-turn']}")
    assert status == 200
    assert b"some" in await response.read()


async def test_an_end_user_is_gone(door: Door) -> None:
    for question in ("one", "two"):
        await talk(door, question, user="ada lovelace")
    kept = await talk(door, "three", user="ada")
    assert await delete(door, "/v1/users/ada%20lovelace") == (
        200,
        {
            "id": "ada lovelace",
            "object": "user.deleted",
            "deleted": True,
            "conversations": 2,
            "messages": 4,
            "turns": 2,
        },
    )
    status, again = await delete(door, "/v1/users/ada%20lovelace")
    assert (status, again["conversations"]) == (200, 0)
    assert (await door.get(f"/v1/conversations/{kept}"))[0].status == 200


@pytest.mark.parametrize("verb", ["conversations", "conversations_of", "aged"])
async def test_what_is_deleted_may_go_meanwhile(
    door: Door, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these may be read when somebody else deletes what was found."""
    left = [await talk(door, question, user="ada") for question in ("one", "two", "three")]
    await asyncio.sleep(0.1)  # a millionth of a day
    store = door.chat.store
    read = getattr(store, verb)

    async def and_then_one_goes(*given: Any, **more: Any) -> Any:
        found = await read(*given, **more)
        for id in left:
            await store.delete_conversation("local", id)
        left.clear()
        return found

    monkeypatch.setattr(store, verb, and_then_one_goes)
    response, _ = await door.post("/v1/retention", {"older_than_days": 0.000001})
    assert response.status == 200
    assert (await delete(door, "/v1/users/ada"))[0] == 200
    monkeypatch.undo()
    assert await store.conversations("local", end_user="ada", one_shots=True) == []


async def test_an_owner_is_gone_and_its_keys_open_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(api_keys=("root",))) as door:
        root = {"authorization": "Bearer root"}
        response, made = await door.post("/v1/keys", {"name": "n", "owner": "ann"}, root)
        assert response.status == 200, made
        ann = {"authorization": f"Bearer {made['key']}"}
        response, _ = await door.post("/v1/chat/completions", {"model": "scripted", "messages": USER}, ann)
        assert response.status == 200
        for path in ("/v1/owners/ann", "/v1/owners/local"):
            status, body = await delete(door, path, **ann)
            assert (status, body["error"]["code"]) == (403, "insufficient_scope")
        response, body = await door.post("/v1/retention", {"older_than_days": 1}, ann)
        assert response.status == 403
        status, body = await delete(door, "/v1/owners/ann", **root)
        assert (status, body["conversations"], body["messages"]) == (200, 1, 2)
        assert (await door.get("/v1/conversations", ann))[0].status == 401


async def test_to_delete_takes_a_key_that_may(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        conversation = await talk(door, "one", "two")
        first = (await path_of(door, conversation))[0]["id"]
        response, made = await door.post(
            "/v1/keys", {"name": "n", "owner": "local", "scopes": ["read", "chat"]}
        )
        assert response.status == 200
        reader = {"authorization": f"Bearer {made['key']}"}
        for path in (conversation, f"{conversation}/items/{first}"):
            assert (await delete(door, f"/v1/conversations/{path}", **reader))[0] == 403
        assert (await delete(door, "/v1/users/ada", **reader))[0] == 403


async def test_what_is_old_is_shown_before_it_goes(door: Door) -> None:
    old = await talk(door, "one", "two")
    asked = {"older_than_days": 0.000001}
    _, before = await door.get("/v1/conversations")
    response, preview = await door.post("/v1/retention", {"older_than_days": 1000})
    assert (response.status, preview["conversations"], preview["data"]) == (200, 0, [])
    await asyncio.sleep(0.1)  # a millionth of a day
    response, preview = await door.post("/v1/retention", asked)
    assert response.status == 200
    assert (preview["dry_run"], preview["conversations"], preview["messages"]) == (True, 1, None)
    assert preview["data"] == before["data"]
    assert [each["id"] for each in preview["data"]] == [old]
    _, others = await door.post("/v1/retention", {**asked, "dry_run": False, "owner": "other"})
    assert others["conversations"] == 0
    _, done = await door.post("/v1/retention", {**asked, "dry_run": False})
    assert (done["dry_run"], done["conversations"], done["messages"], done["turns"]) == (False, 1, 4, 2)
    assert [each["id"] for each in done["data"]] == [old]
    assert (await door.get(f"/v1/conversations/{old}"))[0].status == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "older_than_days"),
        ({"older_than_days": 0}, "older_than_days"),
        ({"older_than_days": -1}, "older_than_days"),
        ({"older_than_days": "x"}, "older_than_days"),
        ({"older_than_days": 1, "dry_run": "no"}, "dry_run"),
    ],
)
async def test_what_is_old_must_be_said_plainly(door: Door, body: dict[str, Any], param: str) -> None:
    response, answer = await door.post("/v1/retention", body)
    assert (response.status, answer["error"]["param"]) == (400, param)


async def test_the_log_has_no_names_and_no_ids(door: Door) -> None:
    conversation = await talk(door, "one", conversation="canary notes", user="canary ada")
    message = (await door.chat.store.items("local", conversation))[0].id
    with capture_logs() as logs:
        await door.get("/v1/conversations/canary%20notes/messages?user=canary")
        await delete(door, f"/v1/conversations/{conversation}/items/{message}")
        await delete(door, f"/v1/v1//conversations/{conversation}")
        await delete(door, "/v1/users/canary%20ada")
        await door.get("/v1/models/canary/model")
        await door.get("/v1/canary/nothing")
        await door.get("/canary")
        await delete(door, "/v1/models")
        await door.get("/")
    requests = [entry for entry in logs if entry["event"] == "request"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in requests] == [
        ("GET", "/v1/conversations/{conversation}/messages", 404),
        ("DELETE", "/v1/conversations/{conversation}/items/{item}", 200),
        ("DELETE", "/v1/conversations/{conversation}", 200),
        ("DELETE", "/v1/users/{user}", 200),
        ("GET", "/v1/models/{id}", 404),
        ("GET", "unknown", 404),
        ("GET", "unknown", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/", 200),
    ]
    for word in ("canary", conversation, message):
        assert word not in str(logs)


async def test_a_page_of_another_origin_may_ask_whether_it_may_delete(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(cors_origins=("https://app.example",))) as door:
        headers = {"origin": "https://app.example", "access-control-request-method": "DELETE"}
        async with door.http.options(door.address + "/v1/conversations/x", headers=headers) as response:
            assert response.status == 204
            assert "DELETE" in response.headers["access-control-allow-methods"].split(", ")
