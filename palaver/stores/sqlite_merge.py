"""What the full-text index still holds of deleted rows, and how it goes.

The index is made of segments, and what is deleted is marked so in a new one; the words of it stay legible in the
others until all are merged (https://www.sqlite.org/fts5.html#the_merge_command). From version 3.42 on SQLite can remove
them at once (`secure-delete`), but Python is built with older ones, too.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from palaver.stores.database import Database, Session


class Index(NamedTuple):
    """The statements for one index."""

    structure: str
    merging: str
    rebuilding: str


INDEXES = (
    Index("structure_of_messages", "merge_messages", "rebuild_messages"),
    Index("structure_of_titles", "merge_titles", "rebuild_titles"),
)
PAGES = 2000
"""As many pages of an index are merged at a time, about a tenth of a second: others write between."""
LONGEST = 3000
"""Each merging may leave empty levels behind, of two bytes each in the list of all segments. Older versions of SQLite
never remove them, and hold an index with more than 2000 levels for damaged."""
DONE = 2
"""A step that changes fewer rows than this had nothing to do."""


async def merge_indexes(database: Database) -> None:
    """Have the words of what was deleted leave the full-text indexes."""
    for index in INDEXES:
        begins = True
        while await database.write(partial(merge, index=index, begins=begins), durable=False):
            begins = False


def merge(session: Session, index: Index, *, begins: bool) -> bool:
    """Do a part of the merging of an index into one segment, of all segments there are when it `begins`; whether there
    is more to do. What is written meanwhile stands in segments of its own. Once in about a thousand mergings the index
    is made anew instead."""
    before = _changes(session)
    structure = session.one(index.structure) if begins else None
    if structure is not None and structure["length"] > LONGEST:
        session.run(index.rebuilding)
        return True
    session.run(index.merging, pages=-PAGES if begins else PAGES)
    return _changes(session) - before >= DONE


def _changes(session: Session) -> int:
    row = session.one("changes")
    assert row is not None
    changes: int = row["changes"]
    return changes
