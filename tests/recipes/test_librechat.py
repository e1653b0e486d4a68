"""docs/recipes/librechat.md: what @librechat/agents 3.9 sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import App, Body, hidden, kept, result, roles, said, tool, user
from tests.recipes.responding import ResponsesApp, flat, output_of
from tests.server.conftest import Door

HEADERS = {
    "accept": "application/json",
    "accept-language": "*",
    "authorization": "Bearer sk-any",
    "sec-fetch-mode": "cors",
    "user-agent": "langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))",
    "x-stainless-lang": "js",
    "x-stainless-package-version": "6.49.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "node",
}
SPEAKER = "65f000000000000000000001"
WEATHER = tool("weather", "city", **{"$schema": "https://json-schema.org/draft/2020-12/schema"})
TITLE = "Provide a 5-word-or-less title for this conversation.\n\nUser: Hi\nAI: Hello!"


def streamed(messages: list[Body], **more: Any) -> Body:
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    return {"model": "scripted", "user": SPEAKER, **usage, **more, "messages": messages}


def titled(**more: Any) -> Body:
    return {"model": "scripted", "user": SPEAKER, "stream": False, **more, "messages": [user(TITLE)]}


@pytest.fixture
def librechat(door: Door) -> App:
    return App(door, HEADERS)


async def test_models_are_a_list_of_ids(door: Door) -> None:
    """A bare array, as Together's SDKs get it, would make it fall back to the models of its own file."""
    axios = App(door, {"authorization": "Bearer sk-any", "user-agent": "axios/1.12.2"})
    assert [model["id"] for model in (await axios.get("/v1/models"))["data"]] == ["scripted", "test/hand"]


async def test_a_chat_and_its_title(door: Door, librechat: App) -> None:
    history = [user("Hi")]
    first = await librechat.stream(streamed(history))
    title = await librechat.ask(titled())
    assert title.text == "A Short Greeting"
    history += [said(first), user("And now?")]
    second = await librechat.stream(streamed(history))
    assert first.conversation == second.conversation != title.conversation
    assert await kept(door, user=SPEAKER) == [("Hi", 4)]
    assert len(await hidden(door)) == 1
    assert await kept(door, user="65f000000000000000000002") == []


async def test_a_title_by_schema_is_json(librechat: App) -> None:
    """Without `strict`, unlike what others send."""
    properties = {"language": {"type": "string"}, "title": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["language", "title"]}
    form = {"type": "json_schema", "json_schema": {"name": "extract", "schema": schema}}
    body = titled(response_format=form) | {"messages": [user("Analyze this chat")]}
    assert msgspec.json.decode((await librechat.ask(body)).text) == {"language": "", "title": ""}


async def test_a_tool_loop(door: Door, librechat: App) -> None:
    """The calls come back beside an empty text, and the result with the name of its tool."""
    history = [user("How is the weather?")]
    call = await librechat.stream(streamed(history, tools=[WEATHER]))
    assert (call.reason, call.reasoning, call.text) == ("tool_calls", "A city is named.", "")
    history += [said(call, ""), result(call, "sunny", name="weather")]
    reply = await librechat.stream(streamed(history, tools=[WEATHER]))
    assert reply.text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather?", 4)]
    assert await roles(door, reply.conversation) == ["user", "assistant", "tool", "assistant"]


async def test_settings_instructions_and_what_addparams_adds(door: Door, librechat: App) -> None:
    instructed = [{"role": "system", "content": "Be brief."}, user("Hi")]
    reply = await librechat.stream(
        streamed(
            instructed, temperature=0.5, top_p=0.9, stop=["X"], max_tokens=77, reasoning_effort="low", foo=1
        )
    )
    assert reply.reason == "stop"
    (asked,) = door.scripted.asked
    assert (asked.parameters.max_tokens, asked.parameters.reasoning_effort) == (77, "low")
    assert asked.extra == {}


async def test_a_picture_with_its_detail(librechat: App) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,eHg=", "detail": "auto"}}
    message = {"role": "user", "content": [{"type": "text", "text": "think hard"}, picture]}
    reply = await librechat.stream(streamed([message]))
    assert (reply.reasoning, reply.text) == ("Let me see.", "Forty-two.")


async def test_errors_and_stopping(door: Door, librechat: App) -> None:
    away = await librechat.stream(streamed([user("be away")]))
    repeated = await librechat.stream(streamed([user("be away")]))  # counted from 0 again
    assert (away.status, repeated.status) == (503, 503)
    broken = await librechat.stream(streamed([user("break off")]))
    assert broken.error == {
        "message": "The script says: break.",
        "type": "server_error",
        "param": None,
        "code": "engine_broke",
    }
    stopped = await librechat.stream(streamed([user("tell a long story")]), leave_after=2)
    history = [
        user("tell a long story"),
        {"role": "assistant", "content": stopped.text},
        user("Go on"),
    ]
    assert (await librechat.stream(streamed(history))).reason == "stop"
    # Nothing of a history whose only reply was never told whole ties it to the first try.
    assert await kept(door) == []
    assert await hidden(door) == ["be away"] * 2 + ["break off"] + ["tell a long story"] * 2


def responding(input: list[Body], **more: Any) -> Body:
    """With `useResponsesApi`."""
    tools = [flat(WEATHER, strict=None)]
    return {"model": "scripted", "user": SPEAKER, "tools": tools, "text": {}, "input": input, **more}


def message(role: str, content: Any) -> Body:
    return {"type": "message", "role": role, "content": content}


async def test_responses_are_the_same_conversation(door: Door) -> None:
    """Within a run items come back as they are; from its store the text alone, without ids."""
    librechat = ResponsesApp(door, HEADERS)
    history = [message("system", "Be brief."), message("user", "How is the weather?")]
    call = await librechat.respond(responding(history), stream=True)
    steps = [*history, *call.output, output_of(call.calls[0])]
    reply = await librechat.respond(responding(steps), stream=True)
    assert reply.text == "It is sunny in Paris."
    made, answered = call.calls[0], output_of(call.calls[0])
    parts = [{"type": "output_text", "text": reply.text, "annotations": []}]
    later = [
        *history,
        {name: made[name] for name in ("type", "name", "arguments", "call_id")},
        answered,
        message("assistant", parts),
        message("user", "think hard"),
    ]
    last = await librechat.respond(
        responding(later, reasoning={"effort": "low", "summary": "auto"}), stream=True
    )
    assert call.conversation == reply.conversation == last.conversation
    assert await kept(door, user=SPEAKER) == [("How is the weather?", 6)]
