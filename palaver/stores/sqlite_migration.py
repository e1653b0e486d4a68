"""Bringing a SQLite file to the newest version, with a copy of what it was; refusing what is not ours."""

from __future__ import annotations

import contextlib
import itertools
import platform
import sqlite3
import sys
from pathlib import Path

import structlog

from palaver import __version__
from palaver.core.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from palaver.stores.migrations import Migration, migrations
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_connection import APPLICATION_ID, PRIVATE, connect, has_journal, open_file
from palaver.stores.sqlite_copy import age_out, copy, sweep
from palaver.stores.sqlite_errors import mapped_errors, mapped_os_errors

log = structlog.get_logger(__name__)

FIRST_THAT_SAYS = 2
"""The first version whose file says which palaver wrote it."""


FULL_TEXT = (
    "CREATE VIRTUAL TABLE temp.probe USING fts5 (text, tokenize = 'porter unicode61 remove_diacritics 2')"
)
"""An index that SQLite has to be able to make."""


def bring_forward(path: Path) -> None:
    """Make the file, or bring it to the newest version. To be called by its owner.

    Each migration is one transaction, so the file is always of one version. Before the first of them an older
    file is copied, as `….v1-backup` beside it. Copies of 30 days ago are removed.

    Raises StoreTooNew, StoreCorrupt, StoreUnavailable, StoreFull.
    """
    check_sqlite()
    known = migrations("sqlite")
    with mapped_os_errors():
        if not path.exists() or path.stat().st_size == 0:
            if has_journal(path):
                raise StoreCorrupt(
                    f"The store {path} is missing or empty, but its journal ({path.name}-wal) is there. Put the "
                    "file back, or move the journal away to begin a new store."
                )
            path.touch(PRIVATE)  # SQLite gives the files beside it the same mode
    with mapped_os_errors(), mapped_errors():
        with contextlib.closing(open_file(path)) as connection:
            version = check_version(connection, path)
        with contextlib.closing(connect(path)) as connection:
            if 0 < version < len(known):
                _keep_copy(connection, path, version)
            for migration in known[version:]:
                _apply(connection, migration)
    age_out(path)
    sweep(path.parent)


def check_sqlite() -> None:
    """Raises StoreUnavailable where the SQLite of this Python has no full-text index, or one that is too old."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(FULL_TEXT)
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"The SQLite {sqlite3.sqlite_version} of this Python ({platform.python_version()}, {sys.executable}) "
                f"has no full-text index (FTS5), which palaver keeps messages in: {error}. Use another Python, such as "
                "one of python.org, of your system, or of `uv python install`; or build it with an SQLite that has "
                "FTS5.",
                public="The store cannot be used: the SQLite of this Python has no full-text index (FTS5).",
            ) from error


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the file, 0 where it is new. Writes nothing: the file may be another program's.

    Raises StoreCorrupt for another program's, StoreTooNew for a newer palaver's, naming the one to install.
    """
    application, version, tables = (
        connection.execute(question).fetchone()[0]
        for question in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_schema",
        )
    )
    known = len(migrations("sqlite"))
    if application != APPLICATION_ID and (tables or version or application):
        raise StoreCorrupt(f"{path} is a database of another program.")
    if version > known:
        writer = _writer(connection)
        raise StoreTooNew(
            f"The store {path} is of version {version}; this palaver ({__version__}) knows up to {known}. "
            + (f"Install palaver {writer} or newer." if writer else "Install a newer palaver.")
        )
    return int(version)


def _writer(connection: sqlite3.Connection) -> str | None:
    """The palaver that brought the file to its version, which can read it; None where it does not say."""
    try:
        row = connection.execute(QUERIES["palaver_of_store"]).fetchone()
    except sqlite3.OperationalError:
        return None  # of a version so new that it says so elsewhere
    return str(row[0]) if row else None


def _keep_copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    names = (f"{path.name}.v{version}-backup" + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
    target = next(free for name in names if not (free := path.with_name(name)).exists())
    copy(connection, target)
    log.info("the store is brought forward; a copy of it is kept", version=version, copy=target.name)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    """Apply a migration in one transaction; what breaks off is rolled back with the connection."""
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA application_id = {APPLICATION_ID};\n"
        f"PRAGMA user_version = {migration.number};"
    )
    if migration.number >= FIRST_THAT_SAYS:
        connection.execute(QUERIES["note_palaver"], {"palaver": __version__})
    connection.execute("COMMIT")
