"""`POST /v1/completions`: texts that are gone on with, their forms, bounds and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.chat.texts import LONGEST_UNASKED
from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    UnsupportedParameter,
)
from palaver.core.parameters import Parameters, Sampling
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    EngineEvent,
    Finish,
    ReasoningDelta,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Model, Options
from palaver.engines.scripted import ScriptedEngine
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, HandEngine, opened, until

PATH = "/v1/completions"
TOGETHER = {"user-agent": "Together/Python 3.1.1"}
HAND = {"model": "test/hand", "prompt": "Once"}
CAPABLE = SAMPLING | {"completions", "logprobs"}
LOCAL = {"authorization": "Bearer local-secret"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=HandEngine(CAPABLE)) as door:
        yield door


async def go_on(door: Door, headers: dict[str, str] | None = None, **more: Any) -> tuple[int, Any]:
    response, body = await door.post(PATH, {"model": "scripted", "prompt": "Once upon", **more}, headers)
    return response.status, body


async def said(door: Door, **more: Any) -> list[str]:
    status, body = await go_on(door, **more)
    assert status == 200, body
    return [choice["text"] for choice in body["choices"]]


def chunks_of(data: str) -> list[Any]:
    """The chunks of a whole stream. Everything that is not `data:` would be found here."""
    *events, last = data.split("\n\n")
    assert last == ""
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


# Forms


async def test_a_reply_has_exactly_this_shape(door: Door) -> None:
    response, body = await door.post(PATH, {"model": "gpt", "prompt": "Once upon"})
    assert response.status == 200
    assert response.headers["palaver-conversation"] == "none"
    assert response.headers["palaver-turn"] == body["id"]
    text = body["choices"][0]["text"]
    assert text.startswith(" and so on [")
    assert body == {
        "id": body["id"],
        "object": "text_completion",
        "created": body["created"],
        "model": "scripted",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6},
    }
    assert body["id"].startswith("cmpl-")


async def test_together_gets_its_own_shape(door: Door) -> None:
    _, body = await go_on(door, TOGETHER, seed=7, max_tokens=2)
    assert body == {
        "id": body["id"],
        "object": "text.completion",
        "created": body["created"],
        "model": "scripted",
        "prompt": [],
        "choices": [{"index": 0, "text": " and so", "logprobs": None, "finish_reason": "length", "seed": 7}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }
    _, body = await go_on(door, TOGETHER, echo=True, max_tokens=1)
    assert (body["prompt"], body["choices"][0]["text"]) == ([{"text": "Once upon"}], "Once upon and")


async def test_log_probabilities_in_both_shapes(door: Door) -> None:
    top = [TopLogprob("a", -0.1), TopLogprob("b", -2.0)]
    steps = (
        Accepted(),
        ContentDelta("a", logprobs=[TokenLogprob("a", -0.1, id=5, top=top)]),
        ContentDelta("bc", logprobs=[TokenLogprob("bc", float("-inf"), id=6)]),
        Finish("stop"),
    )
    asked = {**HAND, "logprobs": 2}
    door.hand.put(*steps)
    _, body = await door.post(PATH, asked)
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["a", "bc"],
        "token_logprobs": [-0.1, -9999.0],
        "top_logprobs": [{"a": -0.1, "b": -2.0}, {}],
        "text_offset": [0, 1],
    }
    assert body["usage"] is None
    door.hand.put(*steps)
    _, body = await door.post(PATH, asked, TOGETHER)
    shown = body["choices"][0]["logprobs"]
    assert (shown["tokens"], shown["token_ids"]) == (["a", "bc"], [5, 6])
    assert (shown["token_logprobs"], shown["top_logprobs"]) == ([-0.1, -9999.0], {"a": -0.1, "b": -2.0})
    assert [each["token"] for each in shown["content"]] == ["a", "bc"]
    assert door.hand.options[-1].parameters == Parameters(logprobs=2)


async def test_log_probabilities_without_alternatives(door: Door) -> None:
    _, body = await go_on(door, logprobs=0, max_tokens=1)
    assert body["choices"][0]["logprobs"]["top_logprobs"] is None
    door.hand.put(Accepted(), Finish("stop"))
    _, body = await door.post(PATH, {**HAND, "logprobs": 1})
    assert body["choices"][0]["logprobs"] == {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": None,
        "text_offset": [],
    }


async def test_a_stream(door: Door) -> None:
    response, data = await door.post(
        PATH, {"model": "scripted", "prompt": "Once upon", "stream": True, "n": 2, "max_tokens": 2}
    )
    assert response.headers["content-type"] == "text/event-stream;charset=utf-8"
    assert response.headers["palaver-conversation"] == "none"
    chunks = chunks_of(data)
    same = {key: chunks[0][key] for key in ("id", "object", "created", "model")}
    assert same["object"] == "text_completion"
    assert same["id"] == response.headers["palaver-turn"]

    def chunk(index: int, text: str, reason: str | None = None, usage: Any = None) -> Any:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        return {**same, "choices": [choice], "usage": usage}

    usage = {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    assert chunks == [
        chunk(0, " and"),
        chunk(1, " and"),
        chunk(0, " so"),
        chunk(1, " so"),
        chunk(0, "", "length"),
        chunk(1, "", "length", usage),
    ]


async def test_a_stream_with_log_probabilities_counts_on(door: Door) -> None:
    _, data = await door.post(
        PATH,
        {"model": "scripted", "prompt": "Once", "stream": True, "logprobs": 1, "max_tokens": 3},
    )
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks_of(data)]
    assert [each["text_offset"] for each in told[:-1]] == [[0], [4], [7]]
    assert [each["tokens"] for each in told[:-1]] == [[" and"], [" so"], [" on"]]
    assert told[-1] is None


async def test_together_gets_a_stream_of_its_own(door: Door) -> None:
    tokens = [
        TokenLogprob("a", -0.5, id=5, top=[TopLogprob("a", -0.5)]),
        TokenLogprob("b", -0.25, id=6, top=[TopLogprob("b", -0.25)]),
    ]
    door.hand.put(
        Accepted(), ContentDelta("x"), ContentDelta("ab", logprobs=tokens), Finish("length", Usage(1, 3))
    )
    _, data = await door.post(PATH, {**HAND, "stream": True, "logprobs": 1, "seed": 3}, TOGETHER)
    chunks = chunks_of(data)
    assert [chunk["token"] for chunk in chunks] == [
        {"id": 0, "text": "x", "logprob": 0.0, "special": False},
        {"id": 5, "text": "a", "logprob": -0.5, "special": False},
        {"id": 6, "text": "b", "logprob": -0.25, "special": False},
        {"id": 0, "text": "", "logprob": 0.0, "special": False},
    ]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["x", "a", "b", ""]
    assert [chunk["choices"][0].get("top_logprobs") for chunk in chunks] == [
        None,
        {"a": -0.5},
        {"b": -0.25},
        None,
    ]
    assert {chunk["object"] for chunk in chunks} == {"completion.chunk"}
    assert {chunk["seed"] for chunk in chunks} == {3}
    assert [chunk["finish_reason"] for chunk in chunks] == [None, None, None, "length"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 3
    assert chunks[-1]["usage"]["total_tokens"] == 4


# Prompts


async def test_the_choices_of_several_prompts_follow_each_other(door: Door) -> None:
    asked: dict[str, Any] = {"prompt": ["Once", "Twice", "Once"], "n": 2}
    texts = await said(door, **asked)
    assert texts[:2] == texts[4:] != texts[2:4]
    assert texts[:2] == await said(door, prompt="Once", n=2)
    assert texts[2:4] == await said(door, prompt=["Twice"], n=2)
    _, body = await go_on(door, **asked)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3, 4, 5]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 24, "total_tokens": 27}


async def test_token_numbers(door: Door) -> None:
    (one,) = await said(door, prompt=[7, 12])
    assert await said(door, prompt=[[7, 12], [9]]) == [one, *await said(door, prompt=[9])]
    assert door.scripted.prompts[-1].messages[0].text == "#9"


async def test_each_reply_begins_with_its_prompt(door: Door) -> None:
    assert await said(door, prompt=["Once", "", "Twice"], n=2, echo=True, max_tokens=1) == [
        "Once and",
        "Once and",
        " and",
        " and",
        "Twice and",
        "Twice and",
    ]
    _, data = await door.post(
        PATH, {"model": "scripted", "prompt": "Once", "echo": True, "stream": True, "max_tokens": 1}
    )
    assert [chunk["choices"][0]["text"] for chunk in chunks_of(data)] == ["Once", " and", ""]
    door.hand.put(Accepted(), Finish("stop"))
    _, body = await door.post(PATH, {**HAND, "echo": True})
    assert body["choices"][0]["text"] == "Once", "a model that says nothing has gone on with it, too"


async def test_what_the_engine_is_given(door: Door) -> None:
    parameters = {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 4,
        "logit_bias": {"7": -100.0},
        "n": 2,
        "logprobs": 3,
    }
    door.hand.put(Accepted(), Finish("stop", others=["stop"]))
    response, _ = await door.post(
        PATH,
        {**HAND, **parameters, "suffix": "the end", "stop": "x", "user": "u", "best_of": 2, "unheard_of": 1},
    )
    assert response.status == 200
    assert door.hand.options[-1].parameters == Parameters(**parameters, stop=["x"])  # type: ignore[arg-type]
    assert door.hand.options[-1].extra == {}
    assert door.hand.texts == [("Once", "the end")]
    window = door.hand.windows[-1]
    assert (window.owner, window.conversation, window.messages) == ("local", None, ())


async def test_unknown_parameters_go_to_engines_that_take_them(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(CAPABLE | {"extra"})) as door:
        door.hand.put(Accepted(), Finish("stop"))
        await door.post(PATH, {**HAND, "mirostat": 2})
        assert door.hand.options[-1].extra == {"mirostat": 2}


async def test_thinking_is_text_like_any_other(door: Door) -> None:
    door.hand.put(Accepted(), ReasoningDelta("<think>Hm"), ContentDelta(" so"), Finish("tool_calls"))
    _, body = await door.post(PATH, HAND)
    choice = body["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("<think>Hm so", "stop")


async def test_a_reply_without_max_tokens_is_bounded(door: Door) -> None:
    door.hand.put(Accepted(), *[ContentDelta("a")] * (LONGEST_UNASKED + 10))
    _, body = await door.post(PATH, HAND)
    assert body["choices"][0]["text"] == "a" * LONGEST_UNASKED
    assert body["choices"][0]["finish_reason"] == "length"


# Nothing is kept


async def test_nothing_is_kept(door: Door) -> None:
    response, body = await door.post(PATH, {"model": "scripted", "prompt": "Once upon"})
    assert await door.chat.store.conversations("local", one_shots=True) == []
    turn = response.headers["palaver-turn"].removeprefix("cmpl-")
    found, _ = await door.get(f"/v1/chat/completions/chatcmpl-{turn}")
    assert found.status == 404
    assert body["choices"]


@pytest.mark.parametrize("stream", [False, True])
async def test_it_stops_when_its_reader_leaves(tmp_path: Path, stream: bool) -> None:
    settings = ServerSettings(hold_seconds=60)
    async with opened(tmp_path, settings, hand=HandEngine(CAPABLE)) as door:
        asking = asyncio.create_task(door.post(PATH, {**HAND, "stream": stream}))
        await door.hand.began.wait()
        assert len(door.chat.completing) == 1
        asking.cancel()
        await until(lambda: not len(door.chat.completing))


async def test_it_counts_among_the_turns_of_the_server(tmp_path: Path) -> None:
    async with opened(
        tmp_path, chat_settings=ChatSettings(max_open_turns=3), hand=HandEngine(CAPABLE)
    ) as door:
        asking = asyncio.create_task(door.post(PATH, {**HAND, "prompt": ["a", "b"]}))
        await until(lambda: len(door.hand.texts) == 2)
        status, body = await go_on(door, prompt=["a", "b"])
        assert (status, body["error"]["type"]) == (429, "rate_limit_error")
        assert await said(door, prompt="a")
        door.hand.put(Accepted(), Accepted(), Finish("stop"), Finish("stop"))
        assert (await asking)[0].status == 200
        assert len(await said(door, prompt=["a", "b", "c"])) == 3
        response, _ = await door.ask("Hello")
        assert response.status == 200


async def test_it_ends_with_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(CAPABLE)) as door:
        asking = asyncio.create_task(door.post(PATH, HAND))
        await door.hand.began.wait()
        await door.chat.close()
        response, body = await asking
        assert (response.status, body["error"]["message"]) == (502, "palaver was shut down.")
        status, _ = await go_on(door)
        assert status == 503


async def test_it_ends_with_its_owner(door: Door) -> None:
    asking = asyncio.create_task(door.post(PATH, HAND))
    await door.hand.began.wait()
    await door.chat.stop_turns("somebody else", "gone")
    await door.chat.stop_turns("local", "All of it is deleted.")
    response, body = await asking
    assert (response.status, body["error"]["code"]) == (409, "turn_cancelled")
    assert body["error"]["message"] == "All of it is deleted."


async def test_its_tokens_are_charged(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
        _, made = await door.post("/v1/keys", {"name": "app", "tokens_per_minute": 6}, LOCAL)
        key = {"authorization": f"Bearer {made['key']}"}
        status, _ = await go_on(door, key)
        assert status == 200
        status, body = await go_on(door, key)
        assert (status, body["error"]["code"]) == (429, "token_limited")


# Errors


async def test_a_model_that_completes_no_texts(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        response, body = await door.post(PATH, HAND)
        assert (response.status, body["error"]["code"]) == (400, "unsupported_parameter")
        assert body["error"]["param"] == "model"
        status, body = await go_on(door, model="nothing")
        assert (status, body["error"]["code"]) == (404, "model_not_available")


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [[1], []]}, "prompt[1]"),
        ({"prompt": ["a", 7]}, "prompt[1]"),
        ({"prompt": [7, "a"]}, "prompt[1]"),
        ({"prompt": [[7], "a"]}, "prompt[1]"),
        ({"prompt": [[7, "a"]]}, "prompt[0][1]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "echo"),
        ({"prompt": [1], "echo": True}, "echo"),
        ({"temperature": 3}, "temperature"),
        ({"logit_bias": {"the": 1}}, "logit_bias"),
        ({"stop": [""]}, "stop[0]"),
        ({"id_slot": 1}, "id_slot"),
        ({"suffix": 1}, "suffix"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"model": 1}, "model"),
    ],
)
async def test_bad_values_are_named(door: Door, sent: dict[str, Any], param: str) -> None:
    status, body = await go_on(door, **sent)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert body["error"]["param"] == param


async def test_texts_over_the_context(door: Door) -> None:
    door.hand.put(ContextLengthExceeded(prompt_tokens=9, context_size=8))
    response, body = await door.post(PATH, HAND)
    assert response.status == 400
    assert body["error"]["message"] == (
        "The input (9 tokens) is longer than the model's context length (8 tokens)."
    )
    assert (body["error"]["param"], body["error"]["code"]) == ("prompt", "context_length_exceeded")
    door.hand.put(ContextLengthExceeded(prompt_tokens=9, context_size=16, max_tokens=10, param="max_tokens"))
    _, body = await door.post(PATH, HAND)
    assert body["error"]["param"] == "max_tokens"


class Narrow(HandEngine):
    """Has no room for one of the prompts, and says nothing to the others."""

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        if prompt == "Twice":
            raise ContextLengthExceeded(prompt_tokens=9, context_size=8)
        yield Accepted()
        await asyncio.Event().wait()


async def test_which_of_the_prompts_is_over_the_context(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=Narrow(CAPABLE)) as door:
        response, body = await door.post(PATH, {**HAND, "prompt": ["Once", "Twice"], "stream": True})
        assert (response.status, body["error"]["param"]) == (400, "prompt[1]")
        assert not len(door.chat.completing)


async def test_what_the_engine_refuses_later(door: Door) -> None:
    door.hand.put(UnsupportedParameter("No gaps here.", param="suffix"))
    response, body = await door.post(PATH, {**HAND, "suffix": "end", "stream": True})
    assert (response.status, body["error"]["param"]) == (400, "suffix")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_breaks(door: Door, stream: bool) -> None:
    door.hand.put(EngineUnavailable())
    response, body = await door.post(PATH, {**HAND, "stream": stream})
    assert (response.status, body["error"]["code"]) == (503, "engine_unavailable")
    door.hand.put(Accepted(), ContentDelta("a"), EngineBroke("It broke."))
    response, body = await door.post(PATH, {**HAND, "stream": stream})
    if stream:
        first, last, end = body.split("\n\n")
        assert json.loads(first.removeprefix("data: "))["choices"][0]["text"] == "a"
        assert json.loads(last.removeprefix("data: "))["error"]["message"] == "It broke."
        assert end == ""
    else:
        assert (response.status, body["error"]["code"]) == (502, "engine_broke")


async def test_an_engine_that_fails_in_an_unforeseen_way(door: Door) -> None:
    door.hand.put(Accepted(), RuntimeError("secret"))
    response, body = await door.post(PATH, HAND)
    assert response.status == 502
    assert body["error"]["message"] == "The model failed to answer (RuntimeError)."


# Fallbacks


async def with_fallbacks(door: Door) -> ScriptedEngine:
    """Give the hand's model three fallbacks, of which the last can do everything; the engine of that."""
    engine = ScriptedEngine()
    fallbacks = (
        Model(name="no texts", served_as="x", engine=HandEngine()),
        Model(name="no log probabilities", served_as="x", engine=HandEngine(SAMPLING | {"completions"})),
        Model(name="spare", served_as="spare", engine=engine, defaults=Sampling(max_tokens=3)),
    )
    hand = Model(name="test/hand", served_as="hand", engine=door.hand, fallbacks=fallbacks)

    async def find(name: str) -> Model:
        return hand

    door.chat.catalog.find = find  # type: ignore[method-assign]
    return engine


