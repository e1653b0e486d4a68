"""The engine with a worker of its own: one model on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from palaver.core.errors import EngineUnavailable
from palaver.core.turn import EngineEvent
from palaver.core.window import Window
from palaver.engines.base import Embedded, Options
from palaver.engines.llama.embedding import embedding_settings
from palaver.engines.llama.engine import TITLES, WorkerEngine
from palaver.engines.llama.footprint import Footprint, fitting_context, footprint, token_bytes
from palaver.engines.llama.gguf import Gguf, inspect
from palaver.engines.llama.kv.identity import (
    Identity,
    engine_version,
    layout_of,
    model_hash,
    template_hash,
)
from palaver.engines.llama.kv.slots import Keeping
from palaver.engines.llama.kv.snapshots import Snapshots
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.settings import LlamaSettings, loading_seconds
from palaver.engines.llama.supervisor import Supervisor


class LlamaEngine(WorkerEngine):
    """One model on this machine. The worker starts with the first request, or at `start`.

    `memory` is what it shares with other models; None is one of its own. `snapshots` is where it saves what it has
    computed of conversations; None is nowhere. Raises ConfigError where a setting or the model's file cannot be used,
    or it does not fit the memory: it reads the file's header.
    """

    def __init__(
        self,
        settings: LlamaSettings,
        memory: ModelMemory | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
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
        keeping = None
        if snapshots is not None and snapshots.enabled and not (model.unkept or model.pooling):
            keeping = _keeping(settings, model, context, snapshots)
        saves = snapshots.open_or_none if keeping is not None and snapshots is not None else None
        self._supervisor = Supervisor(settings, context, memory, self.footprint.total, saves)
        super().__init__(
            model, settings.slots, context, self._supervisor, batch=settings.batch, keeping=keeping
        )
        self._supervisor.parting = self.save_all

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

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities - (frozenset() if self.settings.titles else TITLES)

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        self._check_at_hand(options)
        async with aclosing(super().generate(window, options)) as events:
            async for event in events:
                yield event

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        self._check_at_hand(options)
        return await super().embed(texts, dimensions, window, options)

    def _check_at_hand(self, options: Options) -> None:
        if options.idle and not self._supervisor.is_at_hand:
            raise EngineUnavailable("Other models would have to make room for this one.")

    async def start(self) -> None:
        """Start the worker now. Raises EngineUnavailable where it cannot be."""
        async with self._worker():
            pass


def _keeping(settings: LlamaSettings, model: Gguf, context: int, snapshots: Snapshots) -> Keeping:
    """How this model's slots are saved. Its file is read once, when that is needed first."""

    async def identity() -> Identity:
        return Identity(
            model=await model_hash(model.files, snapshots.folder),
            engine=engine_version(),
            template=template_hash(model.chat_template),
            # How far apart positions are taken to be may go by the context.
            layout=layout_of(settings.slots) + (f", {context} tokens" if model.is_scaled else ""),
        )

    snapshots.register(settings.name)
    return Keeping(
        model=settings.name,
        snapshots=snapshots,
        identity=identity,
        token_bytes=token_bytes(model),
        context=context,
    )
