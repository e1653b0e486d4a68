"""What a snapshot can be restored into: the same model, run the same way, by the same engine."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import structlog

REMEMBERED = "models.json"
"""The file in which the hashes of model files are remembered, by path, size and times of the last change."""
CACHE_TYPES = "f16"
"""How llama.cpp holds keys and values where nothing else is set."""
_CHUNK = 1 << 20

log = structlog.get_logger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is a hash of its file's bytes, `engine` a version of llama.cpp, `template` a hash of the chat template.
    `layout` is what the form of a slot depends on: the number of slots, and how the cache holds numbers."""

    model: str
    engine: str
    template: str
    layout: str

    def differs(self, other: Identity) -> str | None:
        """In what they differ, in a word; None where one's snapshots are the other's."""
        for word, mine, theirs in (
            ("model", self.model, other.model),
            ("engine", self.engine, other.engine),
            ("template", self.template, other.template),
            ("layout", self.layout, other.layout),
        ):
            if mine != theirs:
                return word
        return None


def engine_version() -> str:
    """Of the wheel that runs here."""
    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:  # nothing of it is started, then
        return ""


def layout_of(slots: int) -> str:
    return f"{slots} slots, {CACHE_TYPES}"


def template_hash(template: str) -> str:
    return blake2b(template.encode(), digest_size=16).hexdigest()


async def model_hash(files: Sequence[Path], folder: Path | None) -> str:
    """A hash of a model's files. What was read once is remembered in `folder`. Raises OSError."""
    is_left = threading.Event()
    try:
        return await asyncio.to_thread(_model_hash, files, folder, is_left)
    except asyncio.CancelledError:
        is_left.set()  # a thread is not cancelled, and a large file takes minutes
        raise


def _model_hash(files: Sequence[Path], folder: Path | None, is_left: threading.Event) -> str:
    remembered = _remembered(folder)
    hashes, is_new = [], False
    for file in files:
        key = f"{file.resolve()} {_stamp(file.stat())}"
        if key not in remembered:
            remembered[key] = _file_hash(file, is_left)
            is_new = True
        hashes.append(remembered[key])
    if is_new and folder is not None:
        _remember(folder, remembered)
    return hashes[0] if len(hashes) == 1 else blake2b("".join(hashes).encode(), digest_size=32).hexdigest()


def _stamp(info: os.stat_result) -> str:
    """What is another where a file is. Whoever copies one may set its time, but not that of this change."""
    return f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_ino}"


def _file_hash(file: Path, is_left: threading.Event) -> str:
    hashed, buffer = blake2b(digest_size=32), memoryview(bytearray(_CHUNK))
    with file.open("rb", buffering=0) as opened:
        before = _stamp(os.fstat(opened.fileno()))
        while (count := opened.readinto(buffer)) and not is_left.is_set():
            hashed.update(buffer[:count])
        if is_left.is_set() or _stamp(os.fstat(opened.fileno())) != before:
            raise OSError("the model's file was changed while it was read")
    return hashed.hexdigest()


def _remembered(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    try:
        found = json.loads((folder / REMEMBERED).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _remember(folder: Path, hashes: dict[str, str]) -> None:
    temporary = folder / f"{REMEMBERED}.{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps(hashes))
        temporary.replace(folder / REMEMBERED)
    except OSError as error:
        log.info("the hash of a model is not remembered", reason=str(error))
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
