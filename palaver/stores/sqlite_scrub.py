"""What SQLite's files still hold of deleted rows, and how it is wiped (docs/decisions/0009).

The journal keeps pages as they were until it is truncated. And the file itself keeps more than `secure_delete`
overwrites, which is a row where it stands: when SQLite spreads rows over the pages of a tree anew, those that
moved away stay legible in the gap of the page they left, and are forgotten there. The gap lies between the list
of a page's cells and their content (https://www.sqlite.org/fileformat.html#b_tree_pages); no reader ever looks
into it, so it can be overwritten while others read, but not while others write.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from palaver.stores.sqlite_connection import connect, has_journal
from palaver.stores.sqlite_errors import mapped_errors, mapped_os_errors

PORTION = 32 * 1024 * 1024
"""As many bytes of the file are wiped at a time, about a tenth of a second: others write between."""
BUSY_MS = 250
"""How long to wait at a time for others who read an older state or write, in milliseconds; nobody of ours writes
meanwhile."""
HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
"""The length of a page's header by its kind: inner and leaf pages of indexes and tables."""
INNER = (2, 5)
FRAGMENTS = 60
"""At most so many bytes of a page are neither in a cell nor in a free block nor in the gap."""
SMALLEST = 4
"""No cell and no free block is shorter, in bytes."""
FILE_HEADER = 100
"""The first page begins with the header of the file."""
LOCKS = 1 << 30
"""Where the bytes lie that SQLite locks: their page holds nothing."""
STILL_LEGIBLE = (
    "What was deleted is gone, but its bytes stand in the store's journal until another program, which reads or writes "
    "the store, lets go of it."
)

_page_header = struct.Struct(">BHHHB")


class Layout(NamedTuple):
    """How a file is divided into pages."""

    size: int
    """Of a page, in bytes."""
    usable: int
    """As many bytes of a page are SQLite's own."""
    has_maps: bool
    """Whether there are pages that say where the others belong: in files with `auto_vacuum`."""

    def may_be_tree(self, number: int) -> bool:
        """Whether the page of this number, from 1 on, can be part of a tree: not a map, nor the page of the locks."""
        lock = LOCKS // self.size + 1
        if number == lock:
            return False
        if not self.has_maps:
            return True
        apart = self.usable // 5 + 1
        behind_lock = number == lock + 1 and (lock - 2) % apart == 0  # a map that would fall onto that page
        return (number - 2) % apart != 0 and not behind_lock


class Scrubber:
    """Wipes one database file. To be used where its owner writes, and while it writes nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def wipe(self, start: int) -> tuple[bool, int | None]:
        """Empty the journal into the file, and overwrite what deleted rows left in a portion of the file.

        Returns whether that could be done, and where to go on, or None at the end of the file. It cannot be done
        while others read an older state, or write. No connection of ours that will write holds pages it has read
        before: what it wrote back would be the gap as it was. Raises StoreError.
        """
        with mapped_os_errors(), mapped_errors(), contextlib.closing(connect(self._path)) as connection:
            if not _keep_writers_out(connection, self._path):
                return False, start
            if self._file is None:
                # Closed with the store only: to close any handle of a file gives up all locks of the process on it.
                self._file = FileIO(self._path, "r+")
            at = wipe_gaps(self._file, start, PORTION)
            connection.execute("ROLLBACK")
            return True, at

    def close(self) -> None:
        """Let go of the file. To be called after the last connection is closed."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _keep_writers_out(connection: sqlite3.Connection, path: Path) -> bool:
    """Begin a transaction in which nobody else writes, with an empty journal; False where others are in the way.

    With an empty journal there is nothing that another program could copy into the file either. Raises
    sqlite3.Error, OSError.
    """
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        return False
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return not has_journal(path)  # somebody may have written in between


def wipe_gaps(file: FileIO, start: int, length: int) -> int | None:
    """Overwrite with zeros the gaps of the pages in about `length` bytes of a file, from `start` on.

    Returns where to go on, or None at the end of the file. Raises OSError.
    """
    layout = layout_of(_read(file, 0, FILE_HEADER))
    if layout is None:
        return None
    size = layout.size
    count = file.seek(0, os.SEEK_END) // size
    start -= start % size
    pages = _read(file, start, min(max(length - length % size, size), count * size - start))
    end_of_last = len(pages) - len(pages) % size
    wiped = False
    for at in range(0, end_of_last, size):
        first, end = gap(pages, at, (start + at) // size + 1, layout, count)
        if pages.count(0, first, end) < end - first:
            _write(file, start + first, bytes(end - first))
            wiped = True
    if wiped:
        os.fsync(file.fileno())
    return start + end_of_last if end_of_last else None


def _read(file: FileIO, start: int, length: int) -> bytearray:
    """As many bytes as there are up to this length; a single read may bring fewer."""
    buffer, at = bytearray(max(length, 0)), 0
    file.seek(start)
    while read := file.readinto(memoryview(buffer)[at:]):
        at += read
    del buffer[at:]
    return buffer


def _write(file: FileIO, start: int, data: bytes) -> None:
    """All of it; a single write may take less."""
    file.seek(start)
    while data:
        data = data[file.write(data) :]


def layout_of(header: bytes | bytearray) -> Layout | None:
    """How a file is divided, from its first bytes; None for an empty file."""
    if len(header) < FILE_HEADER:
        return None
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    return Layout(size, size - header[20], any(header[52:56]))


def gap(pages: bytes | bytearray, at: int, number: int, layout: Layout, count: int) -> tuple[int, int]:
    """Where the gap of the page at `at` begins and ends; an empty one for pages that are no part of a tree.

    `number` is the page's in its file of `count` pages. A page is part of a tree only where all that its header
    says is plausible: in doubt it is left alone. Pages of other kinds begin with the number of a page. In a file
    of so many pages that the first byte of such a number could pass for a kind, pages of that kind are left alone:
    inner pages of indexes from 2^25 pages on (128 GiB).
    """
    nothing = at, at
    header = at + (FILE_HEADER if number == 1 else 0)
    kind, free, cells, content, fragments = _page_header.unpack_from(pages, header)
    if kind not in HEADERS or kind <= count >> 24 or not layout.may_be_tree(number):
        return nothing
    content = content or 65536
    first, end, last = header + HEADERS[kind] + 2 * cells, at + content, layout.usable - SMALLEST
    if not first <= end <= at + layout.usable or fragments > FRAGMENTS:
        return nothing
    if free and not content <= free <= last:
        return nothing
    if kind in INNER and not 1 < int.from_bytes(pages[header + 8 : header + 12], "big") <= count:
        return nothing
    places = struct.unpack_from(f">{cells}H", pages, first - 2 * cells)
    return (first, end) if not places or content <= min(places) <= max(places) <= last else nothing
