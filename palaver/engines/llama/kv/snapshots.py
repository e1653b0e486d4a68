"""All snapshots of a process: in memory, and on disk, within their quotas.

A slot is saved by the worker into a folder in memory, where there is one (`/dev/shm`), else on disk. From there it is
copied to disk apart from what anybody waits for, and stays in memory as long as the quota of that allows: `eviction`
says what goes. Files are removed apart as well: a large one takes a while.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import structlog

from palaver.engines.llama.finishing import to_its_end
from palaver.engines.llama.folder import MARK, CommonFolder, PrivateFolder
from palaver.engines.llama.kv import eviction, opening, snapshot_file
from palaver.engines.llama.kv.eviction import Snapshot
from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.removal import Removal
from palaver.engines.llama.kv.snapshot_file import Head, Refused

SPARE = 16 << 20
"""Bytes that are left free where snapshots are written."""

log = structlog.get_logger(__name__)


class Snapshots:
    """`folder` is where they are on disk, None for nowhere. Quotas are in bytes; 0 keeps none there. `staging` is a
    folder into which somebody else's worker saves, None for one of our own. With `deep` what lies in the folders of the
    folder is found too: snapshots of a server that is not there now."""

    def __init__(
        self,
        folder: Path | None,
        *,
        memory_quota: int,
        disk_quota: int,
        staging: Path | None = None,
        deep: bool = False,
    ) -> None:
        self._deep = deep
        self.folder = folder if disk_quota else None
        self.memory_quota = memory_quota
        self.disk_quota = disk_quota
        self._all: list[Snapshot] = []
        self._models: list[str] = []
        self._refused: dict[str, Counter[str]] = {}
        self._opening = asyncio.Lock()
        self._into = staging
        self._staging: PrivateFolder | CommonFolder | None = None
        self._writer = ThreadPoolExecutor(1, "snapshots")
        self._tasks: set[asyncio.Task[object]] = set()
        self._removal = Removal()
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
            if self._closed:
                raise OSError("snapshots are closed")
            if self._staging is None:
                await to_its_end(self._open())
            assert self._staging is not None
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

    async def room_for(self, size: int, *, is_patient: bool = False) -> Path | None:
        """A name for a file of about this size into which a worker can save; None where there is no room, or it would
        not be kept. What waits to be written takes memory: `is_patient` waits for that, too."""
        folder = await self.open()
        if size > max(self.memory_quota, self.disk_quota if self.folder else 0):
            return None
        while folder.parent == opening.IN_MEMORY and (
            writes := eviction.backlog(self._all, size, self.memory_quota)
        ):
            if not is_patient:
                return None
            await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        return await self._space_for(size)

    async def add(self, model: str, head: Head, file: Path) -> Snapshot:
        """A state that a worker has just saved. Raises OSError."""
        size = (await asyncio.to_thread(file.stat)).st_size
        snapshot = Snapshot(model, head, size, time.time())
        snapshot.memory, snapshot.checksum = file, await asyncio.to_thread(snapshot_file.checksum_of, file)
        if self._closed:
            raise OSError("snapshots are closed")
        for other in eviction.needless(snapshot, self._all):
            self.drop(other)
        self._all.append(snapshot)
        if self.folder is not None and size <= self.disk_quota:
            snapshot.writing = asyncio.create_task(self._write(snapshot, file, self.folder))
            self._keep(snapshot.writing)
        self._make_room()
        return snapshot

    @contextmanager
    def pinned(self, snapshot: Snapshot) -> Iterator[None]:
        """It is about to be used: meanwhile others make room."""
        snapshot.pins += 1
        try:
            yield
        finally:
            snapshot.pins -= 1
            self._make_room()

    async def fetch(self, snapshot: Snapshot, identity: Identity) -> tuple[Path, bool]:
        """A file with its state, checked byte by byte, and whether that is to be removed after use (`remove`).

        A snapshot that is refused is gone. Raises Refused; OSError where there is no room.
        """
        snapshot.used = time.time()
        try:
            if (why := snapshot.head.identity.differs(identity)) is not None:
                raise Refused(why)
            file, checksum = snapshot.memory, snapshot.checksum
            if file is not None:
                is_whole = await asyncio.to_thread(snapshot_file.has_checksum, file, checksum)
                if is_whole and not snapshot.gone:
                    return file, False
                if snapshot.disk is None:
                    raise Refused("missing" if snapshot.gone else "corrupt")
                self._drop_memory(snapshot)
            if snapshot.disk is None:
                raise Refused("missing")
            return await self._extracted(snapshot, snapshot.disk), True
        except Refused as error:
            self.refuse(snapshot, error.why)
            raise

    def refused(self, model: str) -> Counter[str]:
        """How many snapshots of a model were refused, by why."""
        return self._refused.setdefault(model, Counter())

    def refuse(self, snapshot: Snapshot, why: str) -> None:
        """It cannot be used, and goes. One that was dropped meanwhile is nothing to be counted."""
        if not snapshot.gone:
            self.refused(snapshot.model)[why] += 1
            log.info("a snapshot was refused", model=snapshot.model, why=why)
            self.drop(snapshot)

    def leave(self, model: str, owner: str, conversation: str | None, epoch: str) -> None:
        """A conversation went on to this epoch: what it has of others goes first, where room is needed."""
        for each in self._all:
            if each.model == model and conversation is not None and each.is_of(owner, conversation):
                each.left = each.head.epoch < epoch

    def drop(self, snapshot: Snapshot) -> None:
        """Have it be no more, wherever it is."""
        snapshot.gone = True
        if snapshot in self._all:
            self._all.remove(snapshot)
        self.remove(*(file for file in (snapshot.memory, snapshot.disk) if file is not None))
        snapshot.memory = snapshot.disk = None

    def remove(self, *files: Path) -> None:
        """Remove files, apart from what anybody waits for."""
        self._removal.add(*files)
        if files:
            self._keep(asyncio.create_task(self._removal.done()))

    async def forget(self, model: str, owner: str | None, conversation: str | None) -> int:
        """Remove those of a model: of a conversation, of an owner, or all; returns how many, once they are not there
        any more. Raises OSError."""
        if self.folder is not None:
            await self.open()
        found = [each for each in self.of(model) if each.is_of(owner, conversation)]
        folders = {each.disk.parent for each in found if each.disk is not None}
        writing = [each.writing for each in found if each.writing is not None]
        for each in found:
            self.drop(each)
        if writing:
            await asyncio.wait(writing)
        if (failure := await self._removal.done()) is not None:
            raise failure
        await asyncio.to_thread(snapshot_file.sync_all, folders)
        return len(found)

    async def close(self) -> None:
        """Have what is being written to disk be there. May be called twice."""
        self._closed = True
        async with self._opening:
            while self._tasks:
                await asyncio.wait(set(self._tasks))
            self._writer.shutdown()
            if self._staging is not None:
                await asyncio.to_thread(self._staging.remove)

    async def _open(self) -> None:
        opened = await asyncio.to_thread(
            opening.opened, self.folder, self.memory_quota, self._into, deep=self._deep
        )
        self._staging = opened.staging
        self._all += opened.found
        for model, why in opened.refused:
            self.refused(model)[why] += 1
        self._make_room()

    async def _space_for(self, size: int) -> Path | None:
        folder = await self.open()
        while (await asyncio.to_thread(shutil.disk_usage, folder)).free < size + SPARE:
            oldest = eviction.first_in_memory(self._all)
            if oldest is None:
                return None
            self._drop_memory(oldest)
            await self._removal.done()
        return folder / (MARK + secrets.token_hex(16))

    async def _extracted(self, snapshot: Snapshot, disk: Path) -> Path:
        target = await self._space_for(snapshot.bytes)
        if target is None:
            raise OSError("there is no room for a snapshot")
        try:
            head = await to_its_end(asyncio.to_thread(snapshot_file.extract, disk, target))
            if snapshot.gone:
                raise Refused("missing")
            if head != snapshot.head:
                raise Refused("corrupt")
        except BaseException:
            self.remove(target)
            raise
        with suppress(OSError):
            os.utime(disk)
        return target

    async def _write(self, snapshot: Snapshot, state: Path, folder: Path) -> None:
        """Copy it from memory to disk."""
        target = folder / quote(snapshot.model, safe="")
        written = partial(snapshot_file.write, target, snapshot.head, state, lambda: not snapshot.gone)
        try:
            snapshot.disk = await asyncio.get_running_loop().run_in_executor(self._writer, written)
        except Exception as error:  # whatever it is, it stays in memory
            if not snapshot.gone:
                log.warning("a snapshot could not be written", model=snapshot.model, reason=str(error))
        finally:
            snapshot.writing = None
        if snapshot.gone:
            self.drop(snapshot)
        self._make_room()

    def _make_room(self) -> None:
        """Keep to the quotas."""
        for each in eviction.over_memory(self._all, self.memory_quota):
            self._drop_memory(each)
        for each in eviction.over_disk(self._all, self.disk_quota):
            self.drop(each)

    def _drop_memory(self, snapshot: Snapshot) -> None:
        if snapshot.disk is None:
            self.drop(snapshot)
        elif snapshot.memory is not None:
            self.remove(snapshot.memory)
            snapshot.memory = None

    def _keep(self, task: asyncio.Task[None] | asyncio.Task[OSError | None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
