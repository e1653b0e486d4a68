"""Messages shown as OpenAI's items; and what is shown, sent back, is what was stored."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.ids import ITEM_PREFIXES, id_body, message_of_item
from palaver.core.message import (
    AudioData,
    AudioPart,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
    canonical,
)
from palaver.server.input_items import Reference, read_items
from palaver.server.items import IMAGES, ShownItem, shown_items
from tests.core.messages import arguments, encoded, texts

ID = "msg_0123456789abcdefghjkmnpqrs"
names = texts.filter(bool)
calls = st.lists(
    st.builds(ToolCall, st.builds(FunctionCall, names, arguments.filter(bool)), names), min_size=1, max_size=3
)
said = st.none() | texts | st.lists(st.builds(TextPart, texts) | st.builds(RefusalPart, texts), max_size=3)
replies = st.builds(
    Message,
    role=st.just("assistant"),
    content=said,
    tool_calls=st.none() | calls,
    reasoning=st.none() | texts,
    reasoning_content=st.none() | texts,
)
urls = encoded.filter(bool).map(lambda data: f"data:image/png;base64,{data}")
media = (
    st.builds(ImagePart, st.builds(ImageUrl, urls, st.sampled_from([None, "low", "high"])))
    | st.builds(FilePart, st.builds(FileData, encoded.filter(bool), st.none(), st.none() | texts))
    | st.builds(AudioPart, st.builds(AudioData, encoded, texts))
)
contents = texts | st.lists(st.builds(TextPart, texts) | media, max_size=3)
others = st.builds(
    Message, role=st.sampled_from(["user", "system", "developer"]), content=contents
) | st.builds(Message, role=st.just("tool"), content=contents, tool_call_id=names)


def sent(items: list[ShownItem]) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(item)) for item in items]


def shown(messages: list[Message]) -> list[ShownItem]:
    return [
        item
        for place, message in enumerate(messages)
        for item in shown_items("msg_" + id_body(place, bytes(10)), message, include=[IMAGES])
    ]


@given(replies)
def test_a_reply_sent_back_is_the_reply(reply: Message) -> None:
    (back,) = read_items(sent(shown_items(ID, reply)), "input").messages() or [Message("assistant")]
    assert canonical(back) == canonical(reply)
    assert (back.reasoning or "") == (reply.reasoning or reply.reasoning_content or "")


@given(st.lists(replies | others, max_size=6))
def test_so_is_a_whole_path(messages: list[Message]) -> None:
    items = shown(messages)
    found = read_items(sent(items), "input")
    assert [canonical(message) for message in found.messages()] == [canonical(m) for m in messages]
    first = [message_of_item(items[place].id) for place in found.places]
    assert first == ["msg_" + id_body(place, bytes(10)) for place in range(len(messages))]


@given(replies | others)
def test_ids_say_of_which_message_items_are_parts(message: Message) -> None:
    items = shown_items(ID, message)
    assert items
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert message_of_item(item.id) == ID
        assert item.id.startswith(ITEM_PREFIXES)


@given(st.lists(replies | others, min_size=1, max_size=5))
def test_references_to_items_name_each_message_once(messages: list[Message]) -> None:
    items = shown(messages)
    named = [msgspec.Raw(msgspec.json.encode({"type": "item_reference", "id": item.id})) for item in items]
    entries = read_items(named, "input").entries
    assert [entry.message for entry in entries if isinstance(entry, Reference)] == [
        "msg_" + id_body(place, bytes(10)) for place in range(len(messages))
    ]
    assert [id for entry in entries if isinstance(entry, Reference) for _, id in entry.items] == [
        item.id for item in items
    ]


def test_an_image_is_shown_where_it_is_asked_for() -> None:
    message = Message("user", [ImagePart(ImageUrl("data:image/png;base64,AA==", "low"))])
    plain, full = shown_items(ID, message), shown_items(ID, message, include=[IMAGES])
    url = [msgspec.to_builtins(item)["content"][0]["image_url"] for item in (*plain, *full)]
    assert url == [None, "data:image/png;base64,AA=="]


@pytest.mark.parametrize(
    ("message", "types"),
    [
        (Message("user", "hi"), ["message"]),
        (Message("assistant", "hi"), ["message"]),
        (Message("assistant"), ["message"]),
        (Message("assistant", "hi", reasoning="Hm."), ["reasoning", "message"]),
        (Message("assistant", None, reasoning="Hm."), ["reasoning"]),
        (Message("tool", "noon", tool_call_id="call_1"), ["function_call_output"]),
        (Message("function", "noon", name="now"), ["function_call_output"]),
        (
            Message(
                "assistant", "So", tool_calls=2 * [ToolCall(FunctionCall("now"), "call_1")], reasoning="Hm."
            ),
            ["reasoning", "message", "function_call", "function_call"],
        ),
        (Message("assistant", None, function_call=FunctionCall("now")), ["function_call"]),
    ],
)
def test_a_message_is_these_items(message: Message, types: list[str]) -> None:
    items: list[dict[str, Any]] = [msgspec.to_builtins(item) for item in shown_items(ID, message)]
    assert [item["type"] for item in items] == types
