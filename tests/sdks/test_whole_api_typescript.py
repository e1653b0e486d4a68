"""Every parameter of chat completions through the official TypeScript SDKs, with their helpers that put streams
together and run tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import FunctionCall
from palaver.core.parameters import Parameters
from palaver.core.turn import ContentDelta, ReasoningDelta, ToolCallDelta
from palaver.engines.base import SAMPLING
from tests.sdks.asking import SDKS, Sdk, run_node
from tests.sdks.test_whole_api import ABILITIES, CALLS, DOT, TOOLS, YES, says
from tests.server.conftest import Door, HandEngine, opened


def prepare(door: Door) -> None:
    """What the requests of the script are answered with, in their order."""
    says(door, *CALLS, reason="tool_calls")
    says(door, ContentDelta("I "), ContentDelta("look."), *CALLS, reason="tool_calls")
    says(door, ToolCallDelta(0, "call_a", "weather", '{"city": "Oslo"}'), reason="tool_calls")
    says(door, ContentDelta("It rains."))
    says(
        door,
        *(ContentDelta(text, choice) for choice, text in ((2, "c"), (0, "a"), (1, "b"), (0, "A"))),
        others=["length", "stop"],
        warnings=["The prompt was cut."],
    )
    says(door, ContentDelta("Yes.", logprobs=[YES, DOT]))
    says(door, ContentDelta("Yes", logprobs=[YES]), ContentDelta(".", logprobs=[DOT]))
    says(door, ReasoningDelta("Hm. "), ReasoningDelta("Ah."), ContentDelta("Rain."))


def names_and_arguments(choice: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (call["function"]["name"], call["function"]["arguments"]) for call in choice["message"]["tool_calls"]
    ]


@pytest.mark.parametrize("sdk", SDKS)
async def test_all_of_it(tmp_path: Path, node: str, sdk: Sdk) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | ABILITIES)) as door:
        prepare(door)
        given = {"sdk": sdk, "address": door.address, "tools": TOOLS}
        got = json.loads(await run_node(node, "whole.mjs", given))
    called = [("weather", '{"city": "Oslo"}'), ("weather", '{"city":"Rome"}')]
    assert names_and_arguments(got["plain"]) == called
    assert got["plain"]["finish_reason"] == "tool_calls"
    assert door.hand.options[0].parameters == Parameters(tool_choice="required")
    assert names_and_arguments(got["streamed"]) == called
    assert [call["id"] for call in got["streamed"]["message"]["tool_calls"]] == ["call_a", "call_b"]
    assert got["streamed"]["message"]["content"] == "I look."
    assert [event for event in got["events"] if event] == ["I ", "look."]
    assert (got["ran"], got["final"]) == (["Oslo"], "It rains.")
    result = door.hand.windows[3].messages
    assert [message.role for message in result] == ["user", "assistant", "tool"]
    assert result[1].tool_calls is not None
    assert result[1].tool_calls[0].function == FunctionCall("weather", '{"city": "Oslo"}')
    assert (result[2].text, result[2].tool_call_id) == ("Rain.", "call_a")
    assert door.hand.windows[3].conversation == door.hand.windows[2].conversation
    assert got["texts"] == ["aA", "b", "c"]
    assert got["reasons"] == ["stop", "length", "stop"]
    assert got["usage"]["total_tokens"] == 14
    assert got["warnings"] == [{"message": "The prompt was cut."}]
    assert got["reasoning"] == ["Hm. ", "Ah."]
    check_logprobs(sdk, got)
    assert [(error["name"], error["status"], error["code"], error["param"]) for error in got["errors"]] == [
        ("NotFoundError", 404, "model_not_available", "model"),
        ("BadRequestError", 400, None, "tools[0].function.name"),
    ]


def check_logprobs(sdk: Sdk, got: dict[str, Any]) -> None:
    for found in (got["logprobs"], got["streamed_logprobs"]):
        if sdk == "openai":
            assert [token["token"] for token in found["content"]] == ["Yes", "."]
            assert [top["token"] for top in found["content"][1]["top_logprobs"]] == [".", "!"]
        else:
            assert (found["tokens"], found["token_ids"]) == (["Yes", "."], [7, 3])
            assert found["token_logprobs"] == [-0.25, -0.5]
