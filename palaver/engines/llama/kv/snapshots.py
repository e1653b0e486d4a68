"""All snapshots of a process: in memory, and on disk, within their quotas.

A slot is saved by the worker into a folder in memory, where there is one (`/dev/shm`), else on disk. From there it is
copied to disk apart from what anybody waits for, and stays in memory as long as the quota of that allows. Where one of
the quotas is full, what was used longest ago goes, first what its conversation has left behind.

Of a conversation's snapshots those go that are the beginning of a newer one, and of others the newest few are kept.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import structlog

from palaver.engines.llama.folder import PrivateFolder
from palaver.engines.llama.kv import snapshot_file
from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.snapshot_file import SUFFIX, UNFINISHED, Head, Refused

IN_MEMORY = Path("/dev/shm")
"""Linux's folder in memory."""
MOST_OF_ONE = 3
"""As many snapshots of one conversation are kept: it may have branches."""
SPARE = 16 << 20
"""Bytes that are left free where snapshots are written."""

log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Snapshot:
    """A saved state of one slot of a model (its name), in a file in `memory`, on `disk`, or both."""

    def __init__(self, model: str, head: Head, size: int, used: float) -> None:
        self.model = model
        self.head = head
        self.bytes = size
        self.used = used
        self.left = False
        self.memory: Path | None = None
        self.checksum = 0
        self.disk: Path | None = None
        self.writing = False
        self.gone = False

    def shared(self, owner: str, prefix: Prefix) -> int:
        """About how many tokens of it a prompt of this owner begins with."""
        if owner != self.head.owner or not self.head.prefix.size:
            return 0
        return self.head.tokens * self.head.prefix.shared(prefix) // self.head.prefix.size

    def is_of(self, owner: str | None, conversation: str | None) -> bool:
        return owner is None or (self.head.owner == owner and conversation in (None, self.head.conversation))


