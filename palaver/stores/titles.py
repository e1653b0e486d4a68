"""What a conversation is called in lists until somebody says better: the first words of a question."""

from __future__ import annotations

from palaver.core.message import Message
from palaver.core.titles import shortened


def title_of(message: Message) -> str | None:
    """The first words of a message; None where it has none."""
    return shortened(message.text) or None
