"""Turns that wait for others in their conversation, and what a turn begins with when its time has come."""

from __future__ import annotations

import asyncio
import contextlib

from palaver.core.errors import ConversationBusy
from palaver.core.tree import History
from palaver.core.window import Window, rendered, woven
from palaver.running import Beginning
from palaver.stores.base import Admitted, Store

LOOK_AGAIN = 1.0
"""Seconds between looks whether the time of a queued turn has come: another process may have ended what it
waits for, and nobody tells of that."""


class Queues:
    """Where this process's queued turns wait, by conversation. Whose turn it is, the store decides."""

    def __init__(self, store: Store, lease: str, max_wait: float) -> None:
        self._store = store
        self._lease = lease
        self._max_wait = max_wait
        self._moved: dict[str, asyncio.Event] = {}

    async def due(self, window: Window, history: History) -> Beginning:
        """Wait until a queued turn may begin. Raises ConversationBusy when it has waited for too long."""
        assert window.conversation is not None
        deadline = asyncio.get_running_loop().time() + self._max_wait
        while True:
            moved = self._moved.setdefault(window.conversation, asyncio.Event())
            begun = await self._store.begin(window.turn, self._lease)
            if begun is not None:
                return beginning(history, begun)
            if asyncio.get_running_loop().time() > deadline:
                raise ConversationBusy(
                    f"The turn has waited {self._max_wait:g} seconds for others in this conversation.",
                    param="conversation",
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await moved.wait()

    def wake(self, conversation: str) -> None:
        """A turn of this conversation has ended: who waits there looks again."""
        moved = self._moved.pop(conversation, None)
        if moved is not None:
            moved.set()


def beginning(history: History, admitted: Admitted) -> Beginning:
    """The prompt: what the store found above, and what was sent, in the stored form with the reasoning as sent."""
    sent = len(history.messages)
    last = 1 if admitted.continues is not None else 0
    messages = admitted.messages
    above = len(messages) - sent - last
    seen = [*messages[:above]]
    for kept, asked in zip(messages[above : above + sent], history.messages, strict=True):
        seen.append(rendered(kept, asked))
    return Beginning(woven(admitted.instructions, [*seen, *messages[above + sent :]]), admitted.continues)
