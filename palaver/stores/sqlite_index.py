"""The full-text index of a SQLite store: whether its terms are those of what is kept, and how it is made anew.

FTS5 can compare an index with its rows itself, but only in a transaction that writes, and `palaver check` reads. So the
terms are told apart by a sum over all of them that can be taken in portions: how many rows have each and how often.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from palaver.core.errors import StoreUnavailable
from palaver.stores.check_search import check_search
from palaver.stores.checking import Finding, Portion
from palaver.stores.database import Row
from palaver.stores.migrations import migrations
from palaver.stores.ownership import Ownership
from palaver.stores.sqlite_connection import SqliteSession, connect
from palaver.stores.sqlite_errors import mapped_errors, mapped_os_errors
from palaver.stores.sqlite_migration import bring_forward

PORTION = 2000
"""As many rows are indexed again at a time."""
TERMS = 20_000
"""As many terms are read at a time."""
SHADOWS = ("data", "idx", "content", "docsize", "config")
"""The tables in which FTS5 keeps an index (https://www.sqlite.org/fts5.html#fts5_data_structures)."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
"""What FTS5 says of tables that are not as it left them, or not there."""
REPAIR = "`palaver check --rebuild-index` makes it anew"

_statement = re.compile(
    r"^(?:CREATE VIRTUAL TABLE|INSERT INTO) (?:message|title)_index\b[^;]*;", re.MULTILINE
)
_table = re.compile(r"CREATE VIRTUAL TABLE message_index USING (fts5 \(.*\));")


class Rebuilt(msgspec.Struct, frozen=True):
    """An index that was made anew: how many messages and titles are in it."""

    messages: int
    titles: int


class _Index(NamedTuple):
    table: str
    terms: str
    texts: str
    last: str


INDEXES = (
    _Index("message_index", "terms_of_messages", "texts_of_messages", "last_message_number"),
    _Index("title_index", "terms_of_titles", "texts_of_titles", "last_title_number"),
)


def check_index(connection: sqlite3.Connection) -> Iterator[Portion]:
    """Look at the entries of the index and at its terms, in a transaction that reads. An index that cannot be read is
    a finding."""
    try:
        yield from check_search(SqliteSession(connection))
        yield from _check_terms(connection)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) is None or error.sqlite_errorcode & 0xFF not in DAMAGED:
            raise
        text = f"the search index is damaged and cannot be read: {error}; {REPAIR}"
        yield Portion("message_index", 0, [Finding("message_index", "", text)])


def add_term_tables(connection: sqlite3.Connection) -> None:
    """Have a connection know the terms of the indexes, and of a temporary one that is made like them."""
    connection.execute(f"CREATE VIRTUAL TABLE temp.portion USING {index_form()[:-1]}, content = '')")
    for schema, table in (("temp", "portion"), *(("main", index.table) for index in INDEXES)):
        connection.execute(
            f"CREATE VIRTUAL TABLE temp.terms_of_{table} USING fts5vocab ({schema}, {table}, row)"
        )


def _check_terms(connection: sqlite3.Connection) -> Iterator[Portion]:
    add_term_tables(connection)
    session = SqliteSession(connection)
    for index in INDEXES:
        found = 0
        after: str = ""
        while rows := session.all(index.terms, after=after, limit=TERMS):
            after = rows[-1]["term"]
            found += _sum(rows)
        last = session.one(index.last)
        assert last is not None
        wanted = 0
        for start in range(0, last["seq"], PORTION):
            session.run(index.texts, after=start, until=start + PORTION)
            wanted += _sum(session.all("terms_of_portion"))
            session.run("empty_portion")
        text = f"its words are not those of what is kept; {REPAIR}"
        yield Portion(index.table, 0, [Finding(index.table, "", text)] if found != wanted else [])


def _sum(rows: Iterable[Row]) -> int:
    return sum(_number(row["term"]) * (row["doc"] + (row["cnt"] << 64)) for row in rows)


@lru_cache(maxsize=100_000)
def _number(term: str) -> int:
    return int.from_bytes(blake2b(term.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def rebuild_index(path: Path) -> Rebuilt:
    """Make the index of a store anew, of what is kept, also where it is damaged; in one transaction.

    Raises StoreOwned, naming the owner's address, while another palaver uses the store; StoreUnavailable where there is
    none; StoreTooNew, StoreFull, and StoreCorrupt where more is damaged than the index.
    """
    with mapped_os_errors():
        if not path.exists():
            raise StoreUnavailable(f"There is no store at {path}.")
        ownership = Ownership.take(path)
    try:
        bring_forward(path)
        with mapped_errors(), closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for index in INDEXES:
                _drop(connection, index.table)
            for statement in _statements():
                connection.execute(statement)
            counts = [
                connection.execute(f"SELECT count(*) FROM {index.table}").fetchone()[0]  # noqa: S608
                for index in INDEXES
            ]
            connection.execute("COMMIT")
            return Rebuilt(*counts)
    finally:
        ownership.release()


def _drop(connection: sqlite3.Connection, table: str) -> None:
    try:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    except sqlite3.Error:
        # FTS5 has to open an index before it drops it, which a damaged one does not let it do.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
        connection.execute("PRAGMA writable_schema = RESET")
    for shadow in SHADOWS:
        connection.execute(f"DROP TABLE IF EXISTS {table}_{shadow}")


@cache
def index_form() -> str:
    """The columns and the tokenizer of the index of messages, for another that is to be like it."""
    (form,) = _table.findall(_statements()[0])
    return str(form)


def _statements() -> list[str]:
    """What makes the index and fills it, as the migration has it: written once, it cannot drift."""
    return [each for migration in migrations("sqlite") for each in _statement.findall(migration.sql)]
