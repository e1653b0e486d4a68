"""A streamed reply: its bytes, what keeps it alive, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import together

from palaver.core.errors import EngineBroke, EngineRefused, EngineUnavailable, StoreFull
from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta, ToolCallDelta, TurnState, Usage
from palaver.live import LiveReply, Outcome
from palaver.server.app import ServerSettings
from palaver.server.completion_stream import Chunks
from tests.server.conftest import Door, opened

QUESTION: list[Any] = [{"role": "user", "content": "Hello"}]
NO_HOLD = ServerSettings(hold_seconds=0)


@asynccontextmanager
async def streaming(
    door: Door, model: str = "test/hand", **more: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    body = {"model": model, "messages": QUESTION, "stream": True, **more}
    async with door.http.post(door.address + "/v1/chat/completions", json=body) as response:
        yield response


def chunks_of(data: bytes) -> list[Any]:
    """The chunks of a whole stream. Everything that is not `data:` would be found here."""
    *events, last = data.decode().split("\n\n")
    assert last == ""
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


async def test_a_stream_has_exactly_this_shape(door: Door) -> None:
    usage = Usage(prompt_tokens=2, completion_tokens=3, cached_tokens=1)
    door.hand.put(
        Accepted(), ReasoningDelta("Hm."), ContentDelta('"Hi"\n'), ContentDelta(" é😀"), Finish("stop", usage)
    )
    async with streaming(door) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream;charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert "content-length" not in response.headers
        turn = response.headers["palaver-turn"]
        assert response.headers["palaver-conversation"].startswith("conv_")
        assert response.headers["x-request-id"].startswith("req_")
        chunks = chunks_of(await response.read())
    created = chunks[0]["created"]
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": "", "reasoning": "Hm.", "reasoning_content": "Hm."},
        {"role": "assistant", "content": '"Hi"\n'},
        {"role": "assistant", "content": " é😀"},
        {"role": "assistant", "content": ""},
    ]
    for i, (chunk, delta) in enumerate(zip(chunks, deltas, strict=True)):
        last = i == len(deltas) - 1
        assert chunk == {
            "id": turn,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "test/hand",
            "choices": [
                {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if last else None}
            ],
            "usage": {
                "prompt_tokens": 2,
                "completion_tokens": 3,
                "total_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 1},
                "cached_tokens": 1,
            }
            if last
            else None,
        }


async def test_a_stream_without_usage_says_null(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("x"), Finish("length"))
    async with streaming(door, store=False) as response:
        assert response.headers["palaver-conversation"] == "none"
        chunks = chunks_of(await response.read())
    assert chunks[-1]["usage"] is None
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_calls_are_streamed_in_pieces() -> None:
    live = LiveReply(turn="turn_x", conversation=None, model="m", created=1)
    chunks = Chunks(live)
    data = chunks.events(
        [
            ToolCallDelta(0, "call_0", "f"),
            ToolCallDelta(0, arguments='{"a": '),
            ToolCallDelta(0, arguments="1}"),
            ToolCallDelta(1, "call_1", "g", "{}"),
        ]
    )
    data += await chunks.end(Outcome(state=TurnState.COMPLETED, finish_reason="tool_calls"))
    *pieces, last = chunks_of(data)
    assert [piece["choices"][0]["delta"]["tool_calls"] for piece in pieces] == [
        [{"id": "call_0", "type": "function", "index": 0, "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"a": '}}],
        [{"index": 0, "function": {"arguments": "1}"}}],
        [{"id": "call_1", "type": "function", "index": 1, "function": {"name": "g", "arguments": "{}"}}],
    ]
    assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_events_that_are_there_together_are_sent_together(door: Door) -> None:
    door.hand.put(Accepted())
    async with streaming(door) as response:
        # The engine's steps are taken one by one, but its task has the loop to itself until it waits again.
        door.hand.put(*(ContentDelta(f" {i}") for i in range(50)))
        data, _ = await response.content.readchunk()
        assert data.count(b"\n\n") == 50
        door.hand.put(Finish("stop"))
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("sdk", [openai.AsyncOpenAI, together.AsyncTogether])
async def test_an_async_sdk_reads_it(door: Door, sdk: Any) -> None:
    async with sdk(
        base_url=door.address, api_key="any", max_retries=0, _strict_response_validation=True
    ) as client:
        stream = await client.chat.completions.create(model="scripted", messages=QUESTION, stream=True)
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert text.startswith("Reply 1 to: Hello")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == len(chunks) - 1
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


@pytest.mark.parametrize("sdk", [openai.OpenAI, together.Together])
async def test_a_sync_sdk_reads_it(door: Door, sdk: Any) -> None:
    def read() -> str:
        with sdk(
            base_url=door.address + "/v1", api_key="any", max_retries=0, _strict_response_validation=True
        ) as client:
            stream = (
                client.chat.completions.create(
                    model="scripted", messages=QUESTION, stream=True, stream_options={"include_usage": True}
                )
                if sdk is openai.OpenAI
                else client.chat.completions.create(model="scripted", messages=QUESTION, stream=True)
            )
            return "".join(chunk.choices[0].delta.content for chunk in stream)

    assert (await asyncio.to_thread(read)).startswith("Reply 1 to: Hello")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineUnavailable("It starts."), 503, "engine_unavailable"),
        (EngineRefused("No.", status=422), 422, "engine_refused"),
        (ValueError("secret text"), 502, "engine_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_engine_accepts_has_its_status(
    door: Door, error: Exception, status: int, code: str, stream: bool
) -> None:
    door.hand.put(error)
    async with streaming(door, stream=stream) as response:
        body = await response.json()
    assert response.status == status
    assert body["error"]["code"] == code
    assert response.headers["palaver-turn"].startswith("chatcmpl-")
    assert response.headers["palaver-conversation"].startswith("conv_")
    assert "secret" not in body["error"]["message"]


async def test_headers_wait_until_the_engine_accepts(door: Door) -> None:
    async def ask() -> aiohttp.ClientResponse:
        async with streaming(door) as response:
            await response.read()
            return response

    asking = asyncio.create_task(ask())
    await door.hand.began.wait()
    door.hand.put(EngineRefused("Not this.", status=400))
    response = await asking
    assert response.status == 400


async def test_after_the_hold_a_comment_keeps_it_alive_and_errors_are_events(tmp_path: Path) -> None:
    async with opened(tmp_path, NO_HOLD) as door, streaming(door) as response:
        assert response.status == 200
        assert await response.content.readexactly(14) == b": keep-alive\n\n"
        door.hand.put(EngineUnavailable("It died."))
        assert await response.read() == (
            b'data: {"error":{"message":"It died.","type":"server_error","param":null,'
            b'"code":"engine_unavailable"}}\n\n'
        )


async def test_comments_break_every_silence(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(keepalive_seconds=0.01)) as door:
        door.hand.put(Accepted())
        async with streaming(door) as response:
            for _ in range(3):
                assert await response.content.readexactly(14) == b": keep-alive\n\n"
            door.hand.put(ContentDelta("one"))
            while (line := await response.content.readline()) in (b": keep-alive\n", b"\n"):
                pass
            assert b'"content":"one"' in line
            assert await response.content.readline() == b"\n"
            assert await response.content.readexactly(14) == b": keep-alive\n\n"
            door.hand.put(ContentDelta("two"), Finish("stop"))
            rest = (await response.read()).replace(b": keep-alive\n\n", b"")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks_of(rest)] == ["two", ""]


@pytest.mark.parametrize("sdk", [openai.AsyncOpenAI, together.AsyncTogether])
async def test_sdks_skip_the_comments(tmp_path: Path, sdk: Any) -> None:
    async with (
        opened(tmp_path, ServerSettings(hold_seconds=0, keepalive_seconds=0.01)) as door,
        sdk(base_url=door.address, api_key="any", max_retries=0, _strict_response_validation=True) as client,
    ):
        stream = await client.chat.completions.create(model="test/hand", messages=QUESTION, stream=True)
        door.hand.put(Accepted(), ContentDelta("one"))
        first = await anext(stream)
        await asyncio.sleep(0.1)  # a few comments
        door.hand.put(ContentDelta("two"), Finish("stop"))
        texts = [first.choices[0].delta.content] + [c.choices[0].delta.content async for c in stream]
    assert texts == ["one", "two", ""]


async def test_an_error_in_mid_reply_ends_the_stream(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("So far"), EngineBroke("It broke off."))
    async with streaming(door) as response:
        assert response.status == 200
        data = await response.read()
        turn = response.headers["palaver-turn"]
    *_, text, error, end = data.decode().split("\n\n")
    assert '"content":"So far"' in text
    assert json.loads(error.removeprefix("data: ")) == {
        "error": {"message": "It broke off.", "type": "server_error", "param": None, "code": "engine_broke"}
    }
    assert end == ""
    await door.until_ended(turn, TurnState.INCOMPLETE)
    _, stored = await door.get(f"/v1/chat/completions/{turn}")
    assert stored["choices"][0]["message"]["content"] == "So far"


@pytest.mark.parametrize(
    ("sdk", "error"), [(openai.AsyncOpenAI, openai.APIError), (together.AsyncTogether, together.APIError)]
)
async def test_sdks_raise_an_error_in_mid_reply(door: Door, sdk: Any, error: type[Exception]) -> None:
    door.hand.put(Accepted(), ContentDelta("So far"), EngineBroke("It broke off."))
    async with sdk(base_url=door.address, api_key="any", max_retries=0) as client:
        stream = await client.chat.completions.create(model="test/hand", messages=QUESTION, stream=True)
        assert (await anext(stream)).choices[0].delta.content == "So far"
        with pytest.raises(error, match="It broke off"):
            await anext(stream)


async def test_an_end_that_cannot_be_stored_is_no_success(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(ending: object) -> None:
        raise StoreFull

    door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
    with monkeypatch.context() as patch:
        patch.setattr(door.chat.store, "finish", full)
        async with streaming(door) as response:
            data = await response.read()
        assert b'"code":"store_full"' in data
        assert b"[DONE]" not in data
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        response, body = await door.ask(model="test/hand")
        assert (response.status, body["error"]["code"]) == (507, "store_full")


async def test_what_nobody_foresaw_ends_the_stream_with_an_event(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Chunks, news: object) -> bytes:
        raise RuntimeError("private detail")

    monkeypatch.setattr(Chunks, "events", broken)
    door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
    async with streaming(door) as response:
        data = await response.read()
    assert b'"code":"internal_error"' in data
    assert b"private detail" not in data
