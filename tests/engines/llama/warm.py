"""Engines that are started again and again over one folder of snapshots, and conversations with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import ContentDelta, Finish, Usage
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine, LlamaSettings, Snapshots
from palaver.engines.llama.kv.snapshot_file import SUFFIX
from palaver.engines.pocket import POCKET

SYSTEM = Message("system", "You are a guide who knows the city well and answers in one sentence. " * 8)
BLOCK = 32
MEMORY, DISK = 64 << 20, 256 << 20


class Talk:
    """One conversation with an engine."""

    def __init__(
        self, engine: LlamaEngine, name: str | None = "c", owner: str = "ada", *, kept: bool = True
    ) -> None:
        self.engine = engine
        self.base = Window(
            owner=owner, conversation=name, turn="t", messages=(), epoch=f"epoch of {name}", kept=kept
        )
        self.messages: tuple[Message, ...] = (SYSTEM,)

    async def say(self, text: str, *, tokens: int = 16, seed: int | None = None) -> Usage:
        """Ask, and keep the reply; what it cost."""
        self.messages = (*self.messages, Message("user", text))
        parameters = Parameters(temperature=0.0, max_tokens=tokens, seed=seed)
        said, usage = "", None
        window = msgspec.structs.replace(self.base, messages=self.messages)
        async for event in self.engine.generate(window, Options(model="m", parameters=parameters)):
            if isinstance(event, ContentDelta):
                said += event.text
            if isinstance(event, Finish):
                usage = event.usage
        assert usage is not None
        self.messages = (*self.messages, Message("assistant", said))
        return usage

    async def settle(self, **more: Any) -> bool:
        window = msgspec.structs.replace(self.base, messages=self.messages, **more)
        return await self.engine.settle(window, Options(model="m"))

    async def settled(self, text: str, **more: Any) -> Usage:
        usage = await self.say(text, **more)
        assert await self.settle()
        return usage

    def with_(self, engine: LlamaEngine) -> Talk:
        """The same conversation with another engine."""
        other = Talk(engine)
        other.base, other.messages = self.base, self.messages
        return other


def prefilled(usage: Usage) -> int:
    assert usage.cached_tokens is not None
    return usage.prompt_tokens - usage.cached_tokens


class Houses:
    """Engines that share one folder of snapshots, one after the other: each `open` is a start, `close` its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshots: Snapshots | None = None
        self.engine: LlamaEngine | None = None

    async def open(
        self, path: Path = POCKET, *, memory: int = MEMORY, disk: int = DISK, **settings: Any
    ) -> LlamaEngine:
        await self.close()
        self.snapshots = Snapshots(self.folder, memory_quota=memory, disk_quota=disk)
        named = {"threads": 1, "slots": 2, "context": 1024, "batch": BLOCK, **settings}
        self.engine = LlamaEngine(LlamaSettings(path, "m", **named), None, self.snapshots)
        return self.engine

    async def close(self) -> None:
        if self.engine is not None:
            await self.engine.close()
            self.engine = None
        if self.snapshots is not None:
            await self.snapshots.close()
            self.snapshots = None

    async def written(self) -> None:
        """Wait until what is to be on disk is there."""
        assert self.snapshots is not None
        while self.snapshots._tasks:
            await asyncio.wait(set(self.snapshots._tasks))

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*" + SUFFIX))


async def counts(engine: LlamaEngine) -> dict[str, int]:
    cache = await engine.kv_cache()
    assert cache is not None
    return cache.counts


async def tokens_so_far(talk: Talk) -> int:
    """How long a prompt of this conversation is so far, without what comes before a reply."""
    window = msgspec.structs.replace(talk.base, messages=talk.messages)
    count = await talk.engine.count(window, Options(model="m"))
    return count - 3
