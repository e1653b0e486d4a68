"""SQLite: one file, one owner process, one writer thread.

All writes go through one thread, which commits what has queued up while it worked in a single transaction
(group commit): under load many turns share one sync of the disk. WAL lets readers go on meanwhile
(https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from palaver.core.errors import StoreUnavailable
from palaver.core.searching import Term
from palaver.stores.database import Session
from palaver.stores.ownership import Ownership
from palaver.stores.sqlite_connection import SqliteSession, connect
from palaver.stores.sqlite_errors import (
    as_store_error,
    breaks_group,
    is_busy,
    mapped_errors,
    mapped_os_errors,
)
from palaver.stores.sqlite_excerpts import excerpts
from palaver.stores.sqlite_merge import merge_indexes
from palaver.stores.sqlite_migration import bring_forward
from palaver.stores.sqlite_scrub import STILL_LEGIBLE, Scrubber

T = TypeVar("T")
GROUP = 64
"""At most so many writes share a commit."""
READERS = 2
SCRUB_PATIENCE = 5.0
"""How long to wait for others, who read an older state of the file or write, until its journal can be emptied, in
seconds."""


class _Write:
    """Work for the writer thread: in a transaction, or, where it comes `alone`, between two of them."""

    def __init__(
        self, work: Callable[[Session], Any], durable: bool, alone: Callable[[], Any] | None = None
    ) -> None:
        self.work = work
        self.alone = alone
        self.durable = durable
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def run_alone(self, work: Callable[[], Any]) -> None:
        try:
            self.result = work()
        except Exception as error:  # whatever it is belongs to the caller that awaits this
            self.error = as_store_error(error)

    def tell(self) -> None:
        """Hand the outcome to the event loop that waits for it, unless it is gone."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteDatabase:
    """A SQLite file owned by this process. Made by `SqliteDatabase.open`."""

    def __init__(self, path: Path, ownership: Ownership) -> None:
        self._path = path
        self._ownership = ownership
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="palaver-store-read")
        self._writer = threading.Thread(target=self._write_all, name="palaver-store-write", daemon=True)
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._scrubber = Scrubber(path)

    @classmethod
    async def open(cls, path: Path) -> SqliteDatabase:
        """Open or make the file, become its owner, bring it to the newest version.

        Raises StoreOwned, StoreTooNew, StoreCorrupt, StoreUnavailable, StoreFull.
        """
        with mapped_os_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            ownership = Ownership.take(path)
        database = cls(path, ownership)
        try:
            await asyncio.to_thread(database._start)
        except BaseException:
            ownership.release()
            raise
        database._writer.start()
        return database

    def _start(self) -> None:
        """Have the file at its newest version, and know it again."""
        bring_forward(self._path)
        with mapped_os_errors():
            self._file = _identity(self._path)

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path)

    def _check_place(self) -> None:
        """The file is where it was. One that is moved, deleted or replaced stays open, and SQLite would go on in
        it, where nobody finds what it writes. Raises StoreUnavailable."""
        try:
            found = _identity(self._path)
        except FileNotFoundError as error:
            raise self._misplaced(
                "is gone: moved or deleted while palaver ran. Put it back, or end palaver."
            ) from error
        except OSError as error:
            raise self._misplaced(f"is out of reach: {error.strerror}.") from error
        if found != self._file:
            raise self._misplaced(
                "was replaced by another file while palaver ran. Put it back, or end palaver."
            )

    def _misplaced(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"The store {self._path} {what}", public=f"The store {what}")

    async def write(self, work: Callable[[Session], T], *, durable: bool = True) -> T:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        write = _Write(work, durable)
        self._queue.put(write)
        result: T = await write.future
        return result

    async def read(self, work: Callable[[Session], T]) -> T:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def excerpts(self, match: str, terms: Sequence[Term], texts: Mapping[str, str]) -> dict[str, str]:
        return await asyncio.to_thread(excerpts, match, terms, texts)

    def _read(self, work: Callable[[Session], T]) -> T:
        with mapped_errors():
            self._check_place()
            connection = self._reader()
            try:
                connection.execute("BEGIN")
                try:
                    return work(SqliteSession(connection))
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._drop_reader(connection)  # it may hold a broken state: a fresh one next time
                raise

    def _reader(self) -> sqlite3.Connection:
        """This thread's connection, which only reads."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            self._connections.append(connection)
            self._local.connection = connection
        return connection

    def _drop_reader(self, connection: sqlite3.Connection) -> None:
        self._local.connection = None
        self._connections.remove(connection)
        with contextlib.suppress(sqlite3.Error):  # it is broken; there was nothing to lose
            connection.close()

    def _write_all(self) -> None:
        connection: sqlite3.Connection | None = None
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < GROUP and not self._queue.empty():
                write = self._queue.get()
                if write is None:
                    self._queue.put(None)
                    break
                group.append(write)
            try:
                with mapped_errors():
                    self._check_place()
                    if writes := [write for write in group if not write.alone]:
                        connection = connection or self._connect()
                        self._commit_together(connection, writes)
                        self._check_place()
                for write in group:
                    if write.alone:
                        if connection is not None:
                            connection.close()  # it holds pages as they were before
                            connection = None
                        write.run_alone(write.alone)
            except Exception as error:
                # The transaction is gone as a whole: disk full, file locked, file unreadable. A fresh
                # connection next time, because this one may hold a broken state. Whatever else it may be, the
                # callers must hear of it and this thread must go on.
                for write in group:
                    write.error = write.error or error
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):  # it is broken; what it held is rolled back
                        connection.close()
                    connection = None
            for write in group:
                write.tell()
        if connection is not None:
            connection.close()

    def _commit_together(self, connection: sqlite3.Connection, group: list[_Write]) -> None:
        durable = any(write.durable for write in group)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        session = SqliteSession(connection)
        for write in group:
            connection.execute("SAVEPOINT one")
            try:
                write.result = write.work(session)
            except Exception as error:  # whatever it is belongs to the caller that awaits this write
                if breaks_group(error) or not connection.in_transaction:
                    raise
                write.error = as_store_error(error)
                connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        connection.execute("COMMIT")

    async def scrub(self) -> None:
        try:
            await merge_indexes(self)
        except StoreUnavailable as error:
            if is_busy(error):
                raise StoreUnavailable(STILL_LEGIBLE) from error
            raise
        deadline = asyncio.get_running_loop().time() + SCRUB_PATIENCE
        at: int | None = 0
        while at is not None:
            could, at = await self._between_writes(partial(self._scrub_from, at))
            if not could and asyncio.get_running_loop().time() > deadline:
                raise StoreUnavailable(STILL_LEGIBLE)

    def _scrub_from(self, start: int) -> tuple[bool, int | None]:
        """Whether a portion could be wiped, and where to go on."""
        self._check_place()
        return self._scrubber.wipe(start)

    async def _between_writes(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread, with no transaction and no connection of that thread open."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        write = _Write(lambda _: None, durable=False, alone=work)
        self._queue.put(write)
        result: T = await write.future
        return result

    async def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        with mapped_os_errors():
            self._ownership.announce(address, key, model, is_private=is_private)

    async def withdraw(self) -> None:
        with mapped_os_errors():
            self._ownership.withdraw()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._close_readers)
        self._ownership.release()

    def _close_readers(self) -> None:
        """The last connection to close also copies the WAL into the file, which may take a while."""
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        self._scrubber.close()


def _identity(path: Path) -> tuple[int, int]:
    """What makes a file this file, whatever its name. Raises OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino
