"""Stores as earlier versions of palaver left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from palaver.stores.migrations import migrations
from palaver.stores.sqlite_connection import APPLICATION_ID
from tests.stores.sqlite_files import ask, beside

ROWS = Path(__file__).parent / "versions"
NEWEST = len(migrations("sqlite"))
OLD = tuple(range(1, NEWEST))
CONVERSATIONS = {
    1: {"local": 6, "other": 1},
    2: {"local": 10, "other": 1},
    3: {"local": 12, "other": 1},
    4: {"local": 15, "other": 1},
    5: {"local": 25, "other": 2},
    6: {"local": 28, "other": 3},
}
"""How many conversations are in the rows of a version, by owner."""
OPEN = {1: 1, 2: 3, 3: 4, 4: 7, 5: 9, 6: 10}
"""How many turns run or wait there."""


def old_store(path: Path, version: int) -> Path:
    """Write a store of this version: its migrations, then rows that a palaver of that time wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(beside(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for migration in migrations("sqlite")[:version]:
            connection.executescript(migration.sql)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.executescript((ROWS / f"{version}.sql").read_text(encoding="utf-8"))
    return path


def version(path: Path) -> int:
    found: int = ask(path, "PRAGMA user_version")
    return found


def rows(path: Path, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[object, ...]]]:
    """All rows by table: of these columns, or of all; in the order of the tables' own keys."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608
            for table, names in (columns or columns_of(path)).items()
        }


def columns_of(path: Path) -> dict[str, list[str]]:
    """The columns of each table, but for that which says who brought the file to its version."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema "
            "WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'store_info' ORDER BY name"
        ).fetchall()
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in tables
        }
