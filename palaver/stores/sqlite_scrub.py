"""What SQLite's files still hold of deleted rows, and how it is wiped (docs/decisions/0009).

The journal keeps pages as they were until it is truncated. And the file itself keeps more than `secure_delete`
overwrites, which is a row where it stands: when SQLite spreads rows over the pages of a tree anew, those that
moved away stay legible in the gap of the page they left, and are forgotten there. The gap lies between the list
of a page's cells and their content (https://www.sqlite.org/fileformat.html#b_tree_pages); no reader ever looks
into it, so it can be overwritten while others read.
"""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path

from palaver.stores.sqlite_connection import connect
from palaver.stores.sqlite_errors import mapped_errors, mapped_os_errors

PORTION = 32 * 1024 * 1024
"""As many bytes of the file are wiped at a time, about a tenth of a second: others write between."""
BUSY_MS = 250
"""How long to wait at a time for readers of an older state, in milliseconds; nobody writes meanwhile."""
HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
"""The length of a page's header by its kind: inner and leaf pages of indexes and tables."""
FILE_HEADER = 100
"""The first page begins with the header of the file."""


class Scrubber:
    """Wipes one database file. To be used where its owner writes, and while it writes nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def empty_journal(self) -> bool:
        """Copy what stands in the journal into the file and truncate it; False where readers stand in the way.

        Raises StoreError.
        """
        with mapped_errors(), contextlib.closing(connect(self._path)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

    def wipe(self, start: int) -> int | None:
        """Overwrite what deleted rows left in a portion of the file; where to go on, or None at its end.

        The journal is empty, and no connection that will write holds pages it has read before: what it wrote
        back would be the gap as it was. Raises StoreError.
        """
        with mapped_os_errors():
            if self._file is None:
                # Closed with the store only: to close any handle of a file gives up all locks of the process on it.
                self._file = FileIO(self._path, "r+")
            return wipe_gaps(self._file, start, PORTION)

    def close(self) -> None:
        """Let go of the file. To be called after the last connection is closed."""
        if self._file is not None:
            self._file.close()
            self._file = None


def wipe_gaps(file: FileIO, start: int, length: int) -> int | None:
    """Overwrite with zeros the gaps of the pages in about `length` bytes of a file, from `start` on.

    Returns where to go on, or None at the end of the file. Raises OSError.
    """
    file.seek(0)
    size = page_size(file.read(FILE_HEADER))
    if not size:
        return None
    count = file.seek(0, os.SEEK_END) // size
    file.seek(start)
    pages = file.read(max(length - length % size, size)) if start < count * size else b""
    wiped = False
    for at in range(0, len(pages) - size + 1, size):
        first, end = gap(pages, at, size, is_first=start + at == 0, count=count)
        if pages.count(0, first, end) < end - first:
            file.seek(start + first)
            file.write(bytes(end - first))
            wiped = True
    if wiped:
        os.fsync(file.fileno())
    return start + len(pages) if pages else None


def page_size(header: bytes) -> int:
    """The size of a file's pages, from its first bytes; 0 for an empty file."""
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else size


def gap(pages: bytes, at: int, size: int, *, is_first: bool, count: int) -> tuple[int, int]:
    """Where the gap of the page at `at` begins and ends; an empty one for pages that are no part of a tree.

    Pages of other kinds begin with the number of a page. In a file of so many pages (`count`) that the first
    byte of such a number could pass for a kind, pages of that kind are left alone: inner pages of indexes from
    128 GiB on.
    """
    header = at + (FILE_HEADER if is_first else 0)
    kind = pages[header]
    if kind not in HEADERS or kind <= count >> 24:
        return at, at
    cells = int.from_bytes(pages[header + 3 : header + 5], "big")
    content = int.from_bytes(pages[header + 5 : header + 7], "big") or 65536
    first, end = header + HEADERS[kind] + 2 * cells, at + content
    return (first, end) if first <= end <= at + size else (at, at)
