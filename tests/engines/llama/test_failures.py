"""What happens when the worker dies, hangs or is stopped: to replies that run, that wait and that come."""

import asyncio
import signal
from collections.abc import AsyncGenerator

import pytest

from palaver.core.errors import EngineBroke, EngineTimeout, EngineUnavailable
from palaver.core.turn import Accepted, ContentDelta, EngineEvent
from palaver.engines.llama import LlamaEngine
from tests.engines.llama.conftest import MakeEngine
from tests.engines.llama.talk import (
    ENDLESS,
    UNLIMITED,
    ask,
    freeze,
    is_running,
    kill,
    options,
    unix,
    until,
    window,
    worker_of,
)

QUESTION = window("What is the capital of France?")


def endless(engine: LlamaEngine, conversation: str = "c") -> AsyncGenerator[EngineEvent, None]:
    return engine.generate(window(*ENDLESS, conversation=conversation), options(UNLIMITED))


async def read(events: AsyncGenerator[EngineEvent, None], deltas: int) -> None:
    async for event in events:
        deltas -= isinstance(event, ContentDelta)
        if not deltas:
            return


async def drain(events: AsyncGenerator[EngineEvent, None]) -> None:
    async for _ in events:
        pass


@unix
async def test_a_worker_killed_in_mid_reply(engine: LlamaEngine) -> None:
    replies = [endless(engine, "a"), endless(engine, "b")]
    for reply in replies:
        await read(reply, 3)
    dead = kill(engine)
    for reply in replies:
        with pytest.raises(EngineBroke, match="SIGKILL"):
            await drain(reply)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    assert engine.worker_pid not in (None, dead)


@unix
async def test_a_worker_killed_before_the_first_word(engine: LlamaEngine) -> None:
    await engine.start()
    await freeze(engine)
    reply = asyncio.create_task(ask(engine, QUESTION))
    count = asyncio.create_task(engine.count(QUESTION, options()))
    await asyncio.sleep(0.05)
    kill(engine)
    for task in (reply, count):
        with pytest.raises(EngineUnavailable, match="SIGKILL"):
            await task
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_worker_killed_during_the_prompt(make_engine: MakeEngine) -> None:
    engine = make_engine(batch=32, slots=1)  # with more of them it is sent in pieces before
    reply = engine.generate(window("hi " * 2000), options())
    assert isinstance(await anext(reply), Accepted)
    kill(engine)
    with pytest.raises(EngineUnavailable, match="SIGKILL"):
        await drain(reply)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_worker_that_dies_while_nobody_asks(engine: LlamaEngine) -> None:
    assert (await ask(engine, QUESTION)).usage.cached_tokens == 0
    kill(engine)
    await until(lambda: engine.worker_pid is None)
    again = await ask(engine, QUESTION)
    assert again.text.endswith("Paris.")
    assert again.usage.cached_tokens == 0


@unix
async def test_a_worker_that_hangs_is_given_up(make_engine: MakeEngine) -> None:
    engine = make_engine(stall_timeout=1.5)
    first, second = endless(engine, "a"), endless(engine, "b")
    await read(first, 3)
    await read(second, 3)
    hung = await freeze(engine)
    results = await asyncio.gather(drain(first), drain(second), return_exceptions=True)
    assert any(isinstance(result, EngineTimeout) for result in results)
    assert all(isinstance(result, EngineTimeout | EngineBroke) for result in results)
    assert all("1.5 seconds" in str(result) for result in results)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    await until(lambda: not is_running(hung))


@unix
async def test_a_reply_left_on_a_worker_that_hangs_does_not_keep_its_place(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, stall_timeout=1.5)
    reply = endless(engine)
    await read(reply, 3)
    await freeze(engine)
    await reply.aclose()
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_reply_left_before_the_worker_has_it_keeps_its_place(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1)
    await engine.start()
    await freeze(engine)
    left = asyncio.create_task(ask(engine, window("What is the capital of Peru?", owner="bob")))
    await asyncio.sleep(0.05)
    left.cancel()
    await asyncio.wait([left])
    # The worker will still find that request in its socket. Until it has, nobody else may have the slot: they
    # would meet there, and what is reused afterwards would be the other's.
    next_ = asyncio.create_task(ask(engine, QUESTION))
    await asyncio.sleep(0.05)
    assert engine.waiting == 1
    kill(engine, signal.SIGCONT)
    assert (await next_).usage.cached_tokens == 0
    follow_up = window("What is the capital of France?", (await next_).text, "And of Peru?")
    assert ((await ask(engine, follow_up)).usage.cached_tokens or 0) > 16


async def test_closing_ends_the_worker_and_the_replies(engine: LlamaEngine) -> None:
    running = [endless(engine, "a"), endless(engine, "b")]
    for reply in running:
        await read(reply, 3)
    waiting = [asyncio.create_task(ask(engine, QUESTION)) for _ in range(3)]
    await until(lambda: engine.waiting == 3)
    pid = worker_of(engine).pid
    await engine.close()
    assert not is_running(pid)
    for reply in running:
        with pytest.raises(EngineBroke):
            await drain(reply)
    for task in waiting:
        with pytest.raises(EngineUnavailable):
            await task
    with pytest.raises(EngineUnavailable):
        await engine.start()


async def test_closing_while_a_slot_becomes_idle(engine: LlamaEngine) -> None:
    reply = endless(engine)
    await read(reply, 3)
    pid = worker_of(engine).pid
    await reply.aclose()
    await engine.close()
    assert not is_running(pid)
    assert not engine._replying._leaving
