"""The decoder of chat completion streams: every server's dialect, cut anywhere, and what is not one."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import EngineBroke, EngineTimeout
from palaver.core.message import FunctionCall, ToolCall
from palaver.core.reply import replies
from palaver.core.turn import (
    ContentDelta,
    Delta,
    EngineEvent,
    Finish,
    Prefilled,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from palaver.engines import chat_stream
from palaver.engines.chat_stream import chat_events, error_message

NAMES = st.sampled_from(
    [
        *(
            "choices",
            "delta",
            "index",
            "content",
            "reasoning",
            "tool_calls",
            "function",
            "name",
            "arguments",
            "id",
        ),
        *(
            "finish_reason",
            "logprobs",
            "top_logprobs",
            "tokens",
            "token",
            "logprob",
            "text",
            "model",
            "timings",
        ),
        *(
            "usage",
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "cached_tokens",
            "prompt_n",
        ),
    ]
)
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = b"data: [DONE]\n\n"


async def pieces(chunks: Iterable[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def decoded(
    *chunks: bytes, error: Exception | None = None, n: int = 1, is_text: bool = False
) -> list[EngineEvent]:
    return [event async for event in chat_events(pieces(chunks, error), n, is_text=is_text)]


async def until_broken(*chunks: bytes) -> tuple[list[EngineEvent], str]:
    return await broken(pieces(chunks))


async def broken(body: AsyncIterable[bytes], n: int = 1) -> tuple[list[EngineEvent], str]:
    """The events before EngineBroke, and its message."""
    events: list[EngineEvent] = []
    try:
        async for event in chat_events(body, n):
            events.append(event)
    except EngineBroke as error:
        return events, error.message
    pytest.fail("the stream did not break")


def line(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def delta(reason: str | None = None, **fields: Any) -> bytes:
    return line({"model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]})


def content(*texts: str) -> bytes:
    return b"".join(delta(content=text) for text in texts)


OPENAI = (
    delta(role="assistant", content="")
    + content("Grüß", " dich 👋")
    + delta("stop")
    + line({"model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    + DONE
)
OPENAI_EVENTS = [ContentDelta("Grüß"), ContentDelta(" dich 👋"), Finish("stop", Usage(9, 2), "m")]


async def test_an_openai_stream_has_its_usage_in_a_chunk_of_its_own() -> None:
    assert await decoded(OPENAI) == OPENAI_EVENTS


async def test_a_together_stream_has_its_usage_on_the_last_chunk() -> None:
    usage = {"prompt_tokens": 45, "completion_tokens": 3, "total_tokens": 48, "cached_tokens": 0}
    last = {
        "choices": [{"index": 0, "text": "", "finish_reason": "eos", "delta": {"content": ""}}],
        "usage": usage,
    }
    hello = {
        "choices": [{"index": 0, "text": "Hi", "delta": {"token_id": 1, "content": "Hi"}}],
        "usage": None,
    }
    assert await decoded(line(hello) + line(last) + DONE) == [
        ContentDelta("Hi"),
        Finish("stop", Usage(45, 3, cached_tokens=0)),
    ]


@given(st.data())
async def test_chunks_may_be_cut_anywhere(data: st.DataObject) -> None:
    stream = OPENAI if data.draw(st.booleans()) else OPENAI.replace(b"\n", b"\r\n")
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    bounds = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    assert await decoded(*chunks) == OPENAI_EVENTS


async def test_single_bytes() -> None:
    assert await decoded(*(bytes([byte]) for byte in OPENAI)) == OPENAI_EVENTS


@pytest.mark.parametrize(
    "stream",
    [
        OPENAI.replace(b"data: ", b"data:"),
        OPENAI.replace(b"\n\n", b"\n"),
        b"\xef\xbb\xbf" + OPENAI,
        b": keep-alive\n\n" + OPENAI.replace(b"\n\n", b"\n\n: OPENROUTER PROCESSING\n\n"),
        b"retry: 100\n" + OPENAI.replace(b"data: {", b"event: message\nid: 7\ndata: {"),
        OPENAI.replace(b"data: [DONE]\n\n", b"data: [DONE]"),
        OPENAI.removesuffix(DONE),
        OPENAI.removesuffix(b"\n\n" + DONE),
        OPENAI + b"data: {never read",
        b"data: \n\n" + OPENAI,
    ],
    ids=[
        "no space",
        "no empty line",
        "mark",
        "comments",
        "fields",
        "cut DONE",
        "no DONE",
        "cut",
        "rest",
        "empty",
    ],
)
async def test_dialects_of_the_format(stream: bytes) -> None:
    assert await decoded(stream) == OPENAI_EVENTS


async def test_nothing_is_read_after_done() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield OPENAI
        raise AssertionError("read on")

    assert [event async for event in chat_events(body())] == OPENAI_EVENTS


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thinking(field: str) -> None:
    events = await decoded(delta(**{field: "Hm"}) + delta(**{field: "."}, content="Yes") + line(STOP) + DONE)
    assert events[:-1] == [ReasoningDelta("Hm"), ReasoningDelta("."), ContentDelta("Yes")]


async def test_thinking_under_both_names_is_told_once() -> None:
    events = await decoded(delta(reasoning="Hm", reasoning_content="Hm") + line(STOP) + DONE)
    assert events[:-1] == [ReasoningDelta("Hm")]


async def test_details_of_the_usage() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    events = await decoded(line(STOP | {"usage": usage}) + DONE)
    assert events == [Finish("stop", Usage(10, 5, cached_tokens=8, reasoning_tokens=3))]


async def test_details_that_are_null() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": None,
        "cached_tokens": None,
    }
    assert await decoded(line(STOP | {"usage": usage}) + DONE) == [Finish("stop", Usage(10, 5))]


async def test_timings_stand_in_for_the_usage() -> None:
    timings = {"cache_n": 7, "prompt_n": 3, "prompt_ms": 1.5, "predicted_n": 4}
    assert await decoded(line(STOP | {"timings": timings}) + DONE) == [
        Finish("stop", Usage(10, 4, cached_tokens=7))
    ]


async def test_timings_fill_in_what_the_usage_leaves_out() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    events = await decoded(line(STOP | {"usage": usage, "timings": {"cache_n": 7}}) + DONE)
    assert events == [Finish("stop", Usage(10, 5, cached_tokens=7))]


async def test_how_far_the_prompt_is_read() -> None:
    read = [
        line({"choices": [], "prompt_progress": {"total": 90, "cache": 10, "processed": done, "time_ms": 3}})
        for done in (10, 50, 90)
    ]
    assert await decoded(*read, OPENAI) == [*(Prefilled(done, 90) for done in (10, 50, 90)), *OPENAI_EVENTS]


@pytest.mark.parametrize(
    "progress",
    [7, "half", [], {}, {"total": 0, "processed": 0}, {"total": 9}, {"total": -9, "processed": 1}]
    + [{"total": 9, "processed": each} for each in (-1, 0.5, "3", None, 2**60)],
)
async def test_a_progress_that_is_none(progress: Any) -> None:
    assert await decoded(line({"choices": [], "prompt_progress": progress}), OPENAI) == OPENAI_EVENTS


async def test_no_usage_at_all() -> None:
    assert await decoded(line(STOP | {"usage": {}}) + DONE) == [Finish("stop")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("end_turn", "stop"),
    ],
)
async def test_finish_reasons(said: str, meant: str) -> None:
    assert await decoded(delta(said) + DONE) == [Finish(meant, None, "m")]  # type: ignore[arg-type]


async def test_other_choices_are_left_out() -> None:
    other = line({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]})
    assert await decoded(other + content("this") + other + line(STOP) + DONE) == [
        ContentDelta("this"),
        Finish("stop", None, "m"),
    ]


def calls(*deltas: dict[str, Any]) -> bytes:
    return b"".join(delta(tool_calls=[each]) for each in deltas) + delta("tool_calls") + DONE


async def test_calls_are_put_together() -> None:
    events = await decoded(
        content("Let me see.")
        + calls(
            {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"city":'}},
            {"index": 1, "id": "c2", "function": {"name": "time", "arguments": None}},
            {"index": 0, "function": {"arguments": '"Bonn"}'}},
        )
    )
    assert events == [
        ContentDelta("Let me see."),
        ToolCallDelta(0, "c1", "weather"),
        ToolCallDelta(0, arguments='{"city":'),
        ToolCallDelta(1, "c2", "time"),
        ToolCallDelta(0, arguments='"Bonn"}'),
        ToolCallDelta(1, arguments="{}"),
        Finish("tool_calls", None, "m"),
    ]


def calls_of(events: list[EngineEvent]) -> list[ToolCall]:
    """The calls of a reply; every piece after the first of a call has arguments only."""
    begun: set[int] = set()
    for event in events:
        if isinstance(event, ToolCallDelta):
            assert bool(event.id and event.name) == (event.index not in begun)
            begun.add(event.index)
    return replies([event for event in events if isinstance(event, Delta)])[0].tool_calls


def function(name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


TWO = [ToolCall(FunctionCall("a", "{}"), id="c1"), ToolCall(FunctionCall("b", '{"x": 1}'), id="c2")]
ONE = [ToolCall(FunctionCall("a", '{"x": 1}'), id="c1")]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [
                {"index": 0, "id": "c1", "function": function("a", "{}")},
                {"index": 0, "id": "c2", "function": function("b", '{"x": 1}')},
            ],
            TWO,
        ),
        (
            [
                {"id": "c1", "function": function("a", "{}")},
                {"id": "c2", "function": function("b", '{"x":')},
                {"id": "c2", "function": function(None, " 1}")},
            ],
            TWO,
        ),
        (
            [
                {"id": "c1", "function": function("a", "{")},
                {"id": "c2", "function": function("b", '{"x":')},
                {"id": "c1", "function": function(None, "}")},
                {"id": "c2", "function": function(None, " 1}")},
            ],
            TWO,
        ),
        (
            [
                {"index": 0.0, "id": "c1", "function": function("a", '{"x"')},
                {"index": 0.0, "id": "c1", "function": function("a", ": 1")},
                {"index": 0.0, "id": "c1", "function": function("a", "}")},
            ],
            ONE,
        ),
        (
            [
                {"index": 0, "id": "c1", "type": "function", "function": function("a", "")},
                {"index": 0, "id": None, "type": "function", "function": function(None, '{"x": 1')},
                {"index": 0, "id": "", "type": "function", "function": function("", "}")},
            ],
            ONE,
        ),
        (
            [
                {"index": 0, "id": "c1", "function": function("a", '{"x"')},
                {"index": 0, "id": "c9", "function": function(None, ": 1}")},
            ],
            ONE,
        ),
        (
            [
                {"index": 3, "id": "c1", "function": function(None, '{"x"')},
                {"index": 3, "function": function("a", ": 1}")},
            ],
            ONE,
        ),
    ],
    ids=[
        "Ollama: one index for all",
        "no index",
        "no index, mixed",
        "all with every piece",
        "SGLang and LM Studio: empty names",
        "another id with every piece",
        "the name late",
    ],
)
async def test_calls_are_evened_out(deltas: list[dict[str, Any]], expected: list[ToolCall]) -> None:
    assert calls_of(await decoded(calls(*deltas))) == expected


@pytest.mark.parametrize(
    "deltas",
    [
        [{"function": function("a", "{}")}, {"function": function("b", {"x": 1})}],
        [
            {"index": 0, "function": function("a", "{}")},
            {"index": 0, "function": function("b", '{"x":1}')},
        ],
        [
            {"index": 0, "id": "", "function": function("a")},
            {"index": 1, "id": "", "function": function("b", {"x": 1})},
        ],
        [
            {"index": 0, "id": "same", "function": function("a", "{}")},
            {"index": 1, "id": "same", "function": function("b", {"x": 1})},
        ],
        [
            {"id": "same", "function": function("a", "{}")},
            {"id": "same", "function": function("b", {"x": 1})},
        ],
    ],
)
async def test_calls_without_ids_get_one_each(deltas: list[dict[str, Any]]) -> None:
    found = calls_of(await decoded(calls(*deltas)))
    assert [call.function for call in found] == [FunctionCall("a", "{}"), FunctionCall("b", '{"x":1}')]
    made = [call.id for call in found if call.id != "same"]
    assert made
    assert all(id.startswith("call_") and len(id) == 29 for id in made)
    assert len({call.id for call in found}) == 2


async def test_the_old_form_of_a_call() -> None:
    stream = delta(function_call={"name": "a", "arguments": "{"}) + delta(function_call={"arguments": "}"})
    events = await decoded(stream + delta("function_call") + DONE)
    assert [call.function for call in calls_of(events)] == [FunctionCall("a", "{}")]
    assert events[-1] == Finish("tool_calls", None, "m")


@pytest.mark.parametrize(
    ("said", "meant"), [("stop", "tool_calls"), ("length", "length"), ("tool_calls", "tool_calls")]
)
async def test_a_reply_with_calls_ends_so(said: str, meant: str) -> None:
    events = await decoded(delta(tool_calls=[{"id": "c1", "function": function("a", "{}")}]) + delta(said))
    assert events[-1] == Finish(meant, None, "m")  # type: ignore[arg-type]


async def test_a_reply_without_calls_does_not_end_in_them() -> None:
    assert await decoded(content("No.") + delta("tool_calls") + DONE) == [
        ContentDelta("No."),
        Finish("stop", None, "m"),
    ]


async def test_calls_of_a_reply_that_broke_off_stay_as_they_are() -> None:
    events, _ = await until_broken(delta(tool_calls=[{"id": "c1", "function": function("a", '{"x')}]))
    assert events == [ToolCallDelta(0, "c1", "a", '{"x')]


def choice(index: int, text: str | None = None, reason: str | None = None) -> bytes:
    return line(
        {"model": "m", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}
    )


async def test_several_replies() -> None:
    stream = (
        choice(1, "One")
        + choice(0, "Zero")
        + choice(1, "!")
        + choice(1, None, "length")
        + choice(0, None, "stop")
    )
    assert await decoded(stream + DONE, n=2) == [
        ContentDelta("One", 1),
        ContentDelta("Zero", 0),
        ContentDelta("!", 1),
        Finish("stop", None, "m", ["length"]),
    ]


async def test_fewer_replies_than_were_asked_for() -> None:
    told, message = await broken(
        pieces([choice(0, "Zero") + choice(1, "<thi") + choice(0, None, "stop") + DONE]), n=2
    )
    assert message == "The model server gave 1 of 2 replies."
    assert told == [ContentDelta("Zero", 0), ContentDelta("<thi", 1)], "what was held back is told"


@given(st.lists(st.text(alphabet="<>/think\n ab", max_size=6), max_size=8))
async def test_thinking_in_the_text_is_told_apart_wherever_it_is_cut(texts: list[str]) -> None:
    whole = await decoded(content("<think>" + "".join(texts)) + line(STOP))
    cut = await decoded(content("<th", "ink>", *texts) + line(STOP))
    for kind in (ContentDelta, ReasoningDelta):
        one, other = (
            "".join(event.text for event in events if isinstance(event, kind)) for events in (whole, cut)
        )
        assert one == other


async def test_thinking_in_the_text() -> None:
    events = await decoded(content("<think>", "\n", "Hm", ".\n</th", "ink>\n", "\nYes", ".") + line(STOP))
    assert events == [
        ReasoningDelta("Hm"),
        ReasoningDelta("."),
        ContentDelta("Yes"),
        ContentDelta("."),
        Finish("stop", None, "m"),
    ]


async def test_thinking_that_is_told_twice_is_told_once() -> None:
    stream = delta(reasoning_content="Hm", content="<think>Hm") + content("</think>Yes") + line(STOP)
    assert (await decoded(stream))[:-1] == [ReasoningDelta("Hm"), ContentDelta("Yes")]


async def test_a_refusal_is_what_the_model_said() -> None:
    assert (await decoded(delta(refusal="No.", content=None) + line(STOP)))[0] == ContentDelta("No.")


OPENAI_LOGPROBS = {
    "content": [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "id": 7,
            "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": None}, {"token": "Ho", "logprob": -2}],
        }
    ]
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"logprobs": OPENAI_LOGPROBS},
            TokenLogprob("Hi", -0.5, [72, 105], 7, [TopLogprob("Hi", -0.5), TopLogprob("Ho", -2.0)]),
        ),
        (
            {"logprobs": -0.25, "top_logprobs": {"Hi": -0.25, "Ho": -3}},
            TokenLogprob("Hi", -0.25, None, 9, [TopLogprob("Hi", -0.25), TopLogprob("Ho", -3.0)]),
        ),
        (
            {
                "logprobs": {
                    "tokens": ["Hi"],
                    "token_logprobs": [-0.25],
                    "token_ids": [9],
                    "top_logprobs": [{"Ho": -3}],
                }
            },
            TokenLogprob("Hi", -0.25, None, 9, [TopLogprob("Ho", -3.0)]),
        ),
        ({"logprobs": {"tokens": ["Hi"], "token_logprobs": [None]}}, TokenLogprob("Hi", 0.0)),
    ],
    ids=["OpenAI", "Together", "completions", "the first of a prompt"],
)
async def test_logprobs(fields: dict[str, Any], expected: TokenLogprob) -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "Hi", "token_id": 9}, **fields}]}
    assert await decoded(line(said) + line(STOP)) == [ContentDelta("Hi", 0, [expected]), Finish("stop")]


@pytest.mark.parametrize(
    "broken",
    [
        True,
        "none",
        {},
        [],
        {"content": "x"},
        {"content": [7]},
        {"content": [{"token": "Hi"}]},
        {"content": [{"token": "Hi", "logprob": "big"}]},
        {"content": [{"token": "Hi", "logprob": "nan"}]},
        {"tokens": ["Hi"], "top_logprobs": ["x"]},
        {"tokens": 7},
    ],
)
async def test_logprobs_that_are_none_lose_no_text(broken: Any) -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": broken}]}
    assert await decoded(line(said) + line(STOP)) == [ContentDelta("Hi"), Finish("stop")]


def token(text: str, **fields: Any) -> bytes:
    logprobs = {"content": [{"token": text, "logprob": -1}]}
    return line({"choices": [{"index": 0, "delta": fields, "logprobs": logprobs}]})


async def test_logprobs_of_thinking_and_calls_are_not_those_of_the_reply() -> None:
    calling = token("{", tool_calls=[{"index": 0, "id": "c1", "function": function("a", "{")}])
    stream = (
        token("Hm", reasoning="Hm")
        + token("half", content="")
        + token("Hi", content="Hi")
        + calling
        + token("o", content="o")
    )
    said = [event for event in await decoded(stream + line(STOP)) if isinstance(event, ContentDelta)]
    assert [(each.text, [one.token for one in each.logprobs]) for each in said] == [
        ("Hi", ["half", "Hi"]),
        ("o", ["o"]),
    ]


async def test_a_text_completion() -> None:
    stream = (
        line({"choices": [{"index": 0, "text": "<think>", "finish_reason": None}], "model": "m"})
        + line({"choices": [{"index": 0, "text": " a", "delta": {"content": " a"}, "logprobs": -1}]})
        + line({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
        + DONE
    )
    assert await decoded(stream, is_text=True) == [
        ContentDelta("<think>"),
        ContentDelta(" a", 0, [TokenLogprob(" a", -1.0)]),
        Finish("length", None, "m"),
    ]


@pytest.mark.parametrize(
    ("usage", "meant", "is_broken"),
    [
        ("many", None, False),
        ([1, 2], None, False),
        ({"prompt_tokens": -5, "completion_tokens": 3}, None, True),
        ({"prompt_tokens": "7", "completion_tokens": 3}, None, True),
        ({"prompt_tokens": 7.5, "completion_tokens": 3}, None, True),
        ({"prompt_tokens": True, "completion_tokens": 3}, None, True),
        ({"prompt_tokens": 10**30, "completion_tokens": 3}, None, True),
        ({"prompt_tokens": 7, "completion_tokens": None}, Usage(7, 0), False),
        ({"prompt_tokens": 7, "completion_tokens": -1}, Usage(7, 0), True),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": [8]}, Usage(7, 3), False),
        ({"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 90}, Usage(97, 3, 90), False),
        ({"prompt_tokens": 7, "completion_tokens": 3, "reasoning_tokens": 0}, Usage(7, 3), False),
        ({"prompt_tokens": 7, "completion_tokens": 3, "reasoning_tokens": 2}, Usage(7, 3, None, 2), False),
    ],
)
async def test_counts_that_are_none(usage: Any, meant: Usage | None, is_broken: bool) -> None:
    events = await decoded(content("Hi") + line(STOP | {"usage": usage}) + DONE)
    assert events[-1] == Finish("stop", meant, "m", warnings=[chat_stream.NO_COUNT] if is_broken else [])


async def test_timings_of_a_server_that_names_itself_oddly() -> None:
    stream = line(STOP | {"model": 7, "timings": "fast"}) + line({"choices": [], "model": ""}) + DONE
    assert await decoded(content("Hi") + stream) == [ContentDelta("Hi"), Finish("stop", None, "m")]


@pytest.mark.parametrize(
    "error",
    [
        line({"error": {"message": "the GPU fell off", "code": 500}}),
        line({"error": "the GPU fell off"}),
        b'event: error\ndata: {"error": {"message": "the GPU fell off"}}\n\n',
        b'error: {"code": 500, "message": "the GPU fell off"}\n\n',
        b'{"error": {"message": "the GPU fell off"}}',
        b'{"object": "error", "message": "the GPU fell off"}',
        b'{"detail": [{"loc": ["body"], "msg": "the GPU fell off"}]}',
        line({"object": "error", "message": "the GPU fell off", "type": "x", "param": None, "code": 400}),
        line({"error": {"object": "error", "message": "the GPU fell off", "code": 503}}) + DONE,
        b'event: error\ndata: {"error":{"message":"the GPU fell off"},"message":"the GPU fell off"}\n\n',
        line({"error": json.dumps({"error": {"code": 400, "message": "the GPU fell off"}})}),
        line({"detail": "the GPU fell off"}),
    ],
)
async def test_an_error_in_the_stream(error: bytes) -> None:
    assert await until_broken(content("Half a") + error) == ([ContentDelta("Half a")], "the GPU fell off")


async def test_an_error_without_words() -> None:
    _, message = await until_broken(line({"error": {"code": 500}}))
    assert message == EngineBroke().message


@pytest.mark.parametrize("reason", ["error", "abort"])
async def test_a_reason_that_breaks_off(reason: str) -> None:
    events, _ = await until_broken(delta(reason, content="Half a") + DONE)
    assert events == [ContentDelta("Half a")]


@pytest.mark.parametrize("end", [b"", DONE, b"data: {", b'data: {"choices": [{"delta": {"content": "'])
async def test_a_stream_without_an_end(end: bytes) -> None:
    events, _ = await until_broken(content("Half a") + end)
    assert events == [ContentDelta("Half a")]


@pytest.mark.parametrize(
    "junk",
    [
        b"<!doctype html>\n<title>Welcome to nginx</title>\n",
        b"Internal Server Error",
        b"data: Internal Server Error\n\n",
        b"data: [1, 2]\n\n",
        b'data: {"choices": "none"}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b'data: {"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}\n\n",
        b"\x00\x01\x02\n",
        b"[" * 20_000 + b"\n",
    ],
)
async def test_junk(junk: bytes) -> None:
    events, message = await until_broken(content("Half a") + junk)
    assert events == [ContentDelta("Half a")]
    assert message == chat_stream.NO_STREAM


@given(st.binary(max_size=200))
async def test_no_bytes_raise_anything_else(junk: bytes) -> None:
    try:
        events = await decoded(content("a"), junk)
    except EngineBroke:
        return
    assert isinstance(events[-1], Finish)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", "<think>", "{}", "stop"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(NAMES, JSON, max_size=4), max_size=4), st.booleans())
async def test_no_json_raises_anything_else(values: list[Any], is_text: bool) -> None:
    try:
        events = await decoded(*(line(value) for value in values), line(STOP), is_text=is_text)
    except EngineBroke:
        return
    assert isinstance(events[-1], Finish)
    assert msgspec.json.decode(msgspec.json.encode(events))


CALL_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([None, 0, 1, 0.0]),
        "id": st.sampled_from([None, "", "c1", "c2"]),
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from([None, "", "a", "b"]),
                "arguments": st.sampled_from([None, "", "{", "}", "{}", {"x": 1}]),
            },
        ),
    },
)


@given(st.lists(CALL_DELTAS, max_size=8))
async def test_calls_always_begin_once_and_have_ids_of_their_own(deltas: list[dict[str, Any]]) -> None:
    pieces = [event for event in await decoded(calls(*deltas)) if isinstance(event, ToolCallDelta)]
    begun: dict[int, str] = {}
    for piece in pieces:
        assert bool(piece.id) == (piece.index not in begun)
        begun.setdefault(piece.index, piece.id)
    assert len(set(begun.values())) == len(begun)
    assert sorted(begun) == list(range(len(begun)))
    assert all(call.function.arguments for call in replies(pieces)[0].tool_calls)


@pytest.mark.parametrize("size", [1, 65_536])
async def test_a_line_over_the_limit(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_stream, "LINE_LIMIT", 100_000)
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield content("Half a") + b"data: "
        while True:
            taken += size
            yield b"x" * size

    events, _ = await broken(endless())
    assert events == [ContentDelta("Half a")]
    assert taken <= 100_000 + size


async def test_a_line_over_the_limit_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_stream, "LINE_LIMIT", 1000)
    assert await until_broken(content("Half a") + content("x" * 1000)) == (
        [ContentDelta("Half a")],
        chat_stream.TOO_LONG,
    )


async def test_a_long_line_within_the_limit() -> None:
    text = "x" * (chat_stream.LINE_LIMIT - 1000)
    assert await decoded(content(text), line(STOP), DONE) == [ContentDelta(text), Finish("stop", None, "m")]


async def test_a_body_that_fails_after_the_reply_was_complete() -> None:
    failing = EngineTimeout("silence")
    assert await decoded(content("All"), line(STOP), b"data: {", error=failing) == [
        ContentDelta("All"),
        Finish("stop", None, "m"),
    ]


async def test_a_body_that_fails_before() -> None:
    with pytest.raises(EngineTimeout, match="silence"):
        await decoded(content("Half a"), error=EngineTimeout("silence"))


def test_a_servers_message_is_cut() -> None:
    assert error_message(json.dumps({"error": "x" * 5000}).encode()) == "x" * chat_stream.MESSAGE_LIMIT


async def test_a_token_that_cannot_be_has_a_logprob_that_json_can_tell() -> None:
    logprobs = {"content": [{"token": "Hi", "logprob": "-inf"}]}
    said = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": logprobs}]}
    assert await decoded(line(said) + line(STOP)) == [
        ContentDelta("Hi", logprobs=[TokenLogprob("Hi", -9999.0)]),
        Finish("stop"),
    ]
