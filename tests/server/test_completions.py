"""A plain chat completion, as bytes and through the official SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import together

from palaver.core.parameters import Parameters
from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta, TurnState, Usage
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, HandEngine, opened

QUESTION: list[Any] = [{"role": "user", "content": "What is the time?"}]


async def test_the_reply_has_exactly_this_shape(door: Door) -> None:
    response, body = await door.ask("What is the time?")
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert body.pop("id") == response.headers["palaver-turn"]
    assert response.headers["palaver-turn"].startswith("chatcmpl-")
    assert response.headers["palaver-conversation"].startswith("conv_")
    assert response.headers["x-request-id"].startswith("req_")
    assert isinstance(body.pop("created"), int)
    text = body["choices"][0]["message"]["content"]
    assert text.startswith("Reply 1 to: What is the time?")
    assert body == {
        "object": "chat.completion",
        "model": "scripted",
        "prompt": [],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "tool_calls": []},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13},
    }


async def test_reasoning_and_cached_tokens_are_shown_where_there_are_any(door: Door) -> None:
    usage = Usage(prompt_tokens=9, completion_tokens=3, cached_tokens=4, reasoning_tokens=2)
    door.hand.put(Accepted(), ReasoningDelta("Hm. "), ContentDelta("Noon."), Finish("length", usage))
    _, body = await door.ask(model="test/hand")
    assert body["model"] == "test/hand"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Noon.",
        "tool_calls": [],
        "reasoning": "Hm. ",
        "reasoning_content": "Hm. ",
    }
    assert body["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cached_tokens": 4,
    }


async def test_an_alias_is_answered_with_the_name_of_what_answered(door: Door) -> None:
    _, body = await door.ask(model="gpt")
    assert body["model"] == "scripted"


Call = Callable[[str], Any]


def _openai(address: str) -> Any:
    with openai.OpenAI(
        base_url=address, api_key="any", max_retries=0, _strict_response_validation=True
    ) as sdk:
        return sdk.chat.completions.create(model="scripted", messages=QUESTION)


def _together(address: str) -> Any:
    with together.Together(
        base_url=address, api_key="any", max_retries=0, _strict_response_validation=True
    ) as sdk:
        return sdk.chat.completions.create(model="scripted", messages=QUESTION)


def _async_openai(address: str) -> Any:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(
            base_url=address, api_key="any", max_retries=0, _strict_response_validation=True
        ) as sdk:
            return await sdk.chat.completions.create(model="scripted", messages=QUESTION)

    return asyncio.run(ask())


def _async_together(address: str) -> Any:
    async def ask() -> Any:
        async with together.AsyncTogether(
            base_url=address, api_key="any", max_retries=0, _strict_response_validation=True
        ) as sdk:
            return await sdk.chat.completions.create(model="scripted", messages=QUESTION)

    return asyncio.run(ask())


@pytest.mark.parametrize("call", [_openai, _together, _async_openai, _async_together])
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_each_sdk_by_each_base_url(door: Door, call: Call, suffix: str) -> None:
    answer = await asyncio.to_thread(call, door.address + suffix)
    assert answer.choices[0].message.content.startswith("Reply 1 to: What is the time?")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 13
    assert answer.id.startswith("chatcmpl-")


async def test_sampling_reaches_the_engine(door: Door) -> None:
    given: dict[str, Any] = {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "presence_penalty": -1,
        "frequency_penalty": 2,
        "seed": 42,
    }
    door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
    response, body = await door.ask(model="test/hand", stop="END", **given)
    assert response.status == 200, body
    assert door.hand.options[0].parameters == Parameters(stop=["END"], **given)
    assert door.hand.options[0].extra == {}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"max_completion_tokens": 3}, Parameters(max_tokens=3)),
        ({"max_tokens": 3, "max_completion_tokens": 3}, Parameters(max_tokens=3)),
        ({"stop": ["a", "b"]}, Parameters(stop=["a", "b"])),
        ({"stop": []}, Parameters()),
        ({"stop": None, "seed": None, "temperature": None, "stream": None}, Parameters()),
    ],
)
async def test_other_forms_of_a_parameter(
    door: Door, parameters: dict[str, Any], expected: Parameters
) -> None:
    door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
    response, body = await door.ask(model="test/hand", **parameters)
    assert response.status == 200, body
    assert door.hand.options[0].parameters == expected


async def test_max_tokens_and_stop_end_the_reply(door: Door) -> None:
    _, short = await door.ask(max_tokens=2)
    assert short["choices"][0]["message"]["content"] == "Reply 1"
    assert short["choices"][0]["finish_reason"] == "length"
    _, stopped = await door.ask(stop=" to:")
    assert stopped["choices"][0]["message"]["content"] == "Reply 1"
    assert stopped["choices"][0]["finish_reason"] == "stop"


async def test_context_length_exceeded_behavior(tmp_path: Path) -> None:
    question = "x" * 6000
    async with opened(tmp_path, hand=HandEngine(context=10_000)) as door:
        response, body = await door.ask(question, model="test/hand", max_tokens=5000)
        assert response.status == 400
        assert body["error"]["code"] == "context_length_exceeded"
        assert body["error"]["param"] == "max_tokens"
        assert "6000 `inputs` tokens and 5000 `max_new_tokens`" in body["error"]["message"]
        door.hand.put(Accepted(), ContentDelta("x"), Finish("length"))
        response, body = await door.ask(
            question, model="test/hand", max_tokens=5000, context_length_exceeded_behavior="truncate"
        )
        assert response.status == 200, body
        assert door.hand.options[-1].parameters.max_tokens == 4000


async def test_a_prompt_that_is_too_long_is_told_with_both_numbers(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(context=1000)) as door:
        response, body = await door.ask("x" * 2000, model="test/hand")
    assert response.status == 400
    assert body["error"] == {
        "message": "The input (2000 tokens) is longer than the model's context length (1000 tokens).",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    assert response.headers["palaver-turn"].startswith("chatcmpl-")


async def test_a_stored_reply_can_be_had_again(door: Door) -> None:
    _, said = await door.ask("Once")
    for form in (
        said["id"],
        said["id"].replace("chatcmpl-", "turn_"),
        said["id"].replace("chatcmpl-", "resp_"),
    ):
        response, again = await door.get(f"/v1/chat/completions/{form}")
        assert response.status == 200
        more = [again.pop(name) for name in ("status", "served_as", "metadata")]
        assert more == ["completed", "scripted", {}]
        assert again == said
    async with openai.AsyncOpenAI(
        base_url=door.address, api_key="any", _strict_response_validation=True
    ) as sdk:
        completion = await sdk.chat.completions.retrieve(said["id"])
    assert completion.choices[0].message.content == said["choices"][0]["message"]["content"]


async def test_a_running_reply_is_a_conflict_until_it_is_cancelled(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("So far"))
    asking = asyncio.create_task(door.ask(model="test/hand"))
    await door.hand.began.wait()
    turn = door.hand.windows[0].turn.replace("turn_", "chatcmpl-")
    response, body = await door.get(f"/v1/chat/completions/{turn}")
    assert response.status == 409
    assert response.headers["retry-after"] == "1"
    assert body["error"]["code"] == "turn_running"
    response, body = await door.post(f"/v1/chat/completions/{turn}/cancel", {})
    assert response.status == 200
    assert (body["id"], body["object"], body["status"]) == (turn, "chat.completion.status", "cancelled")
    _, answer = await asking
    assert answer["choices"][0]["message"]["content"] == "So far"
    assert answer["choices"][0]["finish_reason"] == "stop"
    _, stored = await door.get(f"/v1/chat/completions/{turn}")
    assert stored["status"] == "cancelled"
    assert stored["choices"] == answer["choices"]
    response, body = await door.post(f"/v1/chat/completions/{turn}/cancel", {})
    assert (response.status, body["status"]) == (200, "cancelled")


async def test_a_turn_that_is_not_stored_can_be_cancelled_and_not_had_again(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("Secret"))
    asking = asyncio.create_task(door.ask(model="test/hand", store=False))
    await door.hand.began.wait()
    turn = door.hand.windows[0].turn.replace("turn_", "chatcmpl-")
    response, body = await door.post(f"/v1/chat/completions/{turn}/cancel", {})
    assert (response.status, body["status"]) == (200, "cancelled")
    response, _ = await asking
    assert response.headers["palaver-conversation"] == "none"
    assert response.headers["palaver-turn"] == turn
    response, body = await door.get(f"/v1/chat/completions/{turn}")
    assert (response.status, body["error"]["code"]) == (404, "turn_not_found")


async def test_cancel_needs_no_body(door: Door) -> None:
    _, said = await door.ask()
    async with door.http.post(f"{door.address}/v1/chat/completions/{said['id']}/cancel") as response:
        assert response.status == 200
        assert (await response.json())["status"] == "completed"


@pytest.mark.parametrize("name", ["chatcmpl-x", "nothing", "chatcmpl-" + "0" * 26, "a%2Fb"])
@pytest.mark.parametrize("verb", ["get", "post"])
async def test_no_such_turn(door: Door, name: str, verb: str) -> None:
    path = f"/v1/chat/completions/{name}" + ("/cancel" if verb == "post" else "")
    response, body = await getattr(door, verb)(path)
    assert (response.status, body["error"]["code"]) == (404, "turn_not_found")


async def test_a_stored_reply_that_failed_or_was_cut_off_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings()) as door:
        door.hand.put(RuntimeError("no"))
        response, _ = await door.ask(model="test/hand")
        assert response.status == 502
        await door.until_ended(response.headers["palaver-turn"], TurnState.FAILED)
        _, failed = await door.get(f"/v1/chat/completions/{response.headers['palaver-turn']}")
        assert (failed["status"], failed["choices"]) == ("failed", [])
        assert "RuntimeError" in failed["error"]["message"]
        door.hand.put(Accepted(), ContentDelta("So f"), RuntimeError("no"))
        response, _ = await door.ask(model="test/hand")
        assert response.status == 502
        _, cut = await door.get(f"/v1/chat/completions/{response.headers['palaver-turn']}")
        assert cut["status"] == "incomplete"
        assert cut["choices"][0]["message"]["content"] == "So f"
        assert cut["choices"][0]["finish_reason"] == "length"
