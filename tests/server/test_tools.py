"""Tools: what the engine gets of a request, what a call looks like, and results that come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import FunctionCall, ToolCall
from palaver.core.parameters import Format, NamedTool, Parameters, Tool, ToolChoice
from palaver.core.turn import Accepted, ContentDelta, Finish, FinishReason, ToolCallDelta
from palaver.engines.base import SAMPLING
from tests.server.conftest import Door, HandEngine, opened
from tests.server.test_streaming import chunks_of, streaming

WEATHER: dict[str, Any] = {
    "name": "get.the-weather_1",
    "description": "How it is outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
NOW: dict[str, Any] = {"name": "now"}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": NOW}]
AS_TOOLS = (Tool(**WEATHER), Tool(name="now"))
ABILITIES = ("tools", "tool_choice", "parallel_tool_calls", "json_object", "json_schema", "regex", "grammar")
CALLS = [
    ToolCallDelta(0, "call_a", WEATHER["name"]),
    ToolCallDelta(0, arguments='{"city": '),
    ToolCallDelta(0, arguments='"Oslo"}'),
    ToolCallDelta(1, "call_b", "now", "{}"),
]
ASSEMBLED = [
    {
        "id": "call_a",
        "type": "function",
        "index": 0,
        "function": {"name": WEATHER["name"], "arguments": '{"city": "Oslo"}'},
    },
    {"id": "call_b", "type": "function", "index": 1, "function": {"name": "now", "arguments": "{}"}},
]


def hand(*abilities: str) -> HandEngine:
    return HandEngine(SAMPLING | frozenset(abilities or ABILITIES))


def says(door: Door, *deltas: Any, reason: FinishReason = "stop") -> None:
    door.hand.put(Accepted(), *deltas, Finish(reason))


CHOICES: list[tuple[dict[str, Any], ToolChoice | None]] = [
    ({}, None),
    ({"tool_choice": "auto"}, "auto"),
    ({"tool_choice": "none"}, "none"),
    ({"tool_choice": "required"}, "required"),
    ({"tool_choice": "now"}, NamedTool("now")),
    ({"tool_choice": {"type": "function", "function": {"name": "now"}}}, NamedTool("now")),
    (
        {
            "tool_choice": {
                "id": "x",
                "index": 0,
                "type": "function",
                "function": {"name": "now", "arguments": ""},
            }
        },
        NamedTool("now"),
    ),
]


@pytest.mark.parametrize(("given", "choice"), CHOICES, ids=str)
async def test_tools_reach_the_engine(
    tmp_path: Path, given: dict[str, Any], choice: ToolChoice | None
) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, ContentDelta("x"))
        response, answer = await door.ask(model="test/hand", tools=TOOLS, parallel_tool_calls=False, **given)
        assert response.status == 200, answer
        assert door.hand.windows[0].tools == AS_TOOLS
        parameters = door.hand.options[0].parameters
        assert parameters == Parameters(tool_choice=choice, parallel_tool_calls=False)
        record = await door.chat.store.turn("local", answer["id"].replace("chatcmpl-", "turn_"))
        assert (tuple(record.tools), record.parameters) == (AS_TOOLS, parameters)


OLD_CHOICES: list[tuple[Any, ToolChoice | None]] = [
    (None, None),
    ("auto", "auto"),
    ("none", "none"),
    ({"name": "now"}, NamedTool("now")),
]


@pytest.mark.parametrize(("given", "choice"), OLD_CHOICES, ids=str)
async def test_functions_are_tools(tmp_path: Path, given: Any, choice: ToolChoice | None) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, ContentDelta("x"))
        functions = [WEATHER, {**NOW, "parameters": {}}]
        response, answer = await door.ask(model="test/hand", functions=functions, function_call=given)
        assert response.status == 200, answer
        assert door.hand.windows[0].tools == AS_TOOLS
        assert door.hand.options[0].parameters == Parameters(tool_choice=choice)


LACKING: list[tuple[str, dict[str, Any], str]] = [
    ("tool_choice", {"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
    ("tool_choice", {"tools": TOOLS, "tool_choice": "now"}, "tool_choice"),
    ("tool_choice", {"functions": [NOW], "function_call": {"name": "now"}}, "function_call"),
    ("parallel_tool_calls", {"tools": TOOLS, "parallel_tool_calls": False}, "parallel_tool_calls"),
    ("json_schema", {"response_format": {"type": "json_object", "schema": {}}}, "response_format"),
]


@pytest.mark.parametrize(("lack", "given", "param"), LACKING, ids=str)
async def test_what_the_engine_lacks(tmp_path: Path, lack: str, given: dict[str, Any], param: str) -> None:
    async with opened(tmp_path, hand=hand(*(set(ABILITIES) - {lack}))) as door:
        response, answer = await door.ask(model="test/hand", **given)
        assert response.status == 400, answer
        assert (answer["error"]["code"], answer["error"]["param"]) == ("unsupported_parameter", param)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMATS: list[tuple[dict[str, Any], Format]] = [
    ({"type": "json_object"}, Format(type="json_object")),
    ({"type": "json_object", "schema": SCHEMA}, Format(type="json_schema", schema=SCHEMA)),
    ({"type": "json_schema", "schema": SCHEMA}, Format(type="json_schema", schema=SCHEMA)),
    (
        {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": SCHEMA, "description": "d", "strict": True},
        },
        Format(type="json_schema", schema=SCHEMA, name="a", description="d", strict=True),
    ),
    ({"type": "regex", "pattern": "(yes|no)"}, Format(type="regex", pattern="(yes|no)")),
    ({"type": "grammar", "grammar": 'root ::= "x"'}, Format(type="grammar", grammar='root ::= "x"')),
]


@pytest.mark.parametrize(("given", "expected"), FORMATS, ids=str)
async def test_forms_reach_the_engine(tmp_path: Path, given: dict[str, Any], expected: Format) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, ContentDelta("x"))
        response, answer = await door.ask(model="test/hand", response_format=given)
        assert response.status == 200, answer
        assert door.hand.options[0].parameters == Parameters(format=expected)


async def test_a_reply_of_calls(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, *CALLS, reason="tool_calls")
        _, answer = await door.ask(model="test/hand", tools=TOOLS)
        expected = [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "tool_calls": ASSEMBLED},
                "finish_reason": "tool_calls",
                "logprobs": None,
            }
        ]
        assert answer["choices"] == expected
        _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert stored["choices"] == expected


async def test_a_stream_of_calls(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, ContentDelta("I look."), *CALLS, reason="tool_calls")
        async with streaming(door, tools=TOOLS) as response:
            first, *pieces, last = chunks_of(await response.read())
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "I look."}
    assert [piece["choices"][0]["delta"] for piece in pieces] == [
        {"role": "assistant", "content": None, "tool_calls": [call]}
        for call in (
            {
                "id": "call_a",
                "type": "function",
                "index": 0,
                "function": {"name": WEATHER["name"], "arguments": ""},
            },
            {"index": 0, "function": {"arguments": '{"city": '}},
            {"index": 0, "function": {"arguments": '"Oslo"}'}},
            {"id": "call_b", "type": "function", "index": 1, "function": {"name": "now", "arguments": "{}"}},
        )
    ]
    assert last["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_call_in_the_older_form(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        for stream in (False, True):
            says(door, *CALLS[:3], reason="tool_calls")
            async with streaming(door, functions=[WEATHER], stream=stream) as response:
                data = await response.read()
            if stream:
                *pieces, last = chunks_of(data)
                assert [piece["choices"][0]["delta"]["function_call"] for piece in pieces] == [
                    {"name": WEATHER["name"], "arguments": ""},
                    {"arguments": '{"city": '},
                    {"arguments": '"Oslo"}'},
                ]
                assert last["choices"][0]["finish_reason"] == "function_call"
            else:
                choice = (await response.json())["choices"][0]
                assert choice["message"]["function_call"] == ASSEMBLED[0]["function"]
                assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize("form", ["tools", "functions"])
async def test_a_loop_of_calls_is_one_conversation(tmp_path: Path, form: str) -> None:
    """Each reply goes back as it came; the model sees all calls with their results."""
    asked: dict[str, Any] = {"tools": TOOLS} if form == "tools" else {"functions": [WEATHER, NOW]}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What time is it, and how is the weather?"}]
    conversations = set()
    async with opened(tmp_path, hand=hand()) as door:
        for step in range(10):
            says(door, ToolCallDelta(0, f"call_{step}", "now", '{"step":1}'), reason="tool_calls")
            response, answer = await door.ask(model="test/hand", messages=messages, **asked)
            assert response.status == 200, answer
            conversations.add(response.headers["palaver-conversation"])
            result = {"role": "tool", "content": f"{step} o'clock", "tool_call_id": f"call_{step}"}
            messages += [answer["choices"][0]["message"], result]
        says(door, ContentDelta("Ten."))
        response, answer = await door.ask(model="test/hand", messages=messages, **asked)
        conversations.add(response.headers["palaver-conversation"])
        assert len(conversations) == 1
        seen = door.hand.windows[-1].messages
        assert [message.role for message in seen] == ["user", *["assistant", "tool"] * 10]
        assert seen[1].tool_calls == [ToolCall(FunctionCall("now", '{"step":1}'), "call_0")]
        assert seen[1].function_call is None


async def test_the_result_of_a_stored_call_hangs_below_it(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, *CALLS, reason="tool_calls")
        await door.ask(model="test/hand", tools=TOOLS, conversation="trip")
        says(door, ContentDelta("Noon."))
        results = [{"role": "tool", "content": "x", "tool_call_id": id} for id in ("call_a", "call_b")]
        more: dict[str, Any] = {"tools": TOOLS, "conversation": "trip", "parent": "head"}
        response, answer = await door.ask(model="test/hand", messages=results, **more)
        assert response.status == 200, answer
        seen = door.hand.windows[-1].messages
        assert [message.role for message in seen] == ["user", "assistant", "tool", "tool"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_result_of_a_call_that_is_not_stored_above(tmp_path: Path, stream: bool) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        says(door, *CALLS, reason="tool_calls")
        await door.ask(model="test/hand", tools=TOOLS, conversation="trip")
        results = [
            {"role": "system", "content": "Be short."},
            {"role": "tool", "content": "x", "tool_call_id": "call_a"},
            {"role": "tool", "content": "x", "tool_call_id": "call_c"},
        ]
        more: dict[str, Any] = {"tools": TOOLS, "conversation": "trip", "parent": "head", "stream": stream}
        response, answer = await door.ask(model="test/hand", messages=results, **more)
        assert response.status == 400, answer
        assert answer["error"]["param"] == "messages[2].tool_call_id"
        assert "call_c" in answer["error"]["message"]
        assert len(door.hand.windows) == 1
