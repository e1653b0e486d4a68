"""Tools of responses: how they are given and chosen, calls, and results that come back, on both doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.core.parameters import Format, NamedTool, Tool, ToolChoice
from palaver.core.turn import Accepted, ContentDelta, Delta, Finish, ReasoningDelta, ToolCallDelta
from palaver.engines.base import SAMPLING
from tests.server.conftest import Door, HandEngine, opened
from tests.server.event_rules import heard
from tests.server.responding import (
    by_hand,
    events_of,
    found,
    input_items,
    path_of,
    refused,
    respond,
    sent_again,
    streamed,
)

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "How it is outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
NOW: dict[str, Any] = {"type": "function", "name": "now"}
TOOLS = [WEATHER, NOW]
AS_TOOLS = (
    Tool(name="weather", description="How it is outside.", parameters=WEATHER["parameters"], strict=True),
    Tool(name="now"),
)
ABILITIES = SAMPLING | {
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "json_object",
    "json_schema",
    "regex",
    "grammar",
}
TWO_CALLS: list[Delta] = [
    ToolCallDelta(0, "call_a", "weather"),
    ToolCallDelta(0, arguments='{"city":'),
    ToolCallDelta(1, "call_b", "now", "{}"),
    ToolCallDelta(0, arguments=' "Oslo"}'),
]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=HandEngine(ABILITIES, context=8192)) as door:
        yield door


def result(call: str, output: Any = "fine") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call, "output": output}


async def called(door: Door, *deltas: Delta, **more: Any) -> dict[str, Any]:
    door.hand.put(Accepted(), *(deltas or TWO_CALLS), Finish("tool_calls"))
    return await respond(door, **{"input": "How is it?", "model": "test/hand", "tools": TOOLS, **more})


class TestGiving:
    async def test_they_reach_the_engine_and_are_told_again(self, door: Door) -> None:
        body = await by_hand(door, "Hi", tools=TOOLS, parallel_tool_calls=False)
        assert door.hand.windows[0].tools == AS_TOOLS
        assert body["tools"] == [WEATHER, {**NOW, "description": None, "parameters": {}, "strict": None}]
        assert body["parallel_tool_calls"] is False
        assert door.hand.options[0].parameters.parallel_tool_calls is False
        assert await found(door, body["id"]) == body

    @pytest.mark.parametrize(
        ("given", "choice", "told"),
        [
            ("auto", "auto", "auto"),
            ("none", "none", "none"),
            ("required", "required", "required"),
            ({"type": "function", "name": "now"}, NamedTool("now"), {"type": "function", "name": "now"}),
        ],
    )
    async def test_which_may_be_called(self, door: Door, given: Any, choice: ToolChoice, told: Any) -> None:
        body = await by_hand(door, "Hi", tools=TOOLS, tool_choice=given)
        assert door.hand.options[0].parameters.tool_choice == choice
        assert body["tool_choice"] == told
        assert (await found(door, body["id"]))["tool_choice"] == told

    @pytest.mark.parametrize("mode", ["auto", "required"])
    async def test_only_some_of_them(self, door: Door, mode: str) -> None:
        allowed = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "now"}]}
        body = await by_hand(door, "Hi", tools=TOOLS, tool_choice=allowed)
        assert door.hand.windows[0].tools == AS_TOOLS[1:]
        assert door.hand.options[0].parameters.tool_choice == mode
        assert await found(door, body["id"]) == body

    @pytest.mark.parametrize(
        ("given", "form"),
        [
            ({"type": "text"}, None),
            ({"type": "json_object"}, Format(type="json_object")),
            (
                {
                    "type": "json_schema",
                    "name": "n",
                    "schema": {"type": "object"},
                    "strict": True,
                    "description": "d",
                },
                Format(type="json_schema", schema={"type": "object"}, name="n", strict=True, description="d"),
            ),
            ({"type": "regex", "pattern": "[ab]+"}, Format(type="regex", pattern="[ab]+")),
            ({"type": "grammar", "grammar": 'root ::= "a"'}, Format(type="grammar", grammar='root ::= "a"')),
        ],
    )
    async def test_forms_of_text(self, door: Door, given: dict[str, Any], form: Format | None) -> None:
        body = await by_hand(door, "Hi", text={"format": given, "verbosity": "low"})
        assert door.hand.options[0].parameters.format == form
        assert body["text"]["verbosity"] == "low"
        assert body["text"]["format"] == given
        assert await found(door, body["id"]) == body


class TestCalling:
    async def test_calls_are_items_of_their_own(self, door: Door) -> None:
        body = await called(door, ReasoningDelta("Hm."), ContentDelta("I look."), *TWO_CALLS)
        kinds = ["reasoning", "message", "function_call", "function_call"]
        assert [item["type"] for item in body["output"]] == kinds
        calls = [(i["call_id"], i["name"], i["arguments"], i["status"]) for i in body["output"][2:]]
        assert calls == [
            ("call_a", "weather", '{"city": "Oslo"}', "completed"),
            ("call_b", "now", "{}", "completed"),
        ]
        ids = [item["id"] for item in body["output"]]
        suffix = body["id"].removeprefix("resp_")
        assert ids == [f"rs_{suffix}", f"msg_{suffix}", f"fc_{suffix}", f"fc_{suffix}_1"]
        events = await events_of(door, body["id"])
        assert heard(events).said == ["Hm.", "I look.", '{"city": "Oslo"}', "{}"]
        assert await found(door, body["id"]) == body

    async def test_what_is_streamed_is_what_is_stored(self, door: Door) -> None:
        door.hand.put(Accepted(), *TWO_CALLS, ToolCallDelta(2, "call_c", "now"), Finish("tool_calls"))
        events = await streamed(door, model="test/hand", tools=TOOLS)
        assert heard(events).said == ['{"city": "Oslo"}', "{}", "{}"]
        assert await events_of(door, events[0]["response"]["id"]) == events

    @pytest.mark.parametrize("named", ["rs", "msg", "both"])
    async def test_calls_beside_what_is_named_are_its_own(self, door: Door, named: str) -> None:
        body = await called(door, ReasoningDelta("Hm."), ContentDelta("I look."), *TWO_CALLS)
        thinking, text, *calls = sent_again(body["output"])
        references = {"rs": [thinking], "msg": [text], "both": [thinking, text]}[named]
        history = [
            {"role": "user", "content": "How is it?"},
            *({"type": "item_reference", "id": item["id"]} for item in references),
            *({name: item[name] for name in ("type", "call_id", "name", "arguments")} for item in calls),
            result("call_a"),
            result("call_b"),
        ]
        second = await by_hand(door, history, tools=TOOLS)
        assert second["conversation"] == body["conversation"]
        roles = [message.role for message in door.hand.windows[-1].messages]
        assert roles == ["user", "assistant", "tool", "tool"]
        conversation = body["conversation"]["id"]
        assert [role for role, _ in await path_of(door, conversation)] == [*roles, "assistant"]
        sent = [item["type"] for item in await input_items(door, second["id"])]
        assert sent.count("function_call") == sent.count("function_call_output") == 2

    async def test_calls_of_another_reply_are_not(self, door: Door) -> None:
        body = await called(door, ContentDelta("I look."))
        named = {"type": "item_reference", "id": body["output"][0]["id"]}
        call = {"type": "function_call", "call_id": "call_a", "name": "now", "arguments": "{}"}
        await by_hand(door, [named, call, result("call_a")], tools=TOOLS)
        roles = [message.role for message in door.hand.windows[-1].messages]
        assert roles == ["assistant", "assistant", "tool"]

    async def test_one_that_was_cut_off(self, door: Door) -> None:
        door.hand.put(Accepted(), *TWO_CALLS[:2], Finish("length"))
        body = await respond(door, model="test/hand", tools=TOOLS)
        assert (body["status"], body["output"][0]["status"]) == ("incomplete", "incomplete")
        assert body["output"][0]["arguments"] == '{"city":'
        assert await found(door, body["id"]) == body


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
        (
            {"tools": [WEATHER, {"type": "mcp", "server_label": "x"}]},
            "tools[1].type",
            "unsupported_parameter",
        ),
        ({"tools": [{"type": "joke"}]}, "tools[0].type", None),
        ({"tools": [{}]}, "tools[0].type", None),
        ({"tools": [{"type": "function"}]}, "tools[0].name", None),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", None),
        ({"tools": [{"type": "function", "name": "x", "parameters": []}]}, "tools[0].parameters", None),
        ({"tools": [NOW, NOW]}, "tools[1].name", None),
        ({"tools": [NOW] * 129}, "tools", None),
        ({"tools": ["now"]}, "tools[0]", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tools": TOOLS, "tool_choice": "some"}, "tool_choice", None),
        ({"tools": TOOLS, "tool_choice": {}}, "tool_choice.type", None),
        ({"tools": TOOLS, "tool_choice": {"type": "mcp"}}, "tool_choice.type", "unsupported_parameter"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.name", None),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name", None),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools", None),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "tools": [{"name": "x"}]}},
            "tool_choice.tools[0].name",
            None,
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "all", "tools": [NOW]}},
            "tool_choice.mode",
            None,
        ),
        ({"text": {"format": {"type": "joke"}}}, "text.format.type", None),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", None),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", None),
        ({"text": {"format": {"type": "regex"}}}, "text.format.pattern", None),
        ({"text": {"verbosity": "much"}}, "text.verbosity", None),
    ],
)
async def test_what_cannot_be(door: Door, given: dict[str, Any], param: str, code: str | None) -> None:
    await refused(door, {"model": "test/hand", "input": "x", **given}, param, code)
    assert door.hand.windows == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": TOOLS}, "tools"),
        (
            {
                "input": [
                    {"role": "user", "content": "x"},
                    {"type": "function_call", "call_id": "c", "name": "n", "arguments": ""},
                ]
            },
            "input[1]",
        ),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
    ],
)
async def test_what_an_engine_cannot_do(tmp_path: Path, given: dict[str, Any], param: str) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING)) as door:
        said = await refused(
            door, {"model": "test/hand", "input": "x", **given}, param, "unsupported_parameter"
        )
        assert "messages[" not in said
        assert "response_format" not in said
