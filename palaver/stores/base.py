"""The contract of a store. Every verb is scoped by owner, and every write of a running turn by its lease.

Any verb may raise StoreUnavailable, StoreFull (writes) or StoreCorrupt; a verb that raises has changed
nothing.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from palaver.core.message import Message, ToolCall
from palaver.core.tree import History, Instruction
from palaver.core.turn import Delta, FinishReason, Sampling, TurnState, Usage


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be admitted. `conversation` is an id (``conv_…``) or a name, or None to find it by content."""

    owner: str
    end_user: str | None
    turn: str
    lease: str
    door: str
    requested_model: str
    model: str
    history: History
    sampling: Sampling = Sampling()
    conversation: str | None = None
    metadata: dict[str, str] | None = None
    source: str | None = None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for a turn: its conversation, and the messages its prompt has in the stored form."""

    turn: str
    conversation: str
    messages: list[Message]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended. Without text and calls no reply message is written."""

    turn: str
    lease: str
    state: TurnState
    content: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error_code: str | None = None
    error_message: str | None = None
    deltas: list[Delta] = []
    first_token_at: int | None = None
    """Milliseconds since 1970."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as lists show it. Times are milliseconds since 1970; `messages` counts its head's path."""

    id: str
    name: str | None
    title: str | None
    end_user: str | None
    source: str | None
    one_shot: bool
    head: str | None
    messages: int
    metadata: dict[str, str]
    created_at: int
    updated_at: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the tree. `turn` is the turn that generated it, None for what a client sent; `state` and
    `model` are that turn's."""

    id: str
    parent: str | None
    depth: int
    message: Message
    turn: str | None
    state: TurnState | None
    model: str | None
    created_at: int


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as it is stored. `gap` is the depths (from, up to) of the path that the client left out."""

    id: str
    conversation: str | None
    state: TurnState
    door: str
    requested_model: str
    model: str
    sampling: Sampling
    metadata: dict[str, str]
    instructions: list[Instruction]
    question: str | None
    reply: Item | None
    gap: tuple[int, int] | None
    finish_reason: FinishReason | None
    usage: Usage | None
    error_code: str | None
    error_message: str | None
    deltas: list[int]
    created_at: int
    first_token_at: int | None
    ended_at: int | None


Order = Literal["asc", "desc"]


class Store(Protocol):
    """Where the tree is kept."""

    async def root_key(self, owner: str, end_user: str | None) -> bytes:
        """Where this owner's and end user's keys start. Makes an owner that is new; the same answer for ever."""

    async def admit(self, admission: Admission) -> Admitted:
        """Hang the history on the tree and put the turn on record as running, in one durable transaction.

        After it returns, the question cannot be lost. A named conversation that does not exist is made.
        Raises ConversationNotFound for an id that this owner (and end user) does not have.
        """

    async def log(self, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
        """Keep a batch of a running turn's text. Survives the process, not necessarily the machine.

        Raises LeaseLost.
        """

    async def finish(self, ending: Ending) -> None:
        """Write the reply, the head, usage and state, in one durable transaction; the log goes.

        The head moves to the reply only if it still is the turn's question. A turn that failed without text
        gives its head back to what was the head before, unless another turn still answers that.
        Raises LeaseLost if the turn has ended or is another's.
        """

    async def recover(self, lease: str) -> list[str]:
        """Close as incomplete, with the text in the log, every turn that runs under another lease.

        Returns their ids. To be called by the owner of the store before the first admission.
        """

    async def conversations(
        self,
        owner: str,
        *,
        end_user: str | None = None,
        name: str | None = None,
        one_shots: bool = False,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Conversation]:
        """Conversations of an owner, last updated first, after the one whose id is `after`.

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
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        """Messages on the head's path of a conversation (an id), after the one whose id is `after`.

        Raises ConversationNotFound, and InvalidRequest (param ``after``) for a message not on that path.
        """

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        """One turn. Raises TurnNotFound."""

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        """The instructions of the conversation's latest turn. Raises ConversationNotFound."""

    async def announce(self, address: str, key: str, model: str = "") -> None:
        """Tell other processes on this machine where the owner of this store answers, and with which model."""

    async def withdraw(self) -> None:
        """Take back what `announce` told: this process is about to end."""

    async def close(self) -> None:
        """Write what is in flight, then let go of the store. May be called twice."""
