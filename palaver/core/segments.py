"""The tree of a conversation with its long runs drawn together: what a map of it shows.

A segment is a run of messages of which only the last may have several right below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """A message without what it says: its number, that of the message above it, and who said it."""

    number: int
    above: int | None
    role: str
    is_deleted: bool = False


def segments(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The segments of a tree whose messages come in an order in which each stands after the one above it. Each begins
    right below the end of another, or where the conversation begins; they come in the order of their first messages.

    >>> tree = [Entry(1, None, "user"), Entry(2, 1, "assistant"), Entry(3, 2, "user"), Entry(4, 2, "user")]
    >>> [[entry.number for entry in segment] for segment in segments(tree)]
    [[1, 2], [3], [4]]
    """
    below = Counter(entry.above for entry in entries)
    drawn: list[list[Entry]] = []
    holding: dict[int, list[Entry]] = {}
    for entry in entries:
        segment = holding.get(entry.above) if entry.above is not None and below[entry.above] == 1 else None
        if segment is None:
            drawn.append(segment := [])
        segment.append(entry)
        holding[entry.number] = segment
    return drawn


def path_of(entries: Sequence[Entry], end: int | None) -> set[int]:
    """The numbers of a message and all above it; empty for none."""
    above = {entry.number: entry.above for entry in entries}
    path: set[int] = set()
    while end is not None and end in above:
        path.add(end)
        end = above[end]
    return path


def telling(segment: Sequence[Entry]) -> Entry | None:
    """The message whose first words say what a segment is about: the first of a user, else the first one; of those that
    are not deleted. None where all of them are."""
    living = [entry for entry in segment if not entry.is_deleted]
    return next((entry for entry in living if entry.role == "user"), living[0] if living else None)
