"""Items that cannot be read: refused with the place in the body, and what may stand there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.server.input_items import InputItems, read_items
from palaver.server.input_shapes import UNSUPPORTED


def read(*items: Any) -> InputItems:
    return read_items([msgspec.Raw(msgspec.json.encode(item)) for item in items], "input")


USER = {"role": "user", "content": "hi"}
BAD: list[tuple[Any, str, str]] = [
    ("hi", "input[1]", "must be an object, not a string"),
    ({}, "input[1].role", "missing"),
    ({"type": "message", "content": "x"}, "input[1].role", "missing"),
    ({"role": "user"}, "input[1].content", "missing"),
    ({"role": "user", "content": None}, "input[1].content", "must be a string or an array, not null"),
    ({"role": "tool", "content": "x"}, "input[1].role", "user, assistant, system, developer; not 'tool'"),
    ({"role": 1, "content": "x"}, "input[1].role", "must be a string"),
    ({"type": 1}, "input[1].type", "must be a string or null"),
    (
        {"type": "joke"},
        "input[1].type",
        "must be one of message, reasoning, function_call, function_call_output",
    ),
    ({"role": "user", "content": ["x"]}, "input[1].content[0]", "must be an object"),
    ({"role": "user", "content": [{"text": "x"}]}, "input[1].content[0].type", "missing"),
    (
        {"role": "user", "content": [{"type": "joke"}]},
        "input[1].content[0].type",
        "must be one of input_text",
    ),
    ({"role": "user", "content": [{"type": "input_text"}]}, "input[1].content[0].text", "missing"),
    (
        {"role": "user", "content": [{"type": "input_image"}]},
        "input[1].content[0].image_url",
        "missing or empty",
    ),
    (
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": {}}],
        },
        "input[1].content[1].image_url",
        "must be a string or null, not an object",
    ),
    (
        {"role": "user", "content": [{"type": "input_file"}]},
        "input[1].content[0].file_data",
        "missing or empty",
    ),
    (
        {"role": "user", "content": "x", "status": "odd"},
        "input[1].status",
        "in_progress, completed, incomplete",
    ),
    ({"role": "user", "content": "x", "phase": "odd"}, "input[1].phase", "commentary, final_answer"),
    ({"role": "user", "content": "x", "id": 5}, "input[1].id", "must be a string or null"),
    (
        {"type": "reasoning", "content": [{"type": "summary_text"}]},
        "input[1].content[0].type",
        "must be one of reasoning_text; not 'summary_text'",
    ),
    ({"type": "function_call", "name": "f", "arguments": ""}, "input[1].call_id", "missing"),
    ({"type": "function_call", "call_id": "c", "arguments": ""}, "input[1].name", "missing"),
    ({"type": "function_call", "call_id": "c", "name": "", "arguments": ""}, "input[1].name", "empty"),
    ({"type": "function_call", "call_id": "c", "name": "f"}, "input[1].arguments", "missing"),
    (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}},
        "input[1].arguments",
        "a string",
    ),
    ({"type": "function_call_output", "output": "x"}, "input[1].call_id", "missing"),
    ({"type": "function_call_output", "call_id": "", "output": "x"}, "input[1].call_id", "empty"),
    ({"type": "function_call_output", "call_id": "c"}, "input[1].output", "missing"),
    (
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "joke"}]},
        "input[1].output[0].type",
        "must be one of input_text",
    ),
    ({"type": "item_reference"}, "input[1].id", "missing"),
    ({"type": "item_reference", "id": "msg_68"}, "input[1].id", "no item with the id 'msg_68'"),
    ({"type": "compaction"}, "input[1].encrypted_content", "missing"),
]


@pytest.mark.parametrize(("item", "param", "text"), BAD)
def test_what_is_wrong_is_named(item: Any, param: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(USER, item)
    assert caught.value.param == param
    assert param in caught.value.message
    assert text in caught.value.message
    assert not isinstance(caught.value, UnsupportedParameter)


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
def test_items_of_openais_own_tools_are_not_taken(kind: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        read(USER, USER, {"type": kind, "id": "x_1"})
    assert caught.value.param == "input[2].type"
    assert kind in caught.value.message


def test_addresses_of_files_and_screenshots_are_not_taken() -> None:
    for part, field in (
        ({"type": "input_file", "file_url": "https://example.org/a.pdf"}, "file_url"),
        ({"type": "computer_screenshot", "image_url": "data:"}, "type"),
    ):
        with pytest.raises(UnsupportedParameter) as caught:
            read({"role": "user", "content": [{"type": "input_text", "text": "x"}, part]})
        assert caught.value.param == f"input[0].content[1].{field}"


@pytest.mark.parametrize(
    "raw", [b'{"role": "user", "content": "\\ud800"}', b'{"x": [[[}', b'{"role": "\xff"}']
)
def test_what_is_no_json_after_all(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_items([msgspec.Raw(raw)], "items")
    assert caught.value.param == "items[0]"


def test_what_nests_too_deeply() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_items([msgspec.Raw(b'{"role": "user", "content": "x", "y": ' + b"[" * 20_000)], "items")
    assert caught.value.param == "items[0]"
