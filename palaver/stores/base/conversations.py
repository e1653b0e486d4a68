"""The verbs with which conversations are made and changed beside turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, UnsetType

from palaver.core.message import Message
from palaver.stores.base.values import Conversation, Item


class Conversations(Protocol):
    """Conversations that somebody makes and fills. They are no tasks, and stay when their last message goes."""

    async def create_conversation(
        self,
        owner: str,
        messages: Sequence[Message] = (),
        *,
        end_user: str | None = None,
        name: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        source: str | None = None,
        temporary: int | None = None,
    ) -> Conversation:
        """A new conversation; its head is the last of the messages. Its owner and end user are made where they are new.

        `temporary` is how long it is kept after it was last used, in seconds; None for as long as nobody deletes it.
        For `title` see `update_conversation`. Raises InvalidRequest (param ``name``) for a name that the end user has
        already, and (param ``messages[2].tool_call_id``) for the result of a call that none of them makes.
        """

    async def add_items(
        self, owner: str, conversation: str, messages: Sequence[Message], *, below: str | None = None
    ) -> list[Item]:
        """Hang messages below the head of a conversation (an id); the last of them is the head then. At least one.

        Without a turn: nothing answers them. What hangs there already with the same content stays beside them.
        `below` a message (its id) they are a branch: the head stays, whatever runs there, and what is there already
        with the same content is these messages. Raises ConversationNotFound, MessageNotFound, ConversationBusy while a
        turn runs there or waits, and InvalidRequest (param ``messages[2].tool_call_id``) for the result of a call that
        nothing on the path makes.
        """

    async def update_conversation(
        self,
        owner: str,
        conversation: str,
        *,
        metadata: Mapping[str, str] | None = None,
        title: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        expires_in: int | UnsetType | None = UNSET,
    ) -> Conversation:
        """Set what is said of a conversation (an id); what is None stays. It stays where it stands in lists.

        A `title` is the user's then: no words and no model take its place, and deleting a message does not take it
        along. One that is empty makes room for the first words again. With `expires_in` it is deleted so many seconds
        from now (`Deletion.delete_expired`), whatever is said in it meanwhile; with None it is kept, also one that was
        temporary. Raises ConversationNotFound.
        """
