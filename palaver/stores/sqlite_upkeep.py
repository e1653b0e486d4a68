"""Checking a SQLite store, copying it while it is in use, and putting a copy back."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from palaver.core.errors import StoreCorrupt, StoreRefused, StoreUnavailable
from palaver.stores.check import check as check_rows
from palaver.stores.checking import Finding
from palaver.stores.migrations import migrations
from palaver.stores.ownership import Ownership
from palaver.stores.sqlite_connection import (
    JOURNALS,
    SqliteSession,
    has_journal,
    open_file,
    open_for_reading,
)
from palaver.stores.sqlite_copy import PART, copy, row_counts, sync, sync_folder
from palaver.stores.sqlite_errors import as_store_error, mapped_errors, mapped_os_errors, named_errors
from palaver.stores.sqlite_index import check_index
from palaver.stores.sqlite_migration import check_version

LISTED = 1000
"""At most so many findings are listed; all are counted."""
COUNTED = ("conversations", "messages", "turns")


class Report(msgspec.Struct, frozen=True):
    """What a check has found. `rows` counts what was looked at, by table; `problems` counts every finding, also
    those that are too many to be listed. A store of an older `version` than `newest` was not looked at row by
    row."""

    store: str
    version: int
    newest: int
    rows: dict[str, int]
    problems: int
    findings: list[Finding]


class Copied(msgspec.Struct, frozen=True):
    """A copy that was made: where it is, how large (bytes), and how many rows are in it, by table.

    `before` is where what was there before is kept now, or None where nothing was. It is a journal (`-wal`)
    where that was there without its store.
    """

    file: str
    size: int
    rows: dict[str, int]
    before: str | None = None


def check(path: Path) -> Report:
    """Look at every page and every row of the store, as it is at this moment; nothing is changed.

    Raises StoreUnavailable, StoreTooNew, and StoreCorrupt for what is no palaver store.
    """
    with _reading(path) as connection:
        version = check_version(connection, path)
        if version == 0:
            raise StoreCorrupt(f"{path} is empty: no palaver has made a store of it yet.")
        newest = len(migrations("sqlite"))
        rows: Counter[str] = Counter()
        findings: list[Finding] = []
        problems = 0
        for table, count, found in _all_findings(connection, is_newest=version == newest):
            rows[table] += count
            problems += len(found)
            findings += found[: max(0, LISTED - len(findings))]
        rows.pop("", None)
        return Report(str(path), version, newest, dict(rows), problems, findings)


def _all_findings(
    connection: sqlite3.Connection, *, is_newest: bool
) -> Iterator[tuple[str, int, list[Finding]]]:
    """By table, how many rows were looked at and what was found; without a table, what is wrong with the file."""
    connection.execute("BEGIN")
    try:
        yield "", 0, [Finding("file", "", text) for text in _damages(connection)]
        for row in connection.execute("PRAGMA foreign_key_check"):
            text = f"it refers to a row of {row[2]} that is not there"
            yield "", 0, [Finding(str(row[0]), str(row[1]), text)]
        if is_newest:
            for portion in chain(check_rows(SqliteSession(connection)), check_index(connection)):
                yield portion.table, portion.rows, portion.findings
        else:
            yield from ((table, count, []) for table, count in row_counts(connection).items())
    except sqlite3.DatabaseError as error:
        told = as_store_error(error)
        if not isinstance(told, StoreCorrupt):
            raise
        yield "", 0, [Finding("file", "", f"it cannot be read further: {told}")]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _damages(connection: sqlite3.Connection) -> list[str]:
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({LISTED})")]
    return [] if said == ["ok"] else said


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with named_errors(path), closing(open_for_reading(path)) as connection:
        yield connection


def backup(path: Path, target: Path, *, force: bool = False, make_folder: bool = False) -> Copied:
    """Copy the store into one file, while its owner goes on; the copy is checked and synced, then it is there.

    Raises StoreRefused where `target` is there already (without `force`), is no regular file or is the store
    itself, StoreUnavailable, also where its folder is missing (without `make_folder`), StoreFull, StoreCorrupt,
    StoreTooNew.
    """
    with named_errors(target):
        target = _to_write(path, target, force=force)
    with _reading(path) as connection:
        if check_version(connection, path) == 0:
            raise StoreCorrupt(f"{path} is empty: no palaver has made a store of it yet.")
        with named_errors(target, copied_from=path):
            if make_folder:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not target.parent.is_dir():
                raise StoreUnavailable(
                    f"There is no folder {target.parent} for {target.name}: make it first."
                )
            try:
                rows = copy(connection, target, replace=force)
            except FileExistsError as error:
                raise StoreRefused(f"{target} has come to be there meanwhile.") from error
            return Copied(str(target), target.stat().st_size, _counted(rows))


def _to_write(path: Path, target: Path, *, force: bool) -> Path:
    """The file that a backup goes to: `target`, or what that leads to as a link. Raises StoreRefused, OSError."""
    target = target.absolute()
    try:
        found = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        found = None
    if found and stat.S_ISDIR(found.st_mode):
        raise StoreRefused(f"{target} is a folder: name a file in it.")
    if found and not stat.S_ISREG(found.st_mode):
        raise StoreRefused(f"{target} is no regular file, and is never replaced: choose another.")
    if _is_part_of(path, target):
        raise StoreRefused(f"{target} belongs to the store itself: choose another file.")
    if found and not force:
        raise StoreRefused(f"{target} is there already, and is not replaced unless that is forced.")
    if has_journal(target):
        raise StoreRefused(f"{target} is a database in use: it has a journal. Choose another file.")
    return target.resolve() if target.is_symlink() else target


def restore(
    path: Path, source: Path, *, force: bool = False, also: Callable[[], object] = lambda: None
) -> Copied:
    """Make a copy of a store the store again. What is there now is kept beside it. `also` is done while nobody else
    can use the store.

    The store is, whatever happens, the one or the other. It is brought forward when it is next opened.

    Raises StoreOwned while another palaver uses the store, StoreRefused for the store itself and for a copy in
    which `check` finds something (without `force`), StoreUnavailable, StoreFull, and StoreCorrupt or StoreTooNew
    for a copy that cannot be the store.
    """
    with named_errors(source):
        if not source.exists():
            raise StoreUnavailable(f"There is no file {source}.")
    with mapped_os_errors():
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_part_of(path, source.absolute()):
            raise StoreRefused(f"{source} belongs to the store itself.")
        ownership = Ownership.take(path)
        try:
            with mapped_errors():
                _must_be_sound(source, force=force)
                copied = _restore(path, source)
            also()
            return copied
        finally:
            ownership.release()


def _must_be_sound(source: Path, *, force: bool) -> None:
    report = check(source)
    if not report.problems:
        return
    first = report.findings[0]
    if first.what == "file":
        raise StoreCorrupt(f"{source} is damaged: {first.text}")
    if not force:
        count = "1 problem" if report.problems == 1 else f"{report.problems} problems, the first"
        raise StoreRefused(
            f"{source} is not as it must be, and is not restored unless that is forced; "
            f"{count}: {first.what} {first.id}: {first.text}"
        )


def _restore(path: Path, source: Path) -> Copied:
    fresh = path.with_name(f"{path.name}.restoring.{secrets.token_hex(4)}{PART}")
    try:
        with _reading(source) as connection, named_errors(path, copied_from=source):
            rows = copy(connection, fresh)
        before = _keep_present(path)
        # Those of the present store, whose content is merged or kept: to the other they are poison.
        for ending in JOURNALS:
            path.with_name(path.name + ending).unlink(missing_ok=True)
        _own_alike(fresh, path)
        fresh.replace(path)
        sync_folder(path.parent)
        return Copied(str(path), path.stat().st_size, _counted(rows), str(before) if before else None)
    finally:
        fresh.unlink(missing_ok=True)


def _keep_present(path: Path) -> Path | None:
    """Give the present store a second name, under which it stays; None where there is none.

    Of a store that is lost or empty its journal is kept: what was acknowledged last may stand only there.
    """
    is_there = path.exists() and path.stat().st_size > 0
    if not is_there and not has_journal(path):
        return None
    if is_there:
        _merge_journal(path)
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    kept = path.with_name(f"{path.name}.before-restore-{stamp}-{secrets.token_hex(2)}")
    # A journal that could not be merged goes along: the two are one store. Beside an empty file SQLite drops it.
    for ending in ("-wal", "") if is_there else ("-wal",):
        there, second = path.with_name(path.name + ending), kept.with_name(kept.name + ending)
        if there.exists():
            _second_name(there, second)
            os.utime(second)  # its age counts from now
    sync_folder(path.parent)
    return kept if is_there else kept.with_name(f"{kept.name}-wal")


def _merge_journal(path: Path) -> None:
    """Have everything in the file itself. A store that is too damaged for that is kept as it is."""
    try:
        with closing(open_file(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        told = as_store_error(error)
        if not isinstance(told, StoreCorrupt):
            raise


def _second_name(there: Path, kept: Path) -> None:
    try:
        os.link(there, kept)
    except OSError:  # not every file system has links
        part = kept.with_name(kept.name + PART)
        shutil.copyfile(there, part)
        part.chmod(0o600)
        sync(part)
        part.rename(kept)


def _own_alike(fresh: Path, present: Path) -> None:
    """Have the new file be whose the present one is, or the folder, also when root restores it."""
    like = present if present.exists() else present.parent
    found = like.stat()
    if like is present:
        fresh.chmod(stat.S_IMODE(found.st_mode))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(fresh, found.st_uid, found.st_gid)


def _is_part_of(path: Path, other: Path) -> bool:
    """Whether a file is the store, or one of those that stand beside it."""
    store, other = path.resolve(), other.resolve()
    return other in {
        store.with_name(store.name + ending) for ending in ("", *JOURNALS, ".lock", ".owner.json")
    }


def _counted(rows: dict[str, int]) -> dict[str, int]:
    return {table: rows.get(table, 0) for table in COUNTED}
