"""Parameters that are known and not honoured, those that change nothing, and what an engine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish, Sampling
from palaver.engines.base import SAMPLING
from palaver.server.completion_request import KNOWN
from palaver.server.parameters import ONLY, WITHOUT_EFFECT
from tests.server.conftest import Door, HandEngine, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOL = {"type": "function", "function": {"name": "now", "parameters": {}}}
REFUSED: list[dict[str, Any]] = [
    {"tools": [TOOL]},
    {"tools": {}},
    {"tool_choice": "required"},
    {"tool_choice": {"type": "function", "function": {"name": "now"}}},
    {"functions": [{"name": "now"}]},
    {"function_call": {"name": "now"}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    {"response_format": {"type": "regex", "pattern": "x"}},
    {"logprobs": True},
    {"logprobs": 3},
    {"logprobs": 0},
    {"top_logprobs": 2},
    {"n": 2},
    {"n": 0},
    {"n": True},
    {"echo": True},
    {"logit_bias": {"15": 5}},
    {"reasoning": {"enabled": True}},
    {"reasoning_effort": "high"},
    {"chat_template_kwargs": {"thinking": True}},
    {"modalities": ["text", "audio"]},
    {"audio": {"voice": "x", "format": "wav"}},
    {"web_search_options": {}},
    {"safety_model": "guard"},
    {"prediction": {"type": "content", "content": "x"}},
    {"moderation": {"model": "x"}},
]
ASKS_FOR_NOTHING: list[dict[str, Any]] = [
    {"tools": []},
    {"tool_choice": "none"},
    {"tool_choice": "auto"},
    {"functions": []},
    {"function_call": "auto"},
    {"response_format": {"type": "text"}},
    {"logprobs": False},
    {"top_logprobs": 0},
    {"n": 1},
    {"echo": False},
    {"logit_bias": {}},
    {"chat_template_kwargs": {}},
    {"reasoning": {"enabled": False}},
    {"modalities": ["text"]},
    dict.fromkeys(ONLY),
    {"stream_options": {"include_usage": True}},
    {"compliance": "hipaa", "service_tier": "auto", "verbosity": "low", "parallel_tool_calls": True},
    {"prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "implicit"}},
    {"something": {"nobody": ["knows", 1, None]}},
]


@pytest.mark.parametrize("parameters", REFUSED, ids=str)
async def test_what_is_not_possible_is_refused_by_name(shared_door: Door, parameters: dict[str, Any]) -> None:
    (name,) = parameters
    response, answer = await shared_door.ask(**parameters)
    assert response.status == 400, answer
    error = answer["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", name)
    assert error["type"] == "invalid_request_error"
    assert f"`{name}` is not supported" in error["message"]


@pytest.mark.parametrize("parameters", ASKS_FOR_NOTHING, ids=str)
async def test_what_asks_for_nothing_is_accepted(shared_door: Door, parameters: dict[str, Any]) -> None:
    response, answer = await shared_door.ask(**parameters)
    assert response.status == 200, answer


async def test_every_parameter_is_of_one_kind() -> None:
    assert not KNOWN & ONLY.keys()
    assert not KNOWN & WITHOUT_EFFECT.keys()
    assert not ONLY.keys() & WITHOUT_EFFECT.keys()
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
        assert door.hand.options[0].sampling == Sampling(max_tokens=5)


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CONTENT = [
    ({"role": "user", "content": [{"type": "text", "text": "What?"}, PICTURE]}, "messages[1].content[1]"),
    ({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, "messages[1].content[0]"),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "messages[1]"),
    ({"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}}, "messages[1]"),
    ({"role": "tool", "content": "noon", "tool_call_id": "1"}, "messages[1]"),
    ({"role": "function", "content": "noon", "name": "now"}, "messages[1]"),
]


@pytest.mark.parametrize(("message", "param"), CONTENT, ids=str)
async def test_content_that_the_engine_cannot_take(
    shared_door: Door, message: dict[str, Any], param: str
) -> None:
    messages = [{"role": "user", "content": "Hello"}, message]
    response, answer = await shared_door.ask(model="test/hand", messages=messages)
    assert response.status == 400, answer
    assert (answer["error"]["code"], answer["error"]["param"]) == ("unsupported_parameter", param)
    response, answer = await shared_door.ask(messages=messages)  # this engine takes everything
    assert response.status == 200, answer


async def test_text_parts_need_nothing_of_the_engine(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
        response, answer = await door.ask(model="test/hand", messages=[{"role": "user", "content": parts}])
        assert response.status == 200, answer
        assert door.hand.windows[0].messages[0].text == "Hello there"


async def test_unknown_parameters_reach_engines_that_take_them(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | {"extra"})) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        response, answer = await door.ask(
            model="test/hand", guided={"regex": ["a"]}, mirostat=2, nothing=None, service_tier="auto", n=1
        )
        assert response.status == 200, answer
        assert door.hand.options[0].extra == {"guided": {"regex": ["a"]}, "mirostat": 2, "nothing": None}
