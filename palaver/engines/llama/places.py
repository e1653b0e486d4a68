"""Who may ask the worker for a reply now, and who waits.

There are never more requests in the worker than slots; what is more waits here. A place that is free goes to
the conversations in turn, and within one conversation to whoever came first, so that one busy conversation
does not keep the others waiting. Work ahead of turns gets a place only while no turn is at work or waits.

Which slot goes with a place is chosen when it is taken: see `kv.slots`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from palaver.core.errors import EngineUnavailable
from palaver.core.window import Window

CLOSED = "The model is being shut down."
LONGEST_TOLD = 100
"""Where more turns wait, nobody counts for each how many go before it."""

_Key = tuple[str, str]
_Waiter = asyncio.Future[None]


class Places:
    """The places in one engine, as many as its worker has slots, and the queue before them."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._count = count
        self._queues: OrderedDict[_Key, deque[_Waiter]] = OrderedDict()
        self._ahead: deque[_Waiter] = deque()
        self._moved: asyncio.Future[None] | None = None
        """Done when the queue has moved, where anybody waits for that."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many turns wait."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def taken(self) -> int:
        return self._count - self._free

    async def take(self, window: Window) -> None:
        """A place for this window, to be given back; waits for one. Raises EngineUnavailable when the engine is
        closed."""
        async with aclosing(self.line(window)) as line:
            async for _ in line:
                pass

    async def line(self, window: Window) -> AsyncGenerator[int | None, None]:
        """The same: the place is taken when it has come to its end. While it waits it tells how many turns go before
        it, each time that changes; None where too many wait."""
        if self._closed:
            raise EngineUnavailable(CLOSED)
        if self._free:
            self._free -= 1
            return
        key = (window.owner, window.conversation or window.turn)
        mine: _Waiter = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append(mine)
        told: int | None = -1
        try:
            while not mine.done():
                if (before := self._before(key, mine)) != told:
                    told = before
                    yield before
                else:
                    await asyncio.wait((mine, self._move()), return_when=asyncio.FIRST_COMPLETED)
            mine.result()
        except BaseException:  # whoever closes it leaves, too
            self._leave(key, mine)
            self._refuse(mine)
            raise

    async def take_ahead(self) -> None:
        """A place for work ahead of a turn, as soon as no turn is at work. It is soon to be given back.

        Raises EngineUnavailable when the engine is closed.
        """
        if self._closed:
            raise EngineUnavailable(CLOSED)
        if self.taken == 0:
            self._free -= 1
            return
        mine: _Waiter = asyncio.get_running_loop().create_future()
        self._ahead.append(mine)
        await self._wait(mine, lambda: self._leave_ahead(mine))

    def give_back(self) -> None:
        """Free a place for whoever is next. Once for each that was taken."""
        self._free += 1
        while self._free and (next_ := self._next()) is not None:
            self._give(next_)
            self._tell()
        while self.taken == 0 and self._ahead:
            self._give(self._ahead.popleft())

    def close(self) -> None:
        """Turn away everybody who waits, and whoever comes."""
        self._closed = True
        while (next_ := self._next()) is not None:
            self._turn_away(next_)
        while self._ahead:
            self._turn_away(self._ahead.popleft())

    async def _wait(self, mine: _Waiter, leave: Callable[[], object]) -> None:
        try:
            await mine
        except asyncio.CancelledError:
            leave()
            self._refuse(mine)
            raise

    def _refuse(self, mine: _Waiter) -> None:
        """Nobody wants this place any more, which may have come in the same moment."""
        if mine.done() and not mine.cancelled() and mine.exception() is None:
            self.give_back()

    def _before(self, key: _Key, mine: _Waiter) -> int | None:
        """How many turns go before this one if nobody comes or leaves; None where too many wait."""
        if self.waiting > LONGEST_TOLD:
            return None
        rounds, is_before = self._queues[key].index(mine), True
        count = rounds
        for each, queue in self._queues.items():
            is_before = is_before and each != key
            count += min(len(queue), rounds + is_before) if each != key else 0
        return count

    def _move(self) -> asyncio.Future[None]:
        if self._moved is None or self._moved.done():
            self._moved = asyncio.get_running_loop().create_future()
        return self._moved

    def _tell(self) -> None:
        """The queue has moved."""
        if self._moved is not None and not self._moved.done() and self.waiting <= LONGEST_TOLD:
            self._moved.set_result(None)

    def _give(self, waiter: _Waiter) -> None:
        if not waiter.done():
            self._free -= 1
            waiter.set_result(None)

    def _turn_away(self, waiter: _Waiter) -> None:
        if not waiter.done():
            waiter.set_exception(EngineUnavailable(CLOSED))

    def _next(self) -> _Waiter | None:
        """Whose turn it is; their conversation goes to the end of the line."""
        if not self._queues:
            return None
        key, queue = self._queues.popitem(last=False)
        first = queue.popleft()
        if queue:
            self._queues[key] = queue
        return first

    def _leave_ahead(self, mine: _Waiter) -> None:
        if mine in self._ahead:
            self._ahead.remove(mine)

    def _leave(self, key: _Key, mine: _Waiter) -> None:
        queue = self._queues.get(key)
        if queue is not None and mine in queue:
            queue.remove(mine)
            if not queue:
                del self._queues[key]
            self._tell()
