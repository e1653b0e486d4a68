"""Who may use which slot of the worker.

There are never more requests in the worker than slots; what is more waits here. A place that is free goes to
the conversations in turn, and within one conversation to whoever came first, so that one busy conversation
does not keep the others waiting.

A slot keeps the computed prompt of its last request, and what the next one shares with it need not be
computed again. So a conversation gets the slot it had before if that is free. What one owner left in a slot
is never reused for another: not even the time an answer takes may tell what somebody else has said.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from palaver.core.errors import EngineUnavailable
from palaver.core.window import Window

CLOSED = "The model is being shut down."


class _Slot:
    """One slot, and whose prompt it holds: None where it holds nothing, or what nobody may reuse."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.owner: str | None = None
        self.conversation: str | None = None
        self.used = 0


class Place:
    """A slot given to one request, until it is given back.

    `reuse` says whether the request may build on what the slot holds.
    """

    def __init__(self, slot: _Slot, window: Window) -> None:
        self._slot = slot
        self._window = window
        self.reuse = slot.owner == window.owner
        if not self.reuse:
            # Another owner's prompt is in the slot until the worker has begun with this one. If it never
            # does, nobody may reuse what is there.
            slot.owner = slot.conversation = None

    @property
    def number(self) -> int:
        return self._slot.number

    def begun(self) -> None:
        """The worker has begun with this request: from here on the slot holds its prompt and no other."""
        self._slot.owner = self._window.owner
        self._slot.conversation = self._window.conversation


_Key = tuple[str, str]
_Waiter = tuple[Window, asyncio.Future[Place]]


class Places:
    """The slots of one engine, and the queue before them."""

    def __init__(self, count: int) -> None:
        self._free = [_Slot(number) for number in range(count)]
        self._queues: OrderedDict[_Key, deque[_Waiter]] = OrderedDict()
        self._uses = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    async def take(self, window: Window) -> Place:
        """A place for this window; waits for one. Raises EngineUnavailable when the engine is closed."""
        if self._closed:
            raise EngineUnavailable(CLOSED)
        if self._free:
            return self._give(window)
        key = (window.owner, window.conversation or window.turn)
        mine: _Waiter = (window, asyncio.get_running_loop().create_future())
        future = mine[1]
        self._queues.setdefault(key, deque()).append(mine)
        try:
            return await future
        except asyncio.CancelledError:
            self._leave(key, mine)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())  # it came in the same moment
            raise

    def give_back(self, place: Place) -> None:
        """Free the slot for whoever is next. Once for each place."""
        self._free.append(place._slot)
        while self._free and (next_ := self._next()) is not None:
            window, future = next_
            if not future.done():
                future.set_result(self._give(window))

    def close(self) -> None:
        """Turn away everybody who waits, and whoever comes."""
        self._closed = True
        while (next_ := self._next()) is not None:
            if not next_[1].done():
                next_[1].set_exception(EngineUnavailable(CLOSED))

    def _give(self, window: Window) -> Place:
        """The conversation's own slot if it is free, of several the last one; else the one used longest ago (or
        never)."""

        def order(slot: _Slot) -> tuple[bool, int]:
            same = slot.owner == window.owner and slot.conversation == window.conversation is not None
            return (not same, -slot.used if same else slot.used)

        slot = min(self._free, key=order)
        self._free.remove(slot)
        self._uses += 1
        slot.used = self._uses
        return Place(slot, window)

    def _next(self) -> _Waiter | None:
        """Whose turn it is; their conversation goes to the end of the line."""
        if not self._queues:
            return None
        key, queue = self._queues.popitem(last=False)
        first = queue.popleft()
        if queue:
            self._queues[key] = queue
        return first

    def _leave(self, key: _Key, mine: _Waiter) -> None:
        queue = self._queues.get(key)
        if queue is not None and mine in queue:
            queue.remove(mine)
            if not queue:
                del self._queues[key]
