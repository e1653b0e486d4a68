"""All snapshots: within their quotas, found again, refused where they are not what is needed, gone when forgotten."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from palaver.engines.llama.folder import PREFIX as STAGING
from palaver.engines.llama.folder import PrivateFolder
from palaver.engines.llama.kv import opening, snapshot_file
from palaver.engines.llama.kv.eviction import MOST_OF_ONE, Snapshot
from palaver.engines.llama.kv.snapshot_file import SUFFIX, Refused
from palaver.engines.llama.kv.snapshots import SPARE, Snapshots
from tests.engines.llama.kv.heads import IDENTITY, head, prefix

SIZE = 100
"""Bytes of a state, if nothing else is said."""
UNFINISHED = "*/*.tmp"
PLENTY = 1 << 20


class Make(Protocol):
    def __call__(self, *, memory: int = ..., disk: int = ..., folder: bool = ...) -> Snapshots: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kv"


@pytest.fixture
async def make(shm: Path, folder: Path) -> AsyncIterator[Make]:
    made = []

    def one(*, memory: int = PLENTY, disk: int = PLENTY, folder: bool = True, at: Path = folder) -> Snapshots:
        snapshots = Snapshots(at if folder else None, memory_quota=memory, disk_quota=disk)
        made.append(snapshots)
        return snapshots

    yield one
    for each in made:
        await each.close()


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What is written to disk comes no further than this, until it is set."""
    may_go, real = threading.Event(), snapshot_file._copied

    def copied(*arguments: Any) -> Any:
        assert may_go.wait(10)
        return real(*arguments)

    monkeypatch.setattr(snapshot_file, "_copied", copied)
    yield may_go
    may_go.set()


async def added(
    snapshots: Snapshots, *parts: str, size: int = SIZE, model: str = "m", wait: bool = True, **more: Any
) -> Snapshot:
    """A snapshot of a prompt of these parts; `wait` until it is on disk."""
    file = await snapshots.room_for(size)
    assert file is not None
    file.write_bytes(parts[-1][:1].encode() * size)
    snapshot = await snapshots.add(model, head(*parts, **more), file)
    if wait:
        await rested(snapshots)
    return snapshot


async def rested(snapshots: Snapshots) -> None:
    """Until nothing is written or removed any more."""
    async with asyncio.timeout(10):
        while snapshots._tasks:
            await asyncio.wait(set(snapshots._tasks))


async def opened(snapshots: Snapshots) -> Path:
    """Its folder for workers."""
    return await snapshots.open()


def names(snapshots: Snapshots, model: str = "m") -> set[str]:
    """What there is, by their last bytes."""
    return {str(each.head.conversation) for each in snapshots.of(model)}


def files(folder: Path, pattern: str = f"*/*{SUFFIX}") -> list[Path]:
    return sorted(folder.glob(pattern))


def staged(shm: Path) -> int:
    """How many states are in memory."""
    return len([file for file in shm.glob(f"{STAGING}*/*") if file.name != "lock"])


async def refused(snapshots: Snapshots, snapshot: Snapshot, **other: str) -> str:
    with pytest.raises(Refused) as caught:
        await snapshots.fetch(snapshot, msgspec.structs.replace(IDENTITY, **other))
    await rested(snapshots)
    return caught.value.why


# Quotas


async def test_in_memory_what_was_used_longest_ago_goes_first(make: Make, shm: Path) -> None:
    snapshots = make(memory=3 * SIZE, folder=False)
    a, b, c = [await added(snapshots, each, conversation=each) for each in "abc"]
    assert staged(shm) == 3
    await snapshots.fetch(a, IDENTITY)
    await added(snapshots, "d", conversation="d")
    assert (names(snapshots), staged(shm)) == ({"a", "c", "d"}, 3)
    snapshots.leave("m", "ada", "d", "e2")
    await added(snapshots, "e", conversation="e", size=SIZE + 1)
    assert names(snapshots) == {"a", "e"}, "what was left behind, and then the oldest"
    assert (b.gone, c.gone) == (True, True)


