"""Searching: what of a message is searched, and what a query asks for.

Words are found in every script. The index parts a text where it has no letters and digits; scripts that write without
spaces would be one long word then, so that between their signs an invisible space is put (`spaced`), in what is indexed
and in queries alike.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.message import Message

INVISIBLE = "\u200b"
"""A space without width."""
MARKS = ("\ue000", "\ue001")
"""What stands before and after each word that was found: two signs that nothing which is searched has."""
MOST_CHARACTERS = 10_000
MOST_WORDS = 64
"""As many words of a query are looked for, its first, and in all phrases together as many again."""
MOST_PARTS = 4 * MOST_WORDS
"""A word may be several to an index: its signs, or what apostrophes part. As many are looked for in all words."""
LEAST_LETTERS = 3
"""A beginning that is looked for has so many letters, as fewer begin too many words;"""
LEAST_SIGNS = 2
"""of scripts that write without spaces so many signs."""
_EVERYWHERE = """
    a about after all also am an and any are as at be because been before being but by can could did do does doing
    for from had has have having he her here hers him his how i if in into is it its just me more most my no nor not
    of off on once only or other our ours out over own same she should so some such than that the their theirs them
    then there these they this those to too under until up very was we were what when where which while who whom why
    will with would you your yours please tell
"""
STOP_WORDS = frozenset(_EVERYWHERE.split())
"""English words that are everywhere: a query that has others is not about them."""

_SYLLABLES = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uac00-\ud7af"  # Hangul, whose particles hang on its words
    "\U00020000-\U0003ffff"  # Han again
)
_LETTERS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
)
_LONE = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # halves of signs, which no index takes
_FOREIGN = {0: " ", **{ord(mark): " " for mark in MARKS}, **_LONE}
_sign = re.compile(f"([{_SYLLABLES}{_LETTERS}])")
_part = re.compile(f"[{_SYLLABLES}{_LETTERS}]|[^\\W_{_SYLLABLES}{_LETTERS}]+")
_has_word = re.compile(r"[^\W_]")
_quoted = re.compile(r'"([^"]*)"|[“„«]([^”“„«»"]*)[”“»]')
_runs = re.compile(f"([{_SYLLABLES}]+)|([{_LETTERS}]+)|[^{_SYLLABLES}{_LETTERS}]+")
_elided = re.compile(r"^(?:[cdjlmnst]|qu)['’](?=\w\w)", re.IGNORECASE)
_ending = re.compile(r"['’](?:s|m|re|ve|ll|d)$", re.IGNORECASE)
_negated = re.compile(r"n['’]t$", re.IGNORECASE)


class Term(msgspec.Struct, frozen=True):
    """Something that is looked for: a word, or the words of a `phrase` one after the other. With `is_prefix` whatever
    begins so is found."""

    text: str
    is_phrase: bool = False
    is_prefix: bool = False


class Query(msgspec.Struct, frozen=True):
    """What is looked for: messages that have all `phrases`, and any of the `words`, the more of them the better. `text`
    is what somebody wrote, all of it, for whatever goes by meaning."""

    words: tuple[Term, ...] = ()
    phrases: tuple[Term, ...] = ()
    text: str = ""

    @property
    def terms(self) -> tuple[Term, ...]:
        return (*self.phrases, *self.words)


def searchable(message: Message) -> str:
    """What of a message is searched: its text. Calls and thoughts are not, nor what is attached."""
    return spaced(message.text)


def spaced(text: str) -> str:
    """A text with invisible spaces between the signs of scripts that write without any.

    >>> spaced("東京 tower").replace(INVISIBLE, "·")
    '·東·京 tower'
    """
    if text.isascii():
        return text.replace("\0", " ")
    return _sign.sub(INVISIBLE + r"\1", text.translate(_FOREIGN))


def unspaced(text: str) -> str:
    """The text again, as it was."""
    return text.replace(INVISIBLE, "")


def read_query(text: str, *, param: str = "q") -> Query:
    """What somebody looks for: words, phrases in quotes, and words that end in ``*`` for whatever begins so.

    All else is punctuation: there are no operators that could be wrong. A ``*`` is, too, after fewer than three letters
    (two signs of scripts that write without spaces), and where it ends what another one began, as in Markdown. Words
    that are everywhere count only where there are no others. Raises InvalidRequest for a query without a word, and for
    one of more than 10,000 characters.

    >>> query = read_query('where does "Aunt Mary" live? Zuri*')
    >>> [term.text for term in query.words], [term.text for term in query.phrases]
    (['live', 'Zuri'], ['Aunt Mary'])
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequest(f"`{param}` has more than {MOST_CHARACTERS:,} characters.", param=param)
    phrases = [found[0] or found[1] for found in _quoted.findall(text)]
    phrases = [phrase for phrase in phrases if _has_word.search(phrase)]
    words = list(_words(_quoted.sub(" ", text)))
    if not words and not phrases:
        raise InvalidRequest(f"`{param}` has no word to look for.", param=param)
    telling = [
        word for word in words if word.text.lower() not in STOP_WORDS and not _negated.search(word.text)
    ]
    return Query(
        words=tuple(_first((telling or (() if phrases else words))[:MOST_WORDS], MOST_PARTS)),
        phrases=tuple(_first([Term(each, is_phrase=True) for each in dict.fromkeys(phrases)], MOST_WORDS)),
        text=text,
    )


