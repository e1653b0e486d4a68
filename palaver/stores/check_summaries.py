"""Checks of summaries: what they are of, and which epochs show them."""

from __future__ import annotations

from collections.abc import Iterator

from palaver.stores.checking import Portion, each
from palaver.stores.database import Row, Session


def check_summaries(session: Session) -> Iterator[Portion]:
    """Look at every summary."""
    yield from each(session, "check_summaries", "summaries", lambda row: _summary(session, row))


def of_epoch(row: Row) -> Iterator[str]:
    """What is wrong with the summary that an epoch shows."""
    if row["summary"] is None:
        return
    if row["summary_conversation"] != row["conversation"]:
        yield "its summary is another conversation's, or missing"
    if row["summary_version"] is None:
        yield "it does not say which version of its summary it shows"


def _summary(session: Session, row: Row) -> Iterator[str]:
    if row["version"] < 1 or row["is_off"] not in (0, 1):
        yield "its version is less than 1, or it is neither on nor off"
    if not row["text"].strip():
        yield "it says nothing"
    if row["message"] is None:
        yield "its message is missing"
        return
    if row["message_conversation"] != row["conversation"]:
        yield "its message is another conversation's"
    if row["stop"] != row["depth"] + 1:
        yield f"it ends before the depth {row['stop']}, and its message has the depth {row['depth']}"
    found = session.one("deleted_since", seq=row["message"], created_at=row["created_at"])
    if found is not None and found["deleted"]:
        yield "a message that it is made of is deleted"
