"""What chat completions can be asked for, through the library: tools, several replies, forms, thinking."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError
from palaver.library import Choice, Piece, Reply

SCRIPT: list[dict[str, Any]] = [
    {"when": "weather", "reply": "I look.", "tool_calls": [{"name": "look", "arguments": {"city": "Oslo"}}]},
    {"when": "both", "tool_calls": [{"name": "look", "arguments": {"city": c}} for c in ("Oslo", "Rome")]},
    {"when_tool": "rain", "reply": "It rains."},
    {"when": "three", "replies": ["one", "two words", "three"]},
    {"when": "think", "reasoning": "Six times seven.", "reply": "Forty-two."},
    {"when": "form"},
    {"reply": "Well."},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(json.dumps(line) for line in SCRIPT))
    async with Palaver.open(load({"data_dir": str(tmp_path), "model": f"scripted:{script}"})) as palaver:
        yield palaver


async def said(
    palaver: Palaver, text: str | list[dict[str, Any]], **options: Any
) -> tuple[Reply, list[Piece]]:
    messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
    async with palaver.say(messages, **options) as reply:
        pieces = [piece async for piece in reply]
    return reply, pieces


async def test_calls_of_tools_and_their_results(palaver: Palaver) -> None:
    question = {"role": "user", "content": "How is the weather?"}
    reply, _ = await said(palaver, [question], tools=TOOLS)
    assert (reply.text, reply.finish_reason) == ("I look.", "tool_calls")
    [call] = reply.tool_calls
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert (call["type"], call["function"]["name"]) == ("function", "look")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    after, _ = await said(palaver, [question, reply.message, result], tools=TOOLS)
    assert (after.text, after.tool_calls) == ("It rains.", [])
    assert after.conversation == reply.conversation
    assert (await palaver.conversation(after.conversation or ""))["messages"] == 4


async def test_several_calls_keep_apart(palaver: Palaver) -> None:
    reply, pieces = await said(palaver, "both", tools=TOOLS, n=2)
    for choice in reply.choices:
        cities = [json.loads(call["function"]["arguments"])["city"] for call in choice.tool_calls]
        assert cities == ["Oslo", "Rome"]
        assert len({call["id"] for call in choice.tool_calls}) == 2
    assert (len(reply.choices), pieces) == (2, [])


async def test_several_replies_keep_apart(palaver: Palaver) -> None:
    reply, pieces = await said(palaver, "three", n=3)
    assert [choice.text for choice in reply.choices] == ["one", "two words", "three"]
    assert {choice.finish_reason for choice in reply.choices} == {"stop"}
    assert reply.text == "one"
    assert "".join(piece.text for piece in pieces if piece.choice == 1) == "two words"


async def test_thinking_is_apart(palaver: Palaver) -> None:
    reply, pieces = await said(palaver, "think")
    assert (reply.reasoning, reply.text) == ("Six times seven.", "Forty-two.")
    assert "".join(piece.reasoning for piece in pieces) == reply.reasoning
    assert reply.message == {"role": "assistant", "content": "Forty-two.", "reasoning": "Six times seven."}
    reply, _ = await said(palaver, "think", reasoning={"enabled": False})
    assert (reply.reasoning, reply.text) == ("", "Forty-two.")


async def test_a_form(palaver: Palaver) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
    reply, _ = await said(
        palaver,
        "Fill in the form.",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    )
    assert json.loads(reply.text) == {"a": "x"}


async def test_log_probabilities_and_the_prompt(palaver: Palaver) -> None:
    reply, _ = await said(palaver, "Hello", logprobs=True, top_logprobs=2, echo=True)
    [choice] = reply.choices
    assert "".join(token["token"] for token in choice.logprobs) == reply.text == "Well."
    assert len(choice.logprobs[0]["top_logprobs"]) == 2
    assert reply.prompt is not None
    assert "Hello" in reply.prompt
    assert reply.warnings == ["The log probabilities of the prompt are not told."]


async def test_a_wrong_one_is_named(palaver: Palaver) -> None:
    with pytest.raises(RequestError) as wrong:
        await said(palaver, "Hello", temperature=9)
    assert wrong.value.param == "temperature"
    with pytest.raises(RequestError) as wrong:
        await said(palaver, "Hello", stream=False)
    assert wrong.value.param == "stream"


async def test_before_anything_has_come(palaver: Palaver) -> None:
    async with palaver.say([{"role": "user", "content": "Hello"}]) as reply:
        assert (reply.text, reply.finish_reason, reply.choices) == ("", None, [Choice()])
