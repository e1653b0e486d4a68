"""docs/recipes/llm.md: what Simon Willison's `llm` 0.36 sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import TEXT, App, Body, hidden, kept, result, said, user
from tests.recipes.responding import ResponsesApp, flat, output_of
from tests.server.conftest import Door

HEADERS = {
    "accept": "application/json",
    "authorization": "Bearer DUMMY_KEY",
    "user-agent": "OpenAI/Python 3.54.0",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.54.0",
    "x-stainless-retry-count": "0",
}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
NO_ARGUMENTS = {"properties": {}, "type": "object"}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather", "parameters": NO_ARGUMENTS},
    },
    {"type": "function", "function": {"name": "now", "description": None, "parameters": NO_ARGUMENTS}},
]


def streamed(messages: list[Body], **more: Any) -> Body:
    return {"model": "scripted", "messages": messages, **USAGE, **more}


@pytest.fixture
def llm(door: Door) -> App:
    return App(door, HEADERS)


async def test_one_prompt_is_hidden_and_c_continues_it(door: Door, llm: App) -> None:
    system = {"role": "system", "content": "Be brief."}
    first = await llm.stream(streamed([system, user("Hi")]))
    assert (await kept(door), await hidden(door)) == ([], ["Hi"])
    second = await llm.stream(streamed([system, user("Hi"), said(first), user("Again")]))
    assert first.conversation == second.conversation
    assert await kept(door) == [("Hi", 4)]


async def test_no_stream_and_options(door: Door, llm: App) -> None:
    """`stop` is a text, not a list."""
    options = {"max_tokens": 20, "seed": 3, "stop": "END", "temperature": 0.5, "logit_bias": {"5": -1}}
    whole = await llm.ask({"model": "scripted", "messages": [user("Hi")], "stream": False, **options})
    assert whole.body["choices"][0]["finish_reason"] == "stop"
    assert door.scripted.asked[-1].parameters.stop == ["END"]


@pytest.mark.parametrize("stream", [True, False])
async def test_tools_without_arguments_and_description(door: Door, llm: App, stream: bool) -> None:
    body = streamed([user("How is the weather?")], tools=TOOLS)
    if not stream:
        body |= {"stream": False}
        del body["stream_options"]
    call = await (llm.stream if stream else llm.ask)(body)
    body["messages"] += [said(call, None), result(call, "sunny")]
    reply = await (llm.stream if stream else llm.ask)(body)
    assert reply.text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather?", 4)]


async def test_a_schema_without_strict(llm: App) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
        "required": ["city", "population"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    reply = await llm.stream(streamed([user("Paris")], response_format=form))
    assert msgspec.json.decode(reply.text) == {"city": "", "population": 0}


async def test_a_picture_by_its_address_is_refused_with_the_way_out(llm: App) -> None:
    def asked(url: str) -> Body:
        picture = {"type": "image_url", "image_url": {"url": url}}
        return streamed([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}])

    remote = await llm.stream(asked("https://example.com/a.png"))
    assert remote.status == 400
    assert remote.error
    assert "data: URL" in remote.error["message"]
    assert (await llm.stream(asked("data:image/png;base64,eHg="))).status == 200


async def test_text_completions_take_stream_options(door: Door, llm: App) -> None:
    reply = await llm.stream({"model": "scripted", "prompt": "Once", **USAGE}, TEXT)
    assert reply.text.startswith(" and so on")
    assert await kept(door, include_tasks="true") == []


async def test_errors_and_ctrl_c(door: Door, llm: App) -> None:
    assert (await llm.stream(streamed([user("be away")]))).status == 503
    broken = await llm.stream(streamed([user("break off")]))
    assert broken.error
    assert broken.text == "It begins"
    stopped = await llm.stream(streamed([user("tell a long story")]), leave_after=1)
    assert stopped.text == "Once"
    assert await hidden(door) == ["be away", "break off", "tell a long story"]


async def test_models_of_an_address(llm: App) -> None:
    """`llm openai endpoint URL --models`."""
    assert [each["id"] for each in (await llm.get("/v1/models"))["data"]] == ["scripted", "test/hand"]


def unstored(input: list[Body], **more: Any) -> Body:
    """What it sends for a model with `responses: true` and `reasoning: true`: never to be stored."""
    body = {"model": "scripted", "input": input, "include": ["reasoning.encrypted_content"], "store": False}
    return {**body, "reasoning": {"summary": "auto"}, **more}


@pytest.mark.parametrize("stream", [True, False])
async def test_responses_are_answered_and_not_kept(door: Door, stream: bool) -> None:
    """Thinking comes back as an id and nothing else, text and calls without ids."""
    llm = ResponsesApp(door, HEADERS | {"palaver-user": "ann"})
    history = [user("How is the weather?")]
    tools = [flat(TOOLS[0])]
    first = await llm.respond(unstored(history, tools=tools, instructions="Be brief."), stream=stream)
    thought, call = first.output
    history += [
        {"type": "reasoning", "id": thought["id"], "summary": []},
        {name: call[name] for name in ("type", "call_id", "name", "arguments")},
        output_of(call),
    ]
    second = await llm.respond(unstored(history, tools=tools, instructions="Be brief."), stream=stream)
    assert second.text == "It is sunny in Paris."
    history += [{"role": "assistant", "content": second.text}, user("think hard")]
    third = await llm.respond(unstored(history), stream=stream)
    assert [item["type"] for item in third.output] == ["reasoning", "message"]
    assert await kept(door, include_tasks="true") == []


async def test_a_schema_and_options_by_responses(door: Door) -> None:
    llm = ResponsesApp(door, HEADERS)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form = {"type": "json_schema", "name": "output", "schema": schema, "strict": False}
    reply = await llm.respond(unstored([user("Paris")], text={"format": form}), stream=True)
    assert msgspec.json.decode(reply.text) == {"city": ""}
    options: Body = {
        "max_output_tokens": 20,
        "temperature": 0.5,
        "reasoning": {"summary": "auto", "effort": "low"},
    }
    assert (await llm.respond(unstored([user("Hi")], **options))).status == 200
    assert door.scripted.asked[-1].parameters.reasoning_effort == "low"
