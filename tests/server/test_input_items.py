"""Items that clients send, as the messages that come of them; and what is refused, by its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from palaver.core.errors import InvalidRequest, RequestError, UnsupportedParameter
from palaver.core.message import (
    AudioUrlPart,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
    VideoPart,
)
from palaver.server.input_items import Compaction, InputItems, Reference, read_items

ONE = "0123456789abcdefghjkmnpqrs"
TWO = "1123456789abcdefghjkmnpqrs"


def read(*items: Any) -> InputItems:
    return read_items([msgspec.Raw(msgspec.json.encode(item)) for item in items], "input")


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def thinks(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}], **more}


def calls(name: str = "now", id: str = "call_1", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": "{}", **more}


def called(name: str = "now", id: str = "call_1") -> ToolCall:
    return ToolCall(FunctionCall(name), id)


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_the_short_form(role: str) -> None:
    assert read({"role": role, "content": "hi"}).messages() == [
        msgspec.convert({"role": role, "content": "hi"}, Message)
    ]


@pytest.mark.parametrize("kind", ["input_text", "output_text", "text", "summary_text", "reasoning_text"])
def test_one_text_is_plain(kind: str) -> None:
    content: list[dict[str, Any]] = [
        {"type": kind, "text": "hi", "annotations": [], "prompt_cache_breakpoint": None}
    ]
    assert read({"type": "message", "role": "assistant", "content": content}).messages() == [
        Message("assistant", "hi")
    ]


def test_every_part() -> None:
    content: list[dict[str, Any]] = [
        {"type": "input_text", "text": "Look"},
        {"type": "refusal", "refusal": "No."},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "file_id": None, "detail": "low"},
        {"type": "input_image", "image_url": None, "file_id": "file-1", "detail": None},
        {"type": "input_file", "file_data": "AA==", "filename": "a.pdf", "file_url": None},
        {"type": "input_file", "file_id": "file-2"},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AA=="}},
    ]
    (message,) = read({"role": "user", "content": content}).messages()
    assert message.content == [
        TextPart("Look"),
        RefusalPart("No."),
        ImagePart(ImageUrl("https://example.org/a.png")),
        ImagePart(ImageUrl("data:image/png;base64,AA==", "low")),
        ImagePart(ImageUrl("file-1")),
        FilePart(FileData("AA==", filename="a.pdf")),
        FilePart(FileData(file_id="file-2")),
        VideoPart(MediaUrl("data:video/mp4;base64,AA==")),
        AudioUrlPart(MediaUrl("data:audio/wav;base64,AA==")),
    ]


def test_what_a_function_answers() -> None:
    parts = [{"type": "input_text", "text": "noon"}]
    both = [Message("tool", "noon", tool_call_id="call_1")]
    assert read({"type": "function_call_output", "call_id": "call_1", "output": "noon"}).messages() == both
    assert read({"type": "function_call_output", "call_id": "call_1", "output": parts}).messages() == both


def test_thinking_text_and_calls_are_one_reply() -> None:
    found = read(
        {"role": "user", "content": "When?"},
        thinks("Hm."),
        says("I look."),
        calls("now", "call_1"),
        calls("then", "call_2"),
        {"type": "function_call_output", "call_id": "call_1", "output": "noon"},
        calls("then", "call_3"),
    )
    assert found.messages() == [
        Message("user", "When?"),
        Message(
            "assistant",
            "I look.",
            tool_calls=[called(), called("then", "call_2")],
            reasoning="Hm.",
        ),
        Message("tool", "noon", tool_call_id="call_1"),
        Message("assistant", None, tool_calls=[called("then", "call_3")]),
    ]
    assert found.places == [0, 1, 5, 6]


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([says("a"), says("b")], [Message("assistant", "a"), Message("assistant", "b")]),
        (
            [says("a"), thinks("Hm."), says("b")],
            [Message("assistant", "a"), Message("assistant", "b", reasoning="Hm.")],
        ),
        (
            [calls(), says("b")],
            [Message("assistant", None, tool_calls=[called()]), Message("assistant", "b")],
        ),
        (
            [calls(id="call_1"), thinks("Hm."), calls(id="call_2")],
            [
                Message("assistant", None, tool_calls=[called()]),
                Message("assistant", None, tool_calls=[called(id="call_2")], reasoning="Hm."),
            ],
        ),
        ([thinks("Hm."), thinks("So."), says("a")], [Message("assistant", "a", reasoning="Hm.\n\nSo.")]),
        # Ids say more than the order.
        (
            [says("a", id=f"msg_{ONE}"), says("b", id=f"msg_{ONE}")],
            [Message("assistant", [TextPart("a"), TextPart("b")])],
        ),
        (
            [thinks("Hm.", id=f"rs_{ONE}"), says("b", id=f"msg_{TWO}")],
            [Message("assistant", None, reasoning="Hm."), Message("assistant", "b")],
        ),
        (
            [says("a", id=f"msg_{ONE}"), calls(id="call_1"), says("b", id=f"msg_{ONE}")],
            [Message("assistant", [TextPart("a"), TextPart("b")], tool_calls=[called()])],
        ),
        # Other servers' ids say nothing.
        (
            [thinks("Hm.", id="rs_68abc"), says("a", id="msg_68abd")],
            [Message("assistant", "a", reasoning="Hm.")],
        ),
    ],
)
def test_where_one_reply_ends_and_the_next_begins(items: list[Any], messages: list[Message]) -> None:
    assert read(*items).messages() == messages


def test_thinking_that_only_others_can_read_is_none() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    assert read(sealed, says("a")).messages() == [Message("assistant", "a")]
    assert read(sealed, {"role": "user", "content": "b"}).messages() == [Message("user", "b")]


def test_a_summary_stands_for_thinking_that_is_not_told() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("Hm.", "So.")]
    assert read({"type": "reasoning", "summary": summary}).messages() == [
        Message("assistant", None, reasoning="Hm.\n\nSo.")
    ]


def test_thinking_in_the_text_is_told_apart_as_on_the_other_door() -> None:
    assert read(says("<think>Hm.</think>a")).messages() == [Message("assistant", "a", reasoning="Hm.")]
    assert read(thinks("So."), says("<think>Hm.</think>a")).messages() == [
        Message("assistant", "<think>Hm.</think>a", reasoning="So.")
    ]


def test_references_stand_for_whole_messages() -> None:
    found = read(
        {"id": f"msg_{ONE}"},
        {"type": "item_reference", "id": f"rs_{TWO}"},
        {"type": "item_reference", "id": f"fc_{TWO}_1"},
        says("what is stored already", id=f"msg_{TWO}"),
        {"type": "function_call_output", "call_id": "call_1", "output": "noon"},
        {"type": "item_reference", "id": f"msg_{ONE}"},
    )
    assert found.entries == [
        Reference(f"msg_{ONE}", [(0, f"msg_{ONE}"), (5, f"msg_{ONE}")]),
        Reference(f"msg_{TWO}", [(1, f"rs_{TWO}"), (2, f"fc_{TWO}_1")]),
        Message("tool", "noon", tool_call_id="call_1"),
    ]
    assert found.places == [0, 1, 4]
    with pytest.raises(UnsupportedParameter) as caught:
        found.messages()
    assert caught.value.param == "input[0].type"


def test_a_reference_takes_in_the_part_that_was_sent_before_it() -> None:
    found = read(thinks("Hm.", id=f"rs_{ONE}"), {"type": "item_reference", "id": f"msg_{ONE}"})
    assert found.entries == [Reference(f"msg_{ONE}", [(0, f"rs_{ONE}"), (1, f"msg_{ONE}")])]
    assert found.places == [0]


def test_a_compaction_is_left_to_who_can_read_it() -> None:
    found = read(says("a"), {"type": "compaction", "encrypted_content": "sealed"}, says("b"))
    assert found.entries == [Message("assistant", "a"), Compaction("sealed"), Message("assistant", "b")]
    with pytest.raises(UnsupportedParameter) as caught:
        found.messages()
    assert caught.value.param == "input[1].type"


@pytest.mark.parametrize(
    ("param", "named"),
    [
        ("messages", "input"),
        ("messages[0].content[1].image_url.url", "input[0].content[1].image_url"),
        ("messages[0].content[0].image_url.url", "input[0].content[0].file_id"),
        ("messages[1]", "input[1]"),
        ("messages[2].tool_call_id", "input[3].call_id"),
        ("messages[2].content[0].file.file_data", "input[3].output[0].file_data"),
        ("messages[3]", "messages[3]"),
        ("model", "model"),
        (None, None),
    ],
)
def test_errors_that_name_a_message_name_the_item(param: str | None, named: str | None) -> None:
    pictures = [
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ]
    found = read(
        {"role": "user", "content": pictures},
        thinks("Hm."),
        calls(),
        {"type": "function_call_output", "call_id": "call_1", "output": "x"},
    )
    with pytest.raises(RequestError) as caught, found.naming():
        raise InvalidRequest(f"`{param}` is wrong.", param=param)
    assert caught.value.param == named
    if param != "messages":
        assert caught.value.message == caught.value.public == f"`{named}` is wrong."