class Snapshots:
    """`folder` is where they are on disk, None for nowhere. Quotas are in bytes; 0 keeps none there."""

    def __init__(self, folder: Path | None, *, memory_quota: int, disk_quota: int) -> None:
        self.folder = folder if disk_quota else None
        self.memory_quota = memory_quota
        self.disk_quota = disk_quota
        self._all: list[Snapshot] = []
        self._models: list[str] = []
        self._refused: dict[str, Counter[str]] = {}
        self._opening = asyncio.Lock()
        self._staging: PrivateFolder | None = None
        self._writer = ThreadPoolExecutor(1, "snapshots")
        self._writing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def enabled(self) -> bool:
        return self.memory_quota > 0 or self.folder is not None

    def register(self, model: str) -> None:
        """There is this model. What is of models that are not there any more counts as the first one's, so that it is
        shown and deleted with it."""
        self._models.append(model)

    def of(self, model: str) -> list[Snapshot]:
        """The snapshots of a model."""
        is_first = model in self._models[:1]
        return [
            each for each in self._all if each.model == model or (is_first and each.model not in self._models)
        ]

    async def open(self) -> Path:
        """Have what is on disk known; the folder into which workers save. Raises OSError."""
        async with self._opening:
            if self._staging is None:
                if self.folder is not None:
                    await self._run(partial(self.folder.mkdir, parents=True, exist_ok=True, mode=0o700))
                    found, refused = await self._run(partial(_found, self.folder))
                    self._all += found
                    for model, why in refused:
                        self.refused(model)[why] += 1
                base = await self._run(partial(_base, self.folder, self.memory_quota))
                self._staging = await self._run(partial(PrivateFolder.made_in, base))
                self._make_room()
            return self._staging.path

    async def open_or_none(self) -> Path | None:
        """The same; None where that fails."""
        try:
            return await self.open()
        except OSError as error:
            log.warning("snapshots cannot be used", reason=str(error))
            return None

    def best(self, model: str, owner: str, prefix: Prefix) -> tuple[Snapshot | None, int]:
        """The snapshot of a model with the most of a prompt, and how many tokens of it that has."""
        mine = (each for each in self._all if each.model == model)
        found = max(mine, key=lambda each: (each.shared(owner, prefix), -each.bytes), default=None)
        return (found, found.shared(owner, prefix)) if found is not None else (None, 0)

    async def room_for(self, size: int) -> Path | None:
        """A name for a file of about this size into which a worker can save; None where there is no room."""
        folder = await self.open()
        while (await self._run(partial(shutil.disk_usage, folder))).free < size + SPARE:
            oldest = min(
                (each for each in self._all if each.memory and not each.writing),
                key=lambda each: each.used,
                default=None,
            )
            if oldest is None:
                return None
            self._drop_memory(oldest)
        return folder / secrets.token_hex(16)

    async def add(self, model: str, head: Head, file: Path) -> Snapshot:
        """A state that a worker has just saved. Raises OSError."""
        size = (await self._run(file.stat)).st_size
        snapshot = Snapshot(model, head, size, time.time())
        snapshot.memory, snapshot.checksum = file, await self._run(partial(snapshot_file.checksum_of, file))
        for other in self._older(snapshot):
            self.drop(other)
        self._all.append(snapshot)
        if self.folder is not None and size <= self.disk_quota:
            snapshot.writing = True
            task = asyncio.create_task(self._write(snapshot, self.folder))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        else:
            self._make_room()
        return snapshot

    async def fetch(self, snapshot: Snapshot, identity: Identity) -> tuple[Path, bool]:
        """A file with its state, checked byte by byte, and whether that is to be removed after use.

        A snapshot that is refused is gone. Raises Refused; OSError where there is no room.
        """
        snapshot.used = time.time()
        try:
            if (why := snapshot.head.identity.differs(identity)) is not None:
                raise Refused(why)
            if snapshot.memory is not None:
                file = snapshot.memory
                if await self._run(partial(_checksum, file)) == snapshot.checksum:
                    return file, False
                if snapshot.disk is None:
                    raise Refused("corrupt")
                self._drop_memory(snapshot)
            if snapshot.disk is None:
                raise Refused("missing")
            target = await self.room_for(snapshot.bytes)
            if target is None:
                raise OSError("there is no room for a snapshot")
            head = await self._run(partial(snapshot_file.extract, snapshot.disk, target))
            if head != snapshot.head:
                target.unlink(missing_ok=True)
                raise Refused("corrupt")
            with suppress(OSError):
                os.utime(snapshot.disk)
        except Refused as error:
            self.refuse(snapshot, error.why)
            raise
        return target, True

    def refused(self, model: str) -> Counter[str]:
        """How many snapshots of a model were refused, by why."""
        return self._refused.setdefault(model, Counter())

    def refuse(self, snapshot: Snapshot, why: str) -> None:
        """It cannot be used, and goes."""
        self.refused(snapshot.model)[why] += 1
        log.info("a snapshot was refused", model=snapshot.model, why=why)
        self.drop(snapshot)

    def leave(self, model: str, owner: str, conversation: str | None, epoch: str) -> None:
        """A conversation went on to this epoch: what it has of others goes first, where room is needed."""
        for each in self._all:
            if each.model == model and conversation is not None and each.is_of(owner, conversation):
                each.left = each.head.epoch != epoch

    def drop(self, snapshot: Snapshot) -> None:
        """Remove it, wherever it is."""
        snapshot.gone = True
        if snapshot in self._all:
            self._all.remove(snapshot)
        for file in (snapshot.memory, snapshot.disk):
            if file is not None:
                with suppress(OSError):
                    file.unlink(missing_ok=True)
        snapshot.memory = snapshot.disk = None

    async def forget(self, model: str, owner: str | None, conversation: str | None) -> int:
        """Remove those of a model: of a conversation, of an owner, or all. How many. Raises OSError."""
        if self.folder is not None:
            await self.open()
        found = [each for each in self.of(model) if each.is_of(owner, conversation)]
        for each in found:
            self.drop(each)
        return len(found)

    async def close(self) -> None:
        """Have what is being written to disk be there. May be called twice."""
        self._closed = True
        if self._writing:
            await asyncio.wait(set(self._writing))
        self._writer.shutdown()
        if self._staging is not None:
            self._staging.remove()

    async def _run(self, what: Callable[[], _T]) -> _T:
        return await asyncio.to_thread(what)

    async def _write(self, snapshot: Snapshot, folder: Path) -> None:
        """Copy it from memory to disk."""
        assert snapshot.memory is not None
        loop = asyncio.get_running_loop()
        try:
            snapshot.disk = await loop.run_in_executor(
                self._writer,
                _written,
                folder / quote(snapshot.model, safe=""),
                snapshot.head,
                snapshot.memory,
            )
        except OSError as error:
            if not snapshot.gone:
                log.warning("a snapshot could not be written", model=snapshot.model, reason=str(error))
        finally:
            snapshot.writing = False
        if snapshot.gone:
            self.drop(snapshot)
        self._make_room()

    def _older(self, new: Snapshot) -> list[Snapshot]:
        """What a new snapshot of a conversation makes needless."""
        same = [
            each
            for each in self._all
            if (each.model, each.head.owner, each.head.conversation)
            == (new.model, new.head.owner, new.head.conversation)
        ]
        covered = [
            each
            for each in same
            if each.head.tokens <= new.head.tokens and each.head.prefix.begins(new.head.prefix)
        ]
        others = sorted(
            (each for each in same if each not in covered), key=lambda each: (not each.left, each.used)
        )
        return covered + others[: max(0, len(others) - MOST_OF_ONE + 1)]

    def _make_room(self) -> None:
        """Keep to the quotas."""
        in_memory = [each for each in self._in_order() if each.memory is not None and not each.writing]
        excess = sum(each.bytes for each in in_memory) - self.memory_quota
        for each in in_memory:
            if excess <= 0:
                break
            excess -= each.bytes
            self._drop_memory(each)
        on_disk = [each for each in self._in_order() if each.disk is not None]
        excess = sum(each.bytes for each in on_disk) - self.disk_quota
        for each in on_disk:
            if excess <= 0:
                break
            excess -= each.bytes
            self.drop(each)

    def _in_order(self) -> list[Snapshot]:
        return sorted(self._all, key=lambda each: (not each.left, each.used))

    def _drop_memory(self, snapshot: Snapshot) -> None:
        if snapshot.disk is None:
            self.drop(snapshot)
        elif snapshot.memory is not None:
            snapshot.memory.unlink(missing_ok=True)
            snapshot.memory = None


