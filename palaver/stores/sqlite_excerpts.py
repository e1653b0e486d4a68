"""Excerpts as FTS5 makes them, in a small index of their own.

In the index of a store FTS5 would look for the whole query again for each message, among all messages; and what it
takes for one grows with the square of the words found in it. Here it takes as long as the parts of the texts are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from palaver.core.searching import MARKS, Term
from palaver.stores.parts import part_of
from palaver.stores.sqlite_connection import SqliteSession
from palaver.stores.sqlite_errors import mapped_errors
from palaver.stores.sqlite_index import index_form

EXCERPT_WORDS = 32
"""An excerpt has about so many words."""


def excerpts(match: str, terms: Sequence[Term], texts: Mapping[str, str]) -> dict[str, str]:
    """See `stores.database.Database.excerpts`. Takes no connection to a store."""
    parts = {id: part_of(text, terms) for id, text in texts.items()}
    with mapped_errors(), closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(f"CREATE VIRTUAL TABLE temp.parts USING {index_form()}")
        session = SqliteSession(connection)
        connection.execute("BEGIN")
        for number, part in enumerate(parts.values(), 1):
            session.run("add_part", number=number, text=part.text)
        connection.execute("COMMIT")
        rows = session.all(
            "excerpts_of_parts", match=match, mark=MARKS[0], unmark=MARKS[1], words=EXCERPT_WORDS
        )
    found = {}
    ids = list(parts)
    for row in rows:
        id, excerpt = ids[row["number"] - 1], row["excerpt"]
        before = "…" if parts[id].follows and not excerpt.startswith("…") else ""
        after = "…" if parts[id].goes_on and not excerpt.endswith("…") else ""
        found[id] = f"{before}{excerpt}{after}"
    return found
