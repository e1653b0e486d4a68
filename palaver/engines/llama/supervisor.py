"""At most one worker at a time: started when it is needed, and again after it died or had to make room.

Whoever needs the worker asks for a `Use` of it. As long as there is one, the model is not unloaded; see `memory`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from palaver.core.errors import ConfigError, EngineError, EngineUnavailable
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.machine import resident_bytes
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.process import Worker
from palaver.engines.llama.settings import LlamaSettings
from palaver.engines.llama.workers import Use

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds in which no new start is tried after a first failed start, and after many."""
PARTING_SECONDS = 20.0
"""How long it may take to save what a worker holds that is to be stopped."""
LOOK_SECONDS = 5.0
"""How often a worker is looked after."""
HANG_SECONDS = 30.0
"""How long it may take to say that it is there: it does so while it computes, too."""
GROWN, GROWN_FAR, GROWN_BYTES = 1.5, 2.0, 1 << 29
"""A worker has grown that takes so many times what its model should, and so many bytes more; at the second factor it is
not waited for until nobody uses it."""
NEARLY = 0.99
"""The most that is said to be loaded while the worker does not answer yet."""

CLOSED = "The model is being shut down."

log = structlog.get_logger(__name__)


class Supervisor:
    """Gives out the running worker, and starts one where there is none. `size` is what the model takes, in bytes.

    `saves` is asked for the folder into which a worker writes what its slots hold; `parting` is told of a worker that
    is about to be stopped, while it still answers.
    """

    def __init__(
        self,
        settings: LlamaSettings,
        slot_context: int,
        memory: ModelMemory,
        size: int,
        saves: Callable[[], Awaitable[Path | None]] | None = None,
    ) -> None:
        self.size = size
        self.parting: Callable[[Worker], Awaitable[None]] | None = None
        self._saves = saves
        self._doubted: Worker | None = None
        self._settings = settings
        self._slot_context = slot_context
        self._memory = memory
        self._worker: Worker | None = None
        self._loading: Worker | None = None
        self._starting: asyncio.Task[Worker] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._unloading: asyncio.Task[None] | None = None
        self._failed: EngineUnavailable | None = None
        self._pause = 0.0
        self._not_before = 0.0
        self._uses = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def in_use(self) -> bool:
        return self._uses > 0 or self._starting is not None

    @property
    def running(self) -> Worker | None:
        """The worker, if there is one that runs."""
        return self._worker if self._worker is not None and self._worker.alive else None

    @property
    def is_at_hand(self) -> bool:
        """Whether the worker runs, or could be started without another model making room for it."""
        return self.running is not None or self._memory.has_room(self)

    @property
    def loading(self) -> float | None:
        """How much of the model is loaded while it is being loaded, from 0 to 1; 0 where it cannot be known.

        None where it is loaded, and where nobody has asked for it. Goes by the memory that the worker takes.
        """
        if self._starting is None:
            return None
        resident = resident_bytes(self._loading.pid) if self._loading is not None else None
        return min(NEARLY, resident / self.size) if resident else 0.0

    async def use(self) -> Use:
        """The running worker, to be released; starts one where there is none, one for all who ask meanwhile.

        Waits where there is no room for the model, see `ModelMemory`. Raises EngineUnavailable where the worker
        cannot be started. Where that just failed the same error comes at once: loading a large model over and over
        would keep the machine busy for nothing.
        """
        while not self._closed and (self._unloading is not None or self._memory.holds_off(self)):
            if self._unloading is not None:
                await asyncio.wait((self._unloading,))
            else:
                await self._memory.changed()
        if self._closed:
            raise EngineUnavailable(CLOSED)
        self._uses += 1
        try:
            worker = self.running or await self._started_one()
        except BaseException:
            self._released()
            raise
        self._memory.used(self)
        return Use(worker, self._released)

    def use_running(self) -> Use | None:
        """See `workers.Workers`."""
        worker = self.running
        if self._closed or worker is None or self._unloading is not None or self._memory.holds_off(self):
            return None
        self._uses += 1
        return Use(worker, self._released)

    def _released(self, after: float = 0.0) -> None:
        """One use less, in so many seconds."""
        if after > 0:
            asyncio.get_running_loop().call_later(after, self._released)
            return
        self._uses -= 1
        if self._uses == 0:
            self._renew()
            if self._starting is not None and self not in self._memory.loaded:
                self._starting.cancel()  # it waits for room, which nobody needs any more
            self._memory.look()

    def unload(self) -> None:
        """Stop the worker, to make room. The next request starts another."""
        if self._unloading is None:  # else it is on its way
            self._unloading = asyncio.create_task(self._unload("a model was unloaded to make room"))

    def renew(self, worker: Worker | object) -> None:
        """The worker has become doubtful: it is stopped once nobody uses it, and the next request starts another."""
        if worker is self.running:
            self._doubted = self.running
            if self._uses == 0:
                self._renew()

    def _renew(self) -> None:
        worker, self._doubted = self._doubted, None
        if worker is None or worker is not self.running or self._closed or self._unloading is not None:
            return
        self._unloading = asyncio.create_task(self._unload("a model worker is started anew"))

    async def close(self) -> None:
        """Stop the worker, also one that is starting. May be called twice."""
        self._closed = True
        self._memory.wake()
        starting = self._starting
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        if self._worker is not None:
            await self._part(self._worker)
            await self._worker.stop()
        for task in (self._unloading, self._watching):
            if task is not None:
                await task

    async def _started_one(self) -> Worker:
        """Wait for the start with others: who is cancelled does not take the worker from them."""
        while not self._closed:
            if self._starting is None:
                if self._failed is not None and asyncio.get_running_loop().time() < self._not_before:
                    raise EngineUnavailable(self._failed.message)
                self._starting = asyncio.create_task(self._start())
                self._starting.add_done_callback(self._started)
            starting = self._starting
            try:
                return await asyncio.shield(starting)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not starting.cancelled() or task is None or task.cancelling():
                    raise
                # It was not us who were cancelled: the start was given up, because all had left or for good.
        raise EngineUnavailable(CLOSED)

    async def _start(self) -> Worker:
        if self._watching is not None:
            await asyncio.wait(
                (self._watching,)
            )  # the last of a worker before this one; not to be cancelled with us
        await self._memory.take(self)
        try:
            worker = await self._load()
        except EngineUnavailable as error:
            self._memory.give_back(self)
            self._failed = error
            self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self._not_before = asyncio.get_running_loop().time() + self._pause
            raise
        except BaseException:
            self._memory.give_back(self)
            raise
        self._failed, self._pause = None, 0.0
        self._worker = worker
        self._watching = asyncio.create_task(self._watch(worker))
        return worker

    async def _load(self) -> Worker:
        try:
            await asyncio.to_thread(inspect, self._settings.path)  # it may be another file than at the start
        except ConfigError as error:
            raise EngineUnavailable(error.message) from error
        try:
            saves = await self._saves() if self._saves is not None else None
            worker = await Worker.start(self._settings, self._slot_context, self._launched, saves)
        finally:
            self._loading = None
        log.info("the model worker runs", model=self.name, pid=worker.pid, device=worker.device)
        return worker

    def _launched(self, worker: Worker) -> None:
        self._loading = worker

    def _started(self, task: asyncio.Task[Worker]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever waited may have left
        self._memory.look()

    async def _unload(self, why: str) -> None:
        worker, watching = self._worker, self._watching
        try:
            if worker is not None and watching is not None:
                await self._part(worker)
                await worker.stop()
                await watching
            log.info(why, model=self.name)
        finally:
            self._unloading = None

    async def _part(self, worker: Worker) -> None:
        """Let what the worker holds be saved. That it cannot be keeps nobody from stopping it."""
        if self.parting is None or not worker.alive:
            return
        try:
            async with asyncio.timeout(PARTING_SECONDS):
                await self.parting(worker)
        except (EngineError, TimeoutError) as error:
            log.warning("what a worker held was not saved", model=self.name, reason=str(error))
        except Exception as error:  # whatever it is, the worker is stopped all the same
            log.error("what a worker held was not saved", model=self.name, exc_info=error)

    async def _look_after(self, worker: Worker) -> None:
        """See that a worker answers, and does not grow without end: one that hangs is killed, one that has grown is
        renewed, and killed if it grows on."""
        while worker.alive:
            await asyncio.sleep(LOOK_SECONDS)
            if not await worker.answers(HANG_SECONDS):
                worker.give_up(f"did not answer for {HANG_SECONDS:g} seconds and was stopped")
            taken = resident_bytes(worker.pid) or 0
            if taken > self.size * GROWN_FAR + GROWN_BYTES:
                log.error(
                    "the model worker takes too much memory", model=self.name, bytes=taken, expected=self.size
                )
                worker.give_up("took too much memory and was stopped")
            elif taken > self.size * GROWN + GROWN_BYTES and self._doubted is not worker:
                log.warning("the model worker has grown", model=self.name, bytes=taken, expected=self.size)
                self.renew(worker)

    async def _watch(self, worker: Worker) -> None:
        looking = asyncio.create_task(self._look_after(worker))
        try:
            how = await worker.ended()
        finally:
            looking.cancel()
            self._memory.give_back(self)
        if not self._closed and self._unloading is None:
            log.error(
                "the model worker ended; the next request starts another",
                model=self.name,
                pid=worker.pid,
                how=how,
            )
