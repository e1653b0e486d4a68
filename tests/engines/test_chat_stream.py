"""The decoder of chat completion streams: every server's dialect, cut anywhere, and what is not one."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import EngineBroke, EngineTimeout
from palaver.core.message import FunctionCall, ToolCall
from palaver.core.turn import ContentDelta, EngineEvent, Finish, ReasoningDelta, ToolCalls, Usage
from palaver.engines import chat_stream
from palaver.engines.chat_stream import chat_events, error_message

STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = b"data: [DONE]\n\n"


async def pieces(chunks: Iterable[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def decoded(*chunks: bytes, error: Exception | None = None) -> list[EngineEvent]:
    return [event async for event in chat_events(pieces(chunks, error))]


async def until_broken(*chunks: bytes) -> tuple[list[EngineEvent], str]:
    return await broken(pieces(chunks))


async def broken(body: AsyncIterable[bytes]) -> tuple[list[EngineEvent], str]:
    """The events before EngineBroke, and its message."""
    events: list[EngineEvent] = []
    try:
        async for event in chat_events(body):
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


async def test_no_usage_at_all() -> None:
    assert await decoded(line(STOP | {"usage": {}}) + DONE) == [Finish("stop")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
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
        ToolCalls(
            [
                ToolCall(FunctionCall("weather", '{"city":"Bonn"}'), id="c1"),
                ToolCall(FunctionCall("time", "{}"), id="c2"),
            ]
        ),
        Finish("tool_calls", None, "m"),
    ]


async def test_whole_calls_that_all_have_one_index() -> None:
    events = await decoded(
        calls(
            {"index": 0, "id": "c1", "function": {"name": "a", "arguments": "{}"}},
            {"index": 0, "id": "c2", "function": {"name": "b", "arguments": "{}"}},
        )
    )
    assert events[0] == ToolCalls(
        [ToolCall(FunctionCall("a"), id="c1"), ToolCall(FunctionCall("b"), id="c2")]
    )


async def test_a_call_whose_name_and_id_come_with_every_piece() -> None:
    events = await decoded(
        calls(
            {"index": 0.0, "id": "c1", "function": {"name": "a", "arguments": "{"}},
            {"index": 0.0, "id": "c1", "function": {"name": "a", "arguments": "}"}},
        )
    )
    assert events[0] == ToolCalls([ToolCall(FunctionCall("a"), id="c1")])


async def test_the_old_form_of_a_call() -> None:
    stream = delta(function_call={"name": "a", "arguments": "{"}) + delta(function_call={"arguments": "}"})
    events = await decoded(stream + delta("function_call") + DONE)
    assert events == [ToolCalls([ToolCall(FunctionCall("a"))]), Finish("tool_calls", None, "m")]


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
