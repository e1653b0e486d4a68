"""What a conversation is called in lists until somebody says better: the first words of a question."""

from __future__ import annotations

from palaver.core.message import Message

TITLE_CHARACTERS = 60


def title_of(message: Message) -> str | None:
    """The first words of a message; None where it has none."""
    words = " ".join(message.text.split())
    if len(words) > TITLE_CHARACTERS:
        words = words[: TITLE_CHARACTERS - 1].rstrip() + "…"
    return words or None
