"""docs/recipes/openai-agents.md: what OpenAI's Agents SDK 0.24 sends by default, to the Responses API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.recipes.apps import Body, hidden, kept, roles, user
from tests.recipes.responding import RESPONSES, ResponsesApp, output_of, without
from tests.recipes.test_openai_agents import HEADERS
from tests.server.conftest import Door

WEATHER = {
    "name": "weather",
    "parameters": {
        "properties": {"city": {"title": "City", "type": "string"}},
        "required": ["city"],
        "title": "weather_args",
        "type": "object",
        "additionalProperties": False,
    },
    "strict": True,
    "type": "function",
    "description": "The weather.",
}
HANDOFF = {
    "name": "transfer_to_billing",
    "parameters": {"additionalProperties": False, "type": "object", "properties": {}, "required": []},
    "strict": True,
    "type": "function",
    "description": "Handoff to the Billing agent. ",
}
QUESTIONS = ("Hi", "How is the weather?", "And the weather again?", "think hard")
PICTURE = "data:image/png;base64,eHg="


@pytest.fixture
def agents(door: Door) -> ResponsesApp:
    return ResponsesApp(door, HEADERS)


def sent(input: list[Body], **more: Any) -> Body:
    """What is always there; nothing is said of streams where none is wanted."""
    body = {
        "model": "scripted",
        "include": [],
        "input": input,
        "instructions": "Be brief.",
        "tools": [WEATHER],
    }
    return body | more


async def run(agents: ResponsesApp, input: list[Body], *, stream: bool = False, **more: Any) -> list[Body]:
    """A run: what was said in it, without its input."""
    made: list[Body] = []
    while True:
        reply = await agents.respond(sent([*input, *made], **more), stream=stream)
        made += reply.output
        if not reply.calls:
            return made
        made += map(output_of, reply.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_is_one_conversation(door: Door, agents: ResponsesApp, stream: bool) -> None:
    """It sends everything again, items as they came."""
    history: list[Body] = []
    for question in QUESTIONS:
        history.append(user(question))
        history += await run(agents, history, stream=stream)
    assert await kept(door) == [("Hi", 12)]
    seen = door.scripted.prompts[-1].messages
    assert [message.role for message in seen[:5]] == ["system", "user", "assistant", "user", "assistant"]
    assert seen[4].reasoning == "A city is named."


@pytest.mark.parametrize("stream", [False, True])
async def test_previous_response_id(door: Door, agents: ResponsesApp, stream: bool) -> None:
    """Within a run the calls' outputs are all there is."""
    previous: Body = {}
    for question in QUESTIONS:
        input = [user(question)]
        while input:
            reply = await agents.respond(sent(input, **previous), stream=stream)
            previous = {"previous_response_id": reply.id}
            input = [output_of(call) for call in reply.calls]
    assert await kept(door) == [("Hi", 12)]


async def test_conversation_id(door: Door, agents: ResponsesApp) -> None:
    made = await agents.post("/v1/conversations", {})
    for question in QUESTIONS:
        input = [user(question)]
        while input:
            reply = await agents.respond(sent(input, conversation=made["id"]))
            input = [output_of(call) for call in reply.calls]
    assert reply.conversation == made["id"]
    assert await kept(door) == [("Hi", 12)]


async def _in_conversations(agents: ResponsesApp, **more: Any) -> list[Body]:
    """The SDK's `OpenAIConversationsSession`: it keeps the items itself, the question before the run."""
    made = await agents.post("/v1/conversations", {"items": []})
    items = f"/v1/conversations/{made['id']}/items"
    for question in QUESTIONS:
        history = (await agents.get(items + "?order=asc"))["data"]
        await agents.post(items, {"items": [user(question)]})
        said = await run(agents, [*history, user(question)], **more)
        await agents.post(items, {"items": list(map(_added, said))})
    page = await agents.get(items + "?order=desc")
    await agents.delete(f"{items}/{page['first_id']}")
    found: list[Body] = (await agents.get(items + "?order=asc"))["data"]
    return found


def _added(item: Body) -> Body:
    """What it gives to be kept: only thinking has its id."""
    return item if item["type"] == "reasoning" else without(item, "id")


