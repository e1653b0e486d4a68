"""How what is found is put in one order, and where a page of it begins. Pure.

A page goes on after a hit, wherever that stands now; where it is gone, after the last of its page that is there, and
where none is, at the place where its page began. So what is deleted between two pages moves nothing, and what is new is
left out by its number (`Scope.until`).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

from palaver.core.errors import InvalidRequest
from palaver.core.searching import MARKS, Query
from palaver.stores.base import Match, TitleMatch

Number = Annotated[int, Meta(ge=0, le=2**53)]
Hit = Match | TitleMatch
MOST_HITS = 100
"""A page has as many."""
TAIL = 8
"""The last characters of an id, which are random, tell it from those of other hits."""
_marked = re.compile(f"{MARKS[0]}(.*?){MARKS[1]}", re.DOTALL)


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins: behind the hit that has this `position` in the list. `of` says what is searched for,
    `until` what was the latest message then.

    What is sorted by time goes on by `below`, the number of the last message so far, and by `titled`, the time of the
    last title and the id of its conversation; what is sorted by relevance by `page`, the tails of the ids of that page
    up to this hit, and `began`, the position of its first.
    """

    of: str
    until: Number
    position: Number
    below: Number | None = None
    titled: tuple[Number, str] | None = None
    page: Annotated[str, Meta(max_length=TAIL * MOST_HITS)] = ""
    began: Number = 0

    def encoded(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


class Ranked(msgspec.Struct, frozen=True):
    """A hit with its score, and its place."""

    hit: Hit
    score: float
    position: int
    below: int | None = None
    titled: tuple[int, str] | None = None


_cursor = msgspec.json.Decoder(Cursor)


def digest(*what: object) -> str:
    """What a cursor belongs to: everything that says which hits there are, and in which order."""
    return urlsafe_b64encode(blake2b(msgspec.json.encode(what), digest_size=9).digest()).decode()


def read_cursor(after: str | None, of: str) -> Cursor | None:
    """Raises InvalidRequest for one of another search, and for what is none."""
    if after is None:
        return None
    try:
        cursor = _cursor.decode(urlsafe_b64decode(after.encode() + b"=" * (-len(after) % 4)))
    except (msgspec.DecodeError, NoBase64, UnicodeError, ValueError):
        raise InvalidRequest("`after` is no id of a hit.", param="after") from None
    if cursor.of != of:
        raise InvalidRequest("`after` is a hit of another search: of other words or filters.", param="after")
    return cursor


def id_of(hit: Hit) -> str:
    return hit.message if isinstance(hit, Match) else hit.conversation


def page_up_to(ranked: Sequence[Ranked], place: int) -> str:
    """The ids of a page as far as the hit at this place, as a cursor has them."""
    return "".join(id_of(each.hit)[-TAIL:] for each in ranked[: place + 1])


def by_relevance(messages: Sequence[Match], titles: Sequence[TitleMatch], query: Query) -> list[Ranked]:
    """Both in one order. Scores are relative to the best of their kind; that of a title counts for as much of the query
    as it has. Of equals titles come first."""
    best_message = max((match.score for match in messages), default=0.0) or 1.0
    best_title = max((match.score for match in titles), default=0.0) or 1.0
    scored: list[tuple[float, Hit]] = [
        (title.score / best_title * _share(title, query), title) for title in titles
    ]
    scored.sort(key=lambda each: -each[0])
    of_messages: list[tuple[float, Hit]] = []
    for match in messages:  # in the order they are ranked in, whatever that was made of
        last = of_messages[-1][0] if of_messages else 1.0
        of_messages.append((min(last, match.score / best_message), match))
    merged = sorted([*scored, *of_messages], key=lambda each: -each[0])
    return [Ranked(hit, score, position) for position, (score, hit) in enumerate(merged)]


def _share(title: TitleMatch, query: Query) -> float:
    """How much of a query a title has. A word that was found may have another ending; of a script without spaces
    several terms may stand in one mark."""
    found = {part.casefold() for part in _marked.findall(title.title)}
    whole = sum(any(term.text.casefold() in part for part in found) for term in query.terms)
    return min(1.0, max(len(found), whole) / max(1, len(query.terms)))


def rest(ranked: Sequence[Ranked], cursor: Cursor | None) -> Sequence[Ranked]:
    """What comes after the page before."""
    if cursor is None:
        return ranked
    places = {id_of(each.hit)[-TAIL:]: place for place, each in enumerate(ranked)}
    page = [cursor.page[at : at + TAIL] for at in range(0, len(cursor.page), TAIL)]
    last = next((places[tail] for tail in reversed(page) if tail in places), None)
    return ranked[cursor.began if last is None else last + 1 :]


def by_time(
    messages: Sequence[Match], titles: Sequence[TitleMatch], cursor: Cursor | None
) -> Iterator[Ranked]:
    """Both in one order, the newest first, after the page before; the messages are those after it already."""
    titled = cursor.titled if cursor else None
    below = cursor.below if cursor else None
    position = cursor.position + 1 if cursor else 0
    waiting = sorted(titles, key=_when, reverse=True)
    if titled is not None:
        waiting = [title for title in waiting if _when(title) < titled]
    waiting.reverse()
    for match in [*messages, None]:
        while waiting and (match is None or waiting[-1].updated_at >= match.created_at):
            title = waiting.pop()
            titled = _when(title)
            yield Ranked(title, 1.0, position, below, titled)
            position += 1
        if match is not None:
            below = match.number
            yield Ranked(match, 1.0, position, below, titled)
            position += 1


def _when(title: TitleMatch) -> tuple[int, str]:
    return title.updated_at, title.conversation