def _first(terms: Sequence[Term], most: int) -> Iterable[Term]:
    """As much of these as has at most so many words to an index; the last of them is cut."""
    for term in terms:
        ends = [found.end() for found in itertools.islice(_part.finditer(term.text), most + 1)]
        if len(ends) <= most:
            yield term
        elif most:
            yield Term(term.text[: ends[most - 1]], is_phrase=term.is_phrase)
        most -= min(most, len(ends))


def _words(text: str) -> Iterable[Term]:
    seen: set[str] = set()
    end, is_emphasised = 0, False
    for found in _letters(text).finditer(text):
        between, end = text[end : found.start()], found.end()
        # A star before a word begins what another one after a word, or after its punctuation, ends.
        is_emphasised = between.endswith("*") or (is_emphasised and "*" not in between)
        pieces = list(_pieces(found[1]))
        for piece in pieces:
            if (key := piece.lower()) not in seen:
                seen.add(key)
                is_begun = bool(found[2]) and not is_emphasised and piece is pieces[-1]
                yield Term(piece, is_prefix=is_begun and _is_long(piece))
        is_emphasised = is_emphasised and not found[2]


def _is_long(piece: str) -> bool:
    """Whether few words begin so."""
    return len(_sign.findall(piece)) >= LEAST_SIGNS or sum(map(str.isalnum, piece)) >= LEAST_LETTERS


def _letters(text: str) -> re.Pattern[str]:
    """What is a word in this text: letters and digits, with the marks among them that Indian and other scripts write
    vowels with, and apostrophes within."""
    marks = "" if text.isascii() else "".join({c for c in text if unicodedata.category(c).startswith("M")})
    letter = f"(?:[^\\W_]|[{re.escape(marks)}])" if marks else r"[^\W_]"
    return re.compile(rf"([^\W_](?:['’]?{letter})*)(\**)")


def _pieces(word: str) -> Iterable[str]:
    """What is looked for of a word: "Nora" of "Nora's", "eau" of "l'eau". In scripts that write without spaces a whole
    sentence is one word, of which its pairs of signs are looked for, or fours where signs are letters."""
    for found in _runs.finditer(_ending.sub("", _elided.sub("", word))):
        run = found[0]
        size = 2 if found[1] else 4 if found[2] else len(run)
        yield from (run[i : i + size] for i in range(max(1, len(run) - size + 1)))
