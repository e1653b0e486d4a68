"""Slots of a worker without a model, and where they are saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from palaver.engines.llama.folder import PREFIX
from palaver.engines.llama.kv import opening
from palaver.engines.llama.kv.eviction import Snapshot
from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.placing import Ask
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.seat import Seat
from palaver.engines.llama.kv.slots import Keeping, Slots
from palaver.engines.llama.kv.snapshot_file import extract
from palaver.engines.llama.kv.snapshots import Snapshots
from tests.engines.llama.kv.fake_worker import TOKEN_BYTES, FakeWorker
from tests.engines.llama.kv.heads import IDENTITY

CONTEXT = 10_000


class Warm:
    """Slots, their worker and their snapshots. A prompt is a list of parts, and has a token for each character."""

    def __init__(self, slots: int, snapshots: Snapshots | None) -> None:
        self.snapshots = snapshots
        self.identity = IDENTITY
        self.identified = 0
        self.may_identify = asyncio.Event()
        self.may_identify.set()
        self.fails: Exception | None = None
        self.count = slots
        keeping = (
            Keeping("m", snapshots, self._identity, TOKEN_BYTES, CONTEXT) if snapshots is not None else None
        )
        self.slots = Slots(slots, keeping, lambda: 0.0)
        self.slots._ratio = 1.0
        self.worker = FakeWorker(slots)

    async def start(self) -> FakeWorker:
        """Another worker."""
        saves = await self.snapshots.open_or_none() if self.snapshots is not None else None
        self.worker = FakeWorker(self.count, saves)
        return self.worker

    async def take(self, ask: Ask) -> Seat:
        seat = await self.slots.take(ask, self.worker)
        assert seat is not None
        return seat

    async def turn(self, ask: Ask, prompt: list[str], reply: str = "") -> int:
        """A whole turn; how much of its prompt was there."""
        seat = await self.take(ask)
        return self.answer(seat, ask, prompt, reply)

    def answer(self, seat: Seat, ask: Ask, prompt: list[str], reply: str = "") -> int:
        tokens = list(map(ord, "".join(prompt)))
        cached, _ = self.worker.compute(seat.number, tokens, seat.reuse)
        self.slots.begun(seat, ask)
        self.worker.slots[seat.number] += map(ord, reply)
        self.slots.ended(seat, len(tokens), len(reply), cached)
        self.slots.give_back(seat)
        return cached

    async def say(
        self, *prompt: str, conversation: str | None = "c", owner: str = "ada", kept: bool = True
    ) -> int:
        """A whole turn with this prompt; how much of that was there."""
        return await self.turn(ask(*prompt, conversation=conversation, owner=owner, kept=kept), list(prompt))

    @property
    def saved(self) -> dict[str, str]:
        """What is in snapshots, by conversation."""
        assert self.snapshots is not None
        return {
            str(each.head.conversation): self.worker.read(each.memory)
            for each in self.snapshots.of("m")
            if each.memory is not None
        }

    def text(self, snapshot: Snapshot) -> str:
        """What is in a snapshot, wherever that is."""
        if snapshot.memory is not None:
            return self.worker.read(snapshot.memory)
        assert snapshot.disk is not None
        copy = opening.IN_MEMORY / "copy"
        assert extract(snapshot.disk, copy) == snapshot.head
        try:
            return self.worker.read(copy)
        finally:
            copy.unlink()

    @property
    def states(self) -> int:
        """How many files of states there are where workers save, whosever."""
        folders = (opening.IN_MEMORY, opening.IN_MEMORY.parent / "kv")
        files = [file for folder in folders for file in folder.glob(f"{PREFIX}*/*")]
        return len([file for file in files if file.name != "lock"])

    @property
    def files(self) -> int:
        """How many files there are on disk, whatever is in them."""
        return len(list((opening.IN_MEMORY.parent / "kv" / "m").glob("*")))

    async def rested(self) -> None:
        """Until no file is written or removed any more."""
        assert self.snapshots is not None
        async with asyncio.timeout(10):
            while self.snapshots._tasks:
                await asyncio.wait(set(self.snapshots._tasks))

    async def _identity(self) -> Identity:
        self.identified += 1
        await self.may_identify.wait()
        if self.fails is not None:
            raise self.fails
        return self.identity


def ask(
    *prompt: str,
    conversation: str | None = "c",
    owner: str = "ada",
    epoch: str = "e1",
    kept: bool = True,
    ahead: bool = False,
) -> Ask:
    return Ask(
        owner=owner,
        conversation=conversation,
        prefix=Prefix.of_parts([part.encode() for part in prompt]),
        epoch=epoch,
        kept=kept,
        ahead=ahead,
    )


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class MakeWarm(Protocol):
    async def __call__(self, slots: int = ..., *, memory: int = ..., disk: int = ...) -> Warm: ...


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in memory; in the end it is empty."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(opening, "IN_MEMORY", folder)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
async def make_warm(shm: Path, tmp_path: Path) -> AsyncIterator[MakeWarm]:
    """Makes slots with a worker and snapshots; without quotas these are none."""
    made = []

    async def make(slots: int = 1, *, memory: int = 1 << 20, disk: int = 0) -> Warm:
        snapshots = None
        if memory or disk:
            snapshots = Snapshots(tmp_path / "kv", memory_quota=memory, disk_quota=disk)
            made.append(snapshots)
        warm = Warm(slots, snapshots)
        await warm.start()
        return warm

    yield make
    for each in made:
        await each.close()
