"""A snapshot as a file, and why one is refused.

    8 bytes    what it is
    4 bytes    the version of this form
    4 bytes    how long the head is
    8 bytes    how long the state is
    head       JSON: whose state it is, and of what (`Head`)
    state      what llama.cpp wrote of a slot
    4 bytes    CRC-32 of all before

llama.cpp ends the whole process where a state is cut off, and takes one of another model of the same shape as good:
it is given nothing that was not compared with its checksum before, in the file that it is then given.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.prefix import Prefix

MAGIC = b"PALAVKV\n"
FORM = 1
_BEGINNING = struct.Struct("<8sIIQ")
_END = struct.Struct("<I")
_CHUNK = 1 << 20
LONGEST_HEAD = 64 << 20
SUFFIX = ".kv"
UNFINISHED = ".tmp"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a snapshot: for `Holding` and `Identity` see there. `ids` are all its tokens, where they are
    known."""

    identity: Identity
    owner: str
    conversation: str | None
    epoch: str
    prefix: Prefix
    tokens: int
    ids: tuple[int, ...] = ()


class Refused(Exception):
    """A snapshot that is not used. `why` is a word for it: ``missing``, ``truncated``, ``corrupt``, ``form`` (it is of
    another version of palaver), or what is another than now: ``model``, ``engine``, ``template``, ``layout``;
    ``worker`` where llama.cpp did not take it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def write(folder: Path, head: Head, state: Path, is_wanted: Callable[[], bool] = lambda: True) -> Path:
    """Write a snapshot of the state in a file, so that it is there whole or not at all. Raises OSError, also once it is
    not wanted any more. The folder is made where it is missing."""
    folder.mkdir(exist_ok=True, mode=0o700)
    encoded = msgspec.json.encode(head)
    name = secrets.token_hex(16)
    unfinished, finished = folder / (name + UNFINISHED), folder / (name + SUFFIX)
    try:
        with state.open("rb") as source, unfinished.open("xb") as target:
            length = os.fstat(source.fileno()).st_size
            beginning = _BEGINNING.pack(MAGIC, FORM, len(encoded), length) + encoded
            target.write(beginning)
            checksum, copied = _copied(source, target, crc32(beginning), length, is_wanted)
            if copied != length:
                raise OSError("the state changed while it was copied, or is not wanted any more")
            target.write(_END.pack(checksum))
            target.flush()
            os.fsync(target.fileno())
        unfinished.rename(finished)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_all([folder])
    return finished


def sync_all(folders: Iterable[Path]) -> None:
    """The same as `sync`. Not every file system can: after a power cut a new file may be missing then, and no more."""
    for folder in folders:
        with suppress(OSError):
            sync(folder)


def sync(folder: Path) -> None:
    """Have what is named in a folder be so after a power cut, too. Raises OSError."""
    if os.name == "nt":
        return  # folders cannot be opened there
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_head(path: Path) -> Head:
    """What is in a snapshot, by its head and its length; the state is not read. Raises Refused."""
    try:
        with path.open("rb") as opened:
            return _head(opened)[0]
    except OSError as error:
        raise Refused("missing") from error


def extract(path: Path, state: Path) -> Head:
    """Copy the state of a snapshot into a file, and see that every byte is as it was written. Leaves no file where it
    is not. Raises Refused; OSError where there is no room."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise Refused("missing") from error
    try:
        with opened, state.open("xb") as target:
            head, beginning, length = _head(opened)
            checksum, copied = _copied(opened, target, crc32(beginning), length)
            if copied != length or opened.read() != _END.pack(checksum):
                raise Refused("corrupt")
    except BaseException:
        state.unlink(missing_ok=True)
        raise
    return head


def checksum_of(path: Path) -> int:
    """Of a file's bytes. Raises OSError."""
    checksum = 0
    with path.open("rb") as opened:
        while data := opened.read(_CHUNK):
            checksum = crc32(data, checksum)
    return checksum


def has_checksum(path: Path, checksum: int) -> bool:
    """Whether it is there, with these bytes."""
    try:
        return checksum_of(path) == checksum
    except OSError:
        return False


def _head(opened: BinaryIO) -> tuple[Head, bytes, int]:
    """The head, all bytes up to its end, and the length of the state. Raises Refused."""
    size = os.fstat(opened.fileno()).st_size
    beginning = opened.read(_BEGINNING.size)
    if len(beginning) < _BEGINNING.size:
        raise Refused("truncated")
    magic, form, head_length, length = _BEGINNING.unpack(beginning)
    if magic != MAGIC:
        raise Refused("corrupt")
    if form != FORM:
        raise Refused("form")
    whole = _BEGINNING.size + head_length + length + _END.size
    if head_length > LONGEST_HEAD or size < whole:
        raise Refused("truncated")
    if size > whole:
        raise Refused("corrupt")
    encoded = opened.read(head_length)
    try:
        return msgspec.json.decode(encoded, type=Head), beginning + encoded, length
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("corrupt") from error


def _copied(
    source: BinaryIO,
    target: BinaryIO,
    checksum: int,
    length: int,
    is_wanted: Callable[[], bool] = lambda: True,
) -> tuple[int, int]:
    """Copy so many bytes, as long as that is wanted; the checksum with them, and how many there were."""
    left = length
    while left and is_wanted() and (data := source.read(min(_CHUNK, left))):
        target.write(data)
        checksum = crc32(data, checksum)
        left -= len(data)
    return checksum, length - left
