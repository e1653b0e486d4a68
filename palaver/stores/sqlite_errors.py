"""What goes wrong in SQLite and in its folder, as the store's own errors; the one place where that is mapped."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from palaver.core.errors import StoreCorrupt, StoreError, StoreFull, StoreRefused, StoreUnavailable

_MEANINGS: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_CONSTRAINT: StoreRefused,
    sqlite3.SQLITE_MISMATCH: StoreRefused,
    sqlite3.SQLITE_TOOBIG: StoreRefused,
}
_OWN_FAULTS = (
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_ERROR,
)
_NO_SUCH = ("no such table", "no such column", "no such index")
_UNREADABLE = "Could not decode"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# What a row that cannot be read raises: SQLite has checked its place in the file, not what it says.
_FOREIGN = (sqlite3.Error, msgspec.DecodeError)


@contextlib.contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn what sqlite3 raises, and rows that cannot be decoded, into the store's own errors."""
    try:
        yield
    except _FOREIGN as error:
        raise _meaning(error) from (None if _quotes_content(error) else error)


def _meaning(error: sqlite3.Error | msgspec.DecodeError) -> StoreError:
    if _quotes_content(error):
        return StoreCorrupt(f"{StoreCorrupt().message} (A row cannot be decoded.)")
    code = getattr(error, "sqlite_errorcode", None)
    kind = _MEANINGS.get(code & 0xFF, StoreUnavailable) if code is not None else StoreUnavailable
    if code == sqlite3.SQLITE_ERROR and str(error).startswith(_NO_SUCH):
        kind = StoreCorrupt  # the file was cut off, or somebody else has been at it
    detail = "" if kind is StoreFull else f" (SQLite: {error})"
    return kind(kind().message + detail)


def _quotes_content(error: Exception) -> bool:
    """Whether an error is about what a row says. Its text may hold what people wrote, so nobody is to see it."""
    return isinstance(error, msgspec.DecodeError) or str(error).startswith(_UNREADABLE)


def as_store_error(error: Exception) -> Exception:
    """What an error means to the caller; those that are not SQLite's stay as they are."""
    return _meaning(error) if isinstance(error, _FOREIGN) else error


def breaks_group(error: Exception) -> bool:
    """Whether an error is the file's or the disk's, not the fault of one piece of work."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _OWN_FAULTS


def is_busy(error: StoreError) -> bool:
    """Whether it was raised because another program holds the file."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


@contextlib.contextmanager
def mapped_os_errors() -> Iterator[None]:
    """Turn what the file system raises into the store's own error."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreFull from error
        raise StoreUnavailable(
            f"The store's folder cannot be used: {error.strerror} ({error.filename})",
            public=f"The store's folder cannot be used: {error.strerror}.",
        ) from error


@contextlib.contextmanager
def named_errors(file: Path, *, copied_from: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong with a file that need not be the open store into errors that name it.

    Damage is that of `copied_from`, where the file is being made as a copy of that.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreFull(_no_room_for(file)) from error
        raise StoreUnavailable(f"{file} cannot be used: {error.strerror}.") from error
    except _FOREIGN as error:
        told = _meaning(error)
        detail = "" if _quotes_content(error) else f" (SQLite: {error})"
        if isinstance(told, StoreCorrupt):
            told = StoreCorrupt(f"{copied_from or file} is damaged or is no palaver store.{detail}")
        elif isinstance(told, StoreFull):
            told = StoreFull(_no_room_for(file))
        else:
            told = type(told)(f"{file} cannot be used.{detail}")
        raise told from (None if _quotes_content(error) else error)


def _no_room_for(file: Path) -> str:
    return f"The disk is full on which {file} is to be; nothing was changed."
