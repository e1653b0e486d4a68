"""Paths read for windows: their messages as models see them."""

from __future__ import annotations

from palaver.core.path import Step
from palaver.stores.attachments import whole_steps
from palaver.stores.database import Session
from palaver.stores.openings import opening
from palaver.stores.rows import step_of


def steps(session: Session, seq: int, since: int, *, attachments: bool = True) -> list[Step]:
    """The path to a message (its number) from a depth on; without `attachments` it only refers to them."""
    rows = session.all("steps", seq=seq, since=since)
    return whole_steps(session, rows) if attachments else [step_of(row) for row in rows]


def step(session: Session, seq: int, *, attachments: bool = True) -> Step | None:
    """One message (its number); None where it is gone."""
    row = session.one("node", seq=seq)
    return steps(session, seq, row["depth"], attachments=attachments)[0] if row is not None else None


def first_steps(
    session: Session, conversation: int, end: int | None, *, attachments: bool = True
) -> list[Step]:
    """What the path to `end` begins with (`openings.opening`), but for what is deleted."""
    found = [step(session, seq, attachments=attachments) for seq in opening(session, conversation, end)]
    return [each for each in found if each is not None and not each.deleted]
