"""What is done with slots between turns: what was forgotten is erased, and what is new is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from palaver.core.errors import EngineError
from palaver.engines.llama.kv.slots import Slots
from palaver.engines.llama.places import Places
from palaver.engines.llama.workers import Worker, Workers

IDLE_SECONDS = 2.0
"""So long nobody is at work before slots are saved: saving one stalls the others."""
CLOSE_SECONDS = 10.0
"""So long what is under way is waited for in the end. It ends with the worker."""

log = structlog.get_logger(__name__)


class Upkeep:
    """Looks after the slots of one engine. It is told by `freed` whenever a turn, or work ahead of one, gives back a
    slot."""

    def __init__(self, places: Places, slots: Slots, workers: Workers) -> None:
        self._places = places
        self._slots = slots
        self._workers = workers
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        slots.freed = self.freed

    def freed(self) -> None:
        """A slot is free again."""
        if self._closed:
            return
        worker = self._workers.running
        if self._slots.is_doubtful and worker is not None:
            self._workers.renew(worker)
        if self._slots.has_condemned:
            self._start(self._slots.erase_condemned)
        self._wait()

    async def close(self) -> None:
        """Stop. What is new is saved when the worker is stopped."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_SECONDS)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._idle)

    def _idle(self) -> None:
        if self._places.taken == 0:  # else whoever is at work comes by here
            self._start(self._slots.save_idle)

    def _start(self, work: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
        use = self._workers.use_running()
        if use is None:
            return
        try:
            await work(use.worker)
        except EngineError as error:  # whoever needs the worker hears of it
            log.info("slots were not looked after", reason=error.message)
        except Exception as error:
            log.error("slots were not looked after", error=type(error).__name__, exc_info=error)
        finally:
            use.release()
