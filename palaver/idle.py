"""What happens between turns: recovery at start, and letting go of what has had its time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from palaver.chat import Chat
from palaver.core.errors import StoreError
from palaver.deletion import Deletion

log = structlog.get_logger(__name__)

DAY = 24 * 60 * 60
FIRST_LOOK = 10.0
EVERY = 3600.0
"""When palaver first looks for what has had its time, and how often then, in seconds."""
OFTEN = 5.0
"""How often it asks whether a conversation goes now, in seconds: somebody may be waiting for its end."""
AFTER_FAILURE = 60.0
"""How long it lets a store alone that failed, in seconds."""


async def recover(chat: Chat) -> list[str]:
    """Close what a process that died left running, with the text it had. To be called before the first turn.

    Returns the ids of the turns. Raises StoreError.
    """
    turns = await chat.store.recover(chat.lease)
    if turns:
        log.info("closed turns that a former process left running", turns=len(turns))
    return turns


@contextlib.asynccontextmanager
async def keeping(chat: Chat, retain: float) -> AsyncIterator[None]:
    """Have a `Keeper` look after the store until the end of the block, and go on with what is done between turns."""
    chat.between.begin()
    looking = asyncio.create_task(Keeper(chat, retain).run())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait((looking,))


class Keeper:
    """Deletes conversations whose time is over, and those that are older than `retain` days (0: none).

    `clock` tells seconds since 1970.
    """

    def __init__(self, chat: Chat, retain: float = 0.0, *, clock: Callable[[], float] = time.time) -> None:
        self._store = chat.store
        self._deletion = Deletion(chat)
        self._retain = retain
        self._clock = clock

    async def run(self, first: float = FIRST_LOOK, every: float = EVERY, often: float = OFTEN) -> None:
        """Look soon, and then again and again, until it is cancelled: for all that has had its time, and more often for
        what goes at a time of its own. A store that fails is tried next time."""
        await asyncio.sleep(first)
        while True:
            again = time.monotonic() + every
            is_well = await self._tried(self.look)
            while (left := again - time.monotonic()) > 0:
                await asyncio.sleep(min(left, often if is_well else AFTER_FAILURE))
                is_well = await self._tried(self.glance)

    async def _tried(self, looking: Callable[[], Awaitable[None]]) -> bool:
        try:
            await looking()
        except StoreError as error:
            log.warning("what has had its time could not be deleted", error=error.message)
            return False
        return True

    async def glance(self) -> None:
        """Delete conversations whose time is over. Costs a look at one row where there are none. Raises StoreError."""
        now = int(self._clock() * 1000)
        goes = await self._store.next_expiry()
        if goes is not None and goes < now:
            await self._expire(now)

    async def look(self) -> None:
        """Delete what has had its time. Raises StoreError."""
        now = int(self._clock() * 1000)
        await self._expire(now)
        if not self._retain:
            return
        aged = await self._deletion.aged(now - int(self._retain * DAY * 1000))
        if aged.conversations:
            log.info(
                "deleted conversations that are older than is kept",
                conversations=aged.conversations,
                retain_days=self._retain,
            )

    async def _expire(self, now: int) -> None:
        expired = await self._deletion.expired(now)
        if expired.conversations:
            log.info("deleted conversations whose time is over", conversations=expired.conversations)
