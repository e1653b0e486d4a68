"""A snapshot as a file: what was written comes back, byte by byte, and nothing that is not that is ever taken."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.engines.llama.kv import snapshot_file
from palaver.engines.llama.kv.opening import opened
from palaver.engines.llama.kv.snapshot_file import (
    FORM,
    LONGEST_HEAD,
    MAGIC,
    SUFFIX,
    UNFINISHED,
    Refused,
    checksum_of,
    extract,
    read_head,
    write,
)
from tests.engines.llama.kv.heads import head
from tests.engines.llama.talk import unix

HEAD = head("system", "Grüße ☃", ids=(1, 2, 2**31))
STATE = bytes(range(256)) * 3
BEGINNING = 24
"""Bytes before the head."""

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Each example leaves the folder as it was."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    file = tmp_path / "state"
    file.write_bytes(STATE)
    return file


@pytest.fixture
def snapshot(tmp_path: Path, state: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return write(folder, HEAD, state)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def refused(file: Path, target: Path) -> str:
    """Why it is refused. Nothing is left of the attempt."""
    with pytest.raises(Refused) as caught:
        extract(file, target)
    assert not target.exists()
    return caught.value.why


def changed(file: Path, data: bytes) -> Path:
    other = file.with_name("changed" + SUFFIX)
    other.write_bytes(data)
    return other


def test_what_was_written_comes_back(snapshot: Path, target: Path) -> None:
    assert read_head(snapshot) == HEAD
    assert extract(snapshot, target) == HEAD
    assert target.read_bytes() == STATE
    assert [file.suffix for file in snapshot.parent.iterdir()] == [SUFFIX]
    assert checksum_of(target) == checksum_of(snapshot.parent.parent / "state")


@given(
    data=st.binary(max_size=2000), owner=st.text(max_size=9), ids=st.lists(st.integers(0, 2**31), max_size=9)
)
@in_one_folder
def test_any_state_of_anybody_comes_back(tmp_path: Path, data: bytes, owner: str, ids: list[int]) -> None:
    state, target = tmp_path / "state", tmp_path / "target"
    state.write_bytes(data)
    given = head("a", owner=owner, conversation=None, ids=tuple(ids))
    file = write(tmp_path, given, state)
    assert (read_head(file), extract(file, target), target.read_bytes()) == (given, given, data)
    for each in (state, target, file):
        each.unlink()


def test_a_large_state_is_copied_in_chunks(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_file, "_CHUNK", 100)
    (tmp_path / "state").write_bytes(STATE)
    file = write(tmp_path, HEAD, tmp_path / "state")
    extract(file, target)
    assert target.read_bytes() == STATE


@given(st.data())
@in_one_folder
def test_whatever_is_cut_off_is_refused(snapshot: Path, target: Path, data: st.DataObject) -> None:
    whole = snapshot.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    cut = changed(snapshot, whole[:length])
    assert refused(cut, target) == "truncated"
    with pytest.raises(Refused, match="truncated"):
        read_head(cut)


@given(st.data())
@in_one_folder
def test_a_bit_that_flipped_anywhere_is_found(snapshot: Path, target: Path, data: st.DataObject) -> None:
    whole = bytearray(snapshot.read_bytes())
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    why = refused(changed(snapshot, bytes(whole)), target)
    if bit // 8 < len(MAGIC):
        assert why == "corrupt"
    elif bit // 8 < BEGINNING:
        assert why in ("form", "truncated", "corrupt")
    else:
        assert why == "corrupt"


def test_every_byte_of_the_beginning_and_the_end_counts(snapshot: Path, target: Path) -> None:
    whole = snapshot.read_bytes()
    for at in (*range(BEGINNING + 2), *range(len(whole) - 6, len(whole))):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        refused(changed(snapshot, bytes(damaged)), target)


@given(st.binary(min_size=1, max_size=50))
@in_one_folder
def test_what_is_longer_is_refused(snapshot: Path, target: Path, more: bytes) -> None:
    longer = changed(snapshot, snapshot.read_bytes() + more)
    assert refused(longer, target) == "corrupt"
    with pytest.raises(Refused, match="corrupt"):
        read_head(longer)


def beginning(magic: bytes = MAGIC, form: int = FORM, head: int = 0, state: int = 0) -> bytes:
    return snapshot_file._BEGINNING.pack(magic, form, head, state)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"GGUF" * 100, "corrupt"),
        (beginning(form=FORM - 1) + bytes(4), "form"),
        (beginning(form=FORM + 1) + bytes(4), "form"),
        (beginning(magic=b"PALAVKV\r") + bytes(4), "corrupt"),
        (beginning(head=LONGEST_HEAD + 1) + bytes(4), "truncated"),
        (beginning(state=2**63) + bytes(4), "truncated"),
        (beginning(head=2) + b"{}" + bytes(4), "corrupt"),
        (beginning(head=2) + b"\xff\xff" + bytes(4), "corrupt"),
        (beginning(head=4) + b"null" + bytes(4), "corrupt"),
        (beginning(head=20_005) + b'{"x":' + b"[" * 20_000 + bytes(4), "corrupt"),
    ],
)
def test_junk_is_refused(snapshot: Path, target: Path, data: bytes, why: str) -> None:
    junk = changed(snapshot, data)
    assert refused(junk, target) == why
    with pytest.raises(Refused, match=why):
        read_head(junk)


def test_one_that_is_not_there_is_missing(tmp_path: Path, target: Path) -> None:
    assert refused(tmp_path / "nothing", target) == "missing"
    with pytest.raises(Refused, match="missing"):
        read_head(tmp_path / "nothing")


def full(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """There is no room for longer files."""
    real = snapshot_file._copied

    class Full:
        def __init__(self, target: Any) -> None:
            self.target = target

        def write(self, data: bytes) -> int:
            if self.target.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self.target.write(data))

    def copied(source: Any, target: Any, *more: Any) -> Any:
        full: Any = Full(target)
        return real(source, full, *more)

    monkeypatch.setattr(snapshot_file, "_CHUNK", 100)
    monkeypatch.setattr(snapshot_file, "_copied", copied)


def test_without_room_nothing_is_left(
    snapshot: Path, state: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(monkeypatch, 500)
    with pytest.raises(OSError, match="space"):
        extract(snapshot, target)
    assert not target.exists()
    with pytest.raises(OSError, match="space"):
        write(snapshot.parent, HEAD, state)
    assert list(snapshot.parent.iterdir()) == [snapshot]


def test_a_disk_that_fails_at_the_last_leaves_nothing(
    snapshot: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        write(snapshot.parent, HEAD, state)
    assert list(snapshot.parent.iterdir()) == [snapshot]


def test_a_file_system_that_cannot_sync_folders_will_do(
    snapshot: Path, state: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EINVAL, "not for folders")

    monkeypatch.setattr(snapshot_file, "sync", fail)
    file = write(snapshot.parent, HEAD, state)
    assert extract(file, target) == HEAD


@pytest.mark.parametrize("after", [0, 1, 3])
def test_what_is_not_wanted_any_more_is_not_written(
    snapshot: Path, state: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(snapshot_file, "_CHUNK", 100)
    asked = iter([True] * after)
    with pytest.raises(OSError, match="not wanted"):
        write(snapshot.parent, HEAD, state, lambda: next(asked, False))
    assert list(snapshot.parent.iterdir()) == [snapshot]


def test_a_state_that_shrinks_meanwhile_is_not_written(
    snapshot: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_file, "_CHUNK", 100)

    def shrunk() -> bool:
        os.truncate(state, 150)
        return True

    with pytest.raises(OSError, match="changed"):
        write(snapshot.parent, HEAD, state, shrunk)
    assert list(snapshot.parent.iterdir()) == [snapshot]


KILLED = """
import os, signal, sys
from pathlib import Path
from palaver.engines.llama.kv import snapshot_file
from tests.engines.llama.kv.test_snapshot_file import HEAD

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr({where})
snapshot_file.write(Path(sys.argv[1]), HEAD, Path(sys.argv[2]))
"""


@unix
@pytest.mark.parametrize(
    "where", ['snapshot_file, "crc32", kill', 'os, "fsync", kill', 'Path, "rename", kill']
)
def test_what_a_killed_process_left_is_no_snapshot_and_goes(snapshot: Path, state: Path, where: str) -> None:
    arguments = [sys.executable, "-c", KILLED.format(where=where), str(snapshot.parent), str(state)]
    ended = subprocess.run(arguments, check=False, cwd=Path(__file__).parents[4])
    assert ended.returncode == -signal.SIGKILL
    there = {file.suffix for file in snapshot.parent.iterdir()}
    assert there == {SUFFIX, UNFINISHED}
    found = opened(snapshot.parent.parent, 0)
    found.staging.remove()
    assert [each.disk for each in found.found] == [snapshot]
    assert list(snapshot.parent.iterdir()) == [snapshot]


def test_no_file_stays_open(snapshot: Path, state: Path, target: Path) -> None:
    handles = Path("/proc/self/fd")
    if not handles.exists():
        pytest.skip("needs /proc")
    before = len(list(handles.iterdir()))
    cut = changed(snapshot, snapshot.read_bytes()[:-1])
    calls: list[Callable[[], object]] = [
        lambda: write(snapshot.parent, HEAD, state, lambda: False),
        lambda: extract(cut, target),
        lambda: extract(snapshot, snapshot.parent),
        lambda: read_head(cut),
    ]
    for call in calls:
        with pytest.raises((OSError, Refused)):
            call()
    read_head(snapshot)
    assert len(list(handles.iterdir())) == before
