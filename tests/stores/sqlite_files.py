"""A store in a SQLite file: open it, and look into it from beside."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from palaver.stores.base import Store
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_functions import add_functions
from tests.stores.talking import Tables

TABLES = (
    "owners",
    "end_users",
    "conversations",
    "messages",
    "instructions",
    "toolsets",
    "turns",
    "choices",
    "attempts",
    "api_keys",
    "access",
    "deletions",
    "epochs",
    "tokenizers",
    "attachments",
)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    store = SqlStore(await SqliteDatabase.open(path))
    try:
        yield store
    finally:
        await store.close()


def beside(path: Path | str, **more: Any) -> sqlite3.Connection:
    """A connection of another program, that knows the functions which the store's triggers call."""
    connection: sqlite3.Connection = sqlite3.connect(path, **more)
    add_functions(connection)
    return connection


def tables(path: Path) -> Tables:
    """All rows, by table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = {name: connection.execute(f"SELECT * FROM {name} ORDER BY seq") for name in TABLES}  # noqa: S608
        rows["turn_log"] = connection.execute("SELECT * FROM turn_log ORDER BY turn, batch")
        counts = connection.execute("SELECT * FROM message_counts ORDER BY message, tokenizer")
        rows["message_counts"] = counts
        links = connection.execute("SELECT * FROM message_attachments ORDER BY message, attachment")
        rows["message_attachments"] = links
        rows["embedders"] = connection.execute("SELECT * FROM embedders ORDER BY seq")
        vectors = connection.execute("SELECT * FROM message_vectors ORDER BY message, embedder")
        rows["message_vectors"] = vectors
        for name in ("recalls", "summaries"):
            rows[name] = connection.execute(f"SELECT * FROM {name} ORDER BY seq")  # noqa: S608
        rows["recall_quotes"] = connection.execute("SELECT * FROM recall_quotes ORDER BY recall, place")
        return {name: [dict(row) for row in found] for name, found in rows.items()}


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, content: bytes) -> None:
    """Write a file, and its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def ask(path: Path, question: str, *parameters: object) -> Any:
    """The first column of the first row."""
    with closing(beside(path)) as connection:
        return connection.execute(question, parameters).fetchone()[0]
