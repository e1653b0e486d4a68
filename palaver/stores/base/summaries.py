"""The verbs of summaries."""

from __future__ import annotations

from typing import Protocol

from palaver.core.summaries import Summary


class Summaries(Protocol):
    """Each is of the path to a message, and goes when any message of that path is deleted. Forks take none along.

    Conversations, messages and summaries are named by ids. All verbs raise ConversationNotFound, and those that name a
    summary SummaryNotFound.
    """

    async def summaries(self, owner: str, conversation: str) -> list[Summary]:
        """All of a conversation, also those that are off or stale; those that cover most first."""

    async def summary(self, owner: str, conversation: str, summary: str) -> Summary:
        """One of them."""

    async def add_summary(
        self,
        owner: str,
        conversation: str,
        message: str,
        text: str,
        *,
        model: str | None,
        living: int,
        of: str | None = None,
    ) -> Summary | None:
        """Keep a summary of the path to a message; it takes the place of no other.

        `living` is how many messages of that path were there when it was made, `of` the summary that it was made of.
        Where there are others now, or that is gone, something that it may quote was deleted: nothing is kept, and None
        returned. Raises MessageNotFound.
        """

    async def edit_summary(
        self,
        owner: str,
        conversation: str,
        summary: str,
        text: str,
        *,
        model: str | None = None,
        living: int | None = None,
        of: str | None = None,
    ) -> Summary | None:
        """Give a summary another text, which a `model` wrote or, without one, a person. Its version is one more then.

        With `living` and `of`, as in `add_summary`: None where something was deleted since.
        """

    async def switch_summary(self, owner: str, conversation: str, summary: str, *, is_off: bool) -> Summary:
        """Have windows show it or not. The version stays."""

    async def delete_summary(self, owner: str, conversation: str, summary: str) -> None:
        """Delete a summary, in every copy, and those that may have been made of it: they cover more of the same path,
        and were written since. What it is about stays."""
