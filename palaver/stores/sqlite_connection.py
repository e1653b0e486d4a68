"""Connections to a SQLite file, to write or only to read, and named queries on them."""

from __future__ import annotations

import os
import re
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from palaver.core.errors import StoreUnavailable
from palaver.stores.database import Row
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_errors import mapped_os_errors
from palaver.stores.sqlite_functions import add_functions

PRIVATE = 0o600
"""The mode of a new file: what people say is for its owner only. A file that is there keeps its own."""
BUSY_MS = 5000
APPLICATION_ID = 0x70616C61
"""Says in the file's header that it is ours: "pala"."""
JOURNALS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, by what their names end in."""

_SEALED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def open_file(path: Path, mode: Literal["rw", "ro", "ro&immutable=1"] = "rw") -> sqlite3.Connection:
    """A connection that has changed nothing yet, to a file that is there: none is made.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    add_functions(connection)
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection as the owner of the file has it. Raises sqlite3.Error."""
    connection = open_file(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        # Savepoints and sorting copy pages and rows aside: not into files, which are slow and lie elsewhere.
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the file, also beside its owner, also on a medium that is read-only.

    Raises sqlite3.Error, and StoreUnavailable where there is no file.
    """
    with mapped_os_errors():
        if not path.exists():
            raise StoreUnavailable(f"There is no store at {path}.")
        path = path.resolve()  # its journal stands beside the file, not beside a link to it
    connection = open_file(path, "ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the journal too
        return connection
    except sqlite3.Error as error:
        connection.close()
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _SEALED or not _nobody_can_write(path):
            raise
    return open_file(path, "ro&immutable=1")


def _nobody_can_write(path: Path) -> bool:
    """Whether what stands in the file is all there is: its folder cannot be written, and it has no journal.

    SQLite needs to write beside a file to read it, unless it is told that the file cannot change.
    """
    return not os.access(path.parent, os.W_OK) and not has_journal(path)


def has_journal(path: Path) -> bool:
    """Whether there is a journal beside a file whose content has not been merged into it. Raises OSError."""
    wal = path.resolve().with_name(path.resolve().name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


@lru_cache(maxsize=512)
def _expanded(query: str, lists: tuple[tuple[str, int], ...]) -> str:
    text = QUERIES[query]
    for name, length in lists:
        places = ", ".join(f":{name}_{i}" for i in range(length))
        text = re.sub(rf"\(:{name}\)", f"({places})", text)
    return text


class SqliteSession:
    """A transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _execute(self, query: str, parameters: dict[str, Any]) -> sqlite3.Cursor:
        lists = tuple((name, len(value)) for name, value in parameters.items() if isinstance(value, list))
        for name, _ in lists:
            parameters.update({f"{name}_{i}": value for i, value in enumerate(parameters.pop(name))})
        return self._connection.execute(_expanded(query, lists), parameters)

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        return self._execute(query, parameters).fetchall()

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(query, parameters).fetchone()
        return row

    def run(self, query: str, /, **parameters: Any) -> int:
        return self._execute(query, parameters).rowcount
