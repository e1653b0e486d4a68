"""The part of a long text around what is looked for. Pure.

Whoever marks words in a text looks at each of them beside all others, which takes long where there are thousands. So
a long text is cut first.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from palaver.core.searching import INVISIBLE, Term, spaced

PART = 4000
"""A part has so many characters."""
BEFORE = 500
"""So many of them stand before the first word that is looked for."""
PLACES = 100
"""As many places of a word are looked at, where words begin so,"""
TRIES = 2000
"""among as many where anything in a word is like it."""
NEEDLE = 64
"""As many characters of a word are looked for."""
ENDING = 3
"""A word that is not found so is looked for without its last letters: English endings do not count."""

_word = re.compile(r"[^\W_]+")
_rest_of_word = re.compile(r"[^\W_]{0,100}")


class Part(NamedTuple):
    """A part of a text, and whether there is more before and after it."""

    text: str
    follows: bool = False
    goes_on: bool = False


class _Plain(dict[int, str]):
    """Letters without their case and accents, each one for one, so that places stay what they are."""

    def __missing__(self, sign: int) -> str:
        plain = unicodedata.normalize("NFD", chr(sign))[0].casefold()
        self[sign] = plain if len(plain) == 1 else chr(sign)
        return self[sign]


_plain = _Plain()


def part_of(text: str, terms: Sequence[Term]) -> Part:
    """The part of a text (`core.searching.spaced`) that has the most of these terms, the first of such; of a text that
    has none, its beginning.

    >>> part_of("x " * 5000 + "tea", [Term("Tea")]).text[-5:]
    'x tea'
    """
    if len(text) <= PART:
        return Part(text)
    plain = _plain_of(text)
    whole = [_needle(term.text) for term in terms]
    words = [word for term in terms if term.is_phrase for word in _word.findall(_needle(term.text))]
    needles = [needle for needle in dict.fromkeys([*whole, *words]) if needle]
    at = _fullest(plain, needles)
    if at is None:
        at = _fullest(plain, [needle[: max(ENDING, len(needle) - ENDING)] for needle in needles])
    start = max(0, min((at or 0) - BEFORE, len(text) - PART))
    if start and (begun := _rest_of_word.match(text, start)):
        start = begun.end()  # the rest of a word is none
    return Part(text[start : start + PART], follows=start > 0, goes_on=start + PART < len(text))


def _plain_of(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_plain)


def _needle(text: str) -> str:
    return _plain_of(spaced(text).lstrip(INVISIBLE))[:NEEDLE]


def _fullest(text: str, needles: Sequence[str]) -> int | None:
    """Where the first stretch begins that has the most of what is looked for."""
    places = sorted(
        (at, needle) for needle in needles for at in itertools.islice(_places(text, needle), PLACES)
    )
    best, most, last = None, 0, 0
    within: Counter[str] = Counter()
    for at, needle in places:
        # Each place is where a stretch begins; `last` is the first place after it.
        while last < len(places) and places[last][0] < at + PART - 2 * BEFORE:
            within[places[last][1]] += 1
            last += 1
        if len(within) > most:
            best, most = at, len(within)
        within[needle] -= 1
        if not within[needle]:
            del within[needle]
    return best


def _places(text: str, needle: str) -> Iterator[int]:
    """Where words begin so."""
    at = -1
    for _ in range(TRIES):
        at = text.find(needle, at + 1)
        if at < 0:
            return
        if not (at and text[at - 1].isalnum()):
            yield at
