"""Backups made while palaver runs, and put back: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from palaver.core.errors import (
    StoreCorrupt,
    StoreFull,
    StoreOwned,
    StoreRefused,
    StoreTooNew,
    StoreUnavailable,
)
from palaver.stores import sqlite_copy, sqlite_upkeep
from palaver.stores.sqlite_connection import open_for_reading
from palaver.stores.sqlite_upkeep import backup, check, restore
from tests.conftest import environment
from tests.house.files import ROOT
from tests.stores.hammer import ADDRESS
from tests.stores.old_files import NEWEST, old_store, rows, version
from tests.stores.sqlite_files import ask, content, opened, put, tables
from tests.stores.talking import Talker, user
from tests.stores.test_disk import make_read_only, mount


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "palaver.db"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "size=1m")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def talk(path: Path, *words: str) -> None:
    async with opened(path) as store:
        await Talker(store, end_user=words[0]).talk(*words)


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if not each.name.endswith((".lock", "-wal", "-shm")))


def link(path: Path, to: Path) -> Path:
    path.symlink_to(to)
    return path


def is_link(path: Path) -> bool:
    return path.is_symlink()


def is_file(path: Path) -> bool:
    return path.is_file()


def remove(path: Path) -> None:
    path.unlink()


def change_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestBackup:
    async def test_it_is_the_store_of_one_moment(self, path: Path, tmp_path: Path) -> None:
        target = tmp_path / "kept" / "backup.db"
        async with opened(path) as store:
            await Talker(store).talk("hi", "hello")
            made = backup(path, target, make_folder=True)
            expected = tables(path)
            await Talker(store).talk("and", "on")
        assert tables(target) == expected
        assert check(target).findings == []
        assert made.rows == {"conversations": 1, "messages": 2, "turns": 1}
        assert (made.file, made.size) == (str(target), target.stat().st_size)
        assert mode(target) == 0o600
        assert mode(target.parent) == 0o700
        assert files(target.parent) == ["backup.db"]
        assert ask(target, "PRAGMA journal_mode") == "delete"

    async def test_nobody_waits_for_it(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Turns are admitted and ended while it copies; it has none of them."""
        copying, go_on = threading.Event(), threading.Event()

        def hold() -> int:
            copying.set()
            return int(not go_on.wait(30))

        def held(path: Path) -> sqlite3.Connection:
            """A connection that is held up in the middle of copying."""
            connection = open_for_reading(path)
            connection.set_trace_callback(
                lambda s: connection.set_progress_handler(hold, 100) if s.startswith("VACUUM") else None
            )
            return connection

        async with opened(path) as store:
            await Talker(store).talk("hi", "hello")
            monkeypatch.setattr(sqlite_upkeep, "open_for_reading", held)
            making = asyncio.create_task(asyncio.to_thread(backup, path, tmp_path / "backup.db"))
            assert await asyncio.to_thread(copying.wait, 30)
            monkeypatch.undo()
            for i in range(50):
                await Talker(store, end_user=str(i)).talk("x" * 5000, "y" * 5000)
            go_on.set()
            assert (await making).rows["turns"] == 1
        assert check(tmp_path / "backup.db").rows["turns"] == 1
        assert check(path).rows["turns"] == 51

    async def test_what_was_deleted_is_not_in_it(self, path: Path, tmp_path: Path) -> None:
        """Not even where SQLite leaves the bytes of rows that are gone."""
        await talk(path, *("a very secret word, " * 50 for _ in range(20)))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = OFF")
            for table in ("messages", "turns", "conversations", "end_users"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
        assert b"very secret" in content(path)
        backup(path, tmp_path / "backup.db")
        assert b"very secret" not in content(tmp_path / "backup.db")

    async def test_a_file_that_is_there_is_replaced_only_when_told(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        target = tmp_path / "backup.db"
        put(target, b"a letter")
        with pytest.raises(StoreRefused, match="there already"):
            backup(path, target)
        assert content(target) == b"a letter"
        backup(path, target, force=True)
        assert check(target).findings == []

    async def test_a_file_that_comes_meanwhile_is_not_replaced(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await talk(path, "hi", "hello")
        target = tmp_path / "backup.db"
        monkeypatch.setattr(sqlite_copy, "sync", lambda _: target.write_text("a letter"))
        with pytest.raises(StoreRefused, match="meanwhile"):
            backup(path, target)
        assert target.read_text() == "a letter"
        assert files(tmp_path) == ["backup.db", "data"]

    @pytest.mark.parametrize(
        "name", ["palaver.db", "palaver.db-wal", "palaver.db.lock", "link.db", "../data"]
    )
    async def test_the_store_itself_is_no_place_for_it(self, path: Path, name: str) -> None:
        await talk(path, "hi", "hello")
        link(path.with_name("link.db"), path)
        before = content(path)
        with pytest.raises(StoreRefused):
            backup(path, path.parent / name, force=True)
        assert content(path) == before

    async def test_a_store_in_use_is_not_replaced(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        async with opened(tmp_path / "other.db") as other:
            await Talker(other).talk("hi", "hello")
            with pytest.raises(StoreRefused, match="in use"):
                backup(path, tmp_path / "other.db", force=True)

    async def test_what_is_no_store_is_not_copied(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="no store at"):
            backup(path, tmp_path / "backup.db")
        put(path, b"")
        with pytest.raises(StoreCorrupt):
            backup(path, tmp_path / "backup.db")
        put(path, b"Dear diary,\n" * 1000)
        with pytest.raises(StoreCorrupt):
            backup(path, tmp_path / "backup.db")
        assert files(tmp_path) == ["data"]

    async def test_a_damaged_store_gives_no_backup(self, path: Path, tmp_path: Path) -> None:
        await talk(path, *("x" * 3000 for _ in range(20)))
        page = ask(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")
        damaged = bytearray(content(path))
        damaged[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        put(path, bytes(damaged))
        with pytest.raises(StoreCorrupt):
            backup(path, tmp_path / "backup.db")
        assert files(tmp_path) == ["data"]

    async def test_a_full_disk_leaves_nothing(self, path: Path, small: Path) -> None:
        await talk(path, *("x" * 300_000 for _ in range(4)))
        with pytest.raises(StoreFull, match=str(small / "backup.db")):
            backup(path, small / "backup.db")
        assert files(small) == []

    async def test_a_folder_that_is_not_there_is_not_made(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        (tmp_path / "file").touch()
        link(tmp_path / "link.db", tmp_path / "nowhere" / "backup.db")
        for name, folder in (("file/backup.db", "file"), ("new/backup.db", "new"), ("link.db", "nowhere")):
            with pytest.raises(StoreUnavailable, match=f"no folder {tmp_path / folder}"):
                backup(path, tmp_path / name)
        assert files(tmp_path) == ["data", "file", "link.db"]

    @pytest.mark.parametrize("through_link", [False, True])
    async def test_only_a_file_is_replaced(self, path: Path, tmp_path: Path, through_link: bool) -> None:
        await talk(path, "hi", "hello")
        pipe, folder = tmp_path / "pipe", tmp_path / "folder"
        os.mkfifo(pipe)
        folder.mkdir()
        for there in (pipe, folder):
            target = link(tmp_path / f"{there.name}.db", there) if through_link else there
            with pytest.raises(StoreRefused, match=str(target)):
                backup(path, target, force=True)
        assert pipe.is_fifo()
        assert files(folder) == []

    async def test_a_link_is_followed(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        target = tmp_path / "backup.db"
        leads_there = link(tmp_path / "link.db", target)
        made = backup(path, leads_there)
        assert (made.file, is_link(leads_there)) == (str(target), True)
        with pytest.raises(StoreRefused, match="there already"):
            backup(path, leads_there)
        put(target, b"a letter")
        backup(path, leads_there, force=True)
        assert is_link(leads_there)
        assert check(target).findings == []

    async def test_a_link_in_a_circle_is_refused(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        circle = link(tmp_path / "circle.db", tmp_path / "circle.db")
        with pytest.raises(StoreUnavailable, match=str(circle)):
            backup(path, circle, force=True)
        assert is_link(circle)

    async def test_a_folder_that_cannot_be_written_is_named(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        too_long = tmp_path / ("x" * 250)  # a copy's unfinished name is longer, so that nothing can be made
        with pytest.raises(StoreUnavailable, match=str(too_long)):
            backup(path, too_long)


class TestReadOnly:
    """A medium that cannot be written, such as one that backups are brought on."""

    @pytest.fixture
    def medium(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "medium"
        folder.mkdir()
        if os.geteuid() == 0:
            mount(folder, "size=4m")
        yield folder
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", folder], check=True)
        else:
            folder.chmod(0o700)

    async def test_it_is_checked_and_copied(self, medium: Path, tmp_path: Path) -> None:
        await talk(medium / "palaver.db", "hi", "hello")
        make_read_only(medium)
        before = files(medium)
        assert check(medium / "palaver.db").rows["messages"] == 2
        with closing(open_for_reading(medium / "palaver.db")) as connection:
            found = connection.execute("SELECT text FROM message_index WHERE text MATCH 'hello'").fetchall()
            assert [row["text"] for row in found] == ["hello"]
        backup(medium / "palaver.db", tmp_path / "backup.db")
        restore(tmp_path / "data" / "palaver.db", medium / "palaver.db")
        for copied in (tmp_path / "backup.db", tmp_path / "data" / "palaver.db"):
            assert tables(copied)["messages"]
        assert files(medium) == before

    async def test_what_is_not_merged_yet_is_never_left_out(
        self, medium: Path, tmp_path: Path, path: Path
    ) -> None:
        """A store copied while it was in use: half of it is in its journal."""
        async with opened(path) as store:
            await Talker(store).talk("hi", "hello")
            for each in path.parent.glob("palaver.db*"):
                if not each.name.endswith("-shm"):
                    shutil.copy(each, medium)
        assert (medium / "palaver.db-wal").stat().st_size > 0
        make_read_only(medium)
        try:
            found = check(medium / "palaver.db").rows["messages"]
        except StoreUnavailable:
            return
        assert found == 2


class TestRestore:
    @pytest.fixture
    async def saved(self, path: Path, tmp_path: Path) -> Path:
        """A backup of one conversation; the store has gone on since."""
        await talk(path, "hi", "hello")
        backup(path, tmp_path / "backup.db")
        await talk(path, "since", "then")
        return tmp_path / "backup.db"

    async def test_it_is_as_it_was(self, path: Path, saved: Path) -> None:
        before = tables(path)
        done = restore(path, saved)
        assert tables(path) == tables(saved)
        assert check(path).findings == []
        assert done.rows == {"conversations": 1, "messages": 2, "turns": 1}
        assert done.before is not None
        kept = Path(done.before)
        assert kept.parent == path.parent
        assert kept.name.startswith("palaver.db.before-restore-")
        assert tables(kept) == before
        assert files(path.parent) == ["palaver.db", kept.name]
        await talk(path, "and", "on")
        restore(path, kept)
        assert tables(path) == before

    async def test_it_may_be_where_nothing_was(self, saved: Path, tmp_path: Path) -> None:
        new = tmp_path / "another machine" / "palaver.db"
        done = restore(new, saved)
        assert done.before is None
        assert tables(new) == tables(saved)
        assert mode(new) == 0o600

    async def test_what_a_killed_owner_left_in_its_journal_is_kept(
        self, path: Path, saved: Path, tmp_path: Path
    ) -> None:
        crashed = tmp_path / "crashed"
        async with opened(path) as store:
            await Talker(store).talk("the", "last")
            before = tables(path)
            shutil.copytree(path.parent, crashed)
        assert (crashed / "palaver.db-wal").stat().st_size > 0
        done = restore(crashed / "palaver.db", saved)
        assert tables(crashed / "palaver.db") == tables(saved)
        assert done.before is not None
        assert tables(Path(done.before)) == before

    async def test_a_damaged_store_is_kept_as_it_is(self, path: Path, saved: Path) -> None:
        damaged = content(path)[:100] + b"\xa5" * 5000
        put(path, damaged)
        path.with_name("palaver.db-wal").write_bytes(b"torn")
        done = restore(path, saved)
        assert tables(path) == tables(saved)
        assert done.before is not None
        assert content(Path(done.before)) == damaged
        assert not path.with_name("palaver.db-wal").exists()

    @pytest.mark.parametrize("is_empty", [False, True])
    async def test_a_journal_without_its_store_is_kept(
        self, path: Path, saved: Path, tmp_path: Path, is_empty: bool
    ) -> None:
        """What was acknowledged may stand in it: with the file found again, the two are the store."""
        crashed = tmp_path / "crashed"
        async with opened(path) as store:
            await Talker(store).talk("the", "last")
            before = tables(path)
            shutil.copytree(path.parent, crashed)
        lost, journal = crashed / "palaver.db", crashed / "palaver.db-wal"
        main, turns = content(lost), content(journal)
        remove(lost)
        if is_empty:
            put(lost, b"")
        done = restore(lost, saved)
        assert tables(lost) == tables(saved)
        assert done.before is not None
        kept = Path(done.before)
        assert re.fullmatch(r"palaver\.db\.before-restore-.*-wal", kept.name)
        assert content(kept) == turns
        found = Path(done.before.removesuffix("-wal"))
        assert not is_file(found)
        put(found, main)
        assert tables(found) == before

    async def test_no_owner_is_surprised(self, path: Path, saved: Path) -> None:
        async with opened(path) as store:
            await store.announce(ADDRESS, "key")
            before = tables(path)
            with pytest.raises(StoreOwned, match=ADDRESS) as caught:
                restore(path, saved)
            assert caught.value.address == ADDRESS
            assert tables(path) == before
        restore(path, saved)

    async def test_a_copy_that_cannot_be_the_store_is_refused(
        self, path: Path, saved: Path, tmp_path: Path
    ) -> None:
        before = content(path)
        whole = content(saved)
        page = ask(saved, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")
        damaged = bytearray(whole)
        damaged[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
        bad = tmp_path / "bad.db"
        for text in (bytes(damaged), whole[: len(whole) // 2], b"", b"Dear diary,\n" * 1000):
            put(bad, text)
            with pytest.raises(StoreCorrupt, match=f"^{bad} is "):
                restore(path, bad, force=True)
        remove(bad)
        with closing(sqlite3.connect(bad)) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        with pytest.raises(StoreCorrupt, match="another program"):
            restore(path, bad)
        put(bad, whole)
        with closing(sqlite3.connect(bad, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
        with pytest.raises(StoreTooNew):
            restore(path, bad)
        with pytest.raises(StoreUnavailable, match="no file"):
            restore(path, tmp_path / "nothing.db")
        with pytest.raises(StoreRefused):
            restore(path, path)
        assert content(path) == before
        assert files(path.parent) == ["palaver.db"]
        restore(path, saved)

    async def test_one_in_which_something_is_wrong_is_refused_unless_forced(
        self, path: Path, saved: Path
    ) -> None:
        before = tables(path)
        with closing(sqlite3.connect(saved)) as connection, connection:
            connection.execute("UPDATE messages SET key = x'00' WHERE depth = 1")
        with pytest.raises(StoreRefused, match=f"{saved} .*1 problem: message .*: its key is not"):
            restore(path, saved)
        assert tables(path) == before
        assert files(path.parent) == ["palaver.db"]
        restore(path, saved, force=True)
        assert tables(path) == tables(saved)

    async def test_an_older_one_comes_forward_when_it_is_opened(self, path: Path, tmp_path: Path) -> None:
        await talk(path, "hi", "hello")
        old = old_store(tmp_path / "old.db", 1)
        restore(path, old)
        assert version(path) == 1
        async with opened(path) as store:
            assert len(await store.conversations("local", one_shots=True)) == 6
        assert version(path) == NEWEST
        assert rows(path.with_name("palaver.db.v1-backup")) == rows(old)

    async def test_the_store_keeps_its_mode(self, path: Path, saved: Path) -> None:
        change_mode(path, 0o640)
        restore(path, saved)
        assert mode(path) == 0o640

    async def test_a_link_stays_one(self, path: Path, saved: Path, tmp_path: Path) -> None:
        leads_there = link(tmp_path / "link.db", path)
        restore(leads_there, saved)
        assert is_link(leads_there)
        assert tables(path) == tables(saved)

    async def test_a_full_disk_leaves_the_store_as_it_is(self, saved: Path, small: Path) -> None:
        await talk(small / "palaver.db", "hi", "hello")
        before = content(small / "palaver.db")
        put(small / "filler", bytes(600_000))
        with pytest.raises(StoreFull):
            restore(small / "palaver.db", saved)
        assert content(small / "palaver.db") == before
        assert files(small) == ["filler", "palaver.db"]


class TestKilled:
    """`kill -9` at every step of it."""

    @pytest.fixture
    async def seed(self, tmp_path: Path) -> Path:
        """A store whose owner was killed, and a backup of it from before."""
        path = tmp_path / "made" / "palaver.db"
        await talk(path, "hi", "hello")
        (tmp_path / "seed").mkdir()
        backup(path, tmp_path / "seed" / "backup.db")
        async with opened(path) as store:
            await Talker(store).admit([user("since then")])
            for each in path.parent.glob("palaver.db*"):
                shutil.copy(each, tmp_path / "seed")
        return tmp_path / "seed"

    def killed(self, what: str, folder: Path) -> Iterator[Path]:
        """What is left after a kill at each step."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.stores.killed_at", what, str(folder)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        steps = int(done.stdout.split()[-1])
        assert steps > 20
        yield from (folder / str(step) for step in range(steps))

    async def test_the_store_is_the_one_or_the_other(self, seed: Path) -> None:
        old, new = tables(seed / "palaver.db"), tables(seed / "backup.db")
        left = []
        for folder in self.killed("put_back", seed.parent):
            path = folder / "palaver.db"
            found = tables(path)
            left.append([old, new].index(found))
            kept = [
                each for each in folder.glob("*before-restore*") if not each.name.endswith(("-wal", "-shm"))
            ]
            if left[-1] == 1:
                assert [tables(each) for each in kept] == [old]
            async with opened(path):
                pass
            assert tables(path) == found
            assert check(path).findings == []
            assert tables(folder / "backup.db") == new
        assert left == sorted(left)
        assert set(left) == {0, 1}

    @pytest.mark.parametrize(("what", "where"), [("back_up", "backups"), ("replace_backup", ".")])
    async def test_a_backup_is_whole_or_not_there(self, seed: Path, what: str, where: str) -> None:
        old, new = tables(seed / "backup.db"), tables(seed / "palaver.db")
        for folder in self.killed(what, seed.parent):
            made = folder / where / "backup.db"
            if made.exists():
                assert tables(made) in ([new] if what == "back_up" else [old, new])
                assert check(made).findings == []
            assert tables(folder / "palaver.db") == new
            backup(folder / "palaver.db", made, force=True, make_folder=True)
            assert tables(made) == new
