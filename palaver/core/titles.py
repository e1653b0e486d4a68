"""What a conversation is called in lists: the first words of its question, or what a model makes of that."""

from __future__ import annotations

import re

from palaver.core.thinking import CLOSE, split_thinking

TITLE_CHARACTERS = 60
MARKS = " \t\"'`*_\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb\u300c\u300d\u300e\u300f"
"""What models put around a title."""
LABEL = re.compile(r"title\s*:\s*", re.IGNORECASE)
NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ufffd]|<\||\|>")
"""Pieces of a template, or of characters."""


def shortened(text: str, most: int = TITLE_CHARACTERS) -> str:
    """A text in one line of at most so many characters, by default as long as a title may be."""
    words = " ".join(text.split())
    if len(words) > most:
        words = words[: most - 1].rstrip() + "…"
    return words


def title_in(answer: str, *, is_whole: bool = True) -> str | None:
    """The title that a model was asked for: the first line of its answer without thinking, a label, quotes and a period
    at its end. None where that says nothing, or is not whole because the answer was cut off.

    >>> title_in('<think>Hm.</think>\\n\\n**Title: "A weekend in Rome."**')
    'A weekend in Rome'
    >>> title_in("...") is title_in("A weekend in the mid", is_whole=False) is None
    True
    """
    text = split_thinking(answer)[1].rpartition(CLOSE)[2].strip()
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip(MARKS)]
    if len(lines) > 1 and lines[0].rstrip(MARKS).endswith(":"):  # "Here is a title:"
        del lines[0]
    if not lines or (len(lines) == 1 and not is_whole) or NO_TEXT.search(lines[0]):
        return None
    title = lines[0].lstrip("#").strip(MARKS)
    if label := LABEL.match(title):
        title = title[label.end() :]
    title = title.strip(MARKS + ".。")
    return shortened(title) if any(character.isalnum() for character in title) else None
