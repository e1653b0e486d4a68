"""A disk that is full or cannot be written: a clear error, nothing half-written, and on again when it can."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.core.errors import StoreFull, StoreUnavailable
from palaver.core.turn import TurnState
from palaver.stores.sqlite import SqliteDatabase
from tests.conftest import require_program
from tests.stores.contract_sequences import consistent
from tests.stores.sqlite_files import opened, tables
from tests.stores.talking import Tables, Talker, user


def mount(folder: Path, options: str) -> None:
    """Put a file system into the folder; skip the test where that is not allowed."""
    command = [require_program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: that takes root on Linux")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "size=2m")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that `make_read_only` makes so; for root, that takes a mount."""
    folder = tmp_path / "read only"
    folder.mkdir()
    if os.geteuid() == 0:
        mount(folder, "size=1m")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        yield folder
        folder.chmod(0o700)


def make_read_only(folder: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        for path in (*folder.iterdir(), folder):
            path.chmod(path.stat().st_mode & ~0o222)


async def test_a_full_disk_is_told_and_survived(small: Path) -> None:
    path, filler = small / "palaver.db", small / "filler"
    filler.write_bytes(bytes(300_000))
    async with opened(path) as store:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        running = await talker.admit([*talker.history, user("more")])
        before = await fill_up(talker, path)
        with pytest.raises(StoreFull):
            await talker.end(running.turn, "y" * 500_000)
        with pytest.raises(StoreFull):
            await talker.log(running.turn, 0, "y" * 500_000)
        assert tables(path) == before
        assert await talker.texts(conversation) == ["hi", "hello", "more"]
        filler.unlink()
        await talker.end(running.turn, "y" * 10_000)
        assert (await store.turn("local", running.turn)).state is TurnState.COMPLETED
        await Talker(store).talk("hi", "hello")
    consistent(tables(path))


async def fill_up(talker: Talker, path: Path) -> Tables:
    """Admit turns until there is no room; what was stored then, which the last of them has not changed."""
    while True:
        before = tables(path)
        try:
            await talker.admit([user("x" * 20_000)])
        except StoreFull:
            assert tables(path) == before
            return before


def fill_to_the_last_byte(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def test_a_disk_with_no_room_for_a_store(small: Path) -> None:
    filler = small / "filler"
    fill_to_the_last_byte(filler)
    with pytest.raises((StoreFull, StoreUnavailable)):
        await SqliteDatabase.open(small / "palaver.db")
    filler.unlink()
    async with opened(small / "palaver.db") as store:
        await Talker(store).talk("hi", "hello")


async def test_a_folder_that_cannot_be_written(read_only: Path) -> None:
    make_read_only(read_only)
    for path in (read_only / "palaver.db", read_only / "further" / "palaver.db"):
        with pytest.raises(StoreUnavailable):
            await SqliteDatabase.open(path)


async def test_a_store_that_cannot_be_written(read_only: Path) -> None:
    async with opened(read_only / "palaver.db") as store:
        await Talker(store).talk("hi", "hello")
    make_read_only(read_only)
    with pytest.raises(StoreUnavailable):
        await SqliteDatabase.open(read_only / "palaver.db")


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from palaver.core.errors import StoreError
from tests.stores.talking import Tables, Talker, user
from tests.stores.sqlite_files import opened

async def main():
    async with opened(Path(sys.argv[1])) as store:
        conversation = await Talker(store).talk("hi", "hello")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            await Talker(store).admit([user("x" * 600_000)])
        except StoreError as error:
            print(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await Talker(store).talk("hi", "hello")
        print(len(await store.conversations("local", one_shots=True)))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A quota: told as an error of the store, and survived."""
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "palaver.db")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.stderr == ""
    assert child.stdout.split() in (["StoreUnavailable", "2"], ["StoreFull", "2"])
