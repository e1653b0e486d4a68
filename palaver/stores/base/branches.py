"""The verbs of the tree's branches."""

from __future__ import annotations

from typing import Protocol

import msgspec

from palaver.stores.base.values import Conversation, Item


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A run of messages of which only the last may have several right below it (`core.segments`).

    `first` and `last` are the ids of its ends, `parent` that of the message above it. `messages` counts tombstones too.
    `role` is that of its first message, `text` the first words of the first user message in it, or else of the first
    one. It was begun at `created_at`, and the latest message came at `updated_at` (milliseconds since 1970).
    `is_on_path` says whether the path to the head goes through it, or ends in it.
    """

    first: str
    last: str
    parent: str | None
    messages: int
    role: str
    text: str
    created_at: int
    updated_at: int
    is_on_path: bool


class Map(msgspec.Struct, frozen=True):
    """A conversation's tree, its segments in the order in which they began, and its head."""

    head: str | None
    segments: list[Segment]


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

    async def map(self, owner: str, conversation: str) -> Map:
        """The whole tree of a conversation, with its long runs drawn together. Raises ConversationNotFound."""

    async def set_head(
        self, owner: str, conversation: str, message: str, *, newest: bool = False
    ) -> Conversation:
        """Make this message the head: what is read by default, and where the next turn goes on.

        With `newest` the head becomes the leaf that came last of those below it, or the message itself where it is one.
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
