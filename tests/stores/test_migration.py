"""Older files come forward whole, with a copy of what they were; newer ones are refused and say by whom."""

from __future__ import annotations

import os
import platform
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from palaver import __version__
from palaver.core.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew, StoreUnavailable
from palaver.core.turn import TurnState
from palaver.stores import sqlite_migration
from palaver.stores.migrations import Migration, migrations
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_copy import DAYS_KEPT, PART
from palaver.stores.sqlite_migration import bring_forward
from palaver.stores.sqlite_upkeep import check
from tests.conftest import environment
from tests.house.files import ROOT
from tests.stores.old_files import CONVERSATIONS, NEWEST, OLD, OPEN, columns_of, old_store, rows, version
from tests.stores.sqlite_files import ask, content, opened, put
from tests.stores.talking import Talker, assistant, user
from tests.stores.test_disk import mount

KILLS = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "palaver.db"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "size=4m")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def schema(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def names(path: Path, pattern: str) -> list[str]:
    return sorted(each.name for each in path.parent.glob(pattern))


RELEASED = (
    "69b6c918f856eff56090dbc921b2a055",
    "e3075f1f4631a974254bd87b35765430",
    "8c1441ff20ec87d214688d04f0cd4fad",
    "7997362138ab5f4a42e9e8411c377257",
)
"""What the migrations that are in a release hash to: these are never changed, only followed by others."""


def test_a_released_migration_is_what_it_was() -> None:
    for migration, released in zip(migrations("sqlite"), RELEASED, strict=False):
        assert blake2b(migration.sql.encode(), digest_size=16).hexdigest() == released, migration.name


def test_the_stored_schema_is_the_sum_of_the_migrations(tmp_path: Path) -> None:
    """`docs/reference/schema.sql`, so that what a migration does to the schema is seen in review."""
    with closing(sqlite3.connect(tmp_path / "stored.db")) as connection:
        connection.executescript((ROOT / "docs/reference/schema.sql").read_text(encoding="utf-8"))
    bring_forward(tmp_path / "built.db")
    assert schema(tmp_path / "stored.db") == schema(tmp_path / "built.db")


class TestOlder:
    @pytest.mark.parametrize("old", OLD)
    def test_every_row_is_there_afterwards(self, path: Path, old: int, tmp_path: Path) -> None:
        old_store(path, old)
        columns, before = columns_of(path), rows(path)
        bring_forward(path)
        bring_forward(new := tmp_path / "new.db")
        assert version(path) == NEWEST
        assert schema(path) == schema(new)
        assert rows(path, columns) == before

    @pytest.mark.parametrize("old", OLD)
    async def test_it_is_a_store_like_any_other(self, path: Path, old: int) -> None:
        """Everything can be read, is as it must be, and is gone on from."""
        old_store(path, old)
        async with opened(path) as store:
            recovered = await store.recover("another lease")
            assert len(recovered) == OPEN[old]
            assert {(await store.turn("local", turn)).state for turn in recovered} == {TurnState.INCOMPLETE}
            for owner, count in CONVERSATIONS[old].items():
                found = await store.conversations(owner, one_shots=True, temporary=True, limit=100)
                assert len(found) == count
                for conversation in found:
                    items = await store.items(owner, conversation.id, limit=100)
                    assert len(items) == conversation.messages > 0
                    for item in items:
                        if item.turn is not None:
                            record = await store.turn(owner, item.turn)
                            assert item in (record.reply, *(other.item for other in record.others))
            talker = Talker(store)
            sent = [
                user("Where is Lisbon?"),
                assistant("In Portugal."),
                user("And Porto?"),
                assistant("There too."),
            ]
            gone_on = await talker.admit([*sent, user("More?")])
            assert gone_on.conversation.endswith("conv_01m83bw6fhy5j15mc82sfhb2yx")
            await talker.end(gone_on.turn, "Yes.")
        assert check(path).findings == []

    @pytest.mark.parametrize("old", OLD)
    def test_what_it_was_is_kept_beside_it(self, path: Path, old: int) -> None:
        before = rows(old_store(path, old))
        bring_forward(path)
        kept = path.with_name(f"palaver.db.v{old}-backup")
        assert (version(kept), rows(kept)) == (old, before)
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert ask(kept, "PRAGMA journal_mode") == "delete", "it needs no file beside it"
        bring_forward(path)
        assert names(path, "*backup*") == [kept.name]

    def test_a_copy_never_replaces_another(self, path: Path) -> None:
        for number in range(3):
            path.unlink(missing_ok=True)
            old_store(path, 1)
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE conversations SET title = ?", (f"number {number}",))
            bring_forward(path)
        kept = ["palaver.db.v1-backup", "palaver.db.v1-backup-2", "palaver.db.v1-backup-3"]
        assert names(path, "*backup*") == kept
        titles = [ask(path.with_name(name), "SELECT max(title) FROM conversations") for name in kept]
        assert titles == ["number 0", "number 1", "number 2"]

    def test_a_new_file_has_nothing_to_be_kept(self, path: Path) -> None:
        path.parent.mkdir()
        bring_forward(path)
        assert names(path, "*") == ["palaver.db"]

    def test_what_stands_in_its_journal_comes_along(self, path: Path, tmp_path: Path) -> None:
        """A file whose process was killed before anything was merged into it."""
        old_store(tmp_path / "seed.db", 1)
        with closing(sqlite3.connect(tmp_path / "seed.db")) as connection, connection:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("UPDATE conversations SET title = 'the last'")
            connection.commit()
            shutil.copytree(tmp_path, path.parent)
        for name in ("seed.db", "seed.db-wal"):
            (path.parent / name).rename(path.parent / name.replace("seed", "palaver"))
        bring_forward(path)
        for file in (path, path.with_name("palaver.db.v1-backup")):
            assert ask(file, "SELECT min(title) FROM conversations") == "the last"

    def test_a_migration_that_fails_leaves_the_old_version(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = rows(old_store(path, 1))
        tables = schema(path)
        broken = [*migrations("sqlite")]
        broken[1] = Migration(2, "broken", broken[1].sql + "\nCREATE TABLE owners (seq INTEGER);")
        monkeypatch.setattr(sqlite_migration, "migrations", lambda _: broken)
        with pytest.raises(StoreError):
            bring_forward(path)
        assert (version(path), rows(path), schema(path)) == (1, before, tables)
        monkeypatch.undo()
        bring_forward(path)
        assert version(path) == NEWEST

    def test_a_later_one_that_fails_leaves_those_before_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old_store(path, 1)
        more = [
            *migrations("sqlite"),
            Migration(NEWEST + 1, "broken", "CREATE TABLE x (y); SELECT nonsense;"),
        ]
        monkeypatch.setattr(sqlite_migration, "migrations", lambda _: more)
        with pytest.raises(StoreError):
            bring_forward(path)
        monkeypatch.undo()
        assert version(path) == NEWEST
        assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'x'") == 0
        assert check(path).findings == []

    def test_without_room_for_the_copy_it_stays_as_it_is(self, small: Path) -> None:
        path = old_store(small / "palaver.db", 1)
        before = rows(path)
        room = os.statvfs(small)
        put(small / "filler", bytes(room.f_bavail * room.f_frsize - 80_000))
        with pytest.raises(StoreFull):
            bring_forward(path)
        assert (version(path), rows(path)) == (1, before)
        assert names(path, "*") == ["filler", "palaver.db"]
        (small / "filler").unlink()
        bring_forward(path)
        assert version(path) == NEWEST

    def test_a_python_without_full_text_is_named(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            sqlite_migration, "FULL_TEXT", "CREATE VIRTUAL TABLE temp.probe USING fts0 (text)"
        )
        with pytest.raises(StoreUnavailable, match="FTS5") as raised:
            bring_forward(path)
        for said in (sys.executable, platform.python_version(), sqlite3.sqlite_version, "Use another Python"):
            assert said in raised.value.message
        assert sys.executable not in raised.value.public
        assert names(path, "*") == []

    def test_a_damaged_file_is_not_brought_forward(self, path: Path) -> None:
        old_store(path, 1)
        page = ask(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")
        damaged = bytearray(content(path))
        damaged[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        put(path, bytes(damaged))
        with pytest.raises(StoreCorrupt):
            bring_forward(path)
        assert ask(path, "PRAGMA user_version") == 1
        assert names(path, "*backup*") == names(path, f"*{PART}*") == []


class TestKilled:
    """`kill -9` at any point leaves one version or the other, whole."""

    def whole(self, path: Path, old: int, seed: Path) -> int:
        """The version of what was left; whole, and brought forward at the next start."""
        left, before = version(path), rows(seed)
        assert left in range(old, NEWEST + 1)
        for kept in path.parent.glob("*-backup"):
            assert rows(kept) == before
        if left > old:
            assert names(path, "*-backup*") == [f"palaver.db.v{old}-backup"]
        assert rows(path, columns_of(seed)) == before
        bring_forward(path)
        assert check(path).findings == []
        return left

    @pytest.mark.parametrize("old", OLD)
    def test_at_every_step(self, tmp_path: Path, old: int) -> None:
        seed = old_store(tmp_path / "seed" / "palaver.db", old)
        done = subprocess.run(
            [sys.executable, "-m", "tests.stores.killed_at", "bring", str(tmp_path)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        kills = int(done.stdout.split()[-1])  # after the log
        assert kills > 50
        left = [self.whole(tmp_path / str(step) / "palaver.db", old, seed) for step in range(kills)]
        assert set(left) == set(range(old, NEWEST + 1))
        assert left == sorted(left)

    def test_at_random_moments(self, tmp_path: Path) -> None:
        seed = old_store(tmp_path / "seed" / "palaver.db", 1)
        order = random.Random(0)
        for kill in range(KILLS):
            folder = tmp_path / str(kill)
            shutil.copytree(tmp_path / "seed", folder)
            program = "import sys, pathlib\nfrom palaver.stores.sqlite_migration import bring_forward\n"
            program += "print(flush=True)\nbring_forward(pathlib.Path(sys.argv[1]))"
            child = subprocess.Popen(
                [sys.executable, "-c", program, str(folder / "palaver.db")],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
            )
            with child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(order.random() * 0.05)  # the moment of the kill, nothing that is waited for
                child.send_signal(signal.SIGKILL)
            self.whole(folder / "palaver.db", 1, seed)


class TestNewer:
    @pytest.fixture
    def newer(self, path: Path) -> Path:
        path.parent.mkdir()
        bring_forward(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA user_version = {NEWEST + 3}")
        return path

    def test_a_file_says_which_palaver_wrote_it(self, path: Path) -> None:
        old_store(path, 1)
        bring_forward(path)
        assert ask(path, "SELECT palaver FROM store_info") == __version__
        assert ask(path, "SELECT count(*) FROM store_info") == 1

    async def test_the_version_to_install_is_named(self, newer: Path) -> None:
        with closing(sqlite3.connect(newer, isolation_level=None)) as connection:
            connection.execute("UPDATE store_info SET palaver = '7.8.9'")
        before = content(newer)
        told = rf"version {NEWEST + 3}.*knows up to {NEWEST}\. Install palaver 7\.8\.9 or newer"
        with pytest.raises(StoreTooNew, match=told):
            await SqliteDatabase.open(newer)
        assert content(newer) == before
        assert names(newer, "*backup*") == []

    async def test_one_that_does_not_say_it_is_refused_too(self, newer: Path) -> None:
        with closing(sqlite3.connect(newer, isolation_level=None)) as connection:
            connection.execute("DROP TABLE store_info")
        with pytest.raises(StoreTooNew, match="Install a newer palaver"):
            await SqliteDatabase.open(newer)

    def test_a_store_that_comes_forward_names_the_palaver_that_does_it(
        self, newer: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        more = [*migrations("sqlite"), Migration(NEWEST + 1, "more", "CREATE TABLE x (y);")]
        with closing(sqlite3.connect(newer, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA user_version = {NEWEST}")
        monkeypatch.setattr(sqlite_migration, "migrations", lambda _: more)
        monkeypatch.setattr(sqlite_migration, "__version__", "7.8.9")
        bring_forward(newer)
        monkeypatch.undo()
        with pytest.raises(StoreTooNew, match=r"7\.8\.9"):
            bring_forward(newer)


class TestLeftovers:
    def aged(self, path: Path, days: float) -> Path:
        path.write_bytes(b"old")
        then = time.time() - days * 24 * 60 * 60
        os.utime(path, (then, then))
        return path

    def test_copies_age_out(self, path: Path) -> None:
        path.parent.mkdir()
        bring_forward(path)
        old = [
            self.aged(path.with_name(name), DAYS_KEPT + 1)
            for name in (
                "palaver.db.v1-backup",
                "palaver.db.v1-backup-2",
                "palaver.db.before-restore-2020-01-01-000000-ab12",
                f"palaver.db.restoring.ab{PART}",
                f"palaver.db.restoring.ab{PART}-journal",
            )
        ]
        young = [self.aged(path.with_name("palaver.db.v12-backup"), DAYS_KEPT - 1)]
        others = [
            self.aged(path.with_name(name), 1000)
            for name in ("my.db", "palaver.db.backup", "other.db.v1-backup", "xpalaver.db.v1-backup")
        ]
        bring_forward(path)
        assert not any(each.exists() for each in old)
        assert all(each.exists() for each in (*young, *others, path))

    def test_a_store_with_an_odd_name_keeps_its_own_only(self, tmp_path: Path) -> None:
        path = tmp_path / "a*[x].db"
        bring_forward(path)
        other = self.aged(tmp_path / "aaax.db.v1-backup", 1000)
        own = self.aged(tmp_path / "a*[x].db.v1-backup", 1000)
        bring_forward(path)
        assert other.exists()
        assert not own.exists()

    async def test_a_journal_without_its_file_is_no_new_store(self, path: Path) -> None:
        """Somebody has moved the file away, or it was cut off: what is in the journal must not be lost too."""
        path.parent.mkdir()
        path.with_name("palaver.db-wal").write_bytes(b"x" * 5000)
        for _ in range(2):
            with pytest.raises(StoreCorrupt, match="journal"):
                await SqliteDatabase.open(path)
            put(path, b"")
        assert path.with_name("palaver.db-wal").read_bytes() == b"x" * 5000