async def test_another_model_goes_on_where_one_fails_before_it_speaks(door: Door) -> None:
    await with_fallbacks(door)
    door.hand.put(Accepted(), EngineUnavailable())
    response, body = await door.post(PATH, {**HAND, "logprobs": 0})
    assert response.status == 200
    assert body["model"] == "spare"
    assert body["choices"][0]["text"] == " and so on"


async def test_no_other_model_goes_on_with_what_one_has_said_or_refused(door: Door) -> None:
    spare = await with_fallbacks(door)
    door.hand.put(Accepted(), ContentDelta("a"), EngineBroke())
    response, _ = await door.post(PATH, HAND)
    assert response.status == 502
    door.hand.put(EngineRefused("no", status=400))
    response, _ = await door.post(PATH, HAND)
    assert response.status == 400
    door.hand.put(EngineUnavailable())
    response, _ = await door.post(PATH, {**HAND, "prompt": [7]})
    assert response.status == 503, "the spare model has another vocabulary"
    assert spare.prompts == []


async def test_where_all_fail_the_last_failure_is_told(door: Door) -> None:
    spare = await with_fallbacks(door)
    await spare.close()
    door.hand.put(EngineRefused("busy", status=429))
    response, body = await door.post(PATH, {**HAND, "logprobs": 0})
    assert (response.status, body["error"]["message"]) == (503, "The engine is closed.")
