"""What goes wrong in SQLite and in its folder, as the store's own errors; the one place where that is mapped."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from palaver.core.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable

_MEANINGS: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
}


@contextlib.contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn what sqlite3 raises into the store's own errors; the one place where it is done."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error) from error


def _meaning(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    kind = _MEANINGS.get(code & 0xFF, StoreUnavailable) if code is not None else StoreUnavailable
    detail = "" if kind is StoreFull else f" (SQLite: {error})"
    return kind(kind().message + detail)


def as_store_error(error: Exception) -> Exception:
    """What an error means to the caller; those that are not SQLite's stay as they are."""
    return _meaning(error) if isinstance(error, sqlite3.Error) else error


def breaks_group(error: Exception) -> bool:
    """Whether an error is the file's or the disk's, not the fault of one piece of work."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR)


@contextlib.contextmanager
def mapped_os_errors() -> Iterator[None]:
    """Turn what the file system raises into the store's own error."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"The store's folder cannot be used: {error.strerror} ({error.filename})"
        ) from error
