"""The verbs of windows: paths to choose them from, how long messages are, epochs, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from palaver.core.path import Step
from palaver.core.window_settings import WindowSettings
from palaver.stores.base.values import Admission, Conversation, EpochRecord, Prompt


class Windows(Protocol):
    """What windows are chosen from, and what is kept of them."""

    async def path(self, owner: str, message: str, since: int = 0, *, attachments: bool = True) -> list[Step]:
        """The path to a message (its id) from the depth `since` on, the first message first; tombstones too.

        With `attachments` the messages are whole, as models see them; without, they refer to them. Raises
        MessageNotFound.
        """

    async def opening(self, owner: str, message: str) -> list[Step]:
        """What the path to a message (its id) begins with (`Prompt.opening`), without what is attached. It takes no
        longer where the path is long. Raises MessageNotFound."""

    async def foresee(self, admission: Admission) -> Prompt:
        """The prompt that an admission would have, without admitting it. What it would add has no ids.

        A turn that would have to wait is shown as if it began now. Raises as `Turns.admit` does, but never
        ConversationBusy; a request that repeats another is taken for a new one. The keys of its history may start
        anywhere.
        """

    async def counts(self, owner: str, tokenizer: str, messages: Sequence[str]) -> dict[str, int]:
        """How many tokens these messages (ids) have by this tokenizer, of those that it has counted."""

    async def keep_counts(self, owner: str, tokenizer: str, counts: Mapping[str, int]) -> None:
        """Keep how long messages (ids) are. Those that are gone are passed over. Not durable: it can be counted
        again."""

    async def epochs(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 20
    ) -> list[EpochRecord]:
        """The epochs of a conversation (an id), the latest first, after the one whose id is `after`.

        Raises ConversationNotFound, and InvalidRequest (param ``after``) for an epoch of another conversation.
        """

    async def set_window(
        self, owner: str, conversation: str, settings: WindowSettings | None
    ) -> Conversation:
        """How a conversation's windows are chosen from now on; None leaves it to the settings further out.

        Raises ConversationNotFound.
        """
