"""The verbs that read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from palaver.core.tree import Instruction
from palaver.stores.base.values import Conversation, Item, Only, Order, TurnRecord


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
        archived: bool = False,
        only: Only | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Conversation]:
        """Conversations of an owner, last updated first, after the one whose id is `after`.

        One-shot, temporary and archived ones are among them only where they are asked for. `only` asks for one sort
        of them, and for no others: also those that are one-shot, whichever it is.

        Raises ConversationNotFound for an unknown `after`.
        """

    async def conversation(self, owner: str, ref: str, end_user: str | None = None) -> Conversation:
        """One conversation, by id or by name. Raises ConversationNotFound.

        Where an `end_user` is named, another's is not found, but what is nobody's; without one, a name is that of a
        conversation that has no end user.
        """

    async def items(
        self,
        owner: str,
        conversation: str,
        *,
        to: str | None = None,
        after: str | None = None,
        since: int = 0,
        at: int | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        """Messages on a path of a conversation (an id), after the one whose id is `after`, from the depth `since` on,
        and from the first one on that was kept at the time `at` (milliseconds since 1970) or later.

        The path leads to the message `to`, by default to the head. Raises ConversationNotFound, MessageNotFound,
        and InvalidRequest (param ``after``) for a message not on that path.
        """

    async def message(self, owner: str, conversation: str, message: str) -> Item:
        """One message of a conversation (ids). Raises ConversationNotFound, MessageNotFound."""

    async def messages(self, owner: str, ids: Sequence[str], *, end_user: str | None = None) -> list[Item]:
        """Those messages of an owner that have these ids, of all conversations; in no order, each once.

        Where an `end_user` is named, another's are not found; what is nobody's is.
        """

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        """One turn. Raises TurnNotFound."""

    async def turn_input(self, owner: str, turn: str) -> list[Item]:
        """The messages that a turn's request sent, in their order, but for its instructions. While it waits they are in
        no tree, and named by the turn. Raises TurnNotFound."""

    async def turns(
        self,
        owner: str,
        *,
        door: str,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Order = "asc",
    ) -> list[TurnRecord]:
        """Turns that came by a door, in the order of their admission, after the one whose id is `after`.

        They have ended with something to show: not failed, and not all of their replies deleted. `model` is what
        answered, or what was asked for; `metadata` are pairs that all have to be among the turn's own. Raises
        InvalidRequest (param ``after``) for a turn of another door.
        """

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        """The instructions of the conversation's latest turn, but for those that were for it only. Raises
        ConversationNotFound."""
