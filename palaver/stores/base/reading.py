"""The verbs that read."""

from __future__ import annotations

from typing import Protocol

from palaver.core.tree import Instruction
from palaver.stores.base.values import Conversation, Item, Order, TurnRecord


class Reading(Protocol):
    """What a store can be asked for. Where nothing is found that is told; it never stands for an error."""

    async def conversations(
        self,
        owner: str,
        *,
        end_user: str | None = None,
        name: str | None = None,
        one_shots: bool = False,
        temporary: bool = False,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Conversation]:
        """Conversations of an owner, last updated first, after the one whose id is `after`.

        One-shot and temporary ones are among them only where they are asked for.

        Raises ConversationNotFound for an unknown `after`.
        """

    async def conversation(self, owner: str, ref: str, end_user: str | None = None) -> Conversation:
        """One conversation, by id or by name. Raises ConversationNotFound.

        Where an `end_user` is named, another's is not found; without one, a name is that of a conversation
        that has no end user.
        """

    async def items(
        self,
        owner: str,
        conversation: str,
        *,
        to: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        """Messages on a path of a conversation (an id), after the one whose id is `after`.

        The path leads to the message `to`, by default to the head. Raises ConversationNotFound, MessageNotFound,
        and InvalidRequest (param ``after``) for a message not on that path.
        """

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        """One turn. Raises TurnNotFound."""

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        """The instructions of the conversation's latest turn. Raises ConversationNotFound."""
