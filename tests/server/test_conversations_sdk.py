"""OpenAI's own Python SDK does all that its Conversations can do, with answers that are strictly validated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta
from tests.server.conftest import Door

IMAGE = "data:image/png;base64,AAAA"
IMAGES: Literal["message.input_image.image_url"] = "message.input_image.image_url"


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=door.address + "/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as sdk:
        yield sdk


def kinds(items: list[Any]) -> list[str]:
    return [item.type for item in items]


ITEMS: list[Any] = [
    {"role": "developer", "content": "Be brief."},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "When was this?"},
            {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
            {"type": "input_file", "file_data": "AAAA", "filename": "a.pdf"},
        ],
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    },
    {"role": "assistant", "content": "I look."},
    {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}"},
    {"type": "function_call", "call_id": "call_2", "name": "now", "arguments": '{"zone": "UTC"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "noon"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [{"type": "input_text", "text": "noon"}, {"type": "input_image", "image_url": IMAGE}],
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": "No."}],
    },
]
KINDS = [
    "message",
    "message",
    "reasoning",
    "message",
    *2 * ["function_call"],
    *2 * ["function_call_output"],
    "message",
]


async def test_a_conversation_from_its_beginning_to_its_end(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.conversations.create(items=ITEMS[:2], metadata={"topic": "demo"})
    assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
    assert isinstance(made.created_at, int)
    assert await sdk.conversations.retrieve(made.id) != made  # which has the instructions, too
    changed = await sdk.conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.id, changed.metadata) == (made.id, {"topic": "other"})
    assert (await sdk.conversations.update(made.id, metadata=None)).metadata == {}
    added: Any = await sdk.conversations.items.create(made.id, items=ITEMS[2:], include=[IMAGES])
    assert kinds(added.data) == KINDS[2:]
    assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[-1].id, False)
    for item in added.data:
        one = await sdk.conversations.items.retrieve(str(item.id), conversation_id=made.id, include=[IMAGES])
        assert one == item
    left = await sdk.conversations.items.delete(str(added.data[-1].id), conversation_id=made.id)
    assert left.id == made.id
    gone = await sdk.conversations.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError):
        await sdk.conversations.retrieve(made.id)


async def test_an_empty_conversation(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.conversations.create()
    assert made.metadata == {}
    page = await sdk.conversations.items.list(made.id)
    assert (page.data, page.has_more) == ([], False)


@pytest.mark.parametrize("limit", [1, 2, 4, 100])
async def test_all_items_in_either_order(sdk: openai.AsyncOpenAI, limit: int) -> None:
    made = await sdk.conversations.create(items=ITEMS)
    seen: dict[str, list[Any]] = {}
    orders: tuple[Literal["asc"], Literal["desc"]] = ("asc", "desc")
    for order in orders:
        pages = sdk.conversations.items.list(made.id, limit=limit, order=order, include=[IMAGES])
        seen[order] = [item async for item in pages]
    assert kinds(seen["asc"]) == KINDS
    assert seen["desc"] == seen["asc"][::-1]
    assert [item async for item in sdk.conversations.items.list(made.id, include=[IMAGES])] == seen["desc"]
    picture = seen["asc"][1].content[1]
    assert (picture.type, picture.image_url, picture.detail) == ("input_image", IMAGE, "auto")
    plain: list[Any] = [item async for item in sdk.conversations.items.list(made.id, order="asc")]
    assert plain[1].content[1].image_url is None


async def test_a_reply_of_the_other_door_is_read_and_sent_on(door: Door, sdk: openai.AsyncOpenAI) -> None:
    door.hand.put(Accepted(), ReasoningDelta("Hm."), ContentDelta("Hi."), Finish("stop"))
    response, _ = await door.ask(model="test/hand")
    conversation = response.headers["palaver-conversation"]
    items: list[Any] = [item async for item in sdk.conversations.items.list(conversation, order="asc")]
    assert kinds(items) == ["message", "reasoning", "message"]
    assert (items[1].content[0].text, items[2].content[0].text) == ("Hm.", "Hi.")
    sent: list[Any] = [item.model_dump(exclude_unset=True) for item in items]
    other = await sdk.conversations.create(items=sent)
    again: list[Any] = [item async for item in sdk.conversations.items.list(other.id, order="asc")]
    for one, two in zip(items, again, strict=True):
        assert one.model_copy(update={"id": ""}) == two.model_copy(update={"id": ""})


async def test_what_is_wrong_is_named(sdk: openai.AsyncOpenAI) -> None:
    jokes: list[Any] = [{"role": "user", "content": "x"}, {"type": "joke"}]
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.conversations.create(items=jokes)
    assert caught.value.param == "items[1].type"
    made = await sdk.conversations.create(metadata={"topic": "demo"})
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.conversations.items.list(made.id, after="msg_none")
    assert caught.value.param == "after"
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.conversations.update(made.id, metadata={"k" * 65: "v"})
    assert caught.value.param == "metadata"
