"""The engine on llama.cpp: the contract `palaver.engines.base.Engine`, out of the parts of this folder.

    generate    takes a place (`places`) and the worker (`supervisor`), and sends it a `Completion` (`asking`)
      _reply    its stream decoded, its failures told apart
      _leave    where the reader left in mid-reply: the place is free when the worker's slot is

Starting the worker is nobody's duty: whoever needs one that does not run waits until it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from palaver.core.errors import EngineBroke, EngineRefused, EngineUnavailable, InvalidRequest
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, ReasoningDelta, ToolCalls
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.chat_stream import chat_events
from palaver.engines.llama import asking
from palaver.engines.llama.asking import Completion
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.places import Place, Places
from palaver.engines.llama.prompt import FIELDS, PREFILL, chat_messages, escaper, sampling_fields
from palaver.engines.llama.settings import LlamaSettings
from palaver.engines.llama.supervisor import Supervisor


class LlamaEngine:
    """One model on this machine. The worker starts with the first request, or at `start`.

    Raises ConfigError where a setting or the model's file cannot be used: it reads the file's header.
    """

    def __init__(self, settings: LlamaSettings) -> None:
        settings.check()
        self.settings = settings
        self.gguf = inspect(settings.path)
        self._context = settings.slot_context(self.gguf.context_length)
        self._escape = escaper(self.gguf.control_tokens)
        self._places = Places(settings.slots)
        self._supervisor = Supervisor(settings, self._context)
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset(FIELDS) | {"count", "prefill"}

    @property
    def waiting(self) -> int:
        return self._places.waiting

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

    async def start(self) -> None:
        """Start the worker now. Raises EngineUnavailable where it cannot be."""
        await self._supervisor.worker()

    async def context_size(self, model: str) -> int:
        return self._context

    async def count(self, window: Window, model: str) -> int:
        messages = chat_messages(window.messages, self._escape)
        return await asking.count(await self._supervisor.worker(), messages)

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        fields = sampling_fields(options.sampling)
        fields["messages"] = chat_messages(window.messages, self._escape)
        if options.reasoning is False:
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        if options.prefill:
            fields |= PREFILL
        place = await self._places.take(window)
        request: Completion | None = None  # while the worker may be at work on it
        try:
            worker = await self._supervisor.worker()
            fields["cache_prompt"] = place.reuse
            request = Completion(worker, place.number, fields)
            async with aclosing(self._reply(request, place)) as events:
                async for event in events:
                    yield event
            request = None
        except (EngineRefused, InvalidRequest):
            request = None
            raise
        finally:
            if request is None:
                self._places.give_back(place)
            else:
                self._leave(request, place)

    async def close(self) -> None:
        self._places.close()
        await self._supervisor.close()
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _reply(self, request: Completion, place: Place) -> AsyncGenerator[EngineEvent, None]:
        """The events of one request. Until the model has said something, what breaks can be tried again."""
        spoken = False
        try:
            await request.begun()
            place.begun()
            yield Accepted()
            async with aclosing(request.body()) as body, aclosing(chat_events(body)) as events:
                async for event in events:
                    spoken = spoken or isinstance(event, ContentDelta | ReasoningDelta | ToolCalls)
                    yield event
        except EngineBroke as error:
            if spoken:
                raise
            raise EngineUnavailable(f"{error.message} Try again.") from error

    def _leave(self, request: Completion, place: Place) -> None:
        """Give the place back once the slot is idle: a request for a busy one would wait in the worker."""

        async def leave() -> None:
            try:
                await request.left()
            finally:
                self._places.give_back(place)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
