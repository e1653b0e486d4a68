"""What is kept, page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import openai
import pytest

from palaver.core.errors import EngineBroke
from palaver.core.message import hash_of
from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta
from tests.server.conftest import Door


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def test_an_empty_list(door: Door) -> None:
    _, body = await door.get("/v1/conversations")
    assert body == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


async def test_a_conversation_has_this_shape(door: Door) -> None:
    _, conversation = await door.say([user("Hello")], conversation="trip to Rome", user="ada")
    _, body = await door.get(f"/v1/conversations/{conversation}")
    assert isinstance(body.pop("created_at"), int)
    assert isinstance(body.pop("updated_at"), int)
    assert body.pop("source").startswith("Python")
    assert body.pop("head").startswith("msg_")
    assert body == {
        "id": conversation,
        "object": "conversation",
        "metadata": {},
        "name": "trip to Rome",
        "title": "Hello",
        "titled_by": "words",
        "user": "ada",
        "messages": 2,
        "is_task": False,
        "pinned": False,
        "archived": False,
        "expires_at": None,
        "window": None,
        "instructions": [],
        "running": [],
    }


async def test_lists_page_from_the_last_updated_on(door: Door) -> None:
    made = [(await door.say([user("x")], conversation=f"c{i}"))[1] for i in range(5)]
    seen, after = [], ""
    while True:
        _, page = await door.get(f"/v1/conversations?limit=2{after}")
        seen += [each["id"] for each in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert seen == made[::-1]


async def test_lists_can_be_narrowed(door: Door) -> None:
    for name, who in (("a", "ada"), ("b", "ada"), ("a", "bob")):
        await door.say([user("x")], conversation=name, user=who)
    await door.say([user("A title, please")])

    async def found(query: str, headers: dict[str, str] | None = None) -> set[tuple[str | None, str | None]]:
        _, page = await door.get("/v1/conversations" + query, headers)
        return {(each["name"], each["user"]) for each in page["data"]}

    named = {("a", "ada"), ("b", "ada"), ("a", "bob")}
    assert await found("") == named
    assert await found("?include_tasks=true") == {*named, (None, None)}
    assert await found("?include_tasks=false") == named
    assert await found("?name=a") == {("a", "ada"), ("a", "bob")}
    assert await found("?user=ada") == {("a", "ada"), ("b", "ada")}
    assert await found("", {"palaver-user": "bob"}) == {("a", "bob")}
    assert await found("?user=ada&name=b") == {("b", "ada")}


@pytest.mark.parametrize("name", ["trip", "a/b", "x/items", "100%", "ça va?", "a b+c", "%2F"])
async def test_a_name_is_as_good_as_an_id(door: Door, name: str) -> None:
    _, conversation = await door.say([user("Hello")], conversation=name)
    response, body = await door.get(f"/v1/conversations/{quote(name, safe='')}")
    assert (response.status, body["id"], body["name"]) == (200, conversation, name)
    response, page = await door.get(f"/v1/conversations/{quote(name, safe='')}/messages")
    assert (response.status, len(page["data"])) == (200, 2)


async def test_a_name_belongs_to_an_end_user(door: Door) -> None:
    _, hers = await door.say([user("x")], conversation="diary", user="ada")
    response, body = await door.get("/v1/conversations/diary")
    assert (response.status, body["error"]["code"]) == (404, "conversation_not_found")
    for query, headers in (("?user=ada", {}), ("", {"palaver-user": "ada"})):
        _, body = await door.get("/v1/conversations/diary" + query, headers)
        assert body["id"] == hers
        _, page = await door.get("/v1/conversations/diary/messages" + query, headers)
        assert len(page["data"]) == 2


async def test_messages_have_openais_shape_and_ours_beside_it(door: Door) -> None:
    door.hand.put(Accepted(), ReasoningDelta("Hm."), ContentDelta("Hi."), Finish("stop"))
    response, _ = await door.ask(model="test/hand", messages=[{**user("Hello"), "name": "ada"}])
    _, page = await door.get(f"/v1/conversations/{response.headers['palaver-conversation']}/messages")
    reply, question = page["data"]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (reply["id"], question["id"], False)
    for item in (reply, question):
        assert isinstance(item.pop("created_at"), int)
    parent = question.pop("id")
    assert parent.startswith("msg_")
    assert question == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "Hello"}],
        "parent": None,
        "place": 0,
        "turn": None,
        "model": None,
        "turn_state": None,
        "finish_reason": None,
        "deleted": False,
        "name": "ada",
    }
    assert reply.pop("id").startswith("msg_")
    assert reply == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
        "parent": parent,
        "place": 1,
        "turn": response.headers["palaver-turn"],
        "model": "test/hand",
        "turn_state": "completed",
        "finish_reason": "stop",
        "deleted": False,
        "reasoning": "Hm.",
    }


async def test_a_reply_that_was_cut_off_says_so(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("So f"), EngineBroke())
    response, _ = await door.ask(model="test/hand")
    _, page = await door.get(f"/v1/conversations/{response.headers['palaver-conversation']}/messages?limit=1")
    assert page["data"][0]["status"] == "incomplete"
    assert page["data"][0]["content"][0]["text"] == "So f"
    assert page["has_more"] is True


async def test_every_kind_of_content_is_shown(door: Door) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "file", "file": {"file_data": "AA==", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "noon", "tool_call_id": "call_1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "function", "name": "now", "content": "noon"},
        {"role": "system", "content": "Be brief."},
        user("Well?"),
    ]
    _, conversation = await door.say(messages)
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?order=asc")
    items = page["data"]
    id = f"file-{hash_of(bytes(1))}"
    assert items[0]["content"] == [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": None, "file_id": id, "detail": "auto"},
        {"type": "input_file", "file_id": id, "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": id, "format": "wav"}},
    ]
    assert (items[1]["content"], items[1]["tool_calls"]) == ([], [call])
    assert (items[2]["role"], items[2]["tool_call_id"]) == ("tool", "call_1")
    assert items[3]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert (items[4]["role"], items[4]["name"]) == ("tool", "now")
    assert (items[5]["role"], items[5]["content"]) == (
        "system",
        [{"type": "input_text", "text": "Be brief."}],
    )


async def test_openais_sdk_reads_it_page_by_page(door: Door) -> None:
    history: list[dict[str, Any]] = []
    for i in range(5):
        history.append(user(f"Question {i}"))
        answer, conversation = await door.say(history)
        history.append({"role": "assistant", "content": answer})
    async with openai.AsyncOpenAI(
        base_url=door.address + "/v1", api_key="any", _strict_response_validation=True
    ) as sdk:
        found = await sdk.conversations.retrieve(conversation)
        assert found.metadata == {}
        for order, expected in (("asc", history), ("desc", history[::-1])):
            items: list[Any] = [
                item
                async for item in sdk.conversations.items.list(conversation, limit=3, order=order)  # type: ignore[arg-type]
            ]
            assert [(item.role, item.content[0].text) for item in items] == [
                (message["role"], message["content"]) for message in expected
            ]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("order=up", "order"),
        ("after=msg_none", "after"),
    ],
)
async def test_a_bad_query(door: Door, query: str, param: str) -> None:
    _, conversation = await door.say([user("Hello")])
    response, body = await door.get(f"/v1/conversations/{conversation}/messages?{query}")
    assert response.status == 400, body
    assert body["error"]["param"] == param
    if param == "order":
        assert "must be one of asc, desc; not 'up'" in body["error"]["message"]


async def test_a_list_after_something_unknown(door: Door) -> None:
    response, body = await door.get("/v1/conversations?after=conv_none")
    assert (response.status, body["error"]["param"]) == (404, "after")
    response, body = await door.get("/v1/conversations?include_tasks=perhaps")
    assert (response.status, body["error"]["param"]) == (400, "include_tasks")


@pytest.mark.parametrize("ref", ["conv_00000000000000000000000000", "nobody", "%00", "%ff"])
async def test_no_such_conversation(door: Door, ref: str) -> None:
    for path in (f"/v1/conversations/{ref}", f"/v1/conversations/{ref}/messages"):
        response, body = await door.get(path)
        assert (response.status, body["error"]["code"]) == (404, "conversation_not_found")
