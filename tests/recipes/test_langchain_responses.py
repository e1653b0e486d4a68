"""docs/recipes/langchain.md: what langchain-openai 1.7 sends to the Responses API, which some of its settings take."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import Body, hidden, kept, roles
from tests.recipes.responding import Responded, ResponsesApp, output_of
from tests.recipes.test_langchain import CITY, HEADERS
from tests.server.conftest import Door

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Does weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SYSTEM = {"content": "You help.", "role": "system", "type": "message"}
HISTORY = ("Hi", "How is the weather?", "think hard")


@pytest.fixture
def langchain(door: Door) -> ResponsesApp:
    return ResponsesApp(door, HEADERS)


def human(text: Any) -> Body:
    return {"content": text, "role": "user", "type": "message"}


def sent(input: list[Body], stream: bool = False, **more: Any) -> Body:
    """Whether to stream is always said."""
    return {"model": "scripted", "stream": stream, "input": input, **more}


def back(reply: Responded, *, stream: bool) -> list[Body]:
    """A reply as it is sent back. Of thinking that was streamed it has kept nothing but that it began."""
    return [_back(item, stream) for item in reply.output]


def _back(item: Body, stream: bool) -> Body:
    if item["type"] == "message":
        parts = [{"type": "output_text", "text": part["text"], "annotations": []} for part in item["content"]]
        return {"type": "message", "content": parts, "role": "assistant", "id": item["id"]}
    if item["type"] == "reasoning" and stream:
        return {**item, "content": [], "status": "in_progress"}
    return item


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agents_messages_are_one_conversation(
    door: Door, langchain: ResponsesApp, stream: bool
) -> None:
    history = [SYSTEM]
    for question in HISTORY:
        history.append(human(question))
        while True:
            reply = await langchain.respond(sent(history, stream, tools=[WEATHER]), stream=stream)
            history += back(reply, stream=stream)
            if not reply.calls:
                break
            history += [output_of(call) for call in reply.calls]
    assert reply.text == "Forty-two."
    assert await kept(door) == [("Hi", 8)]
    path = ["user", "assistant", "user", "assistant", "tool", "assistant", "user", "assistant"]
    assert await roles(door, reply.conversation) == path


@pytest.mark.parametrize("stream", [False, True])
async def test_use_previous_response_id(door: Door, langchain: ResponsesApp, stream: bool) -> None:
    """The system message is sent once; the model is shown it in every turn."""
    input = [SYSTEM, human(HISTORY[0])]
    more: Body = {"tools": [WEATHER]}
    for following in (*HISTORY[1:], ""):
        while input:
            reply = await langchain.respond(sent(input, stream, **more), stream=stream)
            more["previous_response_id"] = reply.id
            input = [output_of(call) for call in reply.calls]
        input = [human(following)]
    assert await kept(door) == [("Hi", 8)]
    for prompt in door.scripted.prompts:
        assert (prompt.messages[0].role, prompt.messages[0].text) == ("system", "You help.")


async def test_a_name_for_the_conversation(door: Door, langchain: ResponsesApp) -> None:
    for text in ("Hi", "Again"):
        await langchain.respond(sent([human(text)], conversation="trip", user="ann"))
    assert await kept(door, name="trip", user="ann") == [("Hi", 4)]


async def test_store_false_keeps_nothing(door: Door, langchain: ResponsesApp) -> None:
    """Thinking is not sent back then, nor are ids."""
    unstored: Body = {
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
    }
    reply = await langchain.respond(sent([human("think hard")], **unstored))
    said = {key: value for key, value in back(reply, stream=False)[-1].items() if key != "id"}
    second = await langchain.respond(sent([human("think hard"), said, human("Hi")], **unstored))
    assert (second.status, second.conversation) == (200, "none")
    assert await kept(door, include_tasks="true") == []


async def test_structured_output(langchain: ResponsesApp) -> None:
    form = {"type": "json_schema", "name": "City", "schema": CITY, "strict": True}
    by_schema = await langchain.respond(sent([human("Paris?")], text={"format": form}))
    assert msgspec.json.decode(by_schema.text) == {"city": "", "population": 0}
    city = {"type": "function", "name": "City", "description": "", "parameters": CITY}
    choice = {"type": "function", "name": "City"}
    by_call = await langchain.respond(
        sent([human("Paris?")], tools=[city], tool_choice=choice, parallel_tool_calls=False)
    )
    assert msgspec.json.decode(by_call.calls[0]["arguments"]) == {"city": "", "population": 0}


async def test_all_parameters(door: Door, langchain: ResponsesApp) -> None:
    parameters: Body = {
        "service_tier": "auto",
        "include": ["message.output_text.logprobs"],
        "max_output_tokens": 50,
        "prompt_cache_key": "x",
        "reasoning": {"effort": "low"},
        "temperature": 0.2,
        "text": {"verbosity": "low"},
        "top_logprobs": 2,
        "top_p": 0.9,
        "truncation": "auto",
        "context_management": [{"type": "compaction", "compact_threshold": 100}],
        "top_k": 5,
    }
    reply = await langchain.respond(sent([human("Hi")], **parameters))
    assert reply.output[0]["content"][0]["logprobs"]
    asked = door.scripted.asked[-1].parameters
    assert (asked.max_tokens, asked.top_k, asked.reasoning_effort) == (50, 5, "low")


async def test_pictures_and_files(langchain: ResponsesApp) -> None:
    parts = [
        {"type": "input_text", "text": "think hard"},
        {"type": "input_image", "image_url": "data:image/png;base64,eHg="},
        {"type": "input_file", "file_data": "data:application/pdf;base64,eHg=", "filename": "a.pdf"},
    ]
    assert (await langchain.respond(sent([human(parts)]))).text == "Forty-two."


@pytest.mark.parametrize("kind", ["web_search", "custom"])
async def test_tools_that_are_not_there(langchain: ResponsesApp, kind: str) -> None:
    refused = await langchain.respond(sent([human("Hi")], tools=[{"type": kind}]))
    assert (refused.status, refused.error and refused.error["param"]) == (400, "tools[0].type")


async def test_errors_and_closing_a_stream(door: Door, langchain: ResponsesApp) -> None:
    for attempt in range(3):
        away = await langchain.respond(sent([human("be away")]), x_stainless_retry_count=str(attempt))
        assert away.status == 503
    broken = await langchain.respond_in_events(sent([human("break off")], stream=True))
    assert (broken.body["status"], broken.text) == ("failed", "It begins")
    await langchain.respond_in_events(sent([human("tell a long story")], stream=True), leave_after=1)
    assert await hidden(door) == ["be away", "break off", "tell a long story"]
