"""docs/recipes/langchain.md: what langchain-openai 1.7 sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import TEXT, App, Body, hidden, kept, result, roles, said, tool
from tests.server.conftest import Door

HEADERS = {
    "accept": "application/json",
    "authorization": "Bearer sk-any",
    "user-agent": "OpenAI/Python 3.54.0",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.54.0",
    "x-stainless-raw-response": "true",
    "x-stainless-retry-count": "0",
}
WEATHER = tool("weather", "city")
CITY = {
    "properties": {"city": {"title": "City", "type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "title": "City",
    "type": "object",
    "additionalProperties": False,
}


def human(text: str) -> Body:
    """The content before the role, as LangChain has it."""
    return {"content": text, "role": "user"}


def sent(messages: list[Body], stream: bool = False, **more: Any) -> Body:
    """Whether to stream is always said; a stream asks for no usage, because the address is not OpenAI's."""
    return {"model": "scripted", "stream": stream, "messages": messages, **more}


@pytest.fixture
def langchain(door: Door) -> App:
    return App(door, HEADERS)


async def test_a_memory_of_messages_is_one_conversation(door: Door, langchain: App) -> None:
    system = {"content": "Be brief.", "role": "system"}
    history = [system]
    for i in range(3):
        history.append(human(f"Question {i}"))
        reply = await langchain.ask(sent(history))
        history.append({"content": reply.text, "role": "assistant"})
    assert await kept(door) == [("Question 0", 6)]
    streamed = await langchain.stream(sent([*history, human("Question 3")], stream=True))
    assert streamed.text.startswith("Reply 4")
    assert await kept(door) == [("Question 0", 8)]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agents_loop(door: Door, langchain: App, stream: bool) -> None:
    """Its own text is null beside calls, and the arguments come back as JSON of other spacing."""
    ask = langchain.stream if stream else langchain.ask
    history = [{"content": "You help.", "role": "system"}, human("How is the weather?")]
    call = await ask(sent(history, stream, tools=[WEATHER]))
    back = said(call, None)
    back["tool_calls"][0]["function"]["arguments"] = '{"city":   "Paris"}'
    history += [back, result(call, "sunny")]
    reply = await ask(sent(history, stream, tools=[WEATHER]))
    assert reply.text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather?", 4)]
    assert await roles(door, reply.conversation) == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "City"}}])
async def test_structured_output_by_a_call(langchain: App, choice: Any) -> None:
    """The description of the function is empty where the class has none."""
    city = {"type": "function", "function": {"name": "City", "description": "", "parameters": CITY}}
    body = sent([human("Paris?")], tools=[city], tool_choice=choice, parallel_tool_calls=False)
    (call,) = (await langchain.ask(body)).message["tool_calls"]
    assert msgspec.json.decode(call["function"]["arguments"]) == {"city": "", "population": 0}


async def test_structured_output_by_a_schema(langchain: App) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "City", "strict": True, "schema": CITY}}
    reply = await langchain.ask(sent([human("Paris?")], response_format=form))
    assert msgspec.json.decode(reply.text) == {"city": "", "population": 0}
    assert reply.message.get("refusal") is None
    free = await langchain.ask(sent([human("JSON!")], response_format={"type": "json_object"}))
    assert isinstance(msgspec.json.decode(free.text), dict)


async def test_all_parameters(door: Door, langchain: App) -> None:
    parameters: Body = {
        "frequency_penalty": 0.1,
        "logprobs": True,
        "max_completion_tokens": 50,
        "n": 1,
        "presence_penalty": 0.1,
        "reasoning_effort": "low",
        "seed": 3,
        "stop": ["X"],
        "temperature": 0.2,
        "top_logprobs": 2,
        "top_p": 0.9,
        "user": "u1",
        "top_k": 5,
    }
    reply = await langchain.ask(sent([human("Hi")], **parameters))
    (first, *_) = reply.body["choices"][0]["logprobs"]["content"]
    assert len(first["top_logprobs"]) == 2
    asked = door.scripted.asked[-1].parameters
    assert (asked.max_tokens, asked.top_k, asked.reasoning_effort) == (50, 5, "low")


async def test_names_that_make_it_say_developer(door: Door, langchain: App) -> None:
    """A model called o3-mini, say: an alias of whatever answers."""
    body = sent([{"content": "Be brief.", "role": "developer"}, human("Hi")], max_completion_tokens=5)
    assert (await langchain.ask(body)).body["choices"][0]["finish_reason"] == "stop"
    assert [message.role for message in door.scripted.prompts[-1].messages] == ["developer", "user"]


async def test_thinking_does_not_come_back(langchain: App) -> None:
    reply = await langchain.stream(sent([human("think hard")], stream=True))
    assert (reply.reasoning, reply.text) == ("Let me see.", "Forty-two.")
    assert (await langchain.ask(sent([human("think hard")]))).text == "Forty-two."


@pytest.mark.parametrize("given", [["hello world", "b"], [[104, 105], [98]]], ids=["texts", "token_numbers"])
async def test_vectors(langchain: App, given: list[Any]) -> None:
    """As many as texts, in their order, as numbers: it asks for base64 because its SDK does, and takes both."""
    body = {"model": "scripted", "input": given, "dimensions": 3, "encoding_format": "base64"}
    found = (await langchain.ask(body, "/v1/embeddings")).body["data"]
    assert [each["index"] for each in found] == [0, 1]
    assert [len(each["embedding"]) for each in found] == [3, 3]


async def test_the_older_completions(door: Door, langchain: App) -> None:
    """A list of one prompt, and nulls said; as a stream a text."""
    body = {
        "model": "scripted",
        "frequency_penalty": 0,
        "logprobs": None,
        "max_tokens": 256,
        "n": 1,
        "presence_penalty": 0,
        "seed": None,
        "temperature": 0.7,
        "top_p": 1,
    }
    whole = await langchain.ask({**body, "prompt": ["Once"]}, TEXT)
    streamed = await langchain.stream({**body, "prompt": "Once", "stream": True}, TEXT)
    assert whole.body["choices"][0]["text"] == streamed.text
    assert await kept(door, include_tasks="true") == []


async def test_errors_and_closing_a_stream(door: Door, langchain: App) -> None:
    for attempt in range(3):
        away = await langchain.ask(sent([human("be away")]), x_stainless_retry_count=str(attempt))
        assert away.status == 503
    assert (await langchain.ask(sent([human("Hi")], temperature=9))).body["error"]["param"] == "temperature"
    broken = await langchain.stream(sent([human("break off")], stream=True))
    assert broken.error
    await langchain.stream(sent([human("tell a long story")], stream=True), leave_after=2)
    assert await hidden(door) == ["be away", "break off", "tell a long story"]
