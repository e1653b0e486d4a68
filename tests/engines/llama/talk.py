"""How the tests talk with an engine, and look behind it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core import reply as core_reply
from palaver.core.message import Message, Role
from palaver.core.parameters import Parameters
from palaver.core.turn import ContentDelta, Delta, EngineEvent, Finish, Usage
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine, asking
from palaver.engines.llama.engine import WorkerEngine
from palaver.engines.llama.process import Worker
from tests.engines.contract import all_of

EXACT = Parameters(temperature=0.0, max_tokens=80)
UNLIMITED = Parameters(temperature=0.0)
ENDLESS = (f"Please remember the code {'7' * 20}.", "Okay.", "What is the code?")
"""Asked this, the model repeats one digit to the end of its context: some 2,000 tokens, the same every time."""

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

HAS_PROC = Path("/proc/self/task").exists()
PATIENCE = 60.0
"""Seconds after which a test that waits for something has failed."""


class Reply(msgspec.Struct):
    text: str
    finish: Finish

    @property
    def usage(self) -> Usage:
        assert self.finish.usage is not None
        return self.finish.usage


def window(
    *texts: str, owner: str = "ada", conversation: str | None = "c", first: Role = "user", turn: str = "t"
) -> Window:
    """A window in which user and assistant say these texts in turn."""
    roles: tuple[Role, ...] = ("assistant", "user")
    said = [Message(first, texts[0]), *(Message(roles[i % 2], text) for i, text in enumerate(texts[1:]))]
    return Window(owner=owner, conversation=conversation, turn=turn, messages=tuple(said))


def options(sampling: Parameters = EXACT) -> Options:
    return Options(model="pocket", parameters=sampling)


async def ask(engine: LlamaEngine, prompt: Window, sampling: Parameters = EXACT) -> Reply:
    """One whole reply."""
    events: list[EngineEvent] = []
    async with aclosing(engine.generate(prompt, options(sampling))) as stream:
        events = [event async for event in stream]
    finish = events[-1]
    assert isinstance(finish, Finish)
    return Reply("".join(event.text for event in events if isinstance(event, ContentDelta)), finish)


async def events_of(engine: WorkerEngine, prompt: Window, **parameters: Any) -> list[EngineEvent]:
    """All events of one turn, without what it waits for."""
    asked = Options(model="m", parameters=Parameters(**{"max_tokens": 200, "seed": 1} | parameters))
    return await all_of(engine.generate(prompt, asked))


async def answer(engine: WorkerEngine, prompt: Window, **parameters: Any) -> tuple[core_reply.Reply, Finish]:
    """The whole reply, put together, and its end."""
    events = await events_of(engine, prompt, **parameters)
    finish = events[-1]
    assert isinstance(finish, Finish)
    deltas = [event for event in events if isinstance(event, Delta)]
    return core_reply.replies(deltas, [finish.reason, *finish.others])[0], finish


def worker_of(engine: LlamaEngine) -> Worker:
    worker = engine._supervisor.running
    assert worker is not None
    return worker


async def token_of(engine: LlamaEngine, text: str) -> int:
    """The number of the only token of a text."""
    await engine.start()
    worker = worker_of(engine)
    async with worker.session.post(worker.base + asking.TOKENIZE, json={"content": text}) as response:
        (token,) = (await response.json())["tokens"]
    return int(token)


def kill(engine: LlamaEngine, number: signal.Signals = signal.SIGKILL) -> int:
    pid = worker_of(engine).pid
    os.kill(pid, number)
    return pid


async def slots(engine: LlamaEngine) -> list[dict[str, Any]]:
    """What the worker says of its slots."""
    worker = worker_of(engine)
    async with worker.session.get(worker.base + "/slots") as response:
        assert response.status == 200
        found: list[dict[str, Any]] = await response.json()
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def freeze(engine: LlamaEngine) -> int:
    """Have the worker hang, and wait until it does: its threads run on until each has met the signal."""
    pid = kill(engine, signal.SIGSTOP)
    if HAS_PROC:
        await until(lambda: states(pid) == {"T"})
    else:
        await asyncio.sleep(0.2)
    return pid


def is_running(pid: int) -> bool:
    """Whether there is a process of this id that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not HAS_PROC:
        return True
    return not states(pid) <= {"Z"}  # a zombie has ended, only nobody has asked how


def states(pid: int) -> set[str]:
    """The states of a process's threads, as Linux calls them."""
    found = set()
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has just ended
            found.add(path.read_text().rpartition(")")[2].split()[0])
    return found
