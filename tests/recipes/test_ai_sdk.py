"""docs/recipes/ai-sdk.md: the AI SDK 6 and 7 at chat completions by openai-compatible, openai.chat and togetherai."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import TEXT, App, Body, hidden, kept, result, roles, said, tool, user
from tests.server.conftest import Door, until

PROVIDERS = {
    "openai-compatible": "ai-sdk/openai-compatible/2.0.91 ai-sdk/provider-utils/4.0.64 runtime/node.js/v20.20.2",
    "openai": "ai-sdk/openai/3.0.141 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
    "togetherai": "ai-sdk/togetherai/2.0.84 ai-sdk/provider-utils/4.0.54 runtime/node.js/v20.20.2",
}
DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#", "additionalProperties": False}
WEATHER = tool("weather", "city", **DRAFT)
TOOLS = {"tools": [WEATHER], "tool_choice": "auto"}
SCHEMA = {
    **DRAFT,
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "number"}},
    "required": ["city", "population"],
}


def headers(provider: str = "openai-compatible") -> dict[str, str]:
    return {
        "accept": "*/*",
        "accept-language": "*",
        "authorization": "Bearer sk-any",
        "sec-fetch-mode": "cors",
        "user-agent": PROVIDERS[provider],
    }


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def sdk(door: Door, provider: str) -> App:
    """With `queryParams` and `headers` of its own."""
    return App(door, headers(provider) | {"X-A": "b"}, query="?q=1")


def sent(messages: list[Body], **more: Any) -> Body:
    """`stream` is left out where it is not wanted, and usage is asked for by some providers only."""
    return {"model": "scripted", "messages": messages, **more}


async def test_chat_turns_are_one_conversation(door: Door, sdk: App) -> None:
    history = [{"role": "system", "content": "Be brief."}]
    for i in range(3):
        history.append(user(f"Question {i}"))
        history.append(said(await sdk.stream(sent(history, stream=True))))
    assert await kept(door) == [("Question 0", 6)]
    assert (await sdk.ask(sent([*history, user("Question 3")]))).text.startswith("Reply 4")
    assert await kept(door) == [("Question 0", 8)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_loop_of_steps(door: Door, sdk: App, provider: str, stream: bool) -> None:
    """Two providers send the thinking back, one does not; a tool's result is JSON as text."""
    more: Body = TOOLS | ({"stream": True} if stream else {})
    ask = sdk.stream if stream else sdk.ask
    history = [user("How is the weather?")]
    call = await ask(sent(history, **more))
    thought = {} if provider == "openai" else {"reasoning_content": "A city is named."}
    history += [said(call, None, **thought), result(call, '{"sky":"sunny"}')]
    reply = await ask(sent(history, **more))
    assert reply.text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather?", 4)]
    assert await roles(door, reply.conversation) == ["user", "assistant", "tool", "assistant"]


async def test_a_tool_that_failed_and_one_that_is_demanded(sdk: App) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    history = [user("Anything")]
    call = await sdk.ask(sent(history, tools=[WEATHER], tool_choice=named))
    history += [said(call, None), result(call, "bad")]
    assert (await sdk.ask(sent(history, **TOOLS))).body["choices"][0]["finish_reason"] == "stop"


async def test_an_object_by_its_schema(sdk: App) -> None:
    """With `supportsStructuredOutputs`; the name stands after the schema."""
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": True, "name": "response"}}
    for stream in ({}, {"stream": True}):
        ask = sdk.stream if stream else sdk.ask
        reply = await ask(sent([user("Paris")], response_format=form, **stream))
        assert msgspec.json.decode(reply.text) == {"city": "", "population": 0}


async def test_settings_and_provider_options(door: Door, sdk: App) -> None:
    settings = {
        "user": "u1",
        "max_tokens": 50,
        "temperature": 0.2,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "stop": ["X"],
        "seed": 3,
        "custom": 1,
        "reasoning_effort": "low",
        "verbosity": "low",
    }
    assert (await sdk.ask(sent([user("Hi")], **settings))).status == 200
    assert door.scripted.asked[-1].parameters.seed == 3
    assert [each["user"] for each in (await sdk.get("/v1/conversations"))["data"]] == []  # one turn: hidden
    assert await hidden(door) == ["Hi"]


async def test_names_of_openais_models(door: Door) -> None:
    """`openai.chat("gpt-5")` renames what the name of the model makes it rename; here it is an alias."""
    system = {"role": "developer", "content": "Be brief."}
    body = {"model": "gpt", "max_completion_tokens": 9, "messages": [system, user("Hi")]}
    assert (await App(door, headers("openai")).ask(body)).body["model"] == "scripted"


async def test_files_beside_text(sdk: App) -> None:
    parts = [
        {"type": "text", "text": "think hard"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,eHg="}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,eHg="},
        },
        {"type": "input_audio", "input_audio": {"data": "eHg=", "format": "wav"}},
    ]
    reply = await sdk.stream(sent([{"role": "user", "content": parts}], stream=True))
    assert (reply.reasoning, reply.text) == ("Let me see.", "Forty-two.")


async def test_errors_in_a_stream(door: Door, sdk: App) -> None:
    """One before any text is asked again by the provider openai, which does not say so: within a conversation the
    question is there once, all the same."""
    broken = await sdk.stream(sent([user("break off")], stream=True))
    assert (broken.text, list(broken.chunks[-1])) == ("It begins", ["error"])
    assert await hidden(door) == ["break off"]
    history = [user("Hi"), said(await sdk.ask(sent([user("Hi")]))), user("break at once")]
    for _ in range(3):
        early = await sdk.stream(sent(history, stream=True))
        assert early.error
        assert not early.text
    await sdk.ask(sent([*history[:2], user("Go on")]))
    ((_, messages),) = await kept(door)
    assert messages == 4


async def test_what_is_not_there_and_what_is_wrong(sdk: App) -> None:
    """The message is what is shown."""
    assert (await sdk.ask(sent([user("Hi")], temperature=9))).body["error"]["param"] == "temperature"
    images = await sdk.ask({"model": "scripted", "prompt": "x", "n": 1}, "/v1/images/generations")
    assert images.status == 404


async def test_an_abort_closes_the_connection(door: Door, sdk: App) -> None:
    left = await sdk.stream(sent([user("tell a long story")], stream=True), leave_after=2)
    assert left.text == "Once upon"
    await until(lambda: door.chat.live("local", left.headers["palaver-turn"].replace("chatcmpl-", "turn_")))
    assert await hidden(door) == ["tell a long story"]


async def test_text_completions_and_vectors(door: Door, sdk: App) -> None:
    body = {"model": "scripted", "prompt": "user:\nHi\n\nassistant:\n", "stop": ["\nuser:"]}
    whole = await sdk.ask(body, TEXT)
    streamed = await sdk.stream({**body, "stream": True}, TEXT)
    assert whole.body["choices"][0]["text"] == streamed.text
    vectors = {"model": "scripted", "input": ["a", "b"], "encoding_format": "float"}
    found = (await sdk.ask(vectors, "/v1/embeddings")).body
    assert [type(each["embedding"][0]) for each in found["data"]] == [float, float]
    assert found["usage"]["prompt_tokens"] == 2
    assert await kept(door, include_tasks="true") == []
