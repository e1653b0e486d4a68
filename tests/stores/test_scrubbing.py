"""A SQLite store's files hold nothing of what was deleted: every byte of them is searched."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sqlite3
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import StoreUnavailable
from palaver.stores import sqlite, sqlite_scrub
from palaver.stores.base import Store
from palaver.stores.deletion import SqlDeletion
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_connection import connect
from palaver.stores.sqlite_scrub import Layout, gap, layout_of, wipe_gaps
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


@pytest.mark.parametrize(
    ("seed", "auto_vacuum"), [(0, "NONE"), (1, "NONE"), (2, "NONE"), (3, "FULL"), (4, "INCREMENTAL")]
)
async def test_nothing_of_what_was_deleted_can_be_found(tmp_path: Path, seed: int, auto_vacuum: str) -> None:
    canaries, path = Canaries(seed), tmp_path / "palaver.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        db.execute("VACUUM")
    async with opened(path) as store:
        kept: list[str] = []
        for _ in range(8):
            kept += await asyncio.gather(*(conversation(store, canaries) for _ in range(20)))
            canaries.random.shuffle(kept)
            await delete_some(store, canaries, kept)
            assert legible(tmp_path) == stored(path)
        consistent(tables(path))
    assert legible(tmp_path) == stored(path) != set()
    assert ask(path, "PRAGMA auto_vacuum") == ("NONE", "FULL", "INCREMENTAL").index(auto_vacuum)
    assert ask(path, "PRAGMA integrity_check") == "ok"


async def delete_some(store: Store, canaries: Canaries, kept: list[str]) -> None:
    """A third of the conversations, and single messages and branches of others."""
    for _ in range(len(kept) // 3):
        await store.delete_conversation("local", kept.pop())
    for id in kept[:5]:
        path = [item for item in await store.items("local", id, limit=100) if not item.deleted]
        if path:
            message = canaries.random.choice(path).id
            await (store.delete_branch if canaries.random.random() < 0.5 else store.delete_message)(
                "local", message
            )
    left = {c.id for c in await store.conversations("local", one_shots=True, limit=10_000)}
    kept[:] = [id for id in kept if id in left]


def make_file(path: Path, page_size: int, auto_vacuum: str, reserved: int) -> None:
    """An empty database. `reserved` bytes at the end of each page are not SQLite's, as in encrypted files."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        db.execute("VACUUM")
    header = bytearray(path.read_bytes())
    header[20] = reserved
    header[105:107] = ((page_size - reserved) % 65536).to_bytes(2, "big")
    path.write_bytes(header)


