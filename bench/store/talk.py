"""What is said in this benchmark: turns of 800 bytes, no two alike."""

from __future__ import annotations

from palaver.core.turn import ContentDelta, Delta

QUESTION, REPLY = 200, 600
"""Bytes. A turn has 0.8 kB of text, a thousand of them 0.8 MB."""
TOKEN = 4
"""Bytes of a delta, about a token."""
WORDS = "it was the best of times, it was the worst of times, it was the age of wisdom, "


def question(number: int) -> str:
    return _text(f"Question {number}: ", QUESTION)


def reply(number: int) -> str:
    return _text(f"Reply {number}: ", REPLY)


def deltas(text: str) -> list[Delta]:
    """A reply as an engine gives it."""
    return [ContentDelta(text[i : i + TOKEN]) for i in range(0, len(text), TOKEN)]


def _text(start: str, size: int) -> str:
    return (start + WORDS * (size // len(WORDS) + 1))[:size]
