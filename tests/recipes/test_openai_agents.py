"""docs/recipes/openai-agents.md: what OpenAI's Agents SDK 0.24 sends to chat completions, where it is told to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import App, Body, kept, result, roles, said, tool, user
from tests.server.conftest import Door

HEADERS = {
    "accept": "application/json",
    "authorization": "Bearer sk-any",
    "user-agent": "Agents/Python 0.24.0",
    "x-stainless-async": "async:asyncio",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.54.0",
    "x-stainless-retry-count": "0",
}
SYSTEM = {"content": "Be brief.", "role": "system"}


def strict(name: str, *required: str) -> Body:
    """A tool as `function_tool` makes it: strict, with titles all over."""
    made = tool(name, *required, title=f"{name}_args", additionalProperties=False)
    return {**made, "function": {**made["function"], "strict": True}}


WEATHER = strict("weather", "city")
HANDOFF = {
    "type": "function",
    "function": {
        "name": "transfer_to_billing",
        "description": "Handoff to the Billing agent. ",
        "parameters": {"additionalProperties": False, "type": "object", "properties": {}, "required": []},
        "strict": True,
    },
}


@pytest.fixture
def agents(door: Door) -> App:
    return App(door, HEADERS)


def sent(messages: list[Body], **more: Any) -> Body:
    """Nothing is said of streams where none is wanted, nor of usage."""
    return {"model": "scripted", "messages": messages, **more}


async def test_a_session_is_one_conversation(door: Door, agents: App) -> None:
    history = [SYSTEM]
    for i in range(3):
        history.append(user(f"Question {i}"))
        history.append(said(await agents.ask(sent(history))))
    assert await kept(door) == [("Question 0", 6)]


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_and_a_second_run(door: Door, agents: App, stream: bool) -> None:
    """A session drops calls whose id it has seen, so ids have to differ from turn to turn."""
    more: Body = {"tools": [WEATHER]} | ({"stream": True} if stream else {})
    ask = agents.stream if stream else agents.ask
    history, ids = [SYSTEM], []
    for text in ("How is the weather?", "And the weather again?"):
        history.append(user(text))
        call = await ask(sent(history, **more))
        history += [said(call, None), result(call, "sunny")]
        ids.append(history[-1]["tool_call_id"])
        reply = await ask(sent(history, **more))
        assert reply.text == "It is sunny in Paris."
        history.append(said(reply))
    assert len(set(ids)) == 2
    assert await kept(door) == [("How is the weather?", 8)]


async def test_a_handoff_has_no_tools_left(door: Door, agents: App) -> None:
    """The second agent has none, though the history holds a call; its instructions are its own."""
    history = [user("billing, please")]
    call = await agents.ask(sent([SYSTEM, *history], tools=[HANDOFF]))
    history += [said(call, None), result(call, '{"assistant": "Billing"}')]
    billing = {"content": "You do the billing.", "role": "system"}
    reply = await agents.ask(sent([billing, *history]))
    assert reply.text == "Billing speaks."
    assert await kept(door) == [("billing, please", 4)]
    assert await roles(door, reply.conversation) == ["user", "assistant", "tool", "assistant"]


async def test_all_model_settings(door: Door) -> None:
    """`extra_query` is on the address. A demanded call is demanded once: the second request leaves it open."""
    agents = App(door, HEADERS | {"X-A": "b"}, query="?q=1")
    settings = {
        "frequency_penalty": 0.1,
        "logprobs": True,
        "max_tokens": 99,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "presence_penalty": 0.1,
        "temperature": 0.1,
        "tools": [WEATHER],
        "top_logprobs": 2,
        "top_p": 0.9,
        "verbosity": "low",
        "top_k": 5,
    }
    history = [user("Anything")]
    call = await agents.ask(sent(history, **settings, tool_choice="required"))
    history += [said(call, None), result(call, "sunny")]
    reply = await agents.ask(sent(history, **settings))
    assert reply.text == "It is sunny in Paris."
    assert await kept(door) == [("Anything", 4)]


async def test_store_false_keeps_nothing(door: Door, agents: App) -> None:
    assert (await agents.ask(sent([user("Hi")], store=False))).conversation == "none"
    assert await kept(door, include_tasks="true") == []


async def test_an_output_type_is_json(agents: App) -> None:
    properties = {"city": {"title": "City", "type": "string"}, "population": {"type": "integer"}}
    schema = {
        "properties": properties,
        "required": ["city", "population"],
        "title": "City",
        "type": "object",
        "additionalProperties": False,
    }
    form = {
        "type": "json_schema",
        "json_schema": {"name": "final_output", "strict": True, "schema": schema},
    }
    reply = await agents.ask(sent([user("Paris")], response_format=form))
    assert msgspec.json.decode(reply.text) == {"city": "", "population": 0}


async def test_no_effort_is_what_it_asks_for_without_a_model(door: Door, agents: App) -> None:
    await agents.ask(sent([user("think hard")], reasoning_effort="none", verbosity="low"))
    assert door.scripted.asked[-1].parameters.reasoning is False


async def test_thinking_that_is_sent_back(door: Door, agents: App) -> None:
    """For models called deepseek, beside calls; it is no part of what ties a history to its conversation."""
    history = [user("How is the weather?")]
    call = await agents.ask(sent(history, tools=[WEATHER]))
    assert call.message["reasoning_content"] == "A city is named."
    thought = said(call, None, reasoning_content="A city is named.")
    history += [thought, result(call, "sunny")]
    assert (await agents.ask(sent(history, tools=[WEATHER]))).conversation == call.conversation
    assert door.scripted.prompts[-1].messages[1].reasoning_content == "A city is named."


async def test_a_name_for_the_conversation(door: Door, agents: App) -> None:
    """By `ModelSettings(extra_headers=…)`; it is in lists from its first turn on."""
    await agents.ask(sent([user("Hi")]), palaver_conversation="trip")
    assert await kept(door, name="trip") == [("Hi", 2)]


async def test_errors_and_cancel(agents: App) -> None:
    broken = await agents.stream(sent([user("break off")], stream=True))
    assert broken.error
    assert broken.error["message"]
    left = await agents.stream(sent([user("tell a long story")], stream=True), leave_after=2)
    assert left.text
