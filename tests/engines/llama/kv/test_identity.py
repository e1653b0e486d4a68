"""What a snapshot can be restored into, and how a model's file is told from another."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import pytest

from palaver.engines.llama.kv import identity as module
from palaver.engines.llama.kv.identity import (
    REMEMBERED,
    engine_version,
    layout_of,
    model_hash,
    template_hash,
)
from tests.engines.llama.kv.heads import IDENTITY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kv"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were read."""
    files: list[Path] = []
    real = module._file_hash

    def hashed(file: Path, is_left: threading.Event) -> str:
        files.append(file)
        return real(file, is_left)

    monkeypatch.setattr(module, "_file_hash", hashed)
    return files


def test_two_differ_in_a_word() -> None:
    assert IDENTITY.differs(msgspec.structs.replace(IDENTITY)) is None
    for word in ("model", "engine", "template", "layout"):
        assert IDENTITY.differs(msgspec.structs.replace(IDENTITY, **{word: "other"})) == word
    other = msgspec.structs.replace(IDENTITY, model="x", layout="y")
    assert IDENTITY.differs(other) == "model", "the first of several"


def test_a_layout_is_of_so_many_slots_and_a_template_of_these_words() -> None:
    assert layout_of(2) != layout_of(3)
    assert template_hash("a") != template_hash("b")
    assert template_hash("ä") == template_hash("ä")


def test_the_engine_is_the_version_of_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_version().endswith(version("xllamacpp"))

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert engine_version() == ""


async def test_a_model_is_the_hash_of_its_bytes(file: Path, tmp_path: Path) -> None:
    assert await model_hash([file], None) == blake2b(b"weights", digest_size=32).hexdigest()
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(b"weights")
    assert await model_hash([copy], None) == await model_hash([file], None)
    copy.write_bytes(b"weighty")
    assert await model_hash([copy], None) != await model_hash([file], None)


async def test_a_model_of_several_files_is_all_of_them_in_their_order(file: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.gguf"
    more.write_bytes(b"more")
    hashes = [await model_hash(files, None) for files in ([file], [more], [file, more], [more, file])]
    assert len(set(hashes)) == 4


async def test_what_was_read_once_is_remembered(file: Path, folder: Path, read: list[Path]) -> None:
    first = await model_hash([file], folder)
    assert await model_hash([file], folder) == first
    assert read == [file]
    assert [path.name for path in folder.iterdir()] == [REMEMBERED]  # noqa: ASYNC240


async def test_without_a_folder_nothing_is(file: Path, read: list[Path]) -> None:
    await model_hash([file], None)
    await model_hash([file], None)
    assert read == [file, file]


def rewritten(file: Path) -> None:
    before = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == before:  # a file system's clock ticks a few hundred times a second
        file.write_bytes(b"WEIGHTS")


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"WEIGHTS")
    other.replace(file)


@pytest.mark.parametrize("change", [rewritten, replaced])
async def test_another_file_of_the_same_size_and_time_is_another(
    file: Path, folder: Path, change: Callable[[Path], None]
) -> None:
    """A wrong hash would have a model go on with what another one computed."""
    before, info = await model_hash([file], folder), os.stat(file)
    change(file)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert await model_hash([file], folder) != before


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
async def test_junk_in_the_place_of_what_is_remembered(
    file: Path, folder: Path, read: list[Path], junk: bytes
) -> None:
    first = await model_hash([file], folder)
    (folder / REMEMBERED).write_bytes(junk)
    assert await model_hash([file], folder) == await model_hash([file], folder) == first
    assert read == [file, file]


async def test_what_cannot_be_remembered_is_read_again(file: Path, read: list[Path]) -> None:
    first = await model_hash([file], file / "no folder")
    assert await model_hash([file], file / "no folder") == first
    assert read == [file, file]


async def test_two_models_at_once_are_both_remembered_or_read_again(
    file: Path, tmp_path: Path, folder: Path
) -> None:
    more = tmp_path / "more.gguf"
    more.write_bytes(b"more")
    both = [[file], [more]] * 4
    alone = [await model_hash(files, None) for files in both]
    assert await asyncio.gather(*(model_hash(files, folder) for files in both)) == alone
    assert [await model_hash(files, folder) for files in both] == alone
    assert [path.name for path in folder.iterdir()] == [REMEMBERED]  # noqa: ASYNC240


async def test_a_file_that_is_not_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await model_hash([tmp_path / "nothing"], folder)


async def test_a_file_that_changes_while_it_is_read(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    real = module._stamp
    stamps = iter(range(9))
    monkeypatch.setattr(module, "_stamp", lambda info: f"{real(info)} {next(stamps)}")
    with pytest.raises(OSError, match="changed"):
        await model_hash([file], folder)
    assert not (folder / REMEMBERED).exists()


async def test_who_leaves_stops_the_reading(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model takes minutes, and a process waits for its threads when it ends."""
    begun, ended = threading.Event(), threading.Event()

    def endless(file: Path, is_left: threading.Event) -> str:
        begun.set()
        assert is_left.wait(10)
        ended.set()
        return ""

    monkeypatch.setattr(module, "_file_hash", endless)
    reading = asyncio.create_task(model_hash([file], None))
    await asyncio.to_thread(begun.wait, 10)
    reading.cancel()
    await asyncio.wait([reading])
    assert await asyncio.to_thread(ended.wait, 10)


def test_a_reading_that_was_left_tells_nothing(file: Path) -> None:
    is_left = threading.Event()
    is_left.set()
    with pytest.raises(OSError, match="read"):
        module._file_hash(file, is_left)
