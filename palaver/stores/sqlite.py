"""SQLite: one file, one owner process, one writer thread.

All writes go through one thread, which commits what has queued up while it worked in a single transaction
(group commit): under load many turns share one sync of the disk. WAL lets readers go on meanwhile
(https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import re
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from palaver.core.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from palaver.stores.database import Row, Session
from palaver.stores.migrations import migrations
from palaver.stores.ownership import Ownership
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_errors import as_store_error, breaks_group, mapped_errors, mapped_os_errors

T = TypeVar("T")
GROUP = 64
"""At most so many writes share a commit."""
READERS = 2
PRIVATE = 0o600
"""The mode of a new file: what people say is for its owner only. A file that is there keeps its own."""
BUSY_MS = 5000
APPLICATION_ID = 0x70616C61
"""Says in the file's header that it is ours: "pala"."""


@lru_cache(maxsize=512)
def _expanded(query: str, lists: tuple[tuple[str, int], ...]) -> str:
    text = QUERIES[query]
    for name, length in lists:
        places = ", ".join(f":{name}_{i}" for i in range(length))
        text = re.sub(rf"\(:{name}\)", f"({places})", text)
    return text


class SqliteSession:
    """A transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _execute(self, query: str, parameters: dict[str, Any]) -> sqlite3.Cursor:
        lists = tuple((name, len(value)) for name, value in parameters.items() if isinstance(value, list))
        for name, _ in lists:
            parameters.update({f"{name}_{i}": value for i, value in enumerate(parameters.pop(name))})
        return self._connection.execute(_expanded(query, lists), parameters)

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        return self._execute(query, parameters).fetchall()

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(query, parameters).fetchone()
        return row

    def run(self, query: str, /, **parameters: Any) -> int:
        return self._execute(query, parameters).rowcount


class _Write:
    def __init__(self, work: Callable[[Session], Any], durable: bool) -> None:
        self.work = work
        self.durable = durable
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

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
            await asyncio.to_thread(database._migrate)
        except BaseException:
            ownership.release()
            raise
        database._writer.start()
        return database

    def _open(self) -> sqlite3.Connection:
        """A connection that has changed nothing yet."""
        connection = sqlite3.connect(
            self._path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = self._open()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    def _migrate(self) -> None:
        known = migrations("sqlite")
        with mapped_os_errors():
            if not self._path.exists():
                self._path.touch(PRIVATE)  # SQLite gives the files beside it the same mode
        with mapped_errors():
            with contextlib.closing(self._open()) as connection:
                version = self._check_version(connection, len(known))
            with contextlib.closing(self._connect()) as connection:
                for migration in known[version:]:
                    connection.executescript(
                        f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA application_id = {APPLICATION_ID};\n"
                        f"PRAGMA user_version = {migration.number};\nCOMMIT;"
                    )

    def _check_version(self, connection: sqlite3.Connection, known: int) -> int:
        """The version of the file, 0 where it is new. Writes nothing: the file may be another program's."""
        application, version, tables = (
            connection.execute(question).fetchone()[0]
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if application != APPLICATION_ID and (tables or version or application):
            raise StoreCorrupt(f"{self._path} is a database of another program.")
        if version > known:
            raise StoreTooNew(
                f"The store {self._path} is of version {version}; this palaver knows up to {known}. "
                "Install a newer palaver."
            )
        return int(version)

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

    def _read(self, work: Callable[[Session], T]) -> T:
        with mapped_errors():
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
                self._connections.append(connection)
            connection.execute("BEGIN")
            try:
                return work(SqliteSession(connection))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

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
                    connection = connection or self._connect()
                    self._commit_together(connection, group)
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

    async def announce(self, address: str, key: str, model: str = "") -> None:
        with mapped_os_errors():
            self._ownership.announce(address, key, model)

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
