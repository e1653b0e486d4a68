"""Several replies to one question, log probabilities in both shapes, the prompt, and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import EngineBroke
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    Finish,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from palaver.engines.base import SAMPLING
from palaver.server.completion_logprobs import shown_logprobs
from palaver.server.completion_reply import NO_PROMPT_LOGPROBS
from tests.server.conftest import Door, HandEngine, opened
from tests.server.test_streaming import chunks_of, streaming

YES = TokenLogprob(
    "Yes", -0.25, [89, 101, 115], 7, [TopLogprob("Yes", -0.25), TopLogprob("No", -1.5, [78, 111], 8)]
)
DOT = TokenLogprob(".", -20000.0, id=3, top=[TopLogprob(".", -20000.0), TopLogprob("!", -1.0)])
USAGE = Usage(prompt_tokens=5, completion_tokens=9, cached_tokens=4, reasoning_tokens=1)
TOOL = {"type": "function", "function": {"name": "now"}}


def hand() -> HandEngine:
    return HandEngine(SAMPLING | {"logprobs", "echo", "tools"})


THREE: list[Delta] = [
    ContentDelta("a", 0),
    ReasoningDelta("Hm.", 2),
    ContentDelta("b", 1),
    ToolCallDelta(0, "call_1", "now", "{}", 2),
    ContentDelta("A", 0),
]


async def ask_three(door: Door) -> Any:
    door.hand.put(Accepted(), *THREE, Finish("stop", USAGE, others=["length", "tool_calls"]))
    response, answer = await door.ask(model="test/hand", n=3, tools=[TOOL])
    assert response.status == 200, answer
    return answer


async def test_three_replies(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        answer = await ask_three(door)
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop", "length", "tool_calls"]
        first, second, third = (choice["message"] for choice in answer["choices"])
        assert (first["content"], second["content"], third["content"]) == ("aA", "b", None)
        assert third["reasoning"] == "Hm."
        assert third["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
        assert answer["usage"]["completion_tokens"] == 9
        _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert stored["choices"] == answer["choices"]


async def test_three_replies_streamed(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(
            Accepted(),
            *THREE,
            Finish("stop", USAGE, others=["length", "tool_calls"], warnings=["It was cut."]),
        )
        async with streaming(door, n=3, tools=[TOOL]) as response:
            chunks = chunks_of(await response.read())
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["index"] for choice in choices] == [0, 2, 1, 2, 0, 0, 1, 2]
    assert [choice["finish_reason"] for choice in choices] == [None] * 5 + ["stop", "length", "tool_calls"]
    texts = ["".join(c["delta"]["content"] or "" for c in choices if c["index"] == i) for i in range(3)]
    assert texts == ["aA", "b", ""]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 7
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 9,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cached_tokens": 4,
    }
    assert [chunk.get("warnings") for chunk in chunks] == [None] * 7 + [[{"message": "It was cut."}]]


async def test_each_reply_can_be_gone_on_with(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        answer = await ask_three(door)
        conversations = set()
        for choice in answer["choices"][:2]:
            door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
            history = [
                {"role": "user", "content": "Hello"},
                choice["message"],
                {"role": "user", "content": "Go on"},
            ]
            response, _ = await door.ask(model="test/hand", messages=history)
            conversations.add(response.headers["palaver-conversation"])
        assert len(conversations) == 1


@pytest.mark.parametrize("is_gone_on_with", [False, True])
async def test_the_others_stay_when_the_first_is_deleted(tmp_path: Path, is_gone_on_with: bool) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        answer = await ask_three(door)
        record = await door.chat.store.turn("local", answer["id"].replace("chatcmpl-", "turn_"))
        assert record.reply is not None
        if is_gone_on_with:  # then it leaves a tombstone
            door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
            follow_up = [{"role": "user", "content": "Go on"}]
            await door.ask(model="test/hand", parent=record.reply.id, messages=follow_up)
        await door.chat.store.delete_message("local", record.reply.id)
        response, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert response.status == 200, stored
        assert stored["choices"] == answer["choices"][1:]


SHOWN = [
    {
        "token": "Yes",
        "logprob": -0.25,
        "bytes": [89, 101, 115],
        "top_logprobs": [
            {"token": "Yes", "logprob": -0.25, "bytes": None},
            {"token": "No", "logprob": -1.5, "bytes": [78, 111]},
        ],
    },
    {
        "token": ".",
        "logprob": -9999.0,
        "bytes": None,
        "top_logprobs": [
            {"token": ".", "logprob": -9999.0, "bytes": None},
            {"token": "!", "logprob": -1.0, "bytes": None},
        ],
    },
]
OPENAI = {"content": SHOWN, "refusal": None}
TOGETHER = {
    "content": SHOWN,
    "tokens": ["Yes", "."],
    "token_logprobs": [-0.25, -9999.0],
    "token_ids": [7, 3],
    "top_logprobs": {"Yes": -0.25, "No": -1.5},
}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({"logprobs": True, "top_logprobs": 2}, OPENAI), ({"logprobs": 2}, TOGETHER)],
    ids=["openai", "together"],
)
async def test_log_probabilities(
    tmp_path: Path, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(Accepted(), ContentDelta("Yes.", logprobs=[YES, DOT]), Finish("stop"))
        response, answer = await door.ask(model="test/hand", **parameters)
        assert response.status == 200, answer
        assert answer["choices"][0]["logprobs"] == expected
        _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert stored["choices"][0]["logprobs"] == OPENAI


async def test_without_alternatives_and_numbers_they_are_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(Accepted(), ContentDelta("a", logprobs=[TokenLogprob("a", -0.5)]), Finish("stop"))
        _, answer = await door.ask(model="test/hand", logprobs=0)
        assert answer["choices"][0]["logprobs"] == {"tokens": ["a"], "token_logprobs": [-0.5]}


async def test_who_does_not_ask_for_them_gets_none(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(Accepted(), ContentDelta("Yes.", logprobs=[YES, DOT]), Finish("stop"))
        _, answer = await door.ask(model="test/hand")
        assert answer["choices"][0]["logprobs"] is None
        door.hand.put(Accepted(), ContentDelta("Yes.", logprobs=[YES, DOT]), Finish("stop"))
        async with streaming(door) as response:
            first, _ = chunks_of(await response.read())
        assert first["choices"][0]["logprobs"] is None


async def test_log_probabilities_streamed_as_openai_does(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(
            Accepted(), ContentDelta("Yes.", logprobs=[YES, DOT]), ContentDelta("!"), Finish("stop")
        )
        async with streaming(door, logprobs=True, top_logprobs=2) as response:
            first, second, last = chunks_of(await response.read())
    assert first["choices"][0]["logprobs"] == OPENAI
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Yes."}
    assert second["choices"][0]["logprobs"] is None
    assert last["choices"][0]["logprobs"] is None


async def test_log_probabilities_streamed_as_together_does(tmp_path: Path) -> None:
    odd = [TokenLogprob("\ufffd", -1.0), TokenLogprob("\ufffd", -2.0)]
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(
            Accepted(),
            ContentDelta("Yes.", logprobs=[YES, DOT]),
            ContentDelta("\u00e9", logprobs=odd),
            Finish("stop"),
        )
        async with streaming(door, logprobs=2) as response:
            chunks = chunks_of(await response.read())
    shown = [{key: value for key, value in chunk["choices"][0].items() if key != "index"} for chunk in chunks]
    assert shown == [
        {
            "delta": {"role": "assistant", "content": "Yes", "token_id": 7},
            "logprobs": -0.25,
            "top_logprobs": {"Yes": -0.25, "No": -1.5},
            "finish_reason": None,
        },
        {
            "delta": {"role": "assistant", "content": ".", "token_id": 3},
            "logprobs": -9999.0,
            "top_logprobs": {".": -9999.0, "!": -1.0},
            "finish_reason": None,
        },
        {"delta": {"role": "assistant", "content": ""}, "logprobs": -1.0, "finish_reason": None},
        {"delta": {"role": "assistant", "content": "\u00e9"}, "logprobs": -2.0, "finish_reason": None},
        {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": "stop"},
    ]


async def test_the_prompt_comes_back_where_it_is_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        end = Finish("stop", prompt="<user>Hello", warnings=["The prompt was cut."])
        door.hand.put(Accepted(), ContentDelta("x"), end)
        _, answer = await door.ask(model="test/hand", echo=True)
        assert answer["prompt"] == [{"text": "<user>Hello"}]
        assert answer["warnings"] == [{"message": "The prompt was cut."}]
        _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert stored["warnings"] == [{"message": "The prompt was cut."}]
        door.hand.put(Accepted(), ContentDelta("x"), end)
        async with streaming(door, echo=True) as response:
            first, last = chunks_of(await response.read())
        assert "prompt" not in first
        assert last["prompt"] == [{"text": "<user>Hello"}]


async def test_a_reply_that_was_cut_off_is_gone_on_with_once(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | {"prefill"})) as door:
        door.hand.put(Accepted(), ContentDelta("So f"), EngineBroke())
        response, _ = await door.ask(model="test/hand", conversation="trip")
        _, page = await door.get("/v1/conversations/trip/messages")
        more = {"model": "test/hand", "messages": [], "parent": page["data"][0]["id"]}
        response, answer = await door.ask(**more, n=2)
        assert (response.status, answer["error"]["param"]) == (400, "n"), answer
        door.hand.put(Accepted(), ContentDelta("ar"), Finish("stop"))
        response, answer = await door.ask(**more)
        assert answer["choices"][0]["message"]["content"] == "So far"


@pytest.mark.parametrize("logprobs", [True, 0])
async def test_of_the_prompt_no_log_probabilities_are_told(tmp_path: Path, logprobs: bool | int) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop", prompt="Hello", warnings=["Slow."]))
        _, answer = await door.ask(model="test/hand", echo=True, logprobs=logprobs)
    assert [warning["message"] for warning in answer["warnings"]] == ["Slow.", NO_PROMPT_LOGPROBS]


async def test_an_empty_reply_is_a_reply(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        door.hand.put(Accepted(), Finish("stop", others=["stop"]))
        _, answer = await door.ask(model="test/hand", n=2)
        assert [choice["message"]["content"] for choice in answer["choices"]] == ["", ""]
        _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
        assert stored["choices"] == answer["choices"]


def test_what_has_no_number_in_json_has_one_here() -> None:
    never = TokenLogprob("x", float("-inf"))
    assert shown_logprobs([never], "together").token_logprobs == [-9999.0]
