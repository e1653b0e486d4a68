"""An engine that says what a test has it say, and a store that can be held up or fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from palaver.core.errors import ModelNotFound, StoreError
from palaver.core.message import Message, ToolCall
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    EngineEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Model, Options
from palaver.stores.base import Admission, Admitted, Ending
from palaver.stores.database import Database
from palaver.stores.sql import SqlStore


class Play:
    """One reply in the making."""

    def __init__(self, window: Window, options: Options) -> None:
        self.window = window
        self.options = options
        self.closed = asyncio.Event()
        self.events: asyncio.Queue[EngineEvent | BaseException] = asyncio.Queue()

    def say(self, *words: str, choice: int = 0, logprob: float | None = None) -> None:
        for word in words:
            logprobs = [TokenLogprob(word, logprob)] if logprob is not None else []
            self.events.put_nowait(ContentDelta(word, choice, logprobs))

    def think(self, *words: str, choice: int = 0) -> None:
        for word in words:
            self.events.put_nowait(ReasoningDelta(word, choice))

    def call(self, index: int, call: ToolCall, choice: int = 0) -> None:
        """Call a tool, the arguments in two pieces."""
        arguments = call.function.arguments
        self.events.put_nowait(ToolCallDelta(index, call.id, call.function.name, arguments[:2], choice))
        self.events.put_nowait(ToolCallDelta(index, arguments=arguments[2:], choice=choice))

    def finish(self, reason: FinishReason = "stop", usage: Usage | None = None, **more: Any) -> None:
        self.events.put_nowait(Finish(reason, usage, **more))

    def fail(self, error: BaseException) -> None:
        self.events.put_nowait(error)


class PuppetEngine:
    """Says nothing of its own. A prompt has as many tokens as its messages have words."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.can_count = True
        self.capabilities: frozenset[str] = SAMPLING | {"image_url", "tools", "extra", "count"}
        self.queue = 0
        self.asked_for_waiting = 0
        self.plays: list[Play] = []
        self.closed = False
        self._came = asyncio.Condition()

    @property
    def waiting(self) -> int:
        self.asked_for_waiting += 1
        return self.queue

    async def context_size(self, model: str) -> int | None:
        return self.size

    async def count(self, window: Window, options: Options) -> int | None:
        return sum(len(m.text.split()) for m in window.messages) if self.can_count else None

    def tokenizer(self, model: str) -> str | None:
        return "words" if self.can_count else None

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        return [len(message.text.split()) for message in messages]

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        play = Play(window, options)
        self.plays.append(play)
        async with self._came:
            self._came.notify_all()
        try:
            yield Accepted()
            while True:
                event = await play.events.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            play.closed.set()

    def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        raise AssertionError("nobody asks it to go on with a text")

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        raise AssertionError("nobody asks it for vectors")

    async def play(self, number: int = 0) -> Play:
        """The reply of this number; waits until it has begun."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.plays) > number)
        return self.plays[number]

    async def play_of(self, turn: str) -> Play:
        """The reply to this turn; waits until it has begun. Turns that may run at once begin in any order."""
        async with self._came:
            await self._came.wait_for(lambda: any(play.window.turn == turn for play in self.plays))
        return next(play for play in self.plays if play.window.turn == turn)

    async def settle(self, window: Window, options: Options) -> bool:
        return False

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return 0

    async def kv_cache(self) -> KvCache | None:
        return None

    async def close(self) -> None:
        self.closed = True


class OneModel:
    """A catalog of one."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.held_up = asyncio.Event()
        self.held_up.set()

    async def find(self, name: str) -> Model:
        await self.held_up.wait()
        if name != self.model.name:
            raise ModelNotFound(f"There is no model {name}; there is {self.model.name}.")
        return self.model

    async def models(self) -> list[Model]:
        return [self.model]

    async def kv_caches(self) -> dict[str, KvCache]:
        return {}

    async def forget(
        self, owner: str | None = None, conversation: str | None = None, *, model: str | None = None
    ) -> int:
        return await self.model.engine.forget(owner, conversation)

    async def close(self) -> None:
        await self.model.engine.close()


class WatchedStore(SqlStore):
    """A real store. What is done to it is noted; a verb can be held up, or made to fail first."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.done: list[str] = []
        self.failures: dict[str, list[Exception]] = {"admit": [], "begin": [], "log": [], "finish": []}
        self.logged: dict[str, list[Delta]] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def held_up(self, verb: str) -> AsyncIterator[asyncio.Event]:
        """Inside, this verb waits before it does anything; the event given is set when one has come to it."""
        self._gates[verb] = asyncio.Event()
        self._reached[verb] = asyncio.Event()
        try:
            yield self._reached[verb]
        finally:
            self._gates.pop(verb).set()

    async def _pass(self, verb: str) -> None:
        if verb in self._gates:
            self._reached[verb].set()
            await self._gates[verb].wait()
        if self.failures[verb]:
            raise self.failures[verb].pop(0)

    async def admit(self, admission: Admission) -> Admitted:
        await self._pass("admit")
        admitted = await super().admit(admission)
        self.done.append("admit")
        return admitted

    async def begin(self, turn: str, lease: str) -> bool:
        await self._pass("begin")
        begun = await super().begin(turn, lease)
        self.done.append("begin")
        return begun

    async def log(self, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
        await self._pass("log")
        await super().log(turn, lease, batch, deltas)
        self.logged.setdefault(turn, []).extend(deltas)
        self.done.append("log")

    async def finish(self, ending: Ending) -> None:
        await self._pass("finish")
        await super().finish(ending)
        self.done.append("finish")


def out_of_order(*times: int) -> list[Exception]:
    """So many failures of a disk."""
    return [StoreError("The disk is out of order.") for _ in range(sum(times))]