def _base(folder: Path | None, memory_quota: int) -> Path:
    """Where workers save: in memory where that has room for all it may hold. A container's may be tiny."""
    if memory_quota and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > memory_quota:
        return IN_MEMORY
    return folder or Path(tempfile.gettempdir())


def _checksum(file: Path) -> int | None:
    try:
        return snapshot_file.checksum_of(file)
    except OSError:
        return None


def _written(folder: Path, head: Head, state: Path) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    return snapshot_file.write(folder, head, state)


def _found(folder: Path) -> tuple[list[Snapshot], list[tuple[str, str]]]:
    """What is on disk, of all models; and which models' files are refused, and why. Those are removed, and what a
    process left unfinished that was killed."""
    for file in folder.glob(f"*/*{UNFINISHED}"):
        file.unlink(missing_ok=True)
    found, refused = [], []
    for file in folder.glob(f"*/*{SUFFIX}"):
        model = unquote(file.parent.name)
        try:
            info = file.stat()
            snapshot = Snapshot(model, snapshot_file.read_head(file), info.st_size, info.st_mtime)
        except Refused as error:
            refused.append((model, error.why))
            file.unlink(missing_ok=True)
        except OSError:
            continue  # somebody has just removed it
        else:
            snapshot.disk = file
            found.append(snapshot)
    return found, refused
