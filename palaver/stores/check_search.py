"""Checks of the full-text index: every message and every title has the entry that it must have, nothing else has."""

from __future__ import annotations

from collections.abc import Iterator

from palaver.stores.checking import Portion, each
from palaver.stores.database import Row, Session


def check_search(session: Session) -> Iterator[Portion]:
    """Look at the entries of all messages and titles. What stands in the index as terms is another matter
    (`sqlite_index`)."""
    yield from each(session, "check_message_entries", "message_index", _entry)
    yield from each(session, "check_message_orphans", "message_index", _orphan)
    yield from each(session, "check_title_entries", "title_index", _entry)
    yield from each(session, "check_title_orphans", "title_index", _orphan)


def _entry(row: Row) -> Iterator[str]:
    """An entry (`entry_text`, `entry_place`) beside what is derived; without words there is none."""
    text = row["text"] or None
    if text is None:
        if row["entry"] is not None:
            yield "it has an entry, and no words that could be searched"
    elif row["entry"] is None:
        yield "it has no entry, and is not found"
    elif row["entry_text"] != text:
        yield "its entry has another text"
    elif row["entry_place"] != row["place"]:
        yield "its entry is at another place: for another owner, end user or conversation"


def _orphan(row: Row) -> Iterator[str]:
    yield "an entry whose message or title is missing"
