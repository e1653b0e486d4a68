"""Parameters that are known and not honoured, those that change nothing, and what an engine lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from palaver.core.parameters import Parameters
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.engines.base import SAMPLING
from palaver.server.completion_body import KNOWN
from palaver.server.parameters import ELSEWHERE, INTERNALS, ONLY, TEMPLATE_INTERNALS, WITHOUT_EFFECT
from tests.server.conftest import Door, HandEngine, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOL = {"type": "function", "function": {"name": "now", "parameters": {}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
NOT_POSSIBLE: list[tuple[dict[str, Any], str]] = [
    # what an engine that does nothing but sampling cannot do, and the field that is named
    ({"tools": [TOOL]}, "tools"),
    ({"tools": [TOOL], "tool_choice": "none"}, "tools"),
    ({"functions": [{"name": "now"}]}, "functions"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": SCHEMA}, "response_format"),
    ({"response_format": {"type": "regex", "pattern": "x"}}, "response_format"),
    ({"response_format": {"type": "grammar", "grammar": "x"}}, "response_format"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 3}, "logprobs"),
    ({"logprobs": 0}, "logprobs"),
    ({"echo": True}, "echo"),
    ({"reasoning": {"enabled": True}}, "reasoning"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"reasoning": {"effort": "high"}}, "reasoning_effort"),
    ({"chat_template_kwargs": {"thinking": True}}, "chat_template_kwargs"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"safety_model": "guard"}, "safety_model"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"moderation": {"model": "x"}}, "moderation"),
    *(({name: "x"}, name) for name in ELSEWHERE),
]
ASKS_FOR_NOTHING: list[dict[str, Any]] = [
    {"tools": []},
    {"tools": None, "tool_choice": None, "response_format": None, "reasoning": None, "stream_options": None},
    {"tool_choice": "none"},
    {"tool_choice": "auto"},
    {"functions": []},
    {"function_call": "auto"},
    {"response_format": {"type": "text"}},
    {"logprobs": False},
    {"logprobs": False, "top_logprobs": 0},
    {"top_logprobs": 0},
    {"n": 1},
    {"echo": False},
    {"logit_bias": {}},
    {"chat_template_kwargs": {}},
    {"reasoning": {}},
    {"reasoning": {"enabled": False}},
    {"reasoning_effort": "none"},
    {"parallel_tool_calls": True},
    {"parallel_tool_calls": False},
    {"modalities": ["text"]},
    dict.fromkeys([*ONLY, *WITHOUT_EFFECT, *ELSEWHERE, *INTERNALS]),
    {"stream_options": {"include_usage": True, "include_obfuscation": False, "more": 1}},
    {"compliance": "hipaa", "service_tier": "auto", "verbosity": "low"},
    {"prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "implicit"}},
    {"something": {"nobody": ["knows", 1, None]}},
]


def hand(*capabilities: str) -> HandEngine:
    """An engine that can do this, and has a short answer ready."""
    engine = HandEngine(SAMPLING | frozenset(capabilities))
    engine.put(Accepted(), ContentDelta("x"), Finish("stop"))
    return engine


@pytest.mark.parametrize(("parameters", "param"), NOT_POSSIBLE, ids=str)
async def test_what_is_not_possible_is_refused_by_name(
    shared_door: Door, parameters: dict[str, Any], param: str
) -> None:
    response, answer = await shared_door.ask(model="test/hand", **parameters)
    assert response.status == 400, answer
    error = answer["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)
    assert error["type"] == "invalid_request_error"
    assert f"`{param}`" in error["message"]
    assert shared_door.hand.windows == []


@pytest.mark.parametrize("parameters", ASKS_FOR_NOTHING, ids=lambda parameters: str(parameters)[:60])
async def test_what_asks_for_nothing_is_accepted(tmp_path: Path, parameters: dict[str, Any]) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        response, answer = await door.ask(model="test/hand", **parameters)
        assert response.status == 200, answer
        assert door.hand.options[0].parameters == Parameters()
        assert door.hand.options[0].extra == {}


@pytest.mark.parametrize("name", INTERNALS)
async def test_no_client_steers_the_inside_of_an_engine(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, hand=hand("extra")) as door:
        for model in ("scripted", "test/hand"):
            given: dict[str, Any] = {name: 0}
            response, answer = await door.ask(model=model, **given)
            assert response.status == 400, answer
            assert (answer["error"]["code"], answer["error"]["param"]) == ("unsupported_parameter", name)
            assert "cannot be set here" in answer["error"]["message"]
        assert door.hand.windows == []


@pytest.mark.parametrize("name", TEMPLATE_INTERNALS)
async def test_no_client_steers_how_a_template_is_applied(tmp_path: Path, name: str) -> None:
    """Servers hand these arguments on to the function that applies the template, not only to the template."""
    async with opened(tmp_path, hand=hand("chat_template_kwargs")) as door:
        response, answer = await door.ask(
            model="test/hand", chat_template_kwargs={"thinking": True, name: None}
        )
        assert response.status == 400, answer
        assert answer["error"]["code"] == "unsupported_parameter"
        assert answer["error"]["param"] == f"chat_template_kwargs.{name}"
        assert door.hand.windows == []


async def test_every_parameter_is_of_one_kind() -> None:
    kinds = [KNOWN, ONLY.keys(), WITHOUT_EFFECT.keys(), ELSEWHERE.keys(), INTERNALS.keys()]
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))
    assert KNOWN >= SAMPLING


LACKING = [
    {"max_tokens": 5},
    {"temperature": 1.0},
    {"top_p": 0.5},
    {"top_k": 40},
    {"min_p": 0.1},
    {"repetition_penalty": 1.1},
    {"presence_penalty": 0.1},
    {"frequency_penalty": 0.1},
    {"seed": 0},
    {"stop": ["x"]},
    {"logit_bias": {"15": 1}},
]


@pytest.mark.parametrize("parameters", LACKING, ids=str)
async def test_a_parameter_that_the_engine_lacks(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (name,) = parameters
    async with opened(tmp_path, hand=HandEngine(SAMPLING - {name})) as door:
        response, answer = await door.ask(model="test/hand", **parameters)
    assert response.status == 400, answer
    assert (answer["error"]["code"], answer["error"]["param"]) == ("unsupported_parameter", name)
    assert "test/hand" in answer["error"]["message"]


async def test_values_that_change_nothing_need_no_engine_that_honours_them(tmp_path: Path) -> None:
    neutral: dict[str, Any] = {
        "top_p": 1,
        "top_k": 0,
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
    }
    async with opened(tmp_path, hand=HandEngine(frozenset({"max_tokens"}))) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        response, answer = await door.ask(model="test/hand", max_tokens=5, **neutral)
        assert response.status == 200, answer
        assert door.hand.options[0].parameters == Parameters(max_tokens=5)


CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
OLD_CALL = {"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}}
TOOL_MESSAGES = [
    [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
    [OLD_CALL],
    [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "noon", "tool_call_id": "1"}],
    [OLD_CALL, {"role": "function", "content": "noon", "name": "now"}],
]


@pytest.mark.parametrize("messages", TOOL_MESSAGES, ids=str)
async def test_messages_of_tools_that_the_engine_cannot_take(
    shared_door: Door, messages: list[dict[str, Any]]
) -> None:
    messages = [{"role": "user", "content": "Hello"}, *messages]
    response, answer = await shared_door.ask(model="test/hand", messages=messages)
    assert response.status == 400, answer
    assert (answer["error"]["code"], answer["error"]["param"]) == ("unsupported_parameter", "messages[1]")
    response, answer = await shared_door.ask(messages=messages)  # this engine takes everything
    assert response.status == 200, answer


async def test_text_parts_need_nothing_of_the_engine(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
        response, answer = await door.ask(model="test/hand", messages=[{"role": "user", "content": parts}])
        assert response.status == 200, answer
        assert door.hand.windows[0].messages[0].text == "Hello there"


async def test_other_parameters_reach_engines_that_take_them(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "guided": {"regex": ["a"]},
        "mirostat": 2,
        "nothing": None,
        "service_tier": "auto",
        "safety_model": "guard",
        "guided_choice": ["a", "b"],
        "prediction": {"type": "content", "content": "x"},
    }
    nothing: dict[str, Any] = {
        "n": 1,
        "modalities": ["text"],
        "verbosity": None,
        "moderation": None,
        "id_slot": None,
    }
    async with opened(tmp_path, hand=hand("extra")) as door:
        response, answer = await door.ask(model="test/hand", **given, **nothing)
        assert response.status == 200, answer
        assert door.hand.options[0].extra == given


MANY = {"enum": list(range(3000))}
IMPOSSIBLE = {"type": "string", "minLength": 5, "maxLength": 2}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"json_schema": MANY}, "json_schema.enum"),
        ({"json_schema": IMPOSSIBLE}, "json_schema.minLength"),
        ({"json_schema": json.dumps(IMPOSSIBLE)}, "json_schema.minLength"),
        ({"guided_json": {"items": MANY}}, "guided_json.items.enum"),
        ({"structured_outputs": {"json": MANY}}, "structured_outputs.json.enum"),
        ({"structured_outputs": {"regex": "a{5,2}"}}, "structured_outputs.regex"),
        ({"guided_regex": "x" * 2000}, "guided_regex"),
        ({"regex": "a{5,2}"}, "regex"),
        ({"grammar": 'root ::= "a"{5,2}'}, "grammar"),
        ({"structured_outputs": {"grammar": 'root ::= "a"{5,2}'}}, "structured_outputs.grammar"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_form_by_a_servers_own_name_has_the_same_bounds(
    tmp_path: Path, parameters: dict[str, Any], param: str
) -> None:
    async with opened(tmp_path, hand=hand("extra")) as door:
        response, answer = await door.ask(model="test/hand", **parameters)
        assert (response.status, answer["error"]["param"]) == (400, param), answer
        assert door.hand.windows == []


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"type": "regex", "pattern": "a{5,2}"}, "response_format.pattern"),
        ({"type": "grammar", "grammar": 'root ::= "a"{5,2}'}, "response_format.grammar"),
    ],
)
async def test_a_repetition_that_nothing_fits(tmp_path: Path, form: dict[str, Any], param: str) -> None:
    async with opened(tmp_path, hand=hand("regex", "grammar")) as door:
        response, answer = await door.ask(model="test/hand", response_format=form)
        assert (response.status, answer["error"]["param"]) == (400, param), answer
        assert door.hand.windows == []


async def test_what_such_a_form_means_is_the_servers_affair(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "json_schema": "{no JSON",
        "guided_json": 5,
        "guided_regex": ["a"],
        "structured_outputs": {"choice": ["a"], "json": None},
        "regex": "a{2,5}",
    }
    async with opened(tmp_path, hand=hand("extra")) as door:
        response, answer = await door.ask(model="test/hand", **given)
        assert response.status == 200, answer
        assert door.hand.options[0].extra == given


@pytest.mark.parametrize("parameters", [{"audio": {"voice": "x"}}, {"modalities": ["audio"]}], ids=str)
async def test_no_engine_is_asked_for_sound(tmp_path: Path, parameters: dict[str, Any]) -> None:
    async with opened(tmp_path, hand=hand("extra")) as door:
        response, answer = await door.ask(model="test/hand", **parameters)
        assert response.status == 400, answer
        assert [answer["error"]["param"]] == list(parameters)
        assert door.hand.windows == []


ALL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # what is sent, and the parameters that the engine gets
    ({"logit_bias": {"15": 5, "0": -100}}, {"logit_bias": {"15": 5.0, "0": -100.0}}),
    ({"n": 3}, {"n": 3}),
    ({"logprobs": True}, {"logprobs": 0}),
    ({"logprobs": True, "top_logprobs": 20}, {"logprobs": 20}),
    ({"logprobs": 1}, {"logprobs": 1}),
    ({"logprobs": 0}, {"logprobs": 0}),
    ({"logprobs": 2, "top_logprobs": 4}, {"logprobs": 4}),
    ({"echo": True}, {"echo": True}),
    ({"reasoning": {"enabled": True}}, {"reasoning": True}),
    ({"reasoning": {"enabled": False}}, {"reasoning": False}),
    ({"reasoning": {"enabled": False}, "reasoning_effort": "low"}, {"reasoning": False}),
    ({"reasoning": {"enabled": True, "effort": "low"}}, {"reasoning": True, "reasoning_effort": "low"}),
    ({"reasoning": {"effort": "max"}, "reasoning_effort": "max"}, {"reasoning_effort": "max"}),
    ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
    ({"reasoning_effort": "none"}, {"reasoning": False}),
    ({"reasoning": {"effort": "none"}}, {"reasoning": False}),
    (
        {"chat_template_kwargs": {"thinking": True, "deep": {"er": [1]}}},
        {"chat_template_kwargs": {"thinking": True, "deep": {"er": [1]}}},
    ),
]


@pytest.mark.parametrize(("given", "expected"), ALL, ids=str)
async def test_parameters_reach_the_engine(
    tmp_path: Path, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    able = hand("logprobs", "echo", "reasoning", "reasoning_effort", "chat_template_kwargs")
    async with opened(tmp_path, hand=able) as door:
        response, answer = await door.ask(model="test/hand", **given)
        assert response.status == 200, answer
        assert door.hand.options[0].parameters == Parameters(**expected)
        record = await door.chat.store.turn(
            "local", response.headers["palaver-turn"].replace("chatcmpl-", "turn_")
        )
        assert record.parameters == Parameters(**expected)
