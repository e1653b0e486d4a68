"""Values of a request that are no good, one by one: the status, the field, and a sentence that helps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK = {"role": "user", "content": "Hello"}


def body_with(**changes: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [OK], **changes}


def tools(*functions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A body with these tools."""
    return body_with(tools=[{"type": "function", "function": each} for each in functions], **changes)


BAD_VALUES: list[tuple[dict[str, Any], str, str]] = [
    # the body, the field, words of the message
    ({"model": "scripted"}, "messages", "Input required: `messages` is missing."),
    ({"messages": [OK]}, "model", "Input required: `model` is missing."),
    (body_with(model=""), "model", "must be a string of length >= 1"),
    (body_with(model=5), "model", "must be a string, not an integer"),
    (body_with(model=None), "model", "must be a string, not null"),
    (body_with(messages=[]), "messages", "Input required: `messages` is empty."),
    (body_with(messages="Hello"), "messages", "must be an array, not a string"),
    (body_with(messages=None), "messages", "must be an array, not null"),
    (body_with(messages=["Hello"]), "messages[0]", "must be an object, not a string"),
    (body_with(messages=[OK, {"content": "x"}]), "messages[1].role", "Input required"),
    (
        body_with(messages=[OK, {"role": "wizard", "content": "x"}]),
        "messages[1].role",
        "must be one of system, developer, user, assistant, tool, function; not 'wizard'",
    ),
    (body_with(messages=[{"role": 5}]), "messages[0].role", "must be a string, not an integer"),
    (body_with(messages=[{"role": "user"}]), "messages[0].content", "is missing"),
    (body_with(messages=[{"role": "system", "content": None}]), "messages[0].content", "is missing or null"),
    (
        body_with(messages=[{"role": "user", "content": 5}]),
        "messages[0].content",
        "must be a string or an array or null, not an integer",
    ),
    (
        body_with(messages=[{"role": "user", "content": [{"type": "smell", "text": "x"}]}]),
        "messages[0].content[0].type",
        "must be one of text, refusal, image_url",
    ),
    (
        body_with(messages=[{"role": "user", "content": [{"text": "x"}]}]),
        "messages[0].content[0].type",
        "missing",
    ),
    (
        body_with(messages=[{"role": "user", "content": [{"type": "text"}]}]),
        "messages[0].content[0].text",
        "miss",
    ),
    (body_with(messages=[{**OK, "name": 5}]), "messages[0].name", "must be a string or null"),
    (body_with(messages=[{**OK, "name": ["x"]}]), "messages[0].name", "must be a string or null"),
    (body_with(messages=[{**OK, "reasoning": 1}]), "messages[0].reasoning", "must be a string or null"),
    (
        body_with(messages=[{"role": "assistant", "tool_calls": [{"type": "x", "function": {"name": "f"}}]}]),
        "messages[0].tool_calls[0].type",
        "must be one of function",
    ),
    (
        body_with(messages=[{"role": "assistant", "tool_calls": [{"id": "1"}]}]),
        "messages[0].tool_calls[0].function",
        "missing",
    ),
    (body_with(stream="true"), "stream", "must be true or false or null, not a string"),
    (body_with(stream=1), "stream", "must be true or false or null"),
    (body_with(max_tokens=0), "max_tokens", "must be an integer >= 1"),
    (body_with(max_tokens=-5), "max_tokens", "must be an integer >= 1"),
    (body_with(max_tokens=2**31), "max_tokens", "must be an integer <= 2147483647"),
    (body_with(max_tokens=10**30), "max_tokens", "must be an integer <= 2147483647"),
    (body_with(max_tokens=1.5), "max_tokens", "must be an integer or null, not a number"),
    (body_with(max_tokens="7"), "max_tokens", "must be an integer or null, not a string"),
    (body_with(max_completion_tokens=0), "max_completion_tokens", "must be an integer >= 1"),
    (body_with(max_tokens=1, max_completion_tokens=2), "max_completion_tokens", "differ"),
    (body_with(temperature=2.1), "temperature", "must be a number <= 2.0"),
    (body_with(temperature=-0.1), "temperature", "must be a number >= 0.0"),
    (body_with(temperature="hot"), "temperature", "must be a number or null, not a string"),
    (body_with(top_p=0), "top_p", "must be a number > 0.0"),
    (body_with(top_p=1.01), "top_p", "must be a number <= 1.0"),
    (body_with(top_k=-2), "top_k", "must be an integer >= -1"),
    (body_with(min_p=1.5), "min_p", "must be a number <= 1.0"),
    (body_with(repetition_penalty=0), "repetition_penalty", "must be a number > 0.0"),
    (body_with(presence_penalty=2.5), "presence_penalty", "must be a number <= 2.0"),
    (body_with(frequency_penalty=-2.5), "frequency_penalty", "must be a number >= -2.0"),
    (body_with(seed="x"), "seed", "must be an integer or null"),
    (body_with(seed=2**63), "seed", "must be an integer <="),
    (body_with(stop=5), "stop", "must be a string or an array or null"),
    (body_with(stop=""), "stop", "of length >= 1"),
    (body_with(stop=["x", ""]), "stop[1]", "of length >= 1"),
    (body_with(stop=["x"] * 17), "stop", "an array of length <= 16"),
    (body_with(stop=[1]), "stop[0]", "must be a string, not an integer"),
    (
        body_with(context_length_exceeded_behavior="cut"),
        "context_length_exceeded_behavior",
        "must be one of error, truncate; not 'cut'",
    ),
    (body_with(window="all"), "window", "must be one of strict, auto; not 'all'"),
    (body_with(window=5), "window", "must be a string or an object or null, not an integer"),
    (body_with(window=[]), "window", "must be a string or an object or null, not an array"),
    (body_with(window={"mode": "all"}), "window.mode", "must be one of strict, auto; not 'all'"),
    (body_with(window={"truncation": "some"}), "window.truncation", "must be one of auto, disabled"),
    (body_with(window={"size": 0}), "window.size", "must be an integer >= 1"),
    (body_with(window={"size": 1.5}), "window.size", "must be an integer or null, not a number"),
    (body_with(window={"keep": 0.01}), "window.keep", "must be a number >= 0.05"),
    (body_with(window={"keep": 1}), "window.keep", "must be a number <= 0.95"),
    (body_with(window={"keep": "half"}), "window.keep", "must be a number or null, not a string"),
    (body_with(window={"reserve": 0}), "window.reserve", "must be an integer >= 1"),
    (
        body_with(window={"context_length_exceeded_behavior": "cut"}),
        "window.context_length_exceeded_behavior",
        "must be one of error, truncate; not 'cut'",
    ),
    (body_with(window={"hold": 0.5}), "window", "unknown field `hold`"),
    (body_with(truncation="strict"), "truncation", "must be one of auto, disabled; not 'strict'"),
    (body_with(truncation=True), "truncation", "must be a string or null, not true or false"),
    (body_with(window="auto", truncation="disabled"), "truncation", "contradict each other"),
    (body_with(window={"mode": "strict"}, truncation="auto"), "truncation", "contradict each other"),
    (
        body_with(window={"mode": "strict", "truncation": "auto"}),
        "window.truncation",
        "`window.mode` and `window.truncation` contradict each other",
    ),
    (body_with(window={"truncation": "auto"}, truncation="disabled"), "truncation", "differ; send one"),
    (
        body_with(
            window={"context_length_exceeded_behavior": "error"}, context_length_exceeded_behavior="truncate"
        ),
        "context_length_exceeded_behavior",
        "differ; send one",
    ),
    (body_with(context="yes"), "context", "must be true or false or null, not a string"),
    (body_with(context=1), "context", "must be true or false or null"),
    (body_with(store="yes"), "store", "must be true or false or null"),
    (body_with(metadata={"a": 5}), "metadata", "must be a string, not an integer"),
    (body_with(metadata={"a": "x" * 513}), "metadata", "of length <= 512"),
    (body_with(metadata={"a" * 65: "x"}), "metadata", "A key of `metadata` must be a string of length <= 64"),
    (body_with(metadata={str(i): "" for i in range(17)}), "metadata", "an object of length <= 16"),
    (body_with(metadata=[]), "metadata", "must be an object or null"),
    (body_with(conversation=5), "conversation", "must be a string or an object or null"),
    (body_with(conversation=""), "conversation", "of length >= 1"),
    (body_with(conversation={}), "conversation.id", "missing"),
    (body_with(conversation="x" * 513), "conversation", "of length <= 512"),
    (body_with(conversation=".."), "conversation", "cannot be '..'"),
    (body_with(conversation={"id": "."}), "conversation.id", "cannot be '.'"),
    (body_with(user=".."), "user", "cannot be '..'"),
    (body_with(safety_identifier="."), "safety_identifier", "cannot be '.'"),
    (body_with(user=5), "user", "must be a string or null"),
    (body_with(user="x" * 513), "user", "of length <= 512"),
    (body_with(n=0), "n", "must be an integer >= 1"),
    (body_with(n=129), "n", "must be an integer <= 128"),
    (body_with(n=True), "n", "must be an integer or null, not true or false"),
    (body_with(logprobs=21), "logprobs", "must be an integer <= 20"),
    (body_with(logprobs=-1), "logprobs", "must be an integer >= 0"),
    (body_with(logprobs=1.5), "logprobs", "must be true or false or an integer or null, not a number"),
    (body_with(logprobs="1"), "logprobs", "must be true or false or an integer or null"),
    (body_with(logprobs=True, top_logprobs=21), "top_logprobs", "must be an integer <= 20"),
    (body_with(top_logprobs=2), "top_logprobs", "needs `logprobs`"),
    (body_with(logprobs=False, top_logprobs=2), "top_logprobs", "needs `logprobs`"),
    (body_with(echo=1), "echo", "must be true or false or null"),
    (body_with(logit_bias={"15": 101}), "logit_bias", "must be a number <= 100"),
    (body_with(logit_bias={"the": 1}), "logit_bias", "'the' is no number of a token"),
    (body_with(logit_bias={"-1": 1}), "logit_bias", "'-1' is no number of a token"),
    (body_with(logit_bias={"\u0663": 1}), "logit_bias", "is no number of a token"),
    (body_with(logit_bias={str(i): 1 for i in range(1025)}), "logit_bias", "of length <= 1024"),
    (body_with(logit_bias=[1]), "logit_bias", "must be an object or null"),
    (body_with(reasoning=True), "reasoning", "must be an object or null"),
    (body_with(reasoning={"enabled": "yes"}), "reasoning.enabled", "must be true or false or null"),
    (body_with(reasoning={"budget": 5}), "reasoning", "unknown field `budget`"),
    (body_with(reasoning={"effort": "much"}), "reasoning.effort", "one of none, minimal, low"),
    (body_with(reasoning_effort="much"), "reasoning_effort", "one of none, minimal, low"),
    (body_with(reasoning={"effort": "low"}, reasoning_effort="high"), "reasoning_effort", "differ"),
    (body_with(reasoning={"enabled": True}, reasoning_effort="none"), "reasoning_effort", "is enabled"),
    (body_with(reasoning={"enabled": True, "effort": "none"}), "reasoning.effort", "is enabled"),
    (body_with(chat_template_kwargs=5), "chat_template_kwargs", "must be an object or null"),
    (body_with(stream_options=5), "stream_options", "must be an object or null"),
    (body_with(stream_options={"include_usage": 1}), "stream_options.include_usage", "true or false"),
    (body_with(parallel_tool_calls="no"), "parallel_tool_calls", "must be true or false or null"),
    (body_with(tools={}), "tools", "must be an array or null"),
    (body_with(tools=[{}]), "tools[0].function", "missing"),
    (
        body_with(tools=[{"type": "custom", "function": {"name": "f"}}]),
        "tools[0].type",
        "must be one of function",
    ),
    (body_with(tools=[{"function": {}}]), "tools[0].function.name", "missing"),
    (body_with(tools=[{"function": {"name": None}}]), "tools[0].function.name", "must be a string, not null"),
    (tools({"name": "f"}, {"name": ""}), "tools[1].function.name", "must have 1 to 64"),
    (tools({"name": "x" * 65}), "tools[0].function.name", "must have 1 to 64"),
    (tools({"name": "get time"}), "tools[0].function.name", "letters, digits"),
    (tools({"name": "f\n"}), "tools[0].function.name", "letters, digits"),
    (tools({"name": "f"}, {"name": "f"}), "tools[1].function.name", "another tool named f"),
    (tools({"name": "f", "parameters": []}), "tools[0].function.parameters", "must be an object or null"),
    (tools({"name": "f", "parameters": "{}"}), "tools[0].function.parameters", "must be an object or null"),
    (
        tools({"name": "f", "parameters": {"type": "string"}}),
        "tools[0].function.parameters.type",
        "must be object",
    ),
    (
        tools({"name": "f", "parameters": {"properties": {"a": {"enum": list(range(3000))}}}}),
        "tools[0].function.parameters.properties.a.enum",
        "more than 1000 values",
    ),
    (tools({"name": "f", "description": 5}), "tools[0].function.description", "must be a string or null"),
    (tools({"name": "f", "strict": "yes"}), "tools[0].function.strict", "must be true or false or null"),
    (tools(*({"name": f"f{i}"} for i in range(129))), "tools", "an array of length <= 128"),
    (
        tools(*({"name": f"f{i}", "parameters": {"description": "x" * 60_000}} for i in range(9))),
        "tools[8].function.parameters",
        "more than 524288 bytes",
    ),
    (body_with(tool_choice="required"), "tool_choice", "there are no tools"),
    (body_with(tool_choice="now"), "tool_choice", "no tool named 'now'"),
    (body_with(tool_choice=5), "tool_choice", "must be a string or an object or null"),
    (body_with(tool_choice={"type": "function"}), "tool_choice.function", "missing"),
    (body_with(tool_choice={"type": "x", "function": {"name": "f"}}), "tool_choice.type", "one of function"),
    (tools({"name": "f"}, tool_choice="now"), "tool_choice", "no tool named 'now'"),
    (
        tools({"name": "f"}, tool_choice={"type": "function", "function": {"name": "g"}}),
        "tool_choice.function.name",
        "no tool named 'g'",
    ),
    (body_with(functions=[{}]), "functions[0].name", "missing"),
    (body_with(functions=[{"name": "f"}], function_call={"name": "g"}), "function_call.name", "named 'g'"),
    (body_with(functions=[{"name": "f"}], tool_choice="required"), "tool_choice", "goes `function_call`"),
    (tools({"name": "f"}, functions=[{"name": "f"}]), "functions", "not both"),
    (tools({"name": "f"}, function_call={"name": "f"}), "function_call", "goes with `functions`"),
    (body_with(response_format="json"), "response_format", "must be an object or null"),
    (body_with(response_format={}), "response_format.type", "missing"),
    (
        body_with(response_format={"type": "xml"}),
        "response_format.type",
        "must be one of text, json_object, json_schema, regex, grammar; not 'xml'",
    ),
    (body_with(response_format={"type": "json_schema"}), "response_format.json_schema", "missing"),
    (
        body_with(response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
        "response_format.json_schema.schema",
        "missing",
    ),
    (
        body_with(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
        "response_format.json_schema.name",
        "missing",
    ),
    (
        body_with(response_format={"type": "json_schema", "schema": {"enum": list(range(3000))}}),
        "response_format.schema.enum",
        "more than 1000 values",
    ),
    (
        body_with(
            response_format={"type": "json_object", "schema": {"properties": {"a": {"pattern": "x" * 1025}}}}
        ),
        "response_format.schema.properties.a.pattern",
        "may have 1024",
    ),
    (body_with(response_format={"type": "regex"}), "response_format.pattern", "missing"),
    (body_with(response_format={"type": "regex", "pattern": ""}), "response_format.pattern", "length >= 1"),
    (body_with(response_format={"type": "grammar", "grammar": 5}), "response_format.grammar", "a string"),
    (
        body_with(response_format={"type": "grammar", "grammar": "x" * 65537}),
        "response_format.grammar",
        "length <= 65536",
    ),
    (
        body_with(messages=[OK, {"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}]),
        "messages[1].tool_calls[0].function.name",
        "missing",
    ),
    (
        body_with(
            messages=[OK, {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": ""}}]}]
        ),
        "messages[1].tool_calls[0].function.name",
        "missing",
    ),
    (
        body_with(messages=[OK, {"role": "assistant", "function_call": {"name": ""}}]),
        "messages[1].function_call.name",
        "missing",
    ),
    (body_with(messages=[OK, {"role": "tool", "content": "x"}]), "messages[1].tool_call_id", "missing"),
    (
        body_with(messages=[OK, {"role": "tool", "content": "x", "tool_call_id": ""}]),
        "messages[1].tool_call_id",
        "missing",
    ),
    (body_with(messages=[OK, {"role": "function", "content": "x"}]), "messages[1].name", "missing"),
    (
        body_with(messages=[OK, {"role": "tool", "content": "x", "tool_call_id": "call_1"}]),
        "messages[1].tool_call_id",
        "has a call with the id 'call_1'",
    ),
    (
        body_with(messages=[OK, {"role": "function", "content": "x", "name": "now"}]),
        "messages[1].name",
        "has a call of the function 'now'",
    ),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat/completions/dry_run"])
@pytest.mark.parametrize(("body", "param", "words"), BAD_VALUES, ids=lambda value: str(value)[:80])
async def test_a_bad_value(
    shared_door: Door, body: dict[str, Any], param: str, words: str, path: str
) -> None:
    response, answer = await shared_door.post(path, body)
    assert response.status == 400, answer
    assert answer["id"] == response.headers["x-request-id"]
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)
    assert words in error["message"]


@pytest.mark.parametrize(
    "header", ["palaver-user", "x-openwebui-user-id", "palaver-conversation", "x-openwebui-chat-id"]
)
async def test_a_name_in_a_header_that_no_path_can_have(shared_door: Door, header: str) -> None:
    response, answer = await shared_door.post("/v1/chat/completions", body_with(), {header: ".."})
    assert (response.status, answer["error"]["param"]) == (400, header)


RAW = b'{"model": "scripted", "messages": [{"role": "user", "content": "%s"}]%s}'

BAD_JSON = [
    (b"", "ends too early"),
    (b"{", "ends too early"),
    (b"nonsense", "at byte"),
    (RAW % (b"x", b",}"), "at byte"),
    (RAW % (b"x", b"") + b" {}", "trailing characters at byte"),
    (RAW % (b"x", b', "temperature": NaN'), "at byte"),
    (RAW % (b"x", b', "temperature": Infinity'), "at byte"),
    (RAW % (b"lone \\ud800 surrogate", b""), "at byte"),
    (RAW % (b"lone \\udc00 surrogate", b""), "surrogate pair at byte 75"),
    (RAW % (b"lone \\ud800\\u0041 surrogate", b""), "surrogate pair at byte"),
    (RAW % (b"tail \xff", b""), "not valid UTF-8 at byte 69"),
    (RAW % (b"encoded surrogate \xed\xa0\x80", b""), "not valid UTF-8 at byte"),
    (RAW % (b"raw control \x00", b""), "at byte"),
    (b"\xef\xbb\xbf" + RAW % (b"x", b""), "at byte 0"),
    (b"[]", "The body must be an object, not an array."),
    (b'"text"', "The body must be an object, not a string."),
    (b"null", "The body must be an object, not null."),
]


@pytest.mark.parametrize(("data", "words"), BAD_JSON)
async def test_a_body_that_is_no_json_object(shared_door: Door, data: bytes, words: str) -> None:
    response, answer = await shared_door.post("/v1/chat/completions", data=data)
    assert response.status == 400, answer
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] is None
    assert words in answer["error"]["message"]


async def test_nothing_bad_leaves_a_trace(shared_door: Door) -> None:
    for body, _, _ in BAD_VALUES[:20]:
        await shared_door.post("/v1/chat/completions", body)
    _, found = await shared_door.get("/v1/conversations?include_tasks=true")
    assert found["data"] == []
