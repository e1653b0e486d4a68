"""The verbs for what is shown beside the text of conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from palaver.core.turn import TurnState, Usage


class OpenTurn(msgspec.Struct, frozen=True):
    """A turn that has not ended, and the id of the message it answers; None for one that waits."""

    id: str
    state: TurnState
    question: str | None


class TurnFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn cost, and when it began, when its first token, its first text that is no thinking, and its end
    came: milliseconds since 1970, None where nobody knows."""

    usage: Usage | None
    started_at: int | None
    first_token_at: int | None
    first_text_at: int | None
    ended_at: int | None


class Shown(Protocol):
    """What a page shows of conversations and messages, for many messages at a time."""

    async def open_turns(self, owner: str, conversation: str) -> list[OpenTurn]:
        """The turns of a conversation (an id) that run or wait, the first admitted first. Raises
        ConversationNotFound."""

    async def siblings(self, owner: str, messages: Sequence[str]) -> dict[str, list[str]]:
        """Of each of these messages (ids) those that stand beside it, itself among them, the oldest first.

        They hang below the same message, or begin the conversation likewise, and have a role like its own: user,
        assistant, system or developer, tool or function. Tombstones are left out, unless it is one itself. What is
        no message of the owner's is left out of the answer.
        """

    async def figures(self, owner: str, turns: Sequence[str]) -> dict[str, TurnFigures]:
        """What each of these turns (ids) cost and when; what is no turn of the owner's is left out."""
