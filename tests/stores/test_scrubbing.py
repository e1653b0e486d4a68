"""A SQLite store's files hold nothing of what was deleted: every byte of them is searched."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from palaver.core.errors import StoreUnavailable
from palaver.stores import sqlite
from palaver.stores.base import Store
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_scrub import gap, page_size, wipe_gaps
from tests.stores.contract_sequences import consistent
from tests.stores.sqlite_files import ask, opened, tables
from tests.stores.talking import Talker

MARK = re.compile(rb"#[a-z]{6}#")
SIZES = (10, 60, 300, 900, 1500, 2500, 4000, 9000, 30_000, 100_000)
WEIGHTS = (20, 20, 20, 10, 8, 6, 4, 3, 1, 0.5)


class Canaries:
    """Texts, each of a mark of its own again and again, so that the smallest piece of one gives it away."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def text(self) -> str:
        mark = f"#{self._letters()}#"
        size = self.random.choices(SIZES, WEIGHTS)[0]
        return mark * max(1, size // len(mark))

    def _letters(self) -> str:
        self._count += 1
        number, letters = self._count, ""
        for _ in range(6):
            number, digit = divmod(number, 26)
            letters += chr(ord("a") + digit)
        return letters


def legible(folder: Path) -> set[bytes]:
    """Every mark that stands in a file of the store, whole."""
    return {mark for file in folder.iterdir() for mark in MARK.findall(file.read_bytes())}


def stored(path: Path) -> set[bytes]:
    """Every mark that stands in a row, of any table."""
    with closing(sqlite3.connect(path)) as db:
        return {mark for line in db.iterdump() for mark in MARK.findall(line.encode())}


async def conversation(store: Store, canaries: Canaries) -> str:
    """One with a few turns and branches, at whose end stands what is running."""
    talker = Talker(store, end_user=canaries.random.choice([None, canaries.text()[:60]]))
    name = canaries.random.choice([None, canaries.text()[:200]])
    for _ in range(canaries.random.randrange(1, 7)):
        admitted = await talker.ask(canaries.text(), canaries.text(), name)
        if canaries.random.random() < 0.2:
            del talker.history[-2:]
    return admitted.conversation


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_of_what_was_deleted_can_be_found(tmp_path: Path, seed: int) -> None:
    canaries, path = Canaries(seed), tmp_path / "palaver.db"
    async with opened(path) as store:
        kept: list[str] = []
        for _ in range(8):
            kept += await asyncio.gather(*(conversation(store, canaries) for _ in range(20)))
            canaries.random.shuffle(kept)
            await delete_some(store, canaries, kept)
            assert legible(tmp_path) == stored(path)
        consistent(tables(path))
    assert legible(tmp_path) == stored(path) != set()


async def delete_some(store: Store, canaries: Canaries, kept: list[str]) -> None:
    """A third of the conversations, and single messages and branches of others."""
    for _ in range(len(kept) // 3):
        await store.delete_conversation("local", kept.pop())
    for id in kept[:5]:
        path = await store.items("local", id, limit=100)
        if path:
            message = canaries.random.choice(path).id
            await (store.delete_branch if canaries.random.random() < 0.5 else store.delete_message)(
                "local", message
            )
    left = {c.id for c in await store.conversations("local", one_shots=True, limit=10_000)}
    kept[:] = [id for id in kept if id in left]


async def test_what_sqlite_leaves_in_gaps_is_wiped(tmp_path: Path) -> None:
    """The reason for wiping: rows that moved to another page stay legible where they stood before."""
    canaries, path = Canaries(1), tmp_path / "palaver.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, body TEXT)")
        rows = [
            int(db.execute("INSERT INTO t (body) VALUES (?) RETURNING seq", (canaries.text(),)).fetchone()[0])
            for _ in range(1500)
        ]
        canaries.random.shuffle(rows)
        for row in rows[:1000]:
            db.execute("UPDATE t SET body = body || ? WHERE seq = ?", (canaries.text(), row))
            db.execute("DELETE FROM t WHERE seq = ?", (row + 1,))
        for row in rows:
            if canaries.random.random() < 0.7:
                db.execute("DELETE FROM t WHERE seq = ?", (row,))
    assert legible(tmp_path) > stored(path), "SQLite leaves nothing any more: wiping may go"
    with path.open("r+b", buffering=0) as file:
        at: int | None = 0
        while at is not None:
            at = wipe_gaps(file, at, 100_000)
    assert legible(tmp_path) == stored(path) != set()
    assert ask(path, "PRAGMA integrity_check") == "ok"


async def test_a_store_is_used_while_it_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page at a time: others write between, and what they write is whole."""
    monkeypatch.setattr("palaver.stores.sqlite_scrub.PORTION", 4096)
    canaries, path = Canaries(7), tmp_path / "palaver.db"
    async with opened(path) as store:
        gone = [await conversation(store, canaries) for _ in range(15)]
        deleting = asyncio.gather(*(store.delete_conversation("local", id) for id in gone))
        talking = asyncio.gather(*(conversation(store, canaries) for _ in range(30)))
        await asyncio.gather(deleting, talking)
        await store.delete_expired(0)
        assert legible(tmp_path) == stored(path) != set()
    assert ask(path, "PRAGMA integrity_check") == "ok"
    consistent(tables(path))


async def test_a_reader_beside_it_delays_the_wiping_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "SCRUB_PATIENCE", 0.0)
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        talker = Talker(store)
        id = await talker.talk("#aaaaaa#", "#bbbbbb#")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM messages").fetchone()
            with pytest.raises(StoreUnavailable, match="is gone, but its bytes stand in the store's journal"):
                await store.delete_conversation("local", id)
            assert await talker.conversations() == []
            assert legible(tmp_path) == {b"#aaaaaa#", b"#bbbbbb#"}
            assert ask(path, "SELECT count(*) FROM deletions WHERE scrubbed_at IS NULL") == 1
            reader.execute("ROLLBACK")
        await store.delete_expired(0)
        assert ask(path, "SELECT count(*) FROM deletions WHERE scrubbed_at IS NULL") == 0
        assert legible(tmp_path) == set()


async def test_deletions_that_come_together_are_wiped_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubbed = 0
    real = SqliteDatabase.scrub

    async def counted(database: SqliteDatabase) -> None:
        nonlocal scrubbed
        scrubbed += 1
        await real(database)

    monkeypatch.setattr(SqliteDatabase, "scrub", counted)
    canaries = Canaries(3)
    async with opened(tmp_path / "palaver.db") as store:
        gone = [await conversation(store, canaries) for _ in range(20)]
        await asyncio.gather(*(store.delete_conversation("local", id) for id in gone))
        assert legible(tmp_path) == set()
    assert 1 <= scrubbed <= 10


async def test_what_could_not_be_wiped_before_a_crash_is_wiped_after_it(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await store.delete_conversation("local", await Talker(store).talk("hi", "hello"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE deletions SET scrubbed_at = NULL")
    async with opened(path) as store:
        await store.delete_expired(0)
    assert ask(path, "SELECT count(*) FROM deletions WHERE scrubbed_at IS NULL") == 0


async def test_wiping_leaves_the_locks_of_the_store(tmp_path: Path) -> None:
    """To close any handle of a file gives up all locks that the process has on it, and SQLite would not know."""
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await store.delete_conversation("local", await Talker(store).talk("hi", "hello"))
        await Talker(store).talk("hi", "hello")
        with closing(sqlite3.connect(path)) as beside:
            assert beside.execute("SELECT count(*) FROM messages").fetchone() == (2,)
        assert "palaver.db-wal" in os.listdir(tmp_path), (
            "the last one to close removes it; that was not the last"
        )


async def test_wiping_is_for_an_open_store(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "palaver.db")
    await database.scrub()
    await database.close()
    with pytest.raises(StoreUnavailable):
        await database.scrub()


def test_pages_that_are_no_part_of_a_tree_are_left_alone() -> None:
    leaf = bytes([13, 0, 0, 0, 1, 0, 200, 0]) + bytes([0, 200]) + b"x" * 502
    assert gap(leaf, 0, 512, is_first=False, count=10) == (10, 200)
    assert gap(b"\0" * 100 + leaf[:412], 0, 512, is_first=True, count=10) == (110, 200)
    for other in (
        b"\0\0\0\7" + b"text" * 127,
        b"\15\0\0\0\1\0\5" + b"x" * 505,
        b"\15\0\0\377\377\377\377" + b"x" * 505,
    ):
        first, end = gap(other, 0, 512, is_first=False, count=10)
        assert first == end
    assert gap(b"\2" + leaf[1:], 0, 512, is_first=False, count=(1 << 25) - 1) == (14, 200)
    first, end = gap(b"\2" + leaf[1:], 0, 512, is_first=False, count=1 << 25)
    assert first == end, "this may be the first byte of a page's number"


def test_an_empty_file_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("r+b", buffering=0) as file:
        assert wipe_gaps(file, 0, 4096) is None
    assert page_size(b"") == 0
    assert page_size(b"x" * 16 + b"\0\1") == 65536