def fill_and_delete(db: sqlite3.Connection, canaries: Canaries, rows: int) -> None:
    db.execute("PRAGMA secure_delete = ON")
    db.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, body TEXT)")
    db.execute("CREATE INDEX i ON t (body)")
    seqs = [
        int(db.execute("INSERT INTO t (body) VALUES (?) RETURNING seq", (canaries.text(),)).fetchone()[0])
        for _ in range(rows)
    ]
    canaries.random.shuffle(seqs)
    for seq in seqs[: rows * 2 // 3]:
        db.execute("UPDATE t SET body = body || ? WHERE seq = ?", (canaries.text(), seq))
        db.execute("DELETE FROM t WHERE seq = ?", (seq + 1,))
    for seq in seqs:
        if canaries.random.random() < 0.7:
            db.execute("DELETE FROM t WHERE seq = ?", (seq,))


def wipe_all(path: Path, file: FileIO | None = None, portion: int = 100_000) -> None:
    with file or FileIO(path, "r+") as opened_file:
        at: int | None = 0
        while at is not None:
            at = wipe_gaps(opened_file, at, portion)


@pytest.mark.parametrize(
    ("page_size", "auto_vacuum", "reserved"),
    [
        (4096, "NONE", 0),
        (512, "FULL", 0),
        (4096, "INCREMENTAL", 40),
        (2048, "FULL", 255),
        (4096, "FULL", 0),
        (65536, "NONE", 0),
        (65536, "NONE", 8),
    ],
)
async def test_what_sqlite_leaves_in_gaps_is_wiped(
    tmp_path: Path, page_size: int, auto_vacuum: str, reserved: int
) -> None:
    """The reason for wiping: rows that moved to another page stay legible where they stood before."""
    canaries, path = Canaries(1), tmp_path / "palaver.db"
    make_file(path, page_size, auto_vacuum, reserved)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        fill_and_delete(db, canaries, 1500)
    assert path.read_bytes()[20] == reserved
    assert legible(tmp_path) > stored(path), "SQLite leaves nothing any more: wiping may go"
    wipe_all(path)
    assert legible(tmp_path) == stored(path) != set()
    assert ask(path, "PRAGMA integrity_check") == "ok"


async def test_maps_of_pages_are_left_alone(tmp_path: Path) -> None:
    """In a file that gives pages back, every so many pages one says where the others belong."""
    path = tmp_path / "palaver.db"
    make_file(path, 2048, "INCREMENTAL", 0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (body TEXT)")
        db.executemany("INSERT INTO t VALUES (?)", [("x" * 1500,)] * 900)
    before = path.read_bytes()
    wipe_all(path)
    after = path.read_bytes()
    for number in (2, 412, 822):
        page = slice((number - 1) * 2048, number * 2048)
        assert after[page] == before[page]
    assert ask(path, "PRAGMA integrity_check") == "ok"


class Halting(FileIO):
    """Reads and writes as little at a time as a file may."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+")
        self.random = random.Random(1)

    def readinto(self, buffer: Any, /) -> int:
        with memoryview(buffer) as view:
            return super().readinto(
                view[: self.random.randrange(1, len(view) + 1)] if len(view) > 1 else view
            )

    def write(self, data: Any, /) -> int:
        return super().write(data[: self.random.randrange(1, len(data) + 1)])


async def test_reading_and_writing_may_stop_half_way(tmp_path: Path) -> None:
    canaries, path = Canaries(1), tmp_path / "palaver.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        fill_and_delete(db, canaries, 700)
    assert legible(tmp_path) > stored(path)
    wipe_all(path, Halting(path))
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


async def test_nobody_else_writes_while_it_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another program wrote between reading a page and overwriting its gap would be lost."""
    path, refused = tmp_path / "palaver.db", 0
    real = wipe_gaps

    def wipe(file: FileIO, start: int, length: int) -> int | None:
        nonlocal refused
        with closing(sqlite3.connect(path, timeout=0)) as beside, pytest.raises(sqlite3.OperationalError):
            beside.execute("UPDATE owners SET name = name")
        refused += 1
        return real(file, start, length)

    monkeypatch.setattr(sqlite_scrub, "wipe_gaps", wipe)
    async with opened(path) as store:
        await store.delete_conversation("local", await Talker(store).talk("hi", "hello"))
        with closing(sqlite3.connect(path, timeout=0)) as beside, beside:
            beside.execute("UPDATE owners SET name = name")
    assert refused


async def test_what_others_write_before_it_is_wiped_goes_into_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal with something in it can be copied into the file at any time, also while gaps are overwritten."""
    path, journals = tmp_path / "palaver.db", []
    written = False
    real = wipe_gaps

    def write(statement: str) -> None:
        nonlocal written
        if statement == "BEGIN IMMEDIATE" and not written:
            written = True
            with closing(sqlite3.connect(path)) as beside, beside:
                beside.execute("UPDATE owners SET name = 'local'")

    def watched(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(write)
        return connection

    def wipe(file: FileIO, start: int, length: int) -> int | None:
        journals.append(path.with_name("palaver.db-wal").stat().st_size)
        return real(file, start, length)

    async with opened(path) as store:
        id = await Talker(store).talk("#aaaaaa#", "#bbbbbb#")
        monkeypatch.setattr(sqlite_scrub, "connect", watched)
        monkeypatch.setattr(sqlite_scrub, "wipe_gaps", wipe)
        await store.delete_conversation("local", id)
        assert legible(tmp_path) == set()
    assert written
    assert set(journals) == {0}


async def test_a_writer_beside_it_delays_the_wiping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SCRUB_PATIENCE", 0.0)
    path = tmp_path / "palaver.db"
    database = await SqliteDatabase.open(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as beside:
        beside.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="is gone, but its bytes stand in the store's journal"):
            await database.scrub()
        beside.execute("ROLLBACK")
    await database.scrub()
    await database.close()


async def test_who_waited_for_a_wiping_that_failed_fails_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would wait as long again. Who comes later tries again."""
    arrived, tries, go_on = 0, 0, asyncio.Event()
    real, scrub = SqliteDatabase.scrub, SqlDeletion._scrub

    async def failing(_: SqliteDatabase) -> None:
        nonlocal tries
        tries += 1
        await go_on.wait()
        raise StoreUnavailable("A reader stands in the way.")

    async def arriving(deletion: SqlDeletion) -> None:
        nonlocal arrived
        arrived += 1
        await scrub(deletion)

    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        ids = [await Talker(store).talk(f"{i}", "hello") for i in range(4)]
        monkeypatch.setattr(SqliteDatabase, "scrub", failing)
        monkeypatch.setattr(SqlDeletion, "_scrub", arriving)
        deleting = [asyncio.create_task(store.delete_conversation("local", id)) for id in ids]
        while arrived < len(ids):
            await asyncio.sleep(0)
        go_on.set()
        outcomes = await asyncio.gather(*deleting, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["A reader stands in the way."] * 4
        assert tries == 1
        monkeypatch.setattr(SqliteDatabase, "scrub", real)
        await store.delete_expired(0)
    assert ask(path, "SELECT count(*) FROM deletions WHERE scrubbed_at IS NULL") == 0


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


LEAF = bytes([13, 0, 0, 0, 1, 0, 200, 0]) + bytes([0, 200]) + b"x" * 502
LAYOUT = Layout(512, 512, False)


def has_gap(page: bytes, layout: Layout = LAYOUT, count: int = 10, number: int = 3) -> bool:
    first, end = gap(page, 0, number, layout, count)
    return first < end


def test_where_the_gap_of_a_page_is() -> None:
    assert gap(LEAF, 0, 3, LAYOUT, 10) == (10, 200)
    assert gap(LEAF + LEAF, 512, 3, LAYOUT, 10) == (522, 712)
    assert gap(b"\0" * 100 + LEAF[:412], 0, 1, LAYOUT, 10) == (110, 200)
    inner = bytes([5, 0, 0, 0, 1, 0, 200, 0, 0, 0, 0, 9, 0, 200]) + b"x" * 498
    assert gap(inner, 0, 3, LAYOUT, 10) == (14, 200)
    empty = bytes([13, 0, 0, 0, 0, 2, 0, 0]) + b"x" * 504
    assert gap(empty, 0, 3, LAYOUT, 10) == (8, 512)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(b"\0\0\0\7" + b"text" * 127, id="text that goes on"),
        pytest.param(LEAF[:3] + b"\xff\xff" + LEAF[5:], id="too many cells"),
        pytest.param(LEAF[:5] + b"\0\5" + LEAF[7:], id="content before the cells"),
        pytest.param(LEAF[:5] + b"\2\1" + LEAF[7:], id="content behind the page"),
        pytest.param(LEAF[:5] + b"\0\0" + LEAF[7:], id="content at 65,536"),
        pytest.param(LEAF[:1] + b"\0\20" + LEAF[3:], id="a free block in the gap"),
        pytest.param(LEAF[:1] + b"\1\xff" + LEAF[3:], id="a free block behind the page"),
        pytest.param(LEAF[:7] + b"\75" + LEAF[8:], id="too many fragments"),
        pytest.param(LEAF[:8] + b"\0\30" + LEAF[10:], id="a cell in the gap"),
        pytest.param(LEAF[:8] + b"\1\377" + LEAF[10:], id="a cell behind the page"),
        pytest.param(b"\5" + LEAF[1:8] + b"\0\0\0\13\0\310" + LEAF[14:], id="a child behind the file"),
        pytest.param(b"\5" + LEAF[1:8] + b"\0\0\0\0\0\310" + LEAF[14:], id="no child"),
    ],
)
def test_pages_that_are_not_plainly_part_of_a_tree_are_left_alone(page: bytes) -> None:
    assert len(page) == 512
    assert has_gap(LEAF)
    assert not has_gap(page)


def test_what_lies_behind_the_end_that_sqlite_uses_is_left_alone() -> None:
    page = LEAF[:5] + b"\1\xe0\0\1\xe0" + LEAF[10:]
    assert has_gap(page)
    assert has_gap(page, Layout(512, 485, False))
    assert not has_gap(page, Layout(512, 480, False))


def test_a_kind_that_could_be_the_first_byte_of_a_number_is_left_alone() -> None:
    inner = b"\2" + LEAF[1:8] + b"\0\0\0\7\0\310" + LEAF[14:]
    assert has_gap(inner, count=(1 << 25) - 1)
    assert not has_gap(inner, count=1 << 25)


@pytest.mark.parametrize("reserved", [0, 32])
@pytest.mark.parametrize("size", [512, 1024, 4096, 65536])
def test_the_places_of_maps_and_of_the_page_of_locks(size: int, reserved: int) -> None:
    lock, apart = (1 << 30) // size + 1, (size - reserved) // 5 + 1
    maps = set(range(2, 2 * lock, apart))
    if lock in maps:
        maps = maps - {lock} | {lock + 1}
    near = {1, 2, 3, 4, lock - 1, lock, lock + 1, lock + 2}
    near |= {number + step for number in sorted(maps)[:50] + sorted(maps)[-50:] for step in (-1, 0, 1)}
    plain, mapped = Layout(size, size - reserved, False), Layout(size, size - reserved, True)
    assert {number for number in near if not plain.may_be_tree(number)} == {lock}
    assert {number for number in near if not mapped.may_be_tree(number)} == near & (maps | {lock})


def test_a_map_is_not_where_the_page_of_locks_is() -> None:
    """With pages of 1,024 bytes both fall together, and the map comes one later."""
    mapped = Layout(1024, 1024, True)
    lock = (1 << 30) // 1024 + 1
    assert (lock - 2) % 205 == 0
    assert [mapped.may_be_tree(lock + step) for step in (-1, 0, 1, 2)] == [True, False, False, True]


def test_an_empty_file_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with FileIO(tmp_path / "empty", "r+") as file:
        assert wipe_gaps(file, 0, 4096) is None
    assert layout_of(b"") is None


def test_half_a_page_is_none(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    make_file(path, 512, "NONE", 0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (body TEXT)")
    path.write_bytes(path.read_bytes() + LEAF[:300])
    with FileIO(path, "r+") as file:
        assert wipe_gaps(file, 0, 4096) == 1024
        assert wipe_gaps(file, 1024, 4096) is None
    assert path.read_bytes().endswith(LEAF[:300])


def test_what_a_header_says_of_the_pages() -> None:
    header = bytearray(100)
    header[16:18], header[20], header[55] = b"\0\1", 12, 1
    assert layout_of(bytes(header)) == Layout(65536, 65524, True)
