"""docs/recipes/ai-sdk.md: what Vercel's AI SDK 6 and 7 send by @ai-sdk/openai's default, to the Responses API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import Body, hidden, kept, roles
from tests.recipes.responding import RESPONSES, Responded, ResponsesApp, output_of
from tests.server.conftest import Door

AGENTS = {
    "6": "ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
    "7": "ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/v20.20.2",
}
DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
CITY: Body = {
    **DRAFT,
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
HISTORY = ("Hi", "How is the weather?", "think hard")
PICTURE = "data:image/png;base64,eHg="
STORY = "tell a long story"


@pytest.fixture(params=list(AGENTS))
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def tools(version: str) -> Body:
    """Version 7 says that its tools are not strict."""
    weather = {"type": "function", "name": "weather", "description": "The weather.", "parameters": CITY}
    return {"tools": [weather if version == "6" else {**weather, "strict": False}], "tool_choice": "auto"}


@pytest.fixture
def sdk(door: Door, version: str) -> ResponsesApp:
    headers = {
        "accept": "*/*",
        "accept-language": "*",
        "authorization": "Bearer any",
        "sec-fetch-mode": "cors",
        "user-agent": AGENTS[version],
    }
    return ResponsesApp(door, headers)


def user(text: str, *parts: Body) -> Body:
    return {"role": "user", "content": [{"type": "input_text", "text": text}, *parts]}


def sent(input: list[Body], **more: Any) -> Body:
    return {"model": "scripted", "input": input, **more}


def back(reply: Responded) -> list[Body]:
    """A reply as it is sent back: thinking and text by their ids, calls without one."""
    return [_call(item) if item["type"] == "function_call" else _named(item) for item in reply.output]


def _named(item: Body) -> Body:
    return {"type": "item_reference", "id": item["id"]}


def _call(item: Body) -> Body:
    arguments = msgspec.json.encode(msgspec.json.decode(item["arguments"])).decode()
    return {"type": "function_call", "call_id": item["call_id"], "name": item["name"], "arguments": arguments}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_one_conversation(door: Door, sdk: ResponsesApp, tools: Body, stream: bool) -> None:
    """Steps with tools included. The model sees each reply once, whole."""
    history: list[Body] = [{"role": "system", "content": "You help."}]
    for question in HISTORY:
        history.append(user(question))
        while True:
            reply = await sdk.respond(sent(history, **tools), stream=stream)
            history += back(reply)
            if not reply.calls:
                break
            history += [output_of(call) for call in reply.calls]
    assert await kept(door) == [("Hi", 8)]
    path = ["user", "assistant", "user", "assistant", "tool", "assistant", "user", "assistant"]
    assert await roles(door, reply.conversation) == path
    seen = door.scripted.prompts[-1].messages
    assert [message.role for message in seen] == ["system", *path[:-1]]
    assert seen[4].reasoning == "A city is named."


async def test_previous_response_id(door: Door, sdk: ResponsesApp, tools: Body) -> None:
    """The later steps of a call name the same response again, and repeat what came since, without its thinking."""
    first = await sdk.respond(sent([user("Hi")]))
    below = {**tools, "previous_response_id": first.id}
    step = await sdk.respond(sent([user("How is the weather?")], **below))
    calls = [_call(call) for call in step.calls]
    answer = [user("How is the weather?"), *calls, output_of(step.calls[0])]
    second = await sdk.respond(sent(answer, **below), stream=True)
    assert second.text == "It is sunny in Paris."
    await sdk.respond(sent([user("Thanks")], previous_response_id=second.id))
    assert await kept(door) == [("Hi", 8)]
    tree = await sdk.get(f"/v1/conversations/{first.conversation}/tree?limit=100")
    assert len(tree["data"]) == 8


async def test_a_name_for_the_conversation(door: Door, sdk: ResponsesApp, tools: Body) -> None:
    """The later steps of a call repeat its question, which therefore stands twice, as it does at OpenAI."""
    named = {**tools, "conversation": "trip to Lisbon"}
    await sdk.respond(sent([user("Hi")], **named))
    step = await sdk.respond(sent([user("How is the weather?")], **named))
    again = [user("How is the weather?"), output_of(step.calls[0])]
    reply = await sdk.respond(sent(again, **named))
    assert reply.text == "It is sunny in Paris."
    path = ["user", "assistant", "user", "assistant", "user", "tool", "assistant"]
    assert await roles(door, reply.conversation) == path
    assert await kept(door, name="trip%20to%20Lisbon") == [("Hi", 7)]


async def test_store_false_keeps_nothing(door: Door, sdk: ResponsesApp, tools: Body) -> None:
    """All text is sent then, and thinking left out."""
    unstored = {**tools, "store": False, "include": ["reasoning.encrypted_content"]}
    history = [user("How is the weather?")]
    step = await sdk.respond(sent(history, **unstored), stream=True)
    history += [_call(step.calls[0]), output_of(step.calls[0])]
    reply = await sdk.respond(sent(history, **unstored), stream=True)
    said = {
        "role": "assistant",
        "content": [{"type": "output_text", "text": reply.text}],
        "id": reply.output[0]["id"],
    }
    assert (await sdk.respond(sent([*history, said, user("Hi")], **unstored))).status == 200
    assert await kept(door, include_tasks="true") == []


async def test_pictures_files_and_what_a_tool_shows(door: Door, sdk: ResponsesApp, tools: Body) -> None:
    picture = {"type": "input_image", "image_url": PICTURE}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eHg="}
    history = [user("How is the weather there?", picture, file)]
    step = await sdk.respond(sent(history, **tools))
    history += [*back(step), output_of(step.calls[0], [{"type": "input_text", "text": "sunny"}, picture])]
    assert (await sdk.respond(sent(history, **tools))).text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather there?", 4)]
    remote = {"type": "input_image", "image_url": "https://example.com/a.png"}
    refused = await sdk.respond(sent([user("And this?", remote)]))
    assert (refused.status, refused.error and refused.error["param"]) == (
        400,
        "input[0].content[1].image_url",
    )


async def test_an_object_by_its_schema(sdk: ResponsesApp) -> None:
    form = {"format": {"type": "json_schema", "strict": True, "name": "response", "schema": CITY}}
    for stream in (False, True):
        reply = await sdk.respond(sent([user("Paris")], text=form), stream=stream)
        assert msgspec.json.decode(reply.text) == {"city": ""}


async def test_settings_and_provider_options(door: Door, sdk: ResponsesApp) -> None:
    settings: Body = {
        "temperature": 0.2,
        "top_p": 0.9,
        "max_output_tokens": 50,
        "text": {"verbosity": "low"},
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "user": "u1",
        "instructions": "Be brief.",
        "service_tier": "auto",
        "include": ["message.output_text.logprobs"],
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "top_logprobs": 2,
        "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto"},
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    }
    reply = await sdk.respond(sent([user("Hi")], **settings))
    assert len(reply.output[0]["content"][0]["logprobs"][0]["top_logprobs"]) == 2
    asked = door.scripted.asked[-1].parameters
    assert (asked.max_tokens, asked.reasoning_effort) == (50, "low")
    assert reply.body["metadata"] == {"a": "b"}


async def test_names_of_openais_models(door: Door, sdk: ResponsesApp) -> None:
    system = {"role": "developer", "content": "Be brief."}
    reply = await sdk.respond({"model": "gpt", "input": [system, user("Hi")]})
    assert reply.body["model"] == "scripted"
    assert [message.role for message in door.scripted.prompts[-1].messages] == ["developer", "user"]


@pytest.mark.parametrize("kind", ["web_search", "custom", "mcp"])
async def test_tools_that_are_not_there(sdk: ResponsesApp, kind: str) -> None:
    refused = await sdk.respond(sent([user("Hi")], tools=[{"type": kind}]))
    assert (refused.status, refused.error and refused.error["param"]) == (400, "tools[0].type")


async def test_errors_in_a_stream(door: Door, sdk: ResponsesApp) -> None:
    broken = await sdk.respond_in_events(sent([user("break off")]))
    assert (broken.body["status"], broken.text) == ("failed", "It begins")
    early = await sdk.respond_in_events(sent([user("be away")]))
    assert early.error
    assert not early.text
    assert (await sdk.respond(sent([user("be away")]))).status == 503
    assert await hidden(door) == ["break off", "be away", "be away"]


async def test_what_comes_after_a_stop(door: Door, sdk: ResponsesApp) -> None:
    """The reply goes on, and what was heard of it is sent back by its id: it has to end first, or be cancelled."""
    left = await sdk.respond_in_events(sent([user(STORY)]), leave_after=2)
    response = left.headers["palaver-turn"]
    reference = {"type": "item_reference", "id": response.replace("resp_", "msg_")}
    history = [user(STORY), reference, user("Go on")]
    early = await sdk.respond(sent(history))
    assert (early.status, early.error and early.error["code"]) == (409, "turn_running")
    await sdk.post(f"{RESPONSES}/{response}/cancel", {})
    reply = await sdk.respond(sent(history))
    assert reply.conversation == left.conversation
    assert door.scripted.prompts[-1].messages[1].text.startswith("Once upon")
    assert await kept(door) == [(STORY, 4)]


async def test_thinking_where_a_summary_is_asked_for(sdk: ResponsesApp) -> None:
    """It shows nothing else, and asks for one by `reasoningSummary`."""
    body = sent([user("think hard")], reasoning={"effort": "low", "summary": "auto"})
    whole, streamed = await sdk.respond(body), await sdk.respond(body, stream=True)
    assert whole.output[0]["summary"] == [{"type": "summary_text", "text": "Let me see."}]
    told = [e for e in streamed.events if e["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(event["delta"] for event in told) == "Let me see."
    back = sent([user("think hard"), *whole.output, user("Hi")], reasoning={"summary": "auto"})
    # Both conversations are equal so far: it goes on in the later one.
    assert (await sdk.respond(back)).conversation == streamed.conversation
