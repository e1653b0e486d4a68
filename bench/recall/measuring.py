"""Asking the store each question, and at which rank its evidence comes by each way of ranking."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench.recall.dialogues import Dialogue, Plan, Question, Way, dialogues
from bench.recall.meaning import Meaning
from palaver.core.message import Message
from palaver.core.ranking import (
    NEXT_SHARE,
    SECOND_SHARE,
    USER_WEIGHT,
    VECTOR_WEIGHT,
    blended,
    ranked,
    smoothed,
)
from palaver.core.searching import Query, Term, read_query
from palaver.stores.base import Match, Scope
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

OWNER = "local"
_word = re.compile(r"\w+")


class Step(msgspec.Struct, frozen=True):
    """A way of ranking. With `all_words` stop words are looked for as well. `vector_weight` is 0 where words alone
    count, and 1 where they do not."""

    name: str
    all_words: bool = False
    user_weight: float = USER_WEIGHT
    next_share: float = NEXT_SHARE
    second_share: float = SECOND_SHARE
    vector_weight: float = 0.0


STEPS = (
    Step("all words", True, 1, 0, 0),
    Step("stop words left out", False, 1, 0, 0),
    Step("user messages count double", False, USER_WEIGHT, 0, 0),
    Step("shares of neighbours"),
)
"""Each has what those before it have."""
BY_MEANING = (
    Step("vectors alone", False, 1, 0, 0, vector_weight=1),
    Step("vectors alone, smoothed", vector_weight=1),
    Step("words and vectors blended", vector_weight=VECTOR_WEIGHT),
)
SWEEPS = (
    *(Step(f"user messages count {weight:g} times", user_weight=weight) for weight in (1, 1.5, 2, 3, 4)),
    *(Step(f"next to it {share:g}", next_share=share) for share in (0, 0.2, 0.4, 0.6, 1)),
    *(Step(f"two steps away {share:g}", second_share=share) for share in (0, 0.125, 0.25, 0.5)),
)
BLENDS = tuple(
    Step(f"vectors {weight:g}", vector_weight=weight) for weight in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
)


class Asked(msgspec.Struct, frozen=True):
    """A question with what was found for it: by all of its words, by those that tell, by vectors."""

    question: Question
    by_all_words: list[Match]
    by_words: list[Match]
    by_vectors: list[Match]


class Figure(msgspec.Struct, frozen=True):
    """What one way of ranking brings, in percent: how often the evidence is among the best 3 and 10, and among these 10
    by the way in which it was told. `rank` is the mean rank where evidence shares any telling word with its question.
    """

    step: Step
    at_3: float
    at_10: float
    by_way: dict[Way, float]
    rank: float


class Found(msgspec.Struct, frozen=True):
    """All figures. `matching` is how much of the evidence has any telling word of its question, in percent; `margin` is
    two standard errors of a recall of one half."""

    plan: Plan
    messages: int
    questions: int
    matching: float
    margin: float
    steps: list[Figure]
    sweeps: list[Figure]
    blends: list[Figure]


async def measure(plan: Plan, folder: Path, meaning: Meaning | None = None) -> Found:
    """Fill a store in this folder, ask it all questions, and rank what it found in every way."""
    talks = dialogues(plan)
    store = SqlStore(await SqliteDatabase.open(folder / "recall.db"))
    try:
        asked = await _ask_all(store, talks, meaning)
    finally:
        await store.close()
    shared = [each for each in asked if _rank(each, STEPS[1]) is not None]

    def figures(steps: Sequence[Step]) -> list[Figure]:
        return [_figure(asked, shared, step) for step in steps]

    return Found(
        plan=plan,
        messages=sum(len(talk.lines) for talk in talks),
        questions=len(asked),
        matching=100 * len(shared) / len(asked),
        margin=100 / math.sqrt(len(asked)),
        steps=figures((*STEPS, *BY_MEANING) if meaning else STEPS),
        sweeps=figures(SWEEPS),
        blends=figures(BLENDS if meaning else ()),
    )


async def _ask_all(store: SqlStore, talks: list[Dialogue], meaning: Meaning | None) -> list[Asked]:
    """Fill first, then ask: how rare a word is depends on all that is in the store."""
    conversations = []
    for talk in talks:
        messages = [Message(line.role, line.text) for line in talk.lines]
        conversations.append((await store.create_conversation(OWNER, messages)).id)
    asked = []
    for talk, conversation in zip(talks, conversations, strict=True):
        scope = Scope(conversation=conversation)
        vectors = await meaning.vectors([line.text for line in talk.lines]) if meaning else None
        for question in talk.questions:
            every = await store.search(OWNER, _all_words(question.text), scope)
            telling = await store.search(OWNER, read_query(question.text), scope)
            near = []
            if meaning and vectors is not None:
                scores = await meaning.near(question.text, vectors)
                near = _as_matches(talk, conversation, scores, telling.found)
            asked.append(Asked(question, every.found, telling.found, near))
    return asked


def _all_words(text: str) -> Query:
    return Query(words=tuple(Term(word) for word in dict.fromkeys(_word.findall(text))))


def _as_matches(
    talk: Dialogue, conversation: str, scores: Sequence[float], found: Sequence[Match]
) -> list[Match]:
    """All messages of a dialogue, with these scores. They were kept one after the other, so that any one that was found
    says which numbers they have."""
    first = found[0].number - found[0].depth if found else 0
    return [
        Match(
            message="",
            conversation=conversation,
            number=first + place,
            parent=first + place - 1 if place else None,
            depth=place,
            role=line.role,
            created_at=0,
            score=max(0.0, score),
        )
        for place, (line, score) in enumerate(zip(talk.lines, scores, strict=True))
    ]


def _rank(asked: Asked, step: Step) -> int | None:
    """The rank of the best of the evidence, from 1; None where none of it is found."""
    counted = partial(
        smoothed,
        user_weight=step.user_weight,
        next_share=step.next_share,
        second_share=step.second_share,
    )
    words = asked.by_all_words if step.all_words else asked.by_words
    if not step.vector_weight:
        return _place(asked.question, ranked(words, counted(words)))
    vectors = asked.by_vectors
    counts = blended(counted(words, also=vectors), counted(vectors), vector_weight=step.vector_weight)
    return _place(asked.question, ranked([*words, *vectors], counts))


def _place(question: Question, matches: Sequence[Match]) -> int | None:
    places = [match.depth for match in matches]
    return min((places.index(place) + 1 for place in question.evidence if place in places), default=None)


def _figure(asked: Sequence[Asked], shared: Sequence[Asked], step: Step) -> Figure:
    ranks = [(each.question.way, _rank(each, step)) for each in asked]
    ways = sorted({way for way, _ in ranks}, key=["told", "answered", "later", "advised"].index)
    found = [_rank(each, step) or len(each.by_words) for each in shared]
    return Figure(
        step=step,
        at_3=_part([rank for _, rank in ranks], 3),
        at_10=_part([rank for _, rank in ranks], 10),
        by_way={way: _part([rank for its, rank in ranks if its == way], 10) for way in ways},
        rank=sum(found) / len(found) if found else 0.0,
    )


def _part(ranks: Sequence[int | None], best: int) -> float:
    return 100 * sum(rank is not None and rank <= best for rank in ranks) / len(ranks)
