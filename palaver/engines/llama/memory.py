"""Which models are loaded: as many as one limit of memory allows; the least recently used makes room.

A model takes room before its worker starts and gives it back when the worker has ended. Where there is too little,
models that nobody uses are unloaded, the one used longest ago first. Where those that are in use stand in the way,
who asked first waits first. They go on serving whoever comes for `patience` seconds; after that new requests for them
wait too, behind whoever needs their room, so that a model that is always busy does not keep the others out. Nobody
waits for longer than `longest_wait`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Protocol

from palaver.core.errors import EngineUnavailable
from palaver.engines.llama.footprint import told
from palaver.engines.llama.machine import machine_memory

SHARE = 0.7
"""How much of the memory that is free at the start models may take together, where nothing is set."""
PATIENCE = 10.0
LONGEST_WAIT = 300.0
RETRY_AFTER = 30
"""Seconds until a request that waited in vain had best come again."""


class Tenant(Protocol):
    """A model that can be loaded."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def size(self) -> int:
        """How many bytes it takes while it is loaded."""

    @property
    def in_use(self) -> bool:
        """Whether a request needs it now. It calls `ModelMemory.look` when that ends."""

    def unload(self) -> None:
        """Begin to unload it; called only where nobody uses it. It calls `ModelMemory.give_back` when it is gone."""


class _Waiter:
    def __init__(self, tenant: Tenant, loop: asyncio.AbstractEventLoop) -> None:
        self.tenant = tenant
        self.since = loop.time()
        self.room: asyncio.Future[None] = loop.create_future()


def automatic_limit() -> int:
    """How many bytes models may take together where nothing is set: 70 % of what is free now."""
    return int(machine_memory().available * SHARE)


class ModelMemory:
    """The memory that the models of one process share. `limit` is in bytes; None goes by the machine's.

    `patience` and `longest_wait` are in seconds.
    """

    def __init__(
        self, limit: int | None = None, *, patience: float = PATIENCE, longest_wait: float = LONGEST_WAIT
    ) -> None:
        self.limit = automatic_limit() if limit is None else limit
        self._patience = patience
        self._longest_wait = longest_wait
        self._loaded: OrderedDict[Tenant, None] = OrderedDict()  # the one used longest ago first
        self._leaving: set[Tenant] = set()
        self._queue: deque[_Waiter] = deque()
        self._held_off: frozenset[Tenant] = frozenset()
        self._changes: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def loaded(self) -> list[Tenant]:
        """The models that have room now, the one used longest ago first."""
        return list(self._loaded)

    @property
    def waiting(self) -> int:
        """How many models wait for room."""
        return len(self._queue)

    def has_room(self, tenant: Tenant) -> bool:
        """Whether nobody waits for room, and there is enough for this model, or it has it."""
        return tenant in self._loaded or (not self._queue and tenant.size <= self._free())

    async def take(self, tenant: Tenant) -> None:
        """Room for this model, to be given back. Waits for it where models that are in use have it.

        Raises EngineUnavailable where it never fits, or waited for too long.
        """
        if tenant.size > self.limit:
            raise EngineUnavailable(
                f"The model {tenant.name} needs about {told(tenant.size)}, and models may take {told(self.limit)}."
            )
        mine = _Waiter(tenant, asyncio.get_running_loop())
        self._queue.append(mine)
        self.look()
        try:
            async with asyncio.timeout(self._longest_wait):
                await mine.room
        except BaseException as error:
            if mine.room.done() and not mine.room.cancelled():
                self.give_back(tenant)  # it came in the same moment
            else:
                if mine in self._queue:  # else `look` has passed it over by now
                    self._queue.remove(mine)
                self.look()
            if isinstance(error, TimeoutError):
                raise EngineUnavailable(self._busy(tenant), retry_after=RETRY_AFTER) from None
            raise

    def give_back(self, tenant: Tenant) -> None:
        """The model is gone, or was never loaded. May be called twice."""
        self._leaving.discard(tenant)
        self._loaded.pop(tenant, None)
        self.look()

    def used(self, tenant: Tenant) -> None:
        """Somebody uses the model: it is the last to make room."""
        if tenant in self._loaded:
            self._loaded.move_to_end(tenant)

    def holds_off(self, tenant: Tenant) -> bool:
        """Whether new requests for the model have to wait, because it makes room or is about to."""
        return tenant in self._held_off or tenant in self._leaving

    async def changed(self) -> None:
        """Wait until some model may be held off no more. Who waits looks again then."""
        change = asyncio.get_running_loop().create_future()
        self._changes.add(change)
        try:
            await change
        finally:
            self._changes.discard(change)

    def look(self) -> None:
        """See what can be done for those who wait: called whenever a model comes, goes, or is used no more."""
        self._held_off = frozenset()
        while self._queue:
            first = self._queue[0]
            missing = first.tenant.size - self._free()
            if missing > 0:
                self._make_room(first, missing - sum(tenant.size for tenant in self._leaving))
                break
            self._queue.popleft()
            if not first.room.done():
                self._loaded[first.tenant] = None
                first.room.set_result(None)
        self.wake()

    def wake(self) -> None:
        """Have everybody who waits for a change look again."""
        changes, self._changes = self._changes, set()
        for change in changes:
            if not change.done():
                change.set_result(None)

    def _free(self) -> int:
        return self.limit - sum(tenant.size for tenant in self._loaded)

    def _make_room(self, first: _Waiter, missing: int) -> None:
        """Unload what nobody uses, if that is enough; else hold off new requests for what is in the way."""
        staying = [tenant for tenant in self._loaded if tenant not in self._leaving]
        idle = [tenant for tenant in staying if not tenant.in_use]
        if missing <= sum(tenant.size for tenant in idle):
            for tenant in _enough(idle, missing):
                self._leaving.add(tenant)
                tenant.unload()
            return
        loop = asyncio.get_running_loop()
        impatient_at = first.since + self._patience
        if loop.time() >= impatient_at:
            busy = [tenant for tenant in staying if tenant.in_use]
            self._held_off = frozenset(_enough(busy, missing - sum(tenant.size for tenant in idle)))
        elif self._timer is None or self._timer.cancelled() or self._timer.when() != impatient_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(impatient_at, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        self.look()

    def _busy(self, tenant: Tenant) -> str:
        others = ", ".join(other.name for other in self._loaded) or "others"
        return (
            f"There is no room in memory for the model {tenant.name}: {others} had it for "
            f"{self._longest_wait:g} seconds, and models may take {told(self.limit)} together. Try again."
        )


def _enough(tenants: list[Tenant], missing: int) -> list[Tenant]:
    """As many of these, from the first, as take `missing` bytes."""
    found = []
    for tenant in tenants:
        if missing <= 0:
            break
        found.append(tenant)
        missing -= tenant.size
    return found
