"""One process owns a store; others are told where it answers, and a dead owner holds nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palaver.core.errors import StoreOwned
from palaver.stores.ownership import Owner, Ownership, find_owner, read_note
from palaver.stores.sqlite import SqliteDatabase
from tests.conftest import environment
from tests.house.files import ROOT
from tests.stores.hammer import ADDRESS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "palaver.db"


@contextmanager
def hammering(path: Path, *what: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own at work on the store; killed at the end, if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.hammer", str(path), *what],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line: dict[str, object] = json.loads(process.stdout.readline())
    return line


async def test_a_second_owner_is_refused(path: Path) -> None:
    database = await SqliteDatabase.open(path)
    with pytest.raises(StoreOwned) as caught:
        await SqliteDatabase.open(path)
    assert caught.value.address is None
    await database.announce(ADDRESS, "key", "model")
    with pytest.raises(StoreOwned, match=f"{ADDRESS} .process {os.getpid()}") as caught:
        await SqliteDatabase.open(path)
    assert caught.value.address == ADDRESS
    with hammering(path, "own") as other:
        assert heard(other)["refused"] == ADDRESS
    await database.close()
    with hammering(path, "own") as other:
        assert heard(other) == {"owned": True}


async def test_another_process_is_found_and_gives_way_when_it_dies(path: Path) -> None:
    with hammering(path, "own") as other:
        assert heard(other) == {"owned": True}
        assert find_owner(path) == Owner(ADDRESS, "key", other.pid, "model")
        with pytest.raises(StoreOwned) as caught:
            await SqliteDatabase.open(path)
        assert caught.value.address == ADDRESS
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert find_owner(path) is None
        database = await SqliteDatabase.open(path)
        assert read_note(path) is None
        await database.close()


def test_the_key_in_the_note_is_for_this_user_only(path: Path) -> None:
    owner = Ownership.take(path)
    for key in ("one", "two"):
        owner.announce(ADDRESS, key)
        assert find_owner(path) == Owner(ADDRESS, key, os.getpid())
    [note] = path.parent.glob("*.json")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert not list(path.parent.glob("*.tmp"))
    owner.release()
    owner.release()
    assert not note.exists()


def test_looking_for_an_owner_takes_nothing(path: Path) -> None:
    assert find_owner(path) is None
    assert find_owner(path.parent / "no such folder" / "palaver.db") is None
    assert not list(path.parent.iterdir())
    owner = Ownership.take(path)
    assert find_owner(path) is None  # it does not answer yet
    owner.announce(ADDRESS, "key")
    owner.release()
    Ownership.take(path).release()


def test_a_note_that_cannot_be_read_is_none(path: Path) -> None:
    owner = Ownership.take(path)
    owner.announce(ADDRESS, "key")
    [note] = path.parent.glob("*.json")
    note.write_text('{"address": ')
    assert find_owner(path) is None
    with pytest.raises(StoreOwned) as caught:
        Ownership.take(path)
    assert caught.value.address is None
    owner.release()


def test_a_note_left_by_a_dead_owner_counts_for_nothing(path: Path) -> None:
    owner = Ownership.take(path)
    owner.announce(ADDRESS, "key")
    [note] = path.parent.glob("*.json")
    left = note.read_bytes()
    owner.release()
    note.write_bytes(left)
    assert find_owner(path) is None
    owner = Ownership.take(path)
    assert read_note(path) is None
    owner.release()


def test_a_link_to_a_store_leads_to_the_same_owner(path: Path, tmp_path: Path) -> None:
    path.touch()
    link = tmp_path / "elsewhere.db"
    link.symlink_to(path)
    owner = Ownership.take(path)
    try:
        with pytest.raises(StoreOwned):
            Ownership.take(link)
        owner.announce(ADDRESS, "key")
        found = find_owner(link)
        assert found is not None
        assert found.address == ADDRESS
    finally:
        owner.release()
