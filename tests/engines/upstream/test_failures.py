"""The upstream engine with a server that refuses, breaks off, stalls, or is none."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    PalaverError,
)
from palaver.core.turn import Accepted, ContentDelta, EngineEvent
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.engine import UpstreamEngine
from tests.engines.contract import collect, text_of, window
from tests.engines.fake_upstream import CONTEXT, KEY, FakeUpstream

OPTIONS = Options(model="wordy")
HELLO = window("Hello there, how are you?")


async def failing(engine: UpstreamEngine, prompt: Window = HELLO) -> tuple[list[EngineEvent], PalaverError]:
    """The events before the error, and the error."""
    events: list[EngineEvent] = []
    try:
        async for event in engine.generate(prompt, OPTIONS):
            events.append(event)
    except PalaverError as error:
        return events, error
    pytest.fail("nothing was raised")


def at(listener: asyncio.Server) -> UpstreamEngine:
    """An engine for a bare socket, that sends a request once and asks nothing before."""
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    return UpstreamEngine("house", url, kind="other", retries=0)


@pytest.fixture
async def upstream(server: FakeUpstream) -> AsyncIterator[UpstreamEngine]:
    """An engine that sends a request once, and asks nothing before."""
    engine = UpstreamEngine("house", server.url, KEY, kind="other", retries=0)
    yield engine
    await engine.close()


@pytest.mark.parametrize(
    ("behaviour", "error", "status", "words"),
    [
        ("400", EngineRefused, 400, "temperature must be below 2"),
        ("401", EngineRefused, 502, "The model server house refused palaver's key for it."),
        ("404", EngineRefused, 404, "model 'wordy' not found"),
        ("429", EngineRefused, 429, "slow down"),
        ("500", EngineUnavailable, None, "The model server house answered 500: out of memory"),
        ("503", EngineUnavailable, None, "The model server house answered 503."),
        ("307", EngineRefused, 502, "The model server house answered 307"),
        ("html", EngineRefused, 502, "web page"),
        ("hang up", EngineUnavailable, None, "closed the connection without an answer"),
    ],
)
async def test_a_refused_request(
    server: FakeUpstream,
    upstream: UpstreamEngine,
    behaviour: str,
    error: type[PalaverError],
    status: int | None,
    words: str,
) -> None:
    server.behaviour = behaviour
    events, raised = await failing(upstream)
    assert (events, type(raised)) == ([], error)
    assert words in raised.message
    assert KEY not in raised.message
    assert getattr(raised, "status", None) == status
    assert len(server.requests) == 1
    server.behaviour = "normal"
    assert text_of(await collect(upstream, HELLO, OPTIONS))


@pytest.mark.parametrize("behaviour", ["429", "500", "503"])
async def test_when_to_come_again_is_passed_on(
    server: FakeUpstream, upstream: UpstreamEngine, behaviour: str
) -> None:
    server.behaviour = behaviour
    _, raised = await failing(upstream)
    assert isinstance(raised, EngineRefused | EngineUnavailable)
    assert raised.retry_after is None
    server.refusal_headers = {"Retry-After": "17"}
    _, raised = await failing(upstream)
    assert isinstance(raised, EngineRefused | EngineUnavailable)
    assert raised.retry_after == 17


@pytest.mark.parametrize("behaviour", ["break off", "half", "error"])
async def test_a_reply_that_breaks_off_keeps_its_beginning(
    server: FakeUpstream, upstream: UpstreamEngine, behaviour: str
) -> None:
    server.behaviour = behaviour
    events, raised = await failing(upstream)
    assert events == [Accepted(), ContentDelta("Message"), ContentDelta(" 1")]
    assert isinstance(raised, EngineBroke)
    assert behaviour != "error" or raised.message == "the GPU fell off, with …"
    assert len(server.requests) == 1


async def test_a_prompt_over_the_context(upstream: UpstreamEngine) -> None:
    _, raised = await failing(upstream, window("word " * 500))
    assert isinstance(raised, ContextLengthExceeded)
    assert (raised.prompt_tokens, raised.context_size) == (500, CONTEXT)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        engine = UpstreamEngine("house", f"http://127.0.0.1:{taken.getsockname()[1]}", retries=0)
        events, raised = await failing(engine)
        with pytest.raises(EngineUnavailable):
            await engine.context_size("wordy")
        with pytest.raises(EngineUnavailable):
            await engine.models()
        await engine.close()
    assert (events, type(raised)) == ([], EngineUnavailable)
    assert "house cannot be reached" in raised.message


async def test_no_such_host() -> None:
    engine = UpstreamEngine("house", "http://no-such-host.invalid", retries=0)
    _, raised = await failing(engine)
    await engine.close()
    assert type(raised) is EngineUnavailable


async def test_a_connection_that_takes_too_long() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        address = full.getsockname()
        with contextlib.ExitStack() as waiting:
            for _ in range(4):  # until its queue is full and it answers nobody
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(address)
            engine = UpstreamEngine("house", f"http://127.0.0.1:{address[1]}", retries=0, connect_timeout=0.2)
            _, raised = await failing(engine)
            await engine.close()
    assert type(raised) is EngineUnavailable
    assert "within 0.2 s" in raised.message


async def test_something_that_does_not_speak_http() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    engine = at(listener)
    _, raised = await failing(engine)
    await engine.close()
    listener.close()
    assert type(raised) is EngineUnavailable


async def test_silence_before_the_head(server: FakeUpstream) -> None:
    server.behaviour = "slow"
    engine = UpstreamEngine("house", server.url, kind="other", first_byte_timeout=0.1)
    events, raised = await failing(engine)
    await engine.close()
    assert (events, type(raised)) == ([], EngineTimeout)


async def test_silence_in_the_middle(server: FakeUpstream) -> None:
    server.behaviour = "stall"
    engine = UpstreamEngine("house", server.url, stall_timeout=0.1)
    events, raised = await failing(engine)
    await engine.close()
    assert events == [Accepted(), ContentDelta("Message"), ContentDelta(" 1")]
    assert type(raised) is EngineTimeout


class Answers:
    """A server on a bare socket: each connection is given its list of answers, one a request, then closed."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.connections = list(connections)
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = self.connections.pop(0) if self.connections else []
        with contextlib.suppress(asyncio.IncompleteReadError):
            for answer in [*answers, None]:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                self.requests += 1
                if answer is None:
                    break
                writer.write(answer)
        writer.close()


