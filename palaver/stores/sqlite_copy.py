"""Copies of a SQLite file: made while others write, checked, and on the disk before they have their name."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import structlog

from palaver.core.errors import StoreCorrupt
from palaver.stores.sqlite_connection import JOURNALS, PRIVATE, open_file

log = structlog.get_logger(__name__)

PART = ".palaver-part"
"""What the name of an unfinished copy ends in."""
DAY = 24 * 60 * 60
DAYS_KEPT = 30
"""How long a copy that was made by itself stays beside the store."""

TABLES = (
    "SELECT name FROM pragma_table_list "
    "WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
)
"""Not those that an index of words is kept in."""


def copy(source: sqlite3.Connection, target: Path, *, replace: bool = False) -> dict[str, int]:
    """Copy the store that a connection reads into one file of its own; how many rows each table has.

    The copy is of one moment, whatever is written meanwhile, and writers do not wait for it. It has its name
    when it is whole, checked and synced; until then, whatever happens, nothing is there under that name.

    Raises FileExistsError where there is a file and it is not to be replaced, StoreCorrupt where what was
    copied is damaged, OSError, sqlite3.Error.
    """
    sweep(target.parent)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PART}")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
        counts = _fill(source, part)
        sync(part)
        _name(part, target, replace=replace)
        sync_folder(target.parent)
        return counts
    finally:
        for each in (part, *(part.with_name(part.name + ending) for ending in JOURNALS)):
            each.unlink(missing_ok=True)


def _fill(source: sqlite3.Connection, part: Path) -> dict[str, int]:
    """Write every row anew, and look whether all are there.

    A copy of the pages would be faster, but would also hold what is left in them of rows that are deleted.
    """
    before = _state(source)
    source.execute("VACUUM INTO ?", (str(part),))
    is_same = _state(source) == before
    with closing(open_file(part, "ro")) as made:
        counts = row_counts(made)
        said = made.execute("PRAGMA quick_check(1)").fetchone()[0]
        lost = made.execute("PRAGMA foreign_key_check").fetchone()
    if said != "ok" or lost is not None or (is_same and counts != before[1]):
        raise StoreCorrupt(
            "The copy is not whole: what it was made of is damaged; `palaver check` says more."
        )
    return counts


def _state(connection: sqlite3.Connection) -> tuple[int, dict[str, int]]:
    """What nobody has written since, where it is the same: a number that grows with each commit, and all rows."""
    counts = row_counts(connection)
    return connection.execute("PRAGMA data_version").fetchone()[0], counts


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has."""
    names = [row[0] for row in connection.execute(TABLES)]
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


def _name(part: Path, target: Path, *, replace: bool) -> None:
    if replace:
        part.replace(target)
        return
    try:
        os.link(part, target)  # in one step, where a rename would replace what has come meanwhile
    except FileExistsError:
        raise
    except OSError:  # not every file system has links
        if target.exists():
            raise FileExistsError(f"{target} is there already") from None
        part.rename(target)


def sync(path: Path) -> None:
    """Have a file's content on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Have a folder's names on the disk, where the system can do that. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def age_out(path: Path) -> None:
    """Remove copies that were made by themselves beside the store at `path`, once they are old.

    One that cannot be removed is told in the log: what was deleted since may still stand in it.
    """
    made = re.escape(path.name) + r"\.(v\d+-backup|before-restore-).*"
    old = _older(path.parent, made, DAYS_KEPT * DAY)
    removed = [each.name for each in old if _removed(each)]
    if removed:
        log.info("removed old copies of the store", files=removed)


def sweep(folder: Path) -> None:
    """Remove what copies that were broken off have left in a folder."""
    for each in _older(folder, f".*{re.escape(PART)}.*", DAY):
        _removed(each)


def _older(folder: Path, pattern: str, seconds: float) -> list[Path]:
    """The files in a folder whose names match, and that were last written so long ago."""
    before = time.time() - seconds
    try:
        named = [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]
        return sorted(path for path in named if path.stat().st_mtime < before)
    except OSError as error:
        log.warning("cannot look for old copies", folder=str(folder), error=error.strerror)
        return []


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("an old copy of the store could not be removed", file=path.name, error=error.strerror)
        return False
    return True