async def test_on_disk_too_and_what_has_left_memory_is_there_still(
    make: Make, folder: Path, shm: Path
) -> None:
    snapshots = make(memory=SIZE, disk=3 * 400)
    one, _ = [await added(snapshots, each, conversation=each, size=400) for each in "ab"]
    assert (staged(shm), len(files(folder))) == (0, 2)
    await added(snapshots, "c", conversation="c")
    assert staged(shm) == 1
    file, is_copy = await snapshots.fetch(one, IDENTITY)
    assert (file.read_bytes(), is_copy, staged(shm)) == (b"a" * 400, True, 2)
    snapshots.remove(file)
    await added(snapshots, "d", conversation="d", size=400)
    assert names(snapshots) == {"a", "c", "d"}, "b was used longest ago"
    assert len(files(folder)) == 3


async def test_what_is_being_written_counts_and_stays(
    make: Make, shm: Path, held_up: threading.Event
) -> None:
    snapshots = make(memory=2 * SIZE)
    a = await added(snapshots, "a", conversation="a", wait=False)
    assert await snapshots.room_for(SIZE + 1) is None, "no more than there is memory for waits for the disk"
    b = await added(snapshots, "b", conversation="b", wait=False)
    assert await snapshots.room_for(SIZE) is None
    waiting = asyncio.create_task(snapshots.room_for(SIZE, is_patient=True))
    await asyncio.sleep(0)
    held_up.set()
    assert await waiting is not None
    await added(snapshots, "c", conversation="c")
    assert staged(shm) == 2
    assert (a.memory, b.disk is not None) == (None, True)


async def test_one_larger_than_all_there_may_be_is_not_even_tried(make: Make) -> None:
    snapshots = make(memory=SIZE, disk=3 * SIZE)
    assert await snapshots.room_for(3 * SIZE) is not None
    assert await snapshots.room_for(3 * SIZE + 1) is None
    only_memory = make(memory=SIZE, folder=False)
    assert await only_memory.room_for(SIZE + 1) is None


async def test_one_too_large_for_the_disk_stays_in_memory(make: Make, folder: Path, shm: Path) -> None:
    snapshots = make(memory=PLENTY, disk=SIZE)
    snapshot = await added(snapshots, "a", size=2 * SIZE)
    assert (files(folder), staged(shm), snapshot.disk) == ([], 1, None)


