"""A palaver of this benchmark's own in a folder: opened, asked, left in peace, closed, and opened again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import msgspec

from bench.turns.models import WatchedEngine
from palaver.chat import HEAD, Chat, ChatRequest
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.receipt import Receipt
from palaver.core.turn import ContentDelta, TurnState
from palaver.core.window_settings import WindowSettings
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.llama import LlamaSettings, Snapshots, asking
from palaver.engines.llama.kv import snapshot_file
from palaver.live import LiveReply, Outcome
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

OWNER = "bench"
STORE, KEPT = "palaver.db", "palaver.db-kv"
IN_MEMORY, ON_DISK = 1 << 30, 8 << 30
ENDLESS = {"0": -100.0, "1": -100.0, "2": -100.0}
"""Of pocket's tokenizer, which all models here have: without its control tokens a reply is as long as it may be."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A model, and how it is run."""

    name: str
    path: Path
    threads: int | None = None
    context: int | None = None
    slots: int = 2

    @property
    def settings(self) -> LlamaSettings:
        return LlamaSettings(
            path=self.path, name=self.name, slots=self.slots, context=self.context, threads=self.threads
        )


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the conversation `name`: its next messages, or its whole history where it is not `at_head`. The
    reply has at most so many `tokens`, and as many where it is `endless`. `size` is that of the window, None for as
    much as the model takes."""

    name: str
    messages: Sequence[Message]
    tokens: int
    owner: str = OWNER
    at_head: bool = True
    endless: bool = False
    size: int | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A turn: its ids, the pieces of its reply and when each came (in seconds since it was asked), and its tokens.

    `began` is why it began an epoch, None where it did not; `prepared` says that this epoch was prepared. `shown` is
    its prompt.
    """

    turn: str
    conversation: str
    pieces: list[str]
    came: list[float]
    prompt: int
    cached: int
    completion: int
    began: str | None
    prepared: bool
    shown: tuple[Message, ...]

    @property
    def ttft(self) -> float:
        return self.came[0]

    @property
    def prefilled(self) -> int:
        return self.prompt - self.cached


class Watched(WatchedEngine):
    """Says what it has counted."""

    async def counted(self) -> dict[str, int]:
        """What it has counted, see `KvCache.counts`."""
        state = await self.kv_cache()
        assert state is not None
        return state.counts


class Home:
    """palaver, with one model."""

    def __init__(self, chat: Chat, engine: Watched, name: str) -> None:
        self.chat = chat
        self.engine = engine
        self._name = name

    async def begin(self, asked: Asking) -> LiveReply:
        """A turn that begins."""
        return await self.chat.say(
            ChatRequest(
                owner=asked.owner,
                model=self._name,
                messages=list(asked.messages),
                door="chat.completions",
                conversation=asked.name,
                parent=HEAD if asked.at_head else None,
                parameters=Parameters(
                    temperature=0.0, max_tokens=asked.tokens, logit_bias=ENDLESS if asked.endless else None
                ),
                window=WindowSettings(mode="auto", size=asked.size),
            )
        )

    async def say(self, asked: Asking) -> Said:
        """A turn, heard to its end."""
        begun = time.perf_counter()
        live = await self.begin(asked)
        pieces, came = await heard(live, begun)
        return self._said(live, await live.ended(), pieces, came)

    async def settled(self, said: Said) -> float:
        """Wait until all is done that is done while nobody waits; how long that was, in seconds."""
        begun = time.perf_counter()
        running = self.chat._running.get(said.turn)
        if running is not None:  # its end is stored, and what follows from that is about to begin
            await asyncio.wait([running.task])
        task = self.chat._settling._tasks.get(said.conversation)
        if task is not None:
            await asyncio.wait([task])
        return time.perf_counter() - begun

    def _said(self, live: LiveReply, outcome: Outcome, pieces: list[str], came: list[float]) -> Said:
        usage, receipt, last = outcome.usage, live.receipt, self.engine.last
        if outcome.state is not TurnState.COMPLETED or usage is None or receipt is None or last is None:
            raise SystemExit(f"A turn ended as {outcome.state}: {outcome.error}")
        assert usage.cached_tokens is not None
        assert live.conversation is not None
        return Said(
            turn=live.turn,
            conversation=live.conversation,
            pieces=pieces,
            came=came,
            prompt=usage.prompt_tokens,
            cached=usage.cached_tokens,
            completion=usage.completion_tokens,
            began=_why_it_began(receipt),
            prepared=receipt.prepared,
            shown=last.messages,
        )


async def heard(live: LiveReply, begun: float) -> tuple[list[str], list[float]]:
    """The pieces of a reply, and when each came."""
    pieces: list[str] = []
    came: list[float] = []
    with live.reader():
        async for news in live.follow():
            texts = [event.text for event in news if isinstance(event, ContentDelta)]
            pieces += texts
            came += [time.perf_counter() - begun] * len(texts)
    return pieces, came


@asynccontextmanager
async def opened(folder: Path, subject: Subject, *, keeps: bool = True) -> AsyncIterator[Home]:
    """palaver in this folder, with its model loaded; without `keeps` it saves no snapshots."""
    store = SqlStore(await SqliteDatabase.open(folder / STORE))
    snapshots = Snapshots(folder / KEPT, memory_quota=IN_MEMORY, disk_quota=ON_DISK) if keeps else None
    engine = Watched(subject.settings, None, snapshots)
    chat = Chat(store, ModelCatalog([ModelSpec(name=subject.name, engine=engine)]))
    try:
        await engine.start()
        yield Home(chat, engine, subject.name)
    finally:
        await chat.close()
        if snapshots is not None:
            await snapshots.close()
        await store.close()


class Clock:
    """What is done with snapshots, each time with how long it took, in seconds: a worker saves a slot and restores one
    (`saves`, `restores`), a snapshot is written to disk, and read and verified (`writes`, `reads`)."""

    def __init__(self) -> None:
        self.saves: list[float] = []
        self.restores: list[float] = []
        self.writes: list[float] = []
        self.reads: list[float] = []


@contextmanager
def clocked() -> Iterator[Clock]:
    """Times what is done with snapshots meanwhile."""
    clock = Clock()
    with (
        patch.object(asking, "save", _timed(clock.saves, asking.save)),
        patch.object(asking, "restore", _timed(clock.restores, asking.restore)),
        patch.object(snapshot_file, "write", _timed_here(clock.writes, snapshot_file.write)),
        patch.object(snapshot_file, "extract", _timed_here(clock.reads, snapshot_file.extract)),
    ):
        yield clock


def _timed(
    times: list[float], work: Callable[_P, Coroutine[Any, Any, _T]]
) -> Callable[_P, Coroutine[Any, Any, _T]]:
    async def worked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        begun = time.perf_counter()
        try:
            return await work(*args, **kwargs)
        finally:
            times.append(time.perf_counter() - begun)

    return worked


def _timed_here(times: list[float], work: Callable[_P, _T]) -> Callable[_P, _T]:
    def worked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        begun = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            times.append(time.perf_counter() - begun)

    return worked


def _why_it_began(receipt: Receipt) -> str | None:
    return receipt.reason if receipt.began else None
