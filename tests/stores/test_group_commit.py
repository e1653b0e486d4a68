"""Group commit: what has queued up shares one transaction, and one bad write spoils it for nobody."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from palaver.core.errors import LeaseLost, StoreFull, StoreRefused, StoreUnavailable
from palaver.stores.database import Session
from palaver.stores.ownership import Ownership
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import GROUP, SqliteDatabase
from tests.stores.talking import Talker, user


class Traced(SqliteDatabase):
    """Notes what its connections run. `pages` is the largest size of the file, in pages of 4 kB."""

    def __init__(self, path: Path, ownership: Ownership) -> None:
        super().__init__(path, ownership)
        self.pages = 1_000_000
        self.ran: list[str] = []

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA max_page_count = {self.pages}")
        connection.set_trace_callback(self.ran.append)
        return connection

    def commits(self) -> list[str]:
        """How each transaction since the last call was committed: FULL or NORMAL."""
        how, result = "", []
        for statement in self.ran:
            if statement.startswith("PRAGMA synchronous"):
                how = statement.rpartition(" ")[2]
            if statement == "COMMIT":
                result.append(how)
        self.ran.clear()
        return result

    @asynccontextmanager
    async def held_up(self) -> AsyncIterator[None]:
        """What is begun inside queues up, and is written together afterwards."""
        started, go_on = threading.Event(), threading.Event()

        def work(_: Session) -> None:
            started.set()
            assert go_on.wait(30)

        holding = asyncio.create_task(self.write(work, durable=False))
        assert await asyncio.to_thread(started.wait, 30)
        try:
            yield
        finally:
            go_on.set()
            await holding


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Traced]:
    database = await Traced.open(tmp_path / "palaver.db")
    assert isinstance(database, Traced)
    await database.write(lambda s: None)
    database.ran.clear()
    yield database
    await database.close()


Work = Callable[[Session], object]


def owner(name: str, secret: bytes = b"") -> Work:
    """A write: makes an owner."""
    return lambda session: session.run("add_owner", name=name, secret=secret, now=0)


async def together(database: Traced, *works: Work) -> list[object]:
    """Run these in one group; results and errors."""
    async with database.held_up():
        writes = [asyncio.create_task(database.write(work)) for work in works]
        await asyncio.sleep(0)
    return list(await asyncio.gather(*writes, return_exceptions=True))


async def owners(database: SqliteDatabase, *names: str) -> list[str]:
    """Those of the names that are in the store."""
    return await database.read(lambda s: [name for name in names if s.one("owner", name=name) is not None])


async def test_what_queued_up_is_committed_together(database: Traced) -> None:
    names = [f"{i}" for i in range(2 * GROUP + 10)]
    await together(database, *map(owner, names))
    assert database.commits() == ["NORMAL", "FULL", "FULL", "FULL"]
    assert await owners(database, *names) == names


def breaks(session: Session) -> None:
    session.run("add_owner", name="half", secret=b"", now=0)
    raise ValueError("a mistake")


def breaks_a_rule(session: Session) -> None:
    session.run("add_owner", name="half", secret=b"", now=0)
    session.run("add_owner", name="none", secret=None, now=0)


def finds_nothing(session: Session) -> None:
    session.run("add_owner", name="half", secret=b"", now=0)
    raise LeaseLost


def asks_for_what_is_not_there(session: Session) -> None:
    session.run("add_owner", name="half", secret=b"", now=0)
    session.run("no such query")


def binds_too_little(session: Session) -> None:
    session.run("add_owner", name="half", secret=b"", now=0)
    session.run("add_owner", name="none")


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (breaks, ValueError),
        (breaks_a_rule, StoreRefused),
        (finds_nothing, LeaseLost),
        (asks_for_what_is_not_there, KeyError),
        (binds_too_little, StoreUnavailable),
    ],
)
async def test_one_bad_write_spoils_it_for_nobody(
    database: Traced, bad: Work, error: type[Exception]
) -> None:
    results = await together(database, owner("a"), bad, owner("b"), bad, owner("c"))
    assert [type(result) for result in results] == [int, error, int, error, int]
    assert database.commits() == ["NORMAL", "FULL"]
    assert await owners(database, "a", "b", "c", "half", "none") == ["a", "b", "c"]


async def test_a_group_that_fills_the_disk_is_undone_as_a_whole(database: Traced) -> None:
    database.pages = 60
    await restart_writer(database)
    results = await together(database, owner("a"), owner("big", bytes(1_000_000)), owner("b"))
    assert all(isinstance(result, StoreFull) for result in results)
    assert await owners(database, "a", "big", "b") == []
    await together(database, owner("a"), owner("b"))
    assert await owners(database, "a", "b") == ["a", "b"]


async def restart_writer(database: Traced) -> None:
    """Have the writer open a new connection, as after an error of the disk."""

    def broken(_: Session) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with pytest.raises(StoreUnavailable):
        await database.write(broken)


async def test_a_broken_disk_breaks_the_group_and_no_more(database: Traced) -> None:
    async with database.held_up():
        broken = asyncio.create_task(restart_writer(database))
        await asyncio.sleep(0)
        innocent = asyncio.create_task(database.write(owner("a")))
        await asyncio.sleep(0)
    await broken
    with pytest.raises(StoreUnavailable):
        await innocent
    await database.write(owner("a"))
    assert await owners(database, "a") == ["a"]


async def test_the_writer_survives_whatever_happens(
    database: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> sqlite3.Connection:
        raise RuntimeError("a bug")

    await restart_writer(database)
    monkeypatch.setattr(database, "_connect", fails)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug"):
            await database.write(owner("a"))
    monkeypatch.undo()
    await database.write(owner("a"))


async def test_admit_and_finish_are_durable_and_the_log_is_not(database: Traced) -> None:
    store = SqlStore(database)
    talker = Talker(store)
    await store.root_key("local", None)
    database.ran.clear()
    admitted = await talker.admit([user("hi")])
    assert database.commits() == ["FULL"]
    await talker.log(admitted.turn, 0, "hel")
    assert database.commits() == ["NORMAL"]
    await talker.end(admitted.turn, "hello")
    assert database.commits() == ["FULL"]
    await store.recover("lease_2")
    assert database.commits() == ["FULL"]


async def test_one_durable_write_makes_its_group_durable(database: Traced) -> None:
    async with database.held_up():
        writes = [asyncio.create_task(database.write(owner(f"{i}"), durable=i == 2)) for i in range(4)]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    assert database.commits() == ["NORMAL", "FULL"]


async def test_a_caller_who_left_gets_it_written_all_the_same(database: Traced) -> None:
    async with database.held_up():
        write = asyncio.create_task(database.write(owner("a")))
        await asyncio.sleep(0)
        write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    await database.write(lambda s: None)
    assert await owners(database, "a") == ["a"]
