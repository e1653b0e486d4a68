"""How what was found is ranked: by its words, by who said it, and by what was said around it.

Words alone find who talks much of a subject. What somebody wants to find again was mostly said by the user, and often
its telling words stand in the message before or after: a question has the subject, a bare answer the fact. So a match
counts by its role, and has a share of what its neighbours count, as far as these are matches themselves.

The constants for words lie where nothing changes much: `python -m bench.recall` shows what each step brings, and what
other values would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

USER_WEIGHT = 2.0
"""A message of the user counts so many times one of another role. More loses what replies told, and finds no more."""
NEXT_SHARE = 0.4
"""So much is added of what the message before counts, and as much of the one after it. With less, what replies told is
found more seldom; with more, what was told in one message."""
SECOND_SHARE = 0.25
"""The same for messages two steps away: said by the same side, with a message of the other between them."""
VECTOR_WEIGHT = 0.5
"""The part of vectors in a blend; words have the rest. A choice between sets, which differ in what finds more alone: in
that of the benchmark more would be better."""


class Scored(Protocol):
    """A message that was found. `number` is its own, larger for newer ones, `parent` the number of the one before it;
    `depth` is its place in its `conversation`. `score` says how well it fits by itself: 0 or more, the larger the
    better."""

    @property
    def number(self) -> int: ...
    @property
    def parent(self) -> int | None: ...
    @property
    def conversation(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def score(self) -> float: ...


S = TypeVar("S", bound=Scored)


def smoothed(
    matches: Iterable[Scored],
    *,
    also: Iterable[Scored] = (),
    user_weight: float = USER_WEIGHT,
    next_share: float = NEXT_SHARE,
    second_share: float = SECOND_SHARE,
) -> dict[int, float]:
    """What each match counts, by its number: its score by its role, and shares of its neighbours among the matches.

    What is found `also`, in another way, has nothing but such shares, where it is no match; nor does it give any.
    Where a conversation has branches, several messages come after one: the best of them counts, so that no question is
    found sooner because it was answered often. What is between messages two steps apart need be no match, so that there
    nothing says whether they are on one branch, and it is not asked.
    """
    scored = {match.number: match for match in matches}
    found = {match.number: match for match in also} | scored
    weighted = {
        number: match.score * (user_weight if match.role == "user" else 1.0)
        for number, match in scored.items()
    }
    after: defaultdict[int, float] = defaultdict(float)
    at: defaultdict[tuple[str, int], float] = defaultdict(float)
    for number, match in scored.items():
        if match.parent is not None:
            after[match.parent] = max(after[match.parent], weighted[number])
        place = (match.conversation, match.depth)
        at[place] = max(at[place], weighted[number])

    def counted(match: Scored) -> float:
        before = weighted.get(match.parent, 0.0) if match.parent is not None else 0.0
        second = sum(at.get((match.conversation, match.depth + step), 0.0) for step in (-2, 2))
        next_to = before + after.get(match.number, 0.0)
        return weighted.get(match.number, 0.0) + next_share * next_to + second_share * second

    return {number: counted(match) for number, match in found.items()}


def blended(
    words: Mapping[int, float], vectors: Mapping[int, float], *, vector_weight: float = VECTOR_WEIGHT
) -> dict[int, float]:
    """What messages count by their words and by their vectors together, both `smoothed`: each scaled to its best, which
    is 1. A message that only one of them found has 0 of the other, as has one whose vector points away.

    >>> blended({1: 8.0, 2: 2.0}, {2: 0.5, 3: -0.1}, vector_weight=0.5)
    {1: 0.5, 2: 0.625, 3: 0.0}
    """
    by_words, by_vectors = _scaled(words), _scaled(vectors)
    return {
        number: (1 - vector_weight) * by_words.get(number, 0.0) + vector_weight * by_vectors.get(number, 0.0)
        for number in dict.fromkeys([*words, *vectors])
    }


def ranked(matches: Iterable[S], counts: Mapping[int, float] | None = None) -> list[S]:
    """The matches, each once, the best first and the newer first of those that count the same: by `counts`, or as they
    are `smoothed`."""
    found = {match.number: match for match in matches}
    counts = smoothed(found.values()) if counts is None else counts
    return sorted(found.values(), key=lambda match: (-counts.get(match.number, 0.0), -match.number))


def _scaled(counts: Mapping[int, float]) -> dict[int, float]:
    best = max(counts.values(), default=0.0)
    return {number: max(count, 0.0) / best if best > 0 else 0.0 for number, count in counts.items()}
