"""At most one worker at a time: started when it is needed, and again after it died."""

from __future__ import annotations

import asyncio

import structlog

from palaver.core.errors import ConfigError, EngineUnavailable
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.process import Worker
from palaver.engines.llama.settings import LlamaSettings

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds in which no new start is tried after a first failed start, and after many."""

CLOSED = "The model is being shut down."

log = structlog.get_logger(__name__)


class Supervisor:
    """Gives out the running worker, and starts one where there is none."""

    def __init__(self, settings: LlamaSettings, slot_context: int) -> None:
        self._settings = settings
        self._slot_context = slot_context
        self._worker: Worker | None = None
        self._starting: asyncio.Task[Worker] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failed: EngineUnavailable | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._closed = False

    @property
    def running(self) -> Worker | None:
        """The worker, if there is one that runs."""
        return self._worker if self._worker is not None and self._worker.alive else None

    async def worker(self) -> Worker:
        """The running worker; starts one where there is none, one for all who ask meanwhile.

        Raises EngineUnavailable where it cannot be started. Where that just failed the same error comes at
        once: loading a large model over and over would keep the machine busy for nothing.
        """
        if self._closed:
            raise EngineUnavailable(CLOSED)
        if self.running is not None:
            return self.running
        if self._starting is None:
            if self._failed is not None and asyncio.get_running_loop().time() < self._not_before:
                raise EngineUnavailable(self._failed.message)
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await self._shared(self._starting)

    async def close(self) -> None:
        """Stop the worker, also one that is starting. May be called twice."""
        self._closed = True
        starting = self._starting
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        if self._worker is not None:
            await self._worker.stop()
        if self._watching is not None:
            await self._watching

    async def _shared(self, starting: asyncio.Task[Worker]) -> Worker:
        """Wait for the start with others: who is cancelled does not take the worker from them."""
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if starting.cancelled() and task is not None and not task.cancelling():
                raise EngineUnavailable(CLOSED) from None  # it was not us who were cancelled
            raise

    async def _start(self) -> Worker:
        if self._watching is not None:
            await self._watching  # the last of a worker before this one
        try:
            await asyncio.to_thread(inspect, self._settings.path)  # it may be another file than at the start
        except ConfigError as error:
            raise EngineUnavailable(error.message) from error
        worker = await Worker.start(self._settings, self._slot_context)
        log.info("the model worker runs", pid=worker.pid, device=worker.device)
        self._worker = worker
        self._watching = asyncio.create_task(self._watch(worker))
        return worker

    def _started(self, task: asyncio.Task[Worker]) -> None:
        self._starting = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, EngineUnavailable):
            self._failed = error
            self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self._not_before = asyncio.get_running_loop().time() + self._pause
        elif error is None:
            self._failed, self._pause = None, 0.0

    async def _watch(self, worker: Worker) -> None:
        how = await worker.ended()
        if not self._closed:
            log.error("the model worker ended; the next request starts another", pid=worker.pid, how=how)
