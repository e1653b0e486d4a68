"""Every parameter of chat completions through the official Python SDKs, which check each reply strictly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import together
from pydantic import BaseModel

from palaver.core.parameters import NamedTool, ToolChoice
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from palaver.engines.base import SAMPLING
from tests.sdks.waiting import PATIENCE, until
from tests.server.conftest import Door, HandEngine, opened

ABILITIES = frozenset(
    {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "json_object",
        "json_schema",
        "regex",
        "grammar",
        "reasoning",
        "reasoning_effort",
        "chat_template_kwargs",
        "logprobs",
        "echo",
    }
)
QUESTION: list[Any] = [{"role": "user", "content": "How is the weather?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "How it is outside.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
CALLS: list[Delta] = [
    ToolCallDelta(0, "call_a", "weather"),
    ToolCallDelta(0, arguments='{"city": '),
    ToolCallDelta(0, arguments='"Oslo"}'),
    ToolCallDelta(1, "call_b", "weather", '{"city":"Rome"}'),
]
USAGE = Usage(prompt_tokens=5, completion_tokens=9, cached_tokens=4, reasoning_tokens=1)
YES = TokenLogprob("Yes", -0.25, [89, 101, 115], 7, [TopLogprob("Yes", -0.25), TopLogprob("No", -1.5)])
DOT = TokenLogprob(".", -0.5, [46], 3, [TopLogprob(".", -0.5), TopLogprob("!", -1.0)])
SDKS = (openai.AsyncOpenAI, together.AsyncTogether)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | ABILITIES)) as door:
        yield door


def client(sdk: Any, door: Door) -> Any:
    """As strict as it can be."""
    return sdk(
        base_url=door.address,
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    )


def says(door: Door, *deltas: Delta, reason: FinishReason = "stop", **more: Any) -> None:
    door.hand.put(Accepted(), *deltas, Finish(reason, USAGE, **more))


async def ask(sdk: Any, door: Door, **more: Any) -> Any:
    async with client(sdk, door) as chat:
        return await chat.chat.completions.create(**{"model": "test/hand", "messages": QUESTION, **more})


async def read(sdk: Any, door: Door, **more: Any) -> list[Any]:
    async with client(sdk, door) as chat:
        stream = await chat.chat.completions.create(
            **{"model": "test/hand", "messages": QUESTION, "stream": True, **more}
        )
        return [chunk async for chunk in stream]


@pytest.mark.parametrize("sdk", SDKS)
async def test_calls_and_their_results(door: Door, sdk: Any) -> None:
    says(door, *CALLS, reason="tool_calls")
    reply = (await ask(sdk, door, tools=TOOLS)).choices[0]
    assert reply.finish_reason == "tool_calls"
    assert reply.message.content is None
    calls = reply.message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city": "Oslo"}', '{"city":"Rome"}']
    results = [{"role": "tool", "tool_call_id": call.id, "content": "Rain."} for call in calls]
    says(door, ContentDelta("It rains."))
    history = [*QUESTION, reply.message.model_dump(), *results]
    assert (await ask(sdk, door, tools=TOOLS, messages=history)).choices[0].message.content == "It rains."
    assert len({window.conversation for window in door.hand.windows}) == 1
    assert [message.role for message in door.hand.windows[1].messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


@pytest.mark.parametrize("sdk", SDKS)
async def test_calls_streamed(door: Door, sdk: Any) -> None:
    says(door, *CALLS, reason="tool_calls")
    chunks = await read(sdk, door, tools=TOOLS)
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or ():
            call = calls.setdefault(int(piece.index), ["", "", ""])
            for i, text in enumerate((piece.id, piece.function.name, piece.function.arguments)):
                call[i] += text or ""
    assert calls == {
        0: ["call_a", "weather", '{"city": "Oslo"}'],
        1: ["call_b", "weather", '{"city":"Rome"}'],
    }
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].usage.total_tokens == 14


CHOICES: list[tuple[Any, ToolChoice]] = [
    ("auto", "auto"),
    ("none", "none"),
    ("required", "required"),
    ({"type": "function", "function": {"name": "weather"}}, NamedTool("weather")),
]


@pytest.mark.parametrize(("given", "choice"), CHOICES, ids=str)
@pytest.mark.parametrize("sdk", SDKS)
async def test_choices_of_tools(door: Door, sdk: Any, given: Any, choice: ToolChoice) -> None:
    says(door, ContentDelta("x"))
    await ask(sdk, door, tools=TOOLS, tool_choice=given)
    assert door.hand.options[0].parameters.tool_choice == choice


@pytest.mark.parametrize("sdk", SDKS)
async def test_three_replies(door: Door, sdk: Any) -> None:
    three = [ContentDelta("a"), ContentDelta("b", 1), ContentDelta("c", 2)]
    says(door, *three, others=["length", "stop"])
    reply = await ask(sdk, door, n=3)
    assert [choice.message.content for choice in reply.choices] == ["a", "b", "c"]
    assert [choice.finish_reason for choice in reply.choices] == ["stop", "length", "stop"]
    says(door, *three, others=["length", "stop"])
    chunks = await read(sdk, door, n=3)
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1, 2, 0, 1, 2]
    assert [chunk.usage is None for chunk in chunks] == [True] * 5 + [False]


async def test_log_probabilities_of_openai(door: Door) -> None:
    says(door, ContentDelta("Yes.", logprobs=[YES, DOT]))
    reply = await ask(openai.AsyncOpenAI, door, logprobs=True, top_logprobs=2)
    content = reply.choices[0].logprobs.content
    assert [(token.token, token.logprob) for token in content] == [("Yes", -0.25), (".", -0.5)]
    assert [top.token for top in content[0].top_logprobs] == ["Yes", "No"]
    says(door, ContentDelta("Yes.", logprobs=[YES, DOT]))
    chunks = await read(openai.AsyncOpenAI, door, logprobs=True, top_logprobs=2)
    assert [token.token for token in chunks[0].choices[0].logprobs.content] == ["Yes", "."]


async def test_log_probabilities_of_together(door: Door) -> None:
    says(door, ContentDelta("Yes.", logprobs=[YES, DOT]))
    found = (await ask(together.AsyncTogether, door, logprobs=2)).choices[0].logprobs
    assert (found.tokens, found.token_logprobs, found.token_ids) == (["Yes", "."], [-0.25, -0.5], [7, 3])
    assert found.top_logprobs == {"Yes": -0.25, "No": -1.5}
    says(door, ContentDelta("Yes.", logprobs=[YES, DOT]))
    choices = [chunk.choices[0] for chunk in await read(together.AsyncTogether, door, logprobs=2)]
    assert [(c.delta.content, c.delta.token_id, c.logprobs) for c in choices[:-1]] == [
        ("Yes", 7, -0.25),
        (".", 3, -0.5),
    ]
    assert choices[1].top_logprobs == {".": -0.5, "!": -1.0}


@pytest.mark.parametrize("sdk", SDKS)
async def test_thinking(door: Door, sdk: Any) -> None:
    says(door, ReasoningDelta("Hm. "), ReasoningDelta("Ah."), ContentDelta("Rain."))
    reply = await ask(sdk, door, reasoning_effort="high")
    assert (reply.choices[0].message.reasoning, reply.choices[0].message.content) == ("Hm. Ah.", "Rain.")
    assert door.hand.options[0].parameters.reasoning_effort == "high"
    says(door, ReasoningDelta("Hm. "), ReasoningDelta("Ah."), ContentDelta("Rain."))
    deltas = [chunk.choices[0].delta for chunk in await read(sdk, door)]
    assert [getattr(delta, "reasoning", None) for delta in deltas] == ["Hm. ", "Ah.", None, None]
    assert "".join(delta.content for delta in deltas) == "Rain."


async def test_together_switches_thinking_off_and_passes_template_values(door: Door) -> None:
    says(door, ContentDelta("x"))
    more: dict[str, Any] = {"reasoning": {"enabled": False}, "chat_template_kwargs": {"thinking": False}}
    await ask(together.AsyncTogether, door, **more, echo=True, logprobs=0, logit_bias={"5": 1.5})
    parameters = door.hand.options[0].parameters
    assert (parameters.reasoning, parameters.chat_template_kwargs) == (False, {"thinking": False})
    assert (parameters.echo, parameters.logprobs, parameters.logit_bias) == (True, 0, {"5": 1.5})


@pytest.mark.parametrize("sdk", SDKS)
async def test_warnings_and_the_prompt(door: Door, sdk: Any) -> None:
    says(door, ContentDelta("x"), warnings=["The prompt was cut."], prompt="The prompt")
    reply = await ask(sdk, door)
    shown = reply.warnings[0]
    assert (shown["message"] if isinstance(shown, dict) else shown.message) == "The prompt was cut."
    assert reply.prompt
    says(door, ContentDelta("x"), warnings=["The prompt was cut."])
    assert (await read(sdk, door))[-1].warnings


@pytest.mark.parametrize("sdk", SDKS)
async def test_errors(door: Door, sdk: Any) -> None:
    errors = openai if sdk is openai.AsyncOpenAI else together
    with pytest.raises(errors.NotFoundError) as missing:
        await ask(sdk, door, model="nobody/knows")
    with pytest.raises(errors.BadRequestError) as wrong:
        await ask(sdk, door, tools=[{"type": "function", "function": {"name": "not a name"}}])
    with pytest.raises(errors.BadRequestError) as streamed:
        await read(sdk, door, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "other"}})
    shown = [error.value.body for error in (missing, wrong, streamed)]
    if sdk is together.AsyncTogether:
        shown = [body["error"] for body in shown]
    else:
        assert wrong.value.param == "tools[0].function.name"
    assert [(error["code"], error["param"]) for error in shown] == [
        ("model_not_available", "model"),
        (None, "tools[0].function.name"),
        (None, "tool_choice.function.name"),
    ]


class Weather(BaseModel):
    city: str
    degrees: int


FOUND = '{"city": "Oslo", "degrees": 5}'


async def test_openai_parses_a_reply(door: Door) -> None:
    says(door, ContentDelta(FOUND))
    async with client(openai.AsyncOpenAI, door) as chat:
        reply = await chat.chat.completions.parse(
            model="test/hand", messages=QUESTION, response_format=Weather
        )
    assert reply.choices[0].message.parsed == Weather(city="Oslo", degrees=5)
    wanted = door.hand.options[0].parameters.format
    assert wanted is not None
    assert (wanted.type, wanted.name, wanted.strict) == ("json_schema", "Weather", True)
    assert wanted.schema is not None
    assert set(wanted.schema["properties"]) == {"city", "degrees"}


async def test_openai_parses_calls(door: Door) -> None:
    says(door, ToolCallDelta(0, "call_a", "Weather", FOUND), reason="tool_calls")
    async with client(openai.AsyncOpenAI, door) as chat:
        reply = await chat.chat.completions.parse(
            model="test/hand", messages=QUESTION, tools=[openai.pydantic_function_tool(Weather)]
        )
    call = reply.choices[0].message.tool_calls[0]
    assert call.function.parsed_arguments == Weather(city="Oslo", degrees=5)
    assert door.hand.windows[0].tools[0].strict is True


async def test_openai_puts_a_stream_together(door: Door) -> None:
    says(door, ContentDelta('{"city": '), ContentDelta('"Oslo", "degrees": 5}', logprobs=[YES]))
    async with (
        client(openai.AsyncOpenAI, door) as chat,
        chat.chat.completions.stream(
            model="test/hand", messages=QUESTION, response_format=Weather, logprobs=True
        ) as stream,
    ):
        kinds = {event.type async for event in stream}
        reply = await stream.get_final_completion()
    assert {"content.delta", "content.done", "logprobs.content.delta"} <= kinds
    assert reply.choices[0].message.parsed == Weather(city="Oslo", degrees=5)
    assert reply.usage.total_tokens == 14


async def test_openai_puts_calls_of_a_stream_together(door: Door) -> None:
    says(door, *CALLS, reason="tool_calls")
    async with (
        client(openai.AsyncOpenAI, door) as chat,
        chat.chat.completions.stream(model="test/hand", messages=QUESTION, tools=TOOLS) as stream,
    ):
        events = [event async for event in stream]
        reply = await stream.get_final_completion()
    done = [event.arguments for event in events if event.type == "tool_calls.function.arguments.done"]
    assert done == ['{"city": "Oslo"}', '{"city":"Rome"}']
    calls = reply.choices[0].message.tool_calls
    assert [(call.id, call.function.name) for call in calls] == [("call_a", "weather"), ("call_b", "weather")]


@pytest.mark.parametrize("sdk", [openai.OpenAI, together.Together])
async def test_the_sync_clients(door: Door, sdk: Any) -> None:
    def talk() -> tuple[Any, list[Any]]:
        with client(sdk, door) as chat:
            asked: dict[str, Any] = {"model": "test/hand", "messages": QUESTION, "tools": TOOLS}
            reply = chat.chat.completions.create(**asked)
            return reply, list(chat.chat.completions.create(**asked, stream=True))

    says(door, *CALLS, reason="tool_calls")
    asking = asyncio.create_task(asyncio.to_thread(talk))
    await until(lambda: door.hand.windows and door.hand.steps.empty(), "the first reply to be generated")
    says(door, *CALLS, reason="tool_calls")
    reply, chunks = await asking
    assert reply.choices[0].message.tool_calls[1].function.name == "weather"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