async def test_where_the_disk_of_memory_is_full_the_oldest_goes(
    make: Make, shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = make(folder=False)
    a, b = [await added(snapshots, each, conversation=each) for each in "ab"]
    free = {2: 0, 1: SPARE + SIZE}

    def usage(path: Path) -> shutil._ntuple_diskusage:
        return shutil._ntuple_diskusage(0, 0, free.get(staged(shm), 0))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with snapshots.pinned(a):
        assert await snapshots.room_for(SIZE) is not None
        assert (a.gone, b.gone) == (False, True), "that one is about to be used"
        free.clear()
        assert await snapshots.room_for(SIZE) is None
    assert await snapshots.room_for(SIZE) is None
    assert names(snapshots) == set()


async def test_one_that_is_about_to_be_used_is_not_evicted(make: Make, folder: Path) -> None:
    snapshots = make(memory=2 * SIZE, disk=2 * SIZE)
    one = await added(snapshots, "a", conversation="a")
    with snapshots.pinned(one):
        for each in "bcd":
            await added(snapshots, each, conversation=each)
        file, is_copy = await snapshots.fetch(one, IDENTITY)
        assert (file.read_bytes(), is_copy) == (b"a" * SIZE, False)
        assert one.disk is not None
    assert names(snapshots) == {"a", "d"}
    one.used = 0
    await added(snapshots, "e", conversation="e")
    assert names(snapshots) == {"d", "e"}
    assert len(files(folder)) == 2


# Of one conversation


async def test_what_a_newer_one_begins_with_goes(make: Make, folder: Path) -> None:
    snapshots = make()
    await added(snapshots, "s", "a")
    await added(snapshots, "s", "a", "b", "c")
    await added(snapshots, "s", "a", conversation="other")
    await added(snapshots, "s", "a", owner="bob")
    await added(snapshots, "s", "a", model="n")
    assert len(files(folder)) == 4
    assert [each.head.tokens for each in snapshots.of("m")] == [4, 2, 2]
    await added(snapshots, "s", "a", "b", "c", tokens=3)
    assert [each.head.tokens for each in snapshots.of("m")] == [4, 2, 2, 3], "a shorter one replaces none"


async def test_of_branches_the_newest_few_are_kept(make: Make, folder: Path) -> None:
    snapshots = make()
    made = [await added(snapshots, "s", each) for each in "abcdef"]
    assert [each.gone for each in made] == [True] * 3 + [False] * MOST_OF_ONE
    snapshots.leave("m", "ada", "c", "e1")
    made[-1].left = True
    await added(snapshots, "s", "g")
    assert [each.gone for each in made[3:]] == [False, False, True], "what was left behind goes first"
    assert len(files(folder)) == MOST_OF_ONE


async def test_the_best_is_the_one_with_the_most_of_a_prompt_and_of_the_same_owner(make: Make) -> None:
    snapshots = make()
    assert snapshots.best("m", "ada", prefix("s")) == (None, 0)
    await added(snapshots, "s", "a", conversation="a")
    longer = await added(snapshots, "s", "a", "b", conversation="b")
    await added(snapshots, "s", "a", "b", "c", owner="bob")
    await added(snapshots, "s", "a", "b", "c", model="n")
    assert snapshots.best("m", "ada", prefix("s", "a", "b", "c")) == (longer, 3)
    assert snapshots.best("m", "eve", prefix("s", "a", "b", "c"))[1] == 0


# Found again, and refused


async def test_a_restart_finds_what_was_on_disk(make: Make, folder: Path) -> None:
    before = make()
    for number, (model, conversation) in enumerate([("m", "a"), ("m", "b"), ("a/b: c", "c")]):
        snapshot = await added(before, "s", conversation, model=model, conversation=conversation)
        assert snapshot.disk is not None
        os.utime(snapshot.disk, (1000 + number, 1000 + number))
    await before.close()
    after = make(disk=3 * 600)
    after.register("m")
    after.register("a/b: c")
    await after.open()
    assert names(after) == {"a", "b"}
    assert names(after, "a/b: c") == {"c"}
    found, tokens = after.best("m", "ada", prefix("s", "b", "more"))
    assert found is not None
    assert tokens == 2
    file, is_copy = await after.fetch(found, IDENTITY)
    assert (file.read_bytes(), is_copy) == (b"b" * SIZE, True)
    after.remove(file)
    assert {str(each.head.conversation): each.used < 2000 for each in after.of("m")} == {
        "a": True,
        "b": False,
    }


async def test_a_smaller_quota_holds_from_the_start(make: Make, folder: Path) -> None:
    before = make()
    for number, each in enumerate("abc"):
        snapshot = await added(before, each, conversation=each, size=1000)
        assert snapshot.disk is not None
        os.utime(snapshot.disk, (1000 + number, 1000 + number))
    await before.close()
    after = make(disk=2 * 1400)
    await opened(after)
    await rested(after)
    assert (names(after), len(files(folder))) == ({"b", "c"}, 2)


@pytest.mark.parametrize("word", ["model", "engine", "template", "layout"])
@pytest.mark.parametrize("restart", [False, True])
async def test_one_of_something_else_is_refused_counted_and_removed(
    make: Make, folder: Path, shm: Path, word: str, restart: bool
) -> None:
    snapshots = make()
    snapshot = await added(snapshots, "a")
    if restart:
        await snapshots.close()
        snapshots = make()
        await opened(snapshots)
        (snapshot,) = snapshots.of("m")
    assert await refused(snapshots, snapshot, **{word: "other"}) == word
    assert snapshots.refused("m") == {word: 1}
    assert (snapshots.of("m"), files(folder), staged(shm)) == ([], [], 0)


async def test_damage_is_found_in_memory_and_on_disk(make: Make, folder: Path, shm: Path) -> None:
    snapshots = make()
    one = await added(snapshots, "a")
    assert one.memory is not None
    one.memory.write_bytes(b"b" * SIZE)
    file, is_copy = await snapshots.fetch(one, IDENTITY)
    assert (file.read_bytes(), is_copy) == (b"a" * SIZE, True), "the disk has it too"
    snapshots.remove(file)
    await rested(snapshots)
    assert staged(shm) == 0
    assert one.disk is not None
    one.disk.write_bytes(one.disk.read_bytes().replace(b"aaaa", b"aaba", 1))
    assert await refused(snapshots, one) == "corrupt"
    assert (files(folder), staged(shm)) == ([], 0)
    only_memory = make(folder=False)
    two = await added(only_memory, "a")
    assert two.memory is not None
    two.memory.write_bytes(b"")
    assert await refused(only_memory, two) == "corrupt"
    assert (snapshots.refused("m"), only_memory.refused("m")) == ({"corrupt": 1}, {"corrupt": 1})


async def test_a_file_that_somebody_removed_is_missing(make: Make) -> None:
    snapshots = make(memory=0)
    one = await added(snapshots, "a")
    assert one.disk is not None
    one.disk.unlink()
    assert await refused(snapshots, one) == "missing"
    assert snapshots.of("m") == []


async def test_what_is_refused_at_the_start_is_counted_and_removed(make: Make, folder: Path) -> None:
    before = make()
    kept = await added(before, "a", conversation="a")
    cut = await added(before, "b", conversation="b")
    await before.close()
    assert cut.disk is not None
    cut.disk.write_bytes(cut.disk.read_bytes()[:-1])
    cut.disk.with_name("old" + SUFFIX).write_bytes(
        snapshot_file._BEGINNING.pack(snapshot_file.MAGIC, 0, 0, 0)
    )
    cut.disk.with_name("unfinished.tmp").write_bytes(b"abc")
    after = make()
    await opened(after)
    assert after.refused("m") == {"truncated": 1, "form": 1}
    assert files(folder) == [kept.disk]
    assert files(folder, UNFINISHED) == []


async def test_one_that_is_dropped_while_it_is_read_is_not_used_and_not_counted(
    make: Make, held_up: threading.Event, shm: Path
) -> None:
    snapshots = make(memory=0)
    held_up.set()
    one = await added(snapshots, "a")
    held_up.clear()
    fetching = asyncio.create_task(snapshots.fetch(one, IDENTITY))
    await until(lambda: staged(shm) == 1 or bool(list(shm.parent.glob(f"kv/{STAGING}*/*"))))
    snapshots.drop(one)
    held_up.set()
    with pytest.raises(Refused):
        await fetching
    await rested(snapshots)
    assert snapshots.refused("m") == {}
    assert staged(shm.parent / "kv") == 0


async def test_who_leaves_while_it_is_read_leaves_no_copy(
    make: Make, folder: Path, held_up: threading.Event
) -> None:
    snapshots = make(memory=0)
    held_up.set()
    one = await added(snapshots, "a")
    held_up.clear()
    fetching = asyncio.create_task(snapshots.fetch(one, IDENTITY))
    await until(lambda: staged(folder) == 1)
    fetching.cancel()
    await asyncio.sleep(0)
    held_up.set()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    await rested(snapshots)
    assert staged(folder) == 0
    assert not one.gone


# Forgotten


async def test_what_is_forgotten_is_gone(make: Make, folder: Path, shm: Path) -> None:
    snapshots = make()
    snapshots.register("m")
    for owner, conversation in (("ada", "a"), ("ada", "b"), ("ada", None), ("bob", "a")):
        await added(snapshots, "s", str(conversation), owner=owner, conversation=conversation)
    assert await snapshots.forget("m", "ada", "a") == 1
    assert (len(files(folder)), staged(shm)) == (3, 3)
    assert await snapshots.forget("m", "ada", None) == 2
    assert [each.head.owner for each in snapshots.of("m")] == ["bob"]
    assert await snapshots.forget("m", "eve", None) == 0
    assert await snapshots.forget("m", None, None) == 1
    assert (files(folder), staged(shm)) == ([], 0)


@pytest.mark.parametrize("whose", [("ada", "c"), ("ada", None), (None, None)])
async def test_also_what_is_just_being_written(
    make: Make, folder: Path, shm: Path, held_up: threading.Event, whose: tuple[str | None, str | None]
) -> None:
    snapshots = make()
    await added(snapshots, "a", wait=False)
    await until(lambda: bool(files(folder, UNFINISHED)))
    forgetting = asyncio.create_task(snapshots.forget("m", *whose))
    await asyncio.sleep(0)
    held_up.set()
    assert await forgetting == 1
    assert (files(folder), files(folder, UNFINISHED), staged(shm)) == ([], [], 0)
    await snapshots.close()
    after = make()
    await opened(after)
    assert after.of("m") == []


async def test_also_what_waits_to_be_written(
    make: Make, folder: Path, shm: Path, held_up: threading.Event
) -> None:
    snapshots = make()
    await added(snapshots, "x", conversation="x", wait=False)
    await added(snapshots, "a", wait=False)
    forgetting = asyncio.create_task(snapshots.forget("m", "ada", "c"))
    await asyncio.sleep(0)
    held_up.set()
    assert await forgetting == 1
    await rested(snapshots)
    assert (names(snapshots), len(files(folder)), staged(shm)) == ({"x"}, 1, 1)


async def test_also_what_no_model_has_used_since_the_start(make: Make, folder: Path) -> None:
    before = make()
    await added(before, "a")
    await before.close()
    assert await make().forget("m", "ada", "c") == 1
    assert files(folder) == []


async def test_what_is_of_models_that_are_gone_counts_as_the_first_ones(make: Make, folder: Path) -> None:
    before = make()
    for model in ("gone", "first", "second"):
        await added(before, "s", model=model, conversation=model)
    await before.close()
    after = make()
    after.register("first")
    after.register("second")
    await opened(after)
    assert (names(after, "first"), names(after, "second")) == ({"gone", "first"}, {"second"})
    assert after.best("first", "ada", prefix("s"))[0] is not None
    assert after.best("first", "ada", prefix("s"))[0].model == "first"  # type: ignore[union-attr]
    assert await after.forget("second", None, None) == 1
    assert await after.forget("first", None, None) == 2
    assert files(folder) == []


async def test_a_file_that_cannot_be_removed_is_said_and_tried_again(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = make()
    await added(snapshots, "a")
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == SUFFIX:
            raise PermissionError(errno.EACCES, "not yours")
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        for _ in range(2):
            with pytest.raises(OSError, match="not yours"):
                await snapshots.forget("m", "ada", "c")
    assert await snapshots.forget("m", "ada", "c") == 0
    assert files(folder) == []


async def test_files_are_removed_and_read_apart_from_what_anybody_waits_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte takes a quarter of a second."""
    snapshots, threads = make(), set()
    unlink, checksum = Path.unlink, snapshot_file.checksum_of

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        threads.add(threading.current_thread())
        unlink(path, missing_ok=missing_ok)

    def checked(path: Path) -> int:
        threads.add(threading.current_thread())
        return checksum(path)

    monkeypatch.setattr(Path, "unlink", unlinked)
    monkeypatch.setattr(snapshot_file, "checksum_of", checked)
    one = await added(snapshots, "a")
    await snapshots.fetch(one, IDENTITY)
    await snapshots.forget("m", None, None)
    assert threads
    assert threading.main_thread() not in threads


# Opened and closed


async def test_closing_lets_what_is_being_written_come_to_its_end(
    make: Make, folder: Path, shm: Path, held_up: threading.Event
) -> None:
    snapshots = make()
    for each in "ab":
        await added(snapshots, each, conversation=each, wait=False)
    closing = asyncio.create_task(snapshots.close())
    await asyncio.sleep(0)
    assert not closing.done()
    held_up.set()
    await closing
    await snapshots.close()
    assert files(shm, "*") == []
    after = make()
    await opened(after)
    assert names(after) == {"a", "b"}


async def test_once_closed_it_takes_nothing(make: Make, tmp_path: Path, shm: Path) -> None:
    snapshots = make()
    await opened(snapshots)
    (tmp_path / "state").write_bytes(b"a")
    await snapshots.close()
    assert await snapshots.open_or_none() is None
    with pytest.raises(OSError, match="closed"):
        await snapshots.room_for(SIZE)
    with pytest.raises(OSError, match="closed"):
        await snapshots.add("m", head("a"), tmp_path / "state")


async def test_a_memory_that_is_too_small_is_not_used(
    make: Make, shm: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(shm).free
    assert (await opened(make(memory=1000))).parent == shm
    assert (await opened(make(memory=free * 2))).parent == folder
    assert (await opened(make(memory=0))).parent == folder
    monkeypatch.setattr(tempfile, "tempdir", str(shm.parent))
    assert (await opened(make(memory=free * 2, folder=False))).parent == shm.parent
    monkeypatch.setattr(opening, "IN_MEMORY", shm / "not there")
    assert (await opened(make(memory=1000))).parent == folder


async def test_nothing_is_kept_where_there_is_no_quota(make: Make, folder: Path) -> None:
    assert not make(memory=0, disk=0).enabled
    assert make(memory=0, disk=0).folder is None
    assert make(memory=0).enabled
    assert make(disk=0).enabled
    snapshots = make(disk=0)
    await added(snapshots, "a")
    assert await snapshots.forget("m", "ada", "c") == 1
    assert files(folder.parent, "kv") == []


async def test_the_folders_of_two_processes_do_not_meet(make: Make, shm: Path) -> None:
    first, second = make(folder=False), make(folder=False)
    one = await opened(first)
    os.utime(one, (0, 0))
    two = await opened(second)
    assert one != two
    assert one.exists(), "it is locked by whoever made it, however old it is"
    assert one.stat().st_mode & 0o077 == 0
    assert isinstance(first._staging, PrivateFolder)
    first._staging._lock.release()  # as the system does, where a process is killed
    os.utime(one, (0, 0))
    third = await opened(make(folder=False))
    assert files(shm, "*") == sorted([two, third])


async def test_where_it_cannot_be_opened_it_is_tried_again(
    make: Make, folder: Path, shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make()
    await added(before, "a")
    await before.close()
    after = make()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", _no_room)
        for _ in range(3):
            assert await after.open_or_none() is None
    await opened(after)
    assert len(after.of("m")) == 1, "found once"


def _no_room(**_: object) -> str:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_who_leaves_while_it_is_opened_does_no_harm(make: Make, shm: Path) -> None:
    before = make()
    await added(before, "a")
    await before.close()
    after = make()
    for _ in range(3):
        opening_ = asyncio.create_task(after.open())
        await asyncio.sleep(0)
        opening_.cancel()
        await asyncio.wait([opening_])
    await opened(after)
    assert len(after.of("m")) == 1
    assert len(files(shm, "*")) == 1


@pytest.fixture
def not_a_folder(folder: Path) -> None:
    folder.write_text("not a folder")


@pytest.mark.usefixtures("not_a_folder")
async def test_a_folder_that_is_none(make: Make) -> None:
    snapshots = make()
    assert await snapshots.open_or_none() is None
    with pytest.raises(OSError, match="exists"):
        await snapshots.forget("m", None, None)


@pytest.fixture
def unwritable(folder: Path) -> Iterator[None]:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.mkdir(mode=0o500)
    yield
    folder.chmod(0o700)


@pytest.mark.usefixtures("unwritable")
async def test_a_folder_that_cannot_be_written_leaves_it_in_memory(make: Make) -> None:
    snapshots = make()
    one = await added(snapshots, "a")
    assert (one.disk, one.memory is not None) == (None, True)


async def test_a_full_disk_leaves_it_in_memory(
    make: Make, folder: Path, shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = make()
    await opened(snapshots)

    def copied(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(snapshot_file, "_copied", copied)
        one = await added(snapshots, "a")
    assert (one.disk, one.writing, files(folder, "*/*")) == (None, None, [])
    file, is_copy = await snapshots.fetch(one, IDENTITY)
    assert (file.read_bytes(), is_copy) == (b"a" * SIZE, False)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
