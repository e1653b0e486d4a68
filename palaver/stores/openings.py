"""What paths begin with: the system and developer messages above all others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from palaver.core.message import INSTRUCTING
from palaver.core.path import Step
from palaver.core.tree import Node
from palaver.stores.database import Session


def opening(session: Session, conversation: int, end: int | None) -> list[int]:
    """The system and developer messages that the path to `end` begins with, first message first; their numbers.

    From the top down, which is quick: nearly always there is one first message. Only where branches begin with
    different ones the path is walked up.
    """
    rows, found = session.all("first_messages", conversation=conversation), []
    while end is not None and any(row["role"] in INSTRUCTING for row in rows):
        if len(rows) > 1:
            return [row["seq"] for row in session.all("opening_of_path", seq=end)]
        found.append(rows[0]["seq"])
        rows = session.all("messages_below", parent=rows[0]["seq"]) if rows[0]["seq"] != end else []
    return found


def opening_below(session: Session, conversation: int, end: Node | None, steps: Sequence[Step]) -> list[Step]:
    """Of messages that are to hang below the path to `end`, those that will belong to its opening: the first ones,
    where that is nothing else."""
    if end is not None and len(opening(session, conversation, end.id)) <= end.depth:
        return []
    return list(takewhile(lambda step: step.message.role in INSTRUCTING, steps))
