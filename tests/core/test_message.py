"""The canonical form: whatever SDKs do to a message, it stays the same; what differs in meaning differs."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palaver.core.message import (
    DEEPEST,
    AudioData,
    AudioPart,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    Message,
    Part,
    TextPart,
    ToolCall,
    canonical,
)
from tests.core.messages import meaning, messages, similar_messages, texts

PNG = base64.b64encode(b"a picture, or so").decode()


def called(arguments: str, id: str = "") -> Message:
    return Message("assistant", tool_calls=[ToolCall(FunctionCall("look_up", arguments), id)])


def image(url: str, detail: str | None = None) -> Message:
    return Message("user", [TextPart("What is this?"), ImagePart(ImageUrl(url, detail))])


@settings(max_examples=500)
@given(*2 * [messages | similar_messages | similar_messages])
def test_two_messages_are_the_same_where_they_mean_the_same(one: Message, other: Message) -> None:
    assert (canonical(one) == canonical(other)) == (meaning(one) == meaning(other))


@given(messages, texts, texts)
def test_what_sdks_change_is_no_part_of_it(message: Message, name: str, thought: str) -> None:
    changed = msgspec.structs.replace(message, reasoning=thought, reasoning_content=None)
    if isinstance(message.content, str):
        changed = msgspec.structs.replace(changed, content=[TextPart(message.content)])
    if not message.content:
        changed = msgspec.structs.replace(changed, content=[])
    if not message.tool_calls:
        changed = msgspec.structs.replace(changed, tool_calls=[])
    if not message.name:
        changed = msgspec.structs.replace(changed, name="")
    if message.role in ("system", "developer"):
        changed = msgspec.structs.replace(changed, role="developer" if message.role == "system" else "system")
    assert canonical(changed) == canonical(message)
    assume(name)
    assert canonical(msgspec.structs.replace(changed, name=name + (message.name or ""))) != canonical(message)


@given(messages)
def test_it_survives_being_stored_and_read(message: Message) -> None:
    stored = msgspec.json.encode(message)
    assert canonical(msgspec.json.decode(stored, type=Message)) == canonical(message)


@pytest.mark.parametrize(
    "returned",
    [
        {"role": "assistant", "content": "Paris."},
        {"role": "assistant", "content": [{"type": "text", "text": "Paris."}]},
        # What `model_dump()` of the official SDKs gives back.
        {
            "role": "assistant",
            "content": "Paris.",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
        },
        {
            "role": "assistant",
            "content": "Paris.",
            "tool_calls": [],
            "reasoning": None,
            "reasoning_content": None,
        },
        {"role": "assistant", "content": "Paris.", "reasoning": "France, so …", "index": 0, "parsed": None},
        {"role": "assistant", "content": "Paris.", "name": None, "tool_call_id": None},
    ],
)
def test_a_reply_comes_back_in_many_forms(returned: object) -> None:
    message = msgspec.json.decode(json.dumps(returned), type=Message)
    assert canonical(message) == canonical(Message("assistant", "Paris."))


def test_empty_content_is_no_content() -> None:
    contents: list[str | list[Part] | None] = [None, "", [], [TextPart("")]]
    forms = {canonical(Message("assistant", content)) for content in contents}
    assert len(forms) == 1


def test_two_parts_are_not_their_joined_text() -> None:
    joined, apart = Message("user", "ab"), Message("user", [TextPart("a"), TextPart("b")])
    assert canonical(joined) != canonical(apart)
    assert joined.text == apart.text == "ab"


@pytest.mark.parametrize("arguments", ['{"b":1,"a":[true,null]}', '{ "a": [ true, null ],\n "b": 1 }'])
def test_arguments_count_as_parsed_json(arguments: str) -> None:
    assert canonical(called(arguments)) == canonical(called('{"a": [true, null], "b": 1}'))


@pytest.mark.parametrize(
    ("written", "sent_back"),
    [("1.0", "1"), ("1e3", "1000"), ("-0.0", "0"), ("1e20", "100000000000000000000")],
)
def test_numbers_count_as_javascript_sends_them_back(written: str, sent_back: str) -> None:
    assert canonical(called(f'{{"to": [{written}]}}')) == canonical(called(f'{{"to": [{sent_back}]}}'))
    assert canonical(called(f'{{"to": {written}}}')) != canonical(called('{"to": 0.5}'))


def test_a_call_is_told_apart_by_its_id_and_name() -> None:
    assert canonical(called("{}", id="call_1")) != canonical(called("{}", id="call_2"))
    other = Message("assistant", tool_calls=[ToolCall(FunctionCall("look_down", "{}"))])
    assert canonical(called("{}")) != canonical(other)


def test_the_wire_form_of_a_call_may_carry_more() -> None:
    wire = {
        "id": "call_1",
        "type": "function",
        "index": 0,
        "function": {"name": "look_up", "arguments": "{ }"},
    }
    sent = msgspec.json.decode(
        json.dumps({"role": "assistant", "content": None, "tool_calls": [wire]}), type=Message
    )
    assert canonical(sent) == canonical(called("{}", id="call_1"))


def test_no_arguments_are_an_empty_object() -> None:
    assert canonical(called("")) == canonical(called(" \n")) == canonical(called("{}"))


def test_broken_arguments_are_themselves() -> None:
    assert canonical(called("abc")) == canonical(called("abc"))
    assert canonical(called("abc")) != canonical(called('"abc"'))
    assert canonical(called("")) != canonical(called('""'))


@pytest.mark.parametrize("levels", [DEEPEST + 1, 1_000, 100_000])
def test_arguments_nested_too_deep_are_text(levels: int) -> None:
    deep = "[" * levels + "]" * levels
    assert canonical(called(deep)) == canonical(called(deep))
    assert canonical(called(deep)) != canonical(called(deep.replace("[]", "[ ]")))
    assert canonical(called("[" * levels)) != canonical(called("[" * levels + "["))


def test_arguments_nested_just_not_too_deep_are_parsed_whoever_asks() -> None:
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert canonical(called(deep)) == canonical(called(deep.replace("[]", "[ ]")))
    wide = "[" + "[],{}," * DEEPEST + "1]"
    assert canonical(called(wide)) == canonical(called(wide.replace(",", ", ")))


def test_a_data_url_counts_by_its_bytes() -> None:
    plain = image(f"data:image/png;base64,{PNG}")
    wrapped = image(f"data:image/png;base64,{PNG[:10]}\r\n{PNG[10:]}\n")
    other = image("data:image/png;base64," + base64.b64encode(b"another picture").decode())
    assert canonical(plain) == canonical(wrapped)
    assert canonical(plain) != canonical(other)
    assert PNG.encode() not in canonical(plain)


@given(st.binary(min_size=1))
def test_audio_and_files_count_by_their_bytes(raw: bytes) -> None:
    data = base64.b64encode(raw).decode()
    lines = base64.encodebytes(raw).decode()
    sound = [Message("user", [AudioPart(AudioData(d, "wav"))]) for d in (data, lines)]
    file = [
        Message("user", [FilePart(FileData(file_data=f"data:text/plain;base64,{d}", filename="a.txt"))])
        for d in (data, lines)
    ]
    assert canonical(sound[0]) == canonical(sound[1])
    assert canonical(file[0]) == canonical(file[1])


def test_what_is_not_base_64_is_itself() -> None:
    # Unless told to be strict, Python drops what is not of the alphabet: both would be three zero bytes.
    one, other = image("data:image/png;base64,AAAA----"), image("data:image/png;base64,AAAA____")
    assert canonical(one) != canonical(other)


def test_no_text_passes_for_the_hash_of_bytes() -> None:
    form = msgspec.json.decode(canonical(image(f"data:image/png;base64,{PNG}")))
    stands_for = form["content"][1]["image_url"]["url"]
    assert canonical(image(json.dumps(stands_for))) != canonical(image(f"data:image/png;base64,{PNG}"))
    assert not isinstance(stands_for, str)


def test_other_urls_and_details_count_as_they_are() -> None:
    assert canonical(image("https://example.org/a.png")) != canonical(image("https://example.org/b.png"))
    assert canonical(image("https://example.org/a.png")) != canonical(
        image("https://example.org/a.png", "low")
    )
    assert canonical(image("data:,hello")) != canonical(image("data:,hell"))


def test_text_skips_what_is_not_text() -> None:
    assert image("https://example.org/a.png").text == "What is this?"
    assert Message("assistant").text == ""


def test_numbers_that_are_too_large_are_not_the_same() -> None:
    one, other = (
        Message("assistant", tool_calls=[ToolCall(FunctionCall("f", text))]) for text in ("1e400", "1e500")
    )
    assert canonical(one) != canonical(other)
