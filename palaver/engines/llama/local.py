"""The engine with a worker of its own: one model on this machine."""

from __future__ import annotations

import msgspec

from palaver.engines.llama.embedding import embedding_settings
from palaver.engines.llama.engine import WorkerEngine
from palaver.engines.llama.footprint import Footprint, fitting_context, footprint
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.settings import LlamaSettings, loading_seconds
from palaver.engines.llama.supervisor import Supervisor


class LlamaEngine(WorkerEngine):
    """One model on this machine. The worker starts with the first request, or at `start`.

    `memory` is what it shares with other models; None is one of its own. Raises ConfigError where a setting or the
    model's file cannot be used, or it does not fit the memory: it reads the file's header.
    """

    def __init__(self, settings: LlamaSettings, memory: ModelMemory | None = None) -> None:
        settings.check()
        memory = memory or ModelMemory()
        model = inspect(settings.path)
        if model.pooling:
            settings = embedding_settings(settings, model)
        if settings.start_timeout is None:
            settings = msgspec.structs.replace(settings, start_timeout=loading_seconds(model.size))
        self.settings = settings
        context = fitting_context(model, settings, memory.limit)
        self.footprint: Footprint = footprint(model, settings, context)
        self._supervisor = Supervisor(settings, context, memory, self.footprint.total)
        super().__init__(model, settings.slots, context, self._supervisor)

    @property
    def device(self) -> str | None:
        """What it computes on, in words; None while no worker runs."""
        running = self._supervisor.running
        return None if running is None else running.device

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker; None while none runs."""
        running = self._supervisor.running
        return None if running is None else running.pid

    @property
    def loading(self) -> float | None:
        """How much of the model is loaded while it is being loaded, from 0 to 1; None before and after."""
        return self._supervisor.loading

    @property
    def slot_context(self) -> int:
        """The context of one slot, in tokens."""
        return self._context

    async def start(self) -> None:
        """Start the worker now. Raises EngineUnavailable where it cannot be."""
        async with self._worker():
            pass
