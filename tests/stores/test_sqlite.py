"""SQLite passes the contract; and what is its own: the schema, foreign and damaged files, threads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from palaver.core.errors import StoreCorrupt, StoreError, StoreRefused, StoreTooNew, StoreUnavailable
from palaver.stores import sqlite_migration
from palaver.stores.base import Store
from palaver.stores.database import Session
from palaver.stores.migrations import migrations
from palaver.stores.sqlite import SqliteDatabase
from tests.stores.contract import StoreContract
from tests.stores.sqlite_files import ask, beside, content, opened, put, tables
from tests.stores.talking import Tables, Talker, user


class TestSqliteStore(StoreContract):
    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Store]:
        async with opened(folder / "palaver.db") as store:
            yield store

    def tables(self, folder: Path) -> Tables:
        return tables(folder / "palaver.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "palaver.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(path)
    yield database
    await database.close()


async def fill(path: Path) -> None:
    async with opened(path) as store:
        await Talker(store).talk(*(f"{i} " + "x" * 2000 for i in range(20)))


def schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


class TestSchema:
    async def test_it_is_the_migrations_one_after_the_other(self, path: Path) -> None:
        await fill(path)
        with closing(beside(":memory:")) as built, closing(beside(path)) as stored:
            for migration in migrations("sqlite"):
                built.executescript(migration.sql)
            assert schema(stored) == schema(built)
        assert ask(path, "PRAGMA user_version") == len(migrations("sqlite"))

    async def test_opening_it_again_changes_nothing(self, path: Path) -> None:
        await fill(path)
        before = content(path)
        for _ in range(2):
            async with opened(path):
                pass
        assert content(path) == before

    async def test_a_migration_that_breaks_off_leaves_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = migrations("sqlite")[0].sql + "\nCREATE TABLE owners (seq INTEGER);"
        whole = migrations("sqlite")
        monkeypatch.setattr(
            sqlite_migration, "migrations", lambda _: [type(whole[0])(1, "tree", broken), *whole[1:]]
        )
        with pytest.raises(StoreError):
            await SqliteDatabase.open(path)
        assert ask(path, "SELECT count(*) FROM sqlite_master") == 0
        monkeypatch.undo()
        async with opened(path) as store:
            await Talker(store).talk("hi", "hello")

    async def test_no_row_refers_to_one_that_is_not_there(self, database: SqliteDatabase) -> None:
        with pytest.raises(StoreRefused, match="FOREIGN KEY"):
            await database.write(lambda s: s.run("add_log", turn=1, batch=0, deltas="[]"))

    async def test_rows_are_checked(self, path: Path) -> None:
        await fill(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


class TestOtherFiles:
    @pytest.mark.parametrize(
        "makes",
        [
            "CREATE TABLE bookmarks (url)",
            "CREATE TABLE bookmarks (url); PRAGMA user_version = 1",
            "CREATE TABLE bookmarks (url); PRAGMA user_version = 77",
            "CREATE TABLE messages (seq); PRAGMA application_id = 252006674",
            "PRAGMA application_id = 252006674",
        ],
    )
    async def test_another_programs_database_is_refused_and_left_alone(self, path: Path, makes: str) -> None:
        put(path, b"")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(makes)
        before = content(path)
        with pytest.raises(StoreCorrupt, match="another program"):
            await SqliteDatabase.open(path)
        assert content(path) == before

    async def test_a_newer_palavers_store_is_refused_and_left_alone(self, path: Path) -> None:
        await fill(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {len(migrations('sqlite')) + 1}")
        before = content(path)
        with pytest.raises(StoreTooNew, match=f"version {len(migrations('sqlite')) + 1}"):
            await SqliteDatabase.open(path)
        assert content(path) == before

    @pytest.mark.parametrize("text", [b"Dear diary,\n" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
    async def test_what_is_no_database_is_refused_and_left_alone(self, path: Path, text: bytes) -> None:
        put(path, text)
        with pytest.raises(StoreCorrupt):
            await SqliteDatabase.open(path)
        assert content(path) == text

    async def test_a_refused_file_is_free_again(self, path: Path) -> None:
        put(path, b"Dear diary,\n" * 1000)
        with pytest.raises(StoreCorrupt):
            await SqliteDatabase.open(path)
        put(path, b"")
        await fill(path)

    async def test_an_empty_file_becomes_a_store(self, path: Path) -> None:
        put(path, b"")
        await fill(path)

    async def test_damage_in_the_middle_is_told_and_ends_nothing(self, path: Path) -> None:
        await fill(path)
        damaged = bytearray(content(path))
        for table in ("messages", "conversations", "end_users"):
            page = ask(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", table)
            damaged[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        put(path, bytes(damaged))
        async with opened(path) as store:
            for _ in range(2):
                with pytest.raises(StoreCorrupt):
                    await Talker(store, end_user="ann").admit([user("hi")])
            with pytest.raises(StoreCorrupt):
                await store.conversations("local", one_shots=True)
            assert await store.root_key("local", None)

    async def test_a_truncated_file_is_told(self, path: Path) -> None:
        await fill(path)
        put(path, content(path)[:8192])
        with pytest.raises(StoreCorrupt):
            async with opened(path) as store:
                await Talker(store).admit([user("hi")])

    @pytest.mark.parametrize("place", ["file/palaver.db", "folder"])
    async def test_a_place_where_no_file_can_be(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        with pytest.raises(StoreUnavailable):
            await SqliteDatabase.open(tmp_path / place)

    @pytest.mark.parametrize("name", ["a b?c#d%20.db", "\N{SNOWMAN}.db", ":memory:"])
    async def test_any_name_is_a_file(self, tmp_path: Path, name: str) -> None:
        await fill(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 8192


class TestThreads:
    """SQLite works in threads; the event loop goes on meanwhile."""

    @pytest.mark.parametrize("kind", ["write", "read"])
    async def test_the_loop_is_free_while_the_disk_is_busy(self, database: SqliteDatabase, kind: str) -> None:
        started, go_on = threading.Event(), threading.Event()

        def work(_: Session) -> bool:
            started.set()
            return go_on.wait(30)

        working = asyncio.create_task(database.write(work) if kind == "write" else database.read(work))
        assert await asyncio.to_thread(started.wait, 30)
        go_on.set()
        assert await working

    async def test_reading_goes_on_while_a_write_is_under_way(self, database: SqliteDatabase) -> None:
        started, go_on = threading.Event(), threading.Event()

        def slow(session: Session) -> None:
            session.run("add_owner", name="new", secret=b"", now=0)
            started.set()
            assert go_on.wait(30)

        writing = asyncio.create_task(database.write(slow))
        assert await asyncio.to_thread(started.wait, 30)
        assert await database.read(lambda s: s.one("owner", name="new")) is None
        go_on.set()
        await writing
        assert await database.read(lambda s: s.one("owner", name="new")) is not None

    async def test_readers_cannot_write(self, database: SqliteDatabase) -> None:
        with pytest.raises(StoreUnavailable):
            await database.read(lambda s: s.run("add_owner", name="new", secret=b"", now=0))

    async def test_closing_waits_for_what_is_in_flight(self, path: Path) -> None:
        async with opened(path) as store:
            talkers = [Talker(store, end_user=f"{i}") for i in range(30)]
            for talker in talkers:
                await store.root_key(talker.owner, talker.end_user)
            writes = [asyncio.create_task(talker.put([user("hi")])) for talker in talkers]
            await asyncio.sleep(0)
            await store.close()
            admitted = await asyncio.gather(*writes)
        async with opened(path) as store:
            assert len(await store.conversations("local", one_shots=True, limit=100)) == len(admitted) == 30

    async def test_the_files_are_one_again_after_closing(self, path: Path) -> None:
        await fill(path)
        assert sorted(file.name for file in path.parent.iterdir()) in (
            ["palaver.db"],
            ["palaver.db", "palaver.db.lock"],
        )


async def test_a_new_store_is_for_its_user_only(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "palaver.db")
    await database.write(lambda session: session.run("add_owner", name="x", secret=b"s", now=0))
    modes = modes_in(tmp_path)
    await database.close()
    assert {"palaver.db", "palaver.db-wal", "palaver.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
