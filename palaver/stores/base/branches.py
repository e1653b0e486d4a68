"""The verbs of the tree's branches."""

from __future__ import annotations

from typing import Protocol

from palaver.stores.base.values import Conversation, Item


class Branches(Protocol):
    """A conversation as the tree it is. `conversation` is an id everywhere here."""

    async def tree(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        """All messages of a conversation in the order in which they came, after the one whose id is `after`.

        Their `parent`s give the tree its form. Raises ConversationNotFound, and InvalidRequest (param
        ``after``) for a message of another conversation.
        """

    async def leaves(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        """The ends of a conversation's branches, the latest first, after the one whose id is `after`.

        Raises as `tree` does.
        """

    async def set_head(self, owner: str, conversation: str, message: str) -> Conversation:
        """Make this message the head: what is read by default, and where the next turn goes on.

        Raises ConversationNotFound, and MessageNotFound for a message of another conversation.
        """

    async def fork(
        self, owner: str, conversation: str, message: str | None = None, *, name: str | None = None
    ) -> Conversation:
        """A new conversation of the same end user that holds a copy of the path to a message, or to the head.

        The copies are rows of their own, so that deleting either conversation leaves the other. They are not
        what palaver generated there: a resent history goes on in the original. Tombstones are left out. Its
        windows are chosen as the original's are.

        Raises ConversationNotFound, MessageNotFound, and InvalidRequest (param ``name``) for a name that the
        end user has already.
        """
