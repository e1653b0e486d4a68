"""The verbs that delete. What they delete is gone from every part of the store when they return."""

from __future__ import annotations

from typing import Protocol

from palaver.stores.base.values import Conversation, Deleted


class Deletion(Protocol):
    """Deletion reaches every copy in the store: rows, indexes, logs, what stands in its journal.

    Turns that run where something is deleted lose their lease. Each deletion leaves a line in the record of
    deletions (when, whose, how many), which holds nothing of what was deleted. Where it raises StoreUnavailable
    because the last bytes could not be wiped, the deletion holds, and the next one wipes them too.
    """

    async def delete_message(self, owner: str, message: str) -> Deleted:
        """Delete one message. A leaf is removed, with the turn that generated it; the head falls back to its
        parent. An inner message becomes a tombstone without content or key, which windows skip and no
        resend matches. A title that was made of it goes too.

        A turn of several replies goes with the last of them. Until then the others keep their numbers, that of
        the one that is gone stands for nothing, and the turn keeps no words: neither tools, schemas and the like
        that were sent with it, nor errors and warnings. A resend of its request is answered anew.

        Raises MessageNotFound.
        """

    async def delete_branch(self, owner: str, message: str) -> Deleted:
        """Delete a message and all below it. Raises MessageNotFound."""

    async def delete_turn(self, owner: str, turn: str) -> Deleted:
        """Delete a turn: all its replies, as `delete_message` does, and what was asked in it, unless something
        else answers that. Raises TurnNotFound."""

    async def delete_conversation(self, owner: str, conversation: str) -> Deleted:
        """Delete a conversation (an id) with all its messages and turns. Raises ConversationNotFound."""

    async def delete_end_user(self, owner: str, end_user: str) -> Deleted:
        """Delete all conversations of an end user, and the name. Deletes nothing where there is none."""

    async def delete_owner(self, owner: str) -> Deleted:
        """Delete everything of an owner: conversations, end users, API keys, the secret of its keys."""

    async def conversations_of(self, owner: str, end_user: str) -> set[str]:
        """The ids of all conversations of an end user, at one moment: what `delete_end_user` would delete."""

    async def aged(
        self, before: int, *, owner: str | None = None, limit: int = 100
    ) -> tuple[int, list[Conversation]]:
        """How many conversations were last updated before this time (milliseconds since 1970), and the oldest
        of them, the oldest first: what `delete_aged` would delete. Of one owner, or of all."""

    async def delete_aged(self, before: int, *, owner: str | None = None) -> Deleted:
        """Delete every conversation last updated before this time, in portions that let others write between.

        A conversation with a turn that runs or waits stays.
        """

    async def delete_expired(self, now: int) -> Deleted:
        """Delete conversations whose time is over at `now`, and attempts that are too old to be repeated.

        One with a turn that runs or waits stays.
        """

    async def next_expiry(self) -> int | None:
        """When the next conversation goes, of all owners, in milliseconds since 1970; None where none does.

        A temporary one with a turn that runs or waits does not go yet.
        """

    async def overdue(self, now: int) -> list[tuple[str, str]]:
        """The conversations (owner and id) that go at a time that was set for them, which is over at `now`, and that
        have a turn that runs or waits."""