async def test_a_session_of_conversations(door: Door, agents: ResponsesApp) -> None:
    """With `store=False` it is the only conversation; the last item is taken back in the end, here with the thinking of
    the same reply."""
    items = await _in_conversations(agents, store=False)
    kinds = [item["type"] for item in items]
    assert kinds[:6] == [
        "message",
        "message",
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert kinds[-1] == "message"
    assert await kept(door) == [("Hi", 11)]


async def test_a_session_of_conversations_is_kept_beside_the_responses(
    door: Door, agents: ResponsesApp
) -> None:
    await _in_conversations(agents)
    assert sorted(await kept(door)) == [("Hi", 11), ("Hi", 12)]


async def test_a_handoff(door: Door, agents: ResponsesApp) -> None:
    """The second agent has instructions of its own, and no tools."""
    history = [user("billing, please")]
    call = await agents.respond(sent(history, instructions="Triage.", tools=[HANDOFF]))
    history += [*call.output, output_of(call.calls[0], '{"assistant": "Billing"}')]
    reply = await agents.respond(sent(history, instructions="You do the billing.", tools=[]))
    assert reply.text == "Billing speaks."
    assert door.scripted.prompts[-1].messages[0].text == "You do the billing."
    assert await kept(door) == [("billing, please", 4)]
    assert await roles(door, reply.conversation) == ["user", "assistant", "tool", "assistant"]


async def test_compaction(door: Door, agents: ResponsesApp) -> None:
    """The SDK's `OpenAIResponsesCompactionSession`, for models with one of OpenAI's names: what comes back stands for
    what was before, and the next run goes on there."""
    history = [user("Hi")]
    first = await agents.respond(sent(history))
    compacted = await agents.post(RESPONSES + "/compact", {"model": "gpt", "previous_response_id": first.id})
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"]
    second = await agents.respond(sent([*compacted["output"], user("And now?")]))
    assert first.conversation == second.conversation
    assert await kept(door) == [("Hi", 4)]
    assert [message.role for message in door.scripted.prompts[-1].messages[1:]] == [
        "user",
        "assistant",
        "user",
    ]


async def test_an_output_type_is_json(agents: ResponsesApp) -> None:
    schema = {
        "properties": {"city": {"title": "City", "type": "string"}, "population": {"type": "integer"}},
        "required": ["city", "population"],
        "title": "City",
        "type": "object",
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "final_output", "schema": schema, "strict": True}
    reply = await agents.respond(sent([user("Paris")], text={"format": form}, tools=[]))
    assert msgspec.json.decode(reply.text) == {"city": "", "population": 0}


async def test_all_model_settings(door: Door) -> None:
    """A demanded call is demanded once; `extra_query` is on the address, `extra_body` in the body."""
    agents = ResponsesApp(door, HEADERS | {"X-A": "b"}, query="?q=1")
    settings: Body = {
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": True,
        "temperature": 0.1,
        "text": {"verbosity": "low"},
        "top_logprobs": 2,
        "top_p": 0.9,
        "truncation": "auto",
        "context_management": [{"type": "compaction", "compact_threshold": 200000}],
        "top_k": 5,
    }
    history = [user("Anything")]
    call = await agents.respond(sent(history, **settings, tool_choice="required"))
    history += [*call.output, output_of(call.calls[0])]
    reply = await agents.respond(sent(history, **settings))
    assert len(reply.output[0]["content"][0]["logprobs"][0]["top_logprobs"]) == 2
    asked = door.scripted.asked[-1].parameters
    assert (asked.max_tokens, asked.top_k, asked.reasoning_effort) == (99, 5, "low")
    assert await kept(door) == [("Anything", 4)]


async def test_store_false_keeps_nothing(door: Door, agents: ResponsesApp) -> None:
    """And what was thought goes the way there and back in the open."""
    encrypted: Body = {"include": ["reasoning.encrypted_content"], "store": False}
    history = [user("How is the weather?")]
    history += await run(agents, history, **encrypted)
    await run(agents, [*history, user("Hi")], **encrypted)
    assert door.scripted.prompts[-1].messages[2].reasoning == "A city is named."
    assert await kept(door, include_tasks="true") == []


async def test_pictures_files_and_what_a_tool_shows(door: Door, agents: ResponsesApp) -> None:
    picture = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eHg="}
    text = {"type": "input_text", "text": "How is the weather there?"}
    history = [{"role": "user", "content": [text, picture, file]}]
    call = await agents.respond(sent(history))
    shown = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_text", "text": "sunny"}]
    history += [*call.output, output_of(call.calls[0], shown)]
    assert (await agents.respond(sent(history))).text == "It is sunny in Paris."
    assert await kept(door) == [("How is the weather there?", 4)]


async def test_what_is_not_there(door: Door, agents: ResponsesApp) -> None:
    """Tools that OpenAI hosts, a response that nobody knows, and responses by websocket."""
    hosted = await agents.respond(sent([user("Hi")], tools=[{"type": "web_search"}]))
    assert (hosted.status, hosted.error and hosted.error["param"]) == (400, "tools[0].type")
    unknown = await agents.respond(sent([user("Hi")], previous_response_id="resp_nope"))
    assert unknown.error
    assert unknown.error["code"] == "previous_response_not_found"
    answered, _ = await door.get(RESPONSES, {**HEADERS, "connection": "Upgrade", "upgrade": "websocket"})
    assert answered.status == 405
    assert await kept(door, include_tasks="true") == []


async def test_errors_and_cancel(door: Door, agents: ResponsesApp) -> None:
    """A run that is cancelled closes the connection; its reply goes on, and can be looked up."""
    broken = await agents.respond_in_events(sent([user("break off")]))
    assert (broken.body["status"], broken.text) == ("failed", "It begins")
    away = await agents.respond(sent([user("be away")]))
    assert away.status == 503
    left = await agents.respond_in_events(sent([user("tell a long story")]), leave_after=2)
    found = await agents.get(f"{RESPONSES}/{left.headers['palaver-turn']}")
    assert (found["status"], left.text) == ("in_progress", "Once upon")
    assert await hidden(door) == ["break off", "be away", "tell a long story"]
