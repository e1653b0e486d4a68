"""Results of tools: they come back to the call that was made, on both doors, ten steps long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import FunctionCall, ToolCall
from palaver.core.turn import Accepted, Finish, ToolCallDelta
from tests.server.conftest import Door, HandEngine, opened
from tests.server.responding import (
    ROUTE,
    by_hand,
    client_of,
    input_items,
    refused,
    respond,
    says,
    sent_again,
    shown,
    text_of,
)
from tests.server.test_response_tools import ABILITIES, NOW, TOOLS, TWO_CALLS, called


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=HandEngine(ABILITIES, context=8192)) as door:
        yield door


def result(call: str, output: Any = "fine") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call, "output": output}


async def test_below_the_response_that_called(door: Door) -> None:
    first = await called(door)
    results = [result("call_b", "noon"), result("call_a", [{"type": "input_text", "text": "rain"}])]
    body = await by_hand(door, results, "It rains.", previous_response_id=first["id"])
    assert (text_of(body), body["tools"]) == ("It rains.", [])
    asked, calling, noon, rain = door.hand.windows[1].messages
    assert (asked.text, calling.tool_calls) == (
        "How is it?",
        [
            ToolCall(FunctionCall("weather", '{"city": "Oslo"}'), "call_a"),
            ToolCall(FunctionCall("now", "{}"), "call_b"),
        ],
    )
    assert [(m.role, m.tool_call_id, m.text) for m in (noon, rain)] == [
        ("tool", "call_b", "noon"),
        ("tool", "call_a", "rain"),
    ]
    items = await input_items(door, body["id"])
    assert [(item["type"], item["call_id"], item["output"]) for item in items] == [
        ("function_call_output", "call_b", "noon"),
        ("function_call_output", "call_a", "rain"),
    ]


@pytest.mark.parametrize("named", [None, "room"])
async def test_calls_and_results_together(door: Door, named: str | None) -> None:
    first = await called(door, conversation=named)
    asked = [{"role": "user", "content": "How is it?"}] if named is None else []
    calls = sent_again(first["output"]) if named is None else []
    items = [*asked, *calls, result("call_a"), result("call_b")]
    body = await by_hand(door, items, conversation=named)
    assert body["conversation"] == first["conversation"]
    assert [role for role, _ in shown(door.hand.windows[1])] == ["user", "assistant", "tool", "tool"]


async def test_calls_of_elsewhere(door: Door) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}", "id": "fc_68abc"}
    body = await by_hand(door, [{"role": "user", "content": "When?"}, call, result("c", "noon")])
    assert body["status"] == "completed"
    kinds = ["message", "function_call", "function_call_output"]
    assert [item["type"] for item in await input_items(door, body["id"])] == kinds


@pytest.mark.parametrize("where", ["alone", "previous", "conversation"])
async def test_of_a_call_that_was_never_made(door: Door, where: str) -> None:
    first = await called(door, conversation="room" if where == "conversation" else None)
    more = {
        "alone": {},
        "previous": {"previous_response_id": first["id"]},
        "conversation": {"conversation": "room"},
    }[where]
    asked = {"model": "test/hand", "input": [{"role": "user", "content": "x"}, result("call_z")], **more}
    said = await refused(door, asked, "input[1].call_id")
    assert said == "`input[1].call_id`: no message before it has a call with the id 'call_z'."


async def test_a_loop_of_ten_steps_over_both_doors(door: Door) -> None:
    """Begun with one door, ended with the other."""
    function = {"type": "function", "function": {"name": "now"}}
    history: list[dict[str, Any]] = [{"role": "user", "content": "When?"}]
    previous, conversation = None, None
    for step in range(10):
        call = f"call_{step}"
        door.hand.put(Accepted(), ToolCallDelta(0, call, "now", "{}"), Finish("tool_calls"))
        if step % 2:
            body = await respond(
                door,
                [result(f"call_{step - 1}", str(step))],
                model="test/hand",
                tools=[NOW],
                previous_response_id=previous,
            )
            previous, where = body["id"], body["conversation"]["id"]
        else:
            asked = {"model": "test/hand", "messages": history, "tools": [function]}
            answered, chat = await door.post("/v1/chat/completions", asked)
            assert answered.status == 200, chat
            previous, where = chat["id"], answered.headers["palaver-conversation"]
        conversation = conversation or where
        assert where == conversation
        made = {"id": call, "type": "function", "function": {"name": "now", "arguments": "{}"}}
        history.append({"role": "assistant", "content": None, "tool_calls": [made]})
        history.append({"role": "tool", "tool_call_id": call, "content": str(step + 1)})
    last = await by_hand(door, [result("call_9", "10")], "Ten.", previous_response_id=previous)
    assert (text_of(last), last["conversation"]["id"]) == ("Ten.", conversation)
    assert len(door.hand.windows[-1].messages) == 21


async def test_the_sdk_does_it(door: Door) -> None:
    door.hand.put(Accepted(), *TWO_CALLS, Finish("tool_calls"))
    tools: Any = TOOLS
    async with client_of(door) as sdk:
        async with sdk.responses.stream(model="test/hand", input="How is it?", tools=tools) as stream:
            events: list[Any] = [event async for event in stream]
            first = await stream.get_final_response()
        done = [each.arguments for each in events if each.type == "response.function_call_arguments.done"]
        calls = [item for item in first.output if item.type == "function_call"]
        assert [call.call_id for call in calls] == ["call_a", "call_b"]
        assert [call.arguments for call in calls] == done
        says(door, "Rain at noon.")
        answers: Any = [result(call.call_id) for call in calls]
        second = await sdk.responses.create(model="test/hand", input=answers, previous_response_id=first.id)
        assert second.output_text == "Rain at noon."


async def test_items_of_the_loop_are_found_on_the_other_routes(door: Door) -> None:
    first = await called(door)
    await by_hand(door, [result("call_a"), result("call_b")], previous_response_id=first["id"])
    answered, page = await door.get(f"/v1/conversations/{first['conversation']['id']}/items?order=asc")
    assert answered.status == 200, page
    ids = [item["id"] for item in page["data"]]
    assert [item["id"] for item in first["output"]] == ids[1:3]
    assert (await door.get(f"{ROUTE}/{first['id']}"))[1] == first