REPLY = b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(REPLY) + REPLY
)


async def after_a_first_turn(*connections: list[bytes]) -> tuple[Answers, UpstreamEngine, asyncio.Server]:
    answers = Answers(*connections)
    listener = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    engine = at(listener)
    assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
    return answers, engine, listener


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    answers, engine, listener = await after_a_first_turn([ANSWER], [ANSWER])
    assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
    assert answers.requests == 3
    await engine.close()
    listener.close()


async def test_a_request_is_sent_at_most_twice() -> None:
    answers, engine, listener = await after_a_first_turn([ANSWER], [], [ANSWER])
    events, raised = await failing(engine)
    assert (events, type(raised)) == ([], EngineUnavailable)
    assert answers.requests == 3
    await engine.close()
    listener.close()


async def test_a_fresh_connection_that_fails_is_not_tried_again() -> None:
    answers = Answers([], [ANSWER])
    listener = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    engine = at(listener)
    events, raised = await failing(engine)
    assert (events, type(raised), answers.requests) == ([], EngineUnavailable, 1)
    await engine.close()
    listener.close()


@pytest.mark.parametrize("body", [b"Welcome", b'data: {"error": {"message": "no GPU"}}\n\n', b""])
async def test_a_stream_that_is_none_from_the_start(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    listener = await asyncio.start_server(Answers([head + body]).serve, "127.0.0.1", 0)
    engine = at(listener)
    events, raised = await failing(engine)
    await engine.close()
    listener.close()
    assert (events, type(raised)) == ([Accepted()], EngineUnavailable)


class Gated:
    """A server on a bare socket that sends a body's pieces, each after its gate was opened."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [(asyncio.Event(), piece) for piece in pieces]
        self.connections = 0
        self.closed = asyncio.Event()

    def open(self, gates: int) -> None:
        for gate, _ in self.pieces[:gates]:
            gate.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for gate, piece in self.pieces:
                    await gate.wait()
                    writer.write(piece)
        writer.close()
        self.closed.set()


@contextlib.asynccontextmanager
async def gated(*pieces: bytes, stall: float = 120.0) -> AsyncIterator[tuple[Gated, UpstreamEngine]]:
    server = Gated(*pieces)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    engine = UpstreamEngine("house", url, kind="other", retries=0, stall_timeout=stall)
    yield server, engine
    server.open(len(pieces))
    await engine.close()
    listener.close()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_a_body_that_ends_late_leaves_its_connection() -> None:
    async with gated(chunked(REPLY), b"0\r\n\r\n") as (server, engine):
        server.open(1)
        assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
        resting = list(engine._server._resting)
        assert resting
        server.open(2)
        await asyncio.gather(*resting)
        assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
        assert server.connections == 1


async def test_a_body_that_never_ends_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.engines.upstream.http.REST_SECONDS", 0.05)
    async with gated(chunked(REPLY), b"0\r\n\r\n") as (server, engine):
        server.open(1)
        assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
        await asyncio.gather(*engine._server._resting)
        server.open(2)
        await server.closed.wait()
        assert text_of(await collect(engine, HELLO, OPTIONS)) == "Yes."
        assert server.connections == 2


async def test_closing_does_not_wait_for_a_body_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.engines.upstream.http.REST_SECONDS", 3600)
    async with gated(chunked(REPLY), b"0\r\n\r\n") as (server, engine):
        server.open(1)
        await collect(engine, HELLO, OPTIONS)
        await engine.close()
        server.open(2)
        await server.closed.wait()


async def test_a_slow_reader_is_no_silence() -> None:
    begun = b'data: {"choices": [{"delta": {"content": "Oh. "}}]}\n\n'
    last = chunked(REPLY) + b"0\r\n\r\n"
    async with gated(chunked(begun), chunked(begun), last, stall=0.05) as (server, engine):
        events = []
        async for event in engine.generate(HELLO, OPTIONS):
            events.append(event)
            server.open(len(events))
            await asyncio.sleep(0.2)
    assert text_of(events) == "Oh. Oh. Yes."


async def test_closing_ends_the_wait_for_an_answer(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.behaviour = "slow"
    reply = asyncio.create_task(failing(upstream))
    await server.arrived.wait()
    await upstream.close()
    events, raised = await reply
    assert (events, type(raised)) == ([], EngineUnavailable)
    assert "is closed" in raised.message


async def test_closing_ends_running_replies(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.behaviour = "stall"
    reply = upstream.generate(HELLO, OPTIONS)
    assert [await anext(reply) for _ in range(3)] == [Accepted(), ContentDelta("Message"), ContentDelta(" 1")]
    waiting = asyncio.ensure_future(anext(reply))
    await asyncio.sleep(0)
    await upstream.close()
    with pytest.raises(EngineBroke):
        await waiting
