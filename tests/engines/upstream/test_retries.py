"""What is sent again: only what failed before the first token, for a reason that passes, and not for ever."""

import asyncio
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
from palaver.core.turn import Accepted
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream import retries
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.retries import Retries
from tests.engines.contract import collect, text_of, window
from tests.engines.fake_upstream import KEY, FakeUpstream, fake_upstream

OPTIONS = Options(model="wordy")
HELLO = window("Hello there, how are you?")


@pytest.fixture
async def patient(server: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpstreamEngine]:
    """An engine that sends a request three times, without waiting long."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    engine = UpstreamEngine("house", server.url, KEY, kind="other")
    yield engine
    await engine.close()


@pytest.mark.parametrize(
    "behaviours",
    [
        ["429"],
        ["500", "503"],
        ["hang up"],
        ["busy", "429"],
        ["hang up", "busy"],
    ],
)
async def test_what_passes_is_sent_again(
    server: FakeUpstream, patient: UpstreamEngine, behaviours: list[str]
) -> None:
    server.next_behaviours = list(behaviours)
    events = await collect(patient, HELLO, OPTIONS)
    assert text_of(events).startswith("Message 1")
    assert events.count(Accepted()) == 1, "also where the stream itself told that the server was busy"
    assert len(server.requests) == len(behaviours) + 1


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [("429", EngineRefused), ("503", EngineUnavailable), ("busy", EngineUnavailable)],
)
async def test_not_for_ever(
    server: FakeUpstream, patient: UpstreamEngine, behaviour: str, error: type[PalaverError]
) -> None:
    server.behaviour = behaviour
    with pytest.raises(error):
        await collect(patient, HELLO, OPTIONS)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("400", EngineRefused),
        ("401", EngineRefused),
        ("404", EngineRefused),
        ("quota", EngineRefused),
        ("html", EngineRefused),
        ("error first", EngineRefused),
        ("break off", EngineBroke),
        ("error", EngineBroke),
        ("half", EngineBroke),
    ],
)
async def test_what_does_not_pass_or_has_begun_is_not(
    server: FakeUpstream, patient: UpstreamEngine, behaviour: str, error: type[PalaverError]
) -> None:
    server.behaviour = behaviour
    with pytest.raises(error):
        await collect(patient, HELLO, OPTIONS)
    assert len(server.requests) == 1


async def test_nor_is_a_prompt_that_is_too_long(server: FakeUpstream, patient: UpstreamEngine) -> None:
    with pytest.raises(ContextLengthExceeded):
        await collect(patient, window("word " * 500), OPTIONS)
    assert len(server.requests) == 1


async def test_nor_what_took_too_long(server: FakeUpstream) -> None:
    server.behaviour = "slow"
    engine = UpstreamEngine("house", server.url, kind="other", first_byte_timeout=0.05)
    with pytest.raises(EngineTimeout):
        await collect(engine, HELLO, OPTIONS)
    assert len(server.requests) == 1
    await engine.close()


async def test_a_server_that_comes_up_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = UpstreamEngine("house", f"http://127.0.0.1:{port}", kind="other", retries=1)
    waiting = asyncio.Event()
    comes = asyncio.Event()

    async def wait(self: Retries, error: PalaverError) -> None:
        waiting.set()
        await comes.wait()

    monkeypatch.setattr(Retries, "wait", wait)
    reply = asyncio.create_task(collect(engine, HELLO, OPTIONS))
    await waiting.wait()
    async with fake_upstream(port):
        comes.set()
        assert text_of(await reply)
        await engine.close()


@pytest.mark.parametrize(("seconds", "attempts"), [("1", 2), ("6", 1)])
async def test_when_the_server_wants_to_be_asked_again(
    server: FakeUpstream,
    patient: UpstreamEngine,
    monkeypatch: pytest.MonkeyPatch,
    seconds: str,
    attempts: int,
) -> None:
    """A wish of up to 5 seconds is waited for; with a longer one whoever asked is told."""
    waited: list[float] = []

    async def sleep(delay: float) -> None:
        waited.append(delay)
        server.behaviour = "normal"

    server.behaviour = "429"
    server.refusal_headers = {"Retry-After": seconds}
    monkeypatch.setattr("palaver.engines.upstream.retries.asyncio.sleep", sleep)
    if attempts == 1:
        with pytest.raises(EngineRefused) as refused:
            await collect(patient, HELLO, OPTIONS)
        assert refused.value.retry_after == int(seconds)
    else:
        await collect(patient, HELLO, OPTIONS)
        assert float(seconds) in waited
    assert len(server.requests) == attempts


async def test_waits_grow_and_end_before_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(delay: float) -> None:
        waited.append(delay)

    monkeypatch.setattr("palaver.engines.upstream.retries.asyncio.sleep", sleep)
    now = asyncio.get_running_loop().time()
    many = Retries("house", 4, now + 60)
    for _ in range(4):
        await many.wait(EngineUnavailable())
    assert all(0.25 * 2**n <= delay <= 0.5 * 2**n for n, delay in enumerate(waited))
    with pytest.raises(EngineUnavailable):
        await many.wait(EngineUnavailable())
    with pytest.raises(EngineUnavailable):
        await Retries("house", 4, now + 0.1).wait(EngineUnavailable())
    assert len(waited) == 4


async def test_a_prompt_goes_again_as_it_was(server: FakeUpstream, patient: UpstreamEngine) -> None:
    server.next_behaviours = ["500"]
    prompt: Window = window("My name is Anna.", "Hello Anna.", "What is my name?")
    await collect(patient, prompt, OPTIONS)
    assert server.requests[0] == server.requests[1]
