"""What a stored chat completion was asked with, as it was sent, page by page."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta
from tests.server.conftest import Door
from tests.server.test_deletion import delete

ROUTE = "/v1/chat/completions"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


async def asked(door: Door, *messages: dict[str, Any], **more: Any) -> tuple[str, str]:
    """The ids of a reply of the hand engine and of its conversation."""
    door.hand.capabilities |= {"tools", "image_url", "reasoning"}
    door.hand.put(Accepted(), ContentDelta("Fine."), Finish("stop"))
    response, body = await door.post(ROUTE, {"model": "test/hand", "messages": messages, **more})
    assert response.status == 200, body
    return body["id"], response.headers["palaver-conversation"]


async def listed(door: Door, id: str, query: str = "") -> list[dict[str, Any]]:
    response, body = await door.get(f"{ROUTE}/{id}/messages?{query}")
    assert response.status == 200, body
    ids = [each["id"] for each in body["data"]]
    assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else ("", ""))
    data: list[dict[str, Any]] = body["data"]
    return data


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


async def texts(door: Door, id: str) -> list[tuple[str, Any]]:
    return [(each["role"], each["content"]) for each in await listed(door, id)]


class TestWhatIsThere:
    async def test_it_is_what_was_sent_and_numbered(self, door: Door) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        sent = [
            system("Be kind."),
            user("How is it?", name="ann"),
            assistant(None, tool_calls=[call], reasoning="Hm."),
            {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
            assistant("Sunny."),
            user([{"type": "text", "text": "And here?"}]),
        ]
        id, _ = await asked(door, *sent)
        found = await listed(door, id)
        assert [each.pop("id") for each in found] == [f"{id}-{i}" for i in range(6)]
        assert all(each.pop("content_parts") is None for each in found)
        assert found == [*sent[:5], user("And here?")]

    async def test_parts_stand_apart(self, door: Door) -> None:
        parts = [{"type": "text", "text": "What is it?"}, PICTURE]
        id, _ = await asked(door, user(parts))
        (found,) = await listed(door, id)
        assert (found["content"], found["content_parts"][0]) == (None, parts[0])
        assert found["content_parts"][1]["type"] == "image_url"
        id, _ = await asked(door, user([PICTURE]))
        (found,) = await listed(door, id)
        assert (found["content"], len(found["content_parts"])) == (None, 1)

    async def test_instructions_stand_where_they_were_sent(self, door: Door) -> None:
        sent = [system("one"), assistant("Welcome."), system("two"), user("Hello.")]
        id, _ = await asked(door, *sent)
        assert await texts(door, id) == [(each["role"], each["content"]) for each in sent]

    async def test_below_a_stored_message_it_is_the_whole_path(self, door: Door) -> None:
        _, conversation = await asked(door, system("Be kind."), user("one"), conversation="c")
        id, _ = await asked(door, user("two"), conversation=conversation, parent="head")
        assert await texts(door, id) == [
            ("system", "Be kind."),
            ("user", "one"),
            ("assistant", "Fine."),
            ("user", "two"),
        ]

    async def test_what_a_client_left_out_is_not_there(self, door: Door) -> None:
        history: list[dict[str, Any]] = []
        for i in range(5):
            history.append(user(f"q{i}"))
            await asked(door, *history, conversation="c")
            history.append(assistant("Fine."))
        sent = [*history[:1], *history[6:], user("q5")]
        id, _ = await asked(door, *sent, conversation="c")
        assert len(door.hand.windows[-1].messages) == len(sent)
        assert await texts(door, id) == [(each["role"], each["content"]) for each in sent]
        for limit in (1, 2, 3, 50):
            assert await paged(door, id, limit, "asc") == [f"{id}-{i}" for i in range(len(sent))]

    async def test_a_reply_is_asked_with_what_came_before_it(self, door: Door) -> None:
        door.hand.capabilities |= {"reasoning"}
        door.hand.put(Accepted(), ReasoningDelta("Hm."), ContentDelta("Yes."), Finish("stop"))
        _, body = await door.post(ROUTE, {"model": "test/hand", "messages": [user("one")]})
        assert await texts(door, body["id"]) == [("user", "one")]


async def paged(door: Door, id: str, limit: int, order: str) -> list[str]:
    seen: list[str] = []
    after = ""
    while True:
        _, body = await door.get(f"{ROUTE}/{id}/messages?limit={limit}&order={order}{after}")
        seen += [each["id"] for each in body["data"]]
        assert len(seen) < 40
        if not body["has_more"]:
            return seen
        assert len(body["data"]) == limit
        after = f"&after={body['last_id']}"


class TestPages:
    async def test_the_sdk_goes_through_all_of_them(self, door: Door) -> None:
        history = [system("Be kind."), *(user(str(i)) if i % 2 else assistant(str(i)) for i in range(1, 10))]
        id, _ = await asked(door, *history)
        # Strictly, its types know no role but assistant here.
        async with openai.AsyncOpenAI(base_url=door.address + "/v1", api_key="any") as sdk:
            for limit in (1, 3, 10, 100):
                seen = [each async for each in sdk.chat.completions.messages.list(id, limit=limit)]
                assert [(each.role, each.content) for each in seen] == [
                    (each["role"], each["content"]) for each in history
                ]
                back = [
                    each.id
                    async for each in sdk.chat.completions.messages.list(id, limit=limit, order="desc")
                ]
                assert back == [each.id for each in seen][::-1]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    async def test_deleted_ones_leave_no_hole(self, door: Door, limit: int, order: str) -> None:
        history = [system("Be kind.")]
        for i in range(4):
            history.append(user(f"q{i}"))
            id, conversation = await asked(door, *history, conversation="c")
            history.append(assistant("Fine."))
        tree = await door.chat.store.tree("local", conversation)
        for message in tree[1:5]:
            assert (await delete(door, f"/v1/conversations/{conversation}/items/{message.id}"))[0] == 200
        expected = [f"{id}-{i}" for i in (0, 1, 6, 7)]
        assert await paged(door, id, limit, order) == (expected if order == "asc" else expected[::-1])

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up", "after=x", "after=", "after={}-2"])
    @pytest.mark.parametrize("order", ["", "&order=desc"])
    async def test_bad_queries(self, door: Door, query: str, order: str) -> None:
        id, _ = await asked(door, system("Be kind."), user("one"))
        query = query.format(id)
        response, body = await door.get(
            f"{ROUTE}/{id}/messages?{query}{order if 'order' not in query else ''}"
        )
        assert (response.status, body["error"]["param"]) == (400, query.partition("=")[0])

    @pytest.mark.parametrize("number", ["00", "-1", "+1", "1 ", "\u0661", "1_0", ""])
    async def test_a_cursor_is_an_id_as_it_was_told(self, door: Door, number: str) -> None:
        id, _ = await asked(door, system("Be kind."), user("one"), user("two"))
        other, _ = await asked(door, user("else"))
        for cursor in (f"{id}-{number}", f"{other}-0", other, id.replace("chatcmpl-", "turn_") + "-0"):
            response, body = await door.get(f"{ROUTE}/{id}/messages?after={cursor}")
            assert (response.status, body["error"]["param"]) == (400, "after"), cursor
        assert [each["content"] for each in await listed(door, id, f"after={id}-1")] == ["two"]
