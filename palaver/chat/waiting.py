"""Turns that wait for others in their conversation, and what a turn begins with when its time has come."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from palaver.chat.beginnings import beginning
from palaver.core.errors import ConversationBusy, LeaseLost, StoreError, StoreRefused
from palaver.core.tree import History
from palaver.core.waiting import Waiting
from palaver.core.window import Window
from palaver.live import LiveReply
from palaver.running import Beginning
from palaver.stores.base import Store

log = structlog.get_logger(__name__)

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
        self._lines: dict[str, list[LiveReply]] = {}

    def line_up(self, conversation: str, live: LiveReply) -> None:
        """A queued turn is about to wait for its time (`due`); its readers hear how many go before it."""
        self._lines.setdefault(conversation, []).append(live)
        self._tell_line(conversation)

    def _leave_line(self, conversation: str, turn: str) -> None:
        line = self._lines.pop(conversation, [])
        for live in line:
            if live.turn == turn:
                live.wait()
        if left := [live for live in line if live.turn != turn]:
            self._lines[conversation] = left
            self._tell_line(conversation)

    def _tell_line(self, conversation: str) -> None:
        for place, live in enumerate(self._lines[conversation]):
            live.wait(Waiting(what="queue", ahead=place + 1))  # and the one that is being answered

    async def due(self, window: Window, history: History, exact: bool) -> Beginning:
        """Wait until a queued turn may begin. Raises ConversationBusy when it has waited for too long."""
        assert window.conversation is not None
        try:
            await self._wait(window.conversation, window.turn)
        finally:
            self._leave_line(window.conversation, window.turn)
        return await self.now(window, history, exact)

    async def _wait(self, conversation: str, turn: str) -> None:
        deadline = asyncio.get_running_loop().time() + self._max_wait
        while True:
            moved = self._moved.setdefault(conversation, asyncio.Event())
            if await self._begin(turn):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise ConversationBusy(
                    f"The turn has waited {self._max_wait:g} seconds for others in this conversation.",
                    param="conversation",
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await moved.wait()

    async def _begin(self, turn: str) -> bool:
        """Whether a turn has begun. A store that does not answer may do so while there is time."""
        try:
            return await self._store.begin(turn, self._lease)
        except (LeaseLost, StoreRefused):
            raise
        except StoreError as error:
            log.warning("a turn could not begin yet", turn=turn, error=error.message)
            return False

    async def now(self, window: Window, history: History, exact: bool) -> Beginning:
        """What a turn whose time has come begins with. Raises what `beginning` does."""
        prompt = await self._store.prompt(window.turn, self._lease)
        return await beginning(self._store, window.owner, history, prompt, exact=exact)

    def ended(self, conversation: str, turn: str) -> None:
        """A turn of this conversation has ended: who waits there looks again."""
        self._leave_line(conversation, turn)  # it may never have waited
        moved = self._moved.pop(conversation, None)
        if moved is not None:
            moved.set()
