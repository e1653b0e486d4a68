"""The engine on llama.cpp: the contract `palaver.engines.base.Engine`, out of the parts of this folder.

generate    a place (`places`) and the worker (`supervisor`), then:
  _reply    one request to the worker (`asking`), its stream decoded, its failures told apart
  _leave    where the reader left in mid-reply: the place is free when the worker's slot is
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from palaver.core.errors import EngineBroke, EngineRefused, EngineUnavailable, InvalidRequest
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, ReasoningDelta, ToolCalls
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.chat_stream import chat_events
from palaver.engines.llama import asking
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.places import Place, Places
from palaver.engines.llama.process import Worker
from palaver.engines.llama.prompt import FIELDS, chat_messages, escaper, sampling_fields
from palaver.engines.llama.settings import LlamaSettings
from palaver.engines.llama.supervisor import Supervisor

FIRST_LOOK = 0.005
LONGEST_PAUSE = 1.5
"""Seconds between looks at a slot that was left in mid-reply. The longest is over a second: the worker may
find out about a connection closed during a prefill only in a second in which nobody else is answered."""


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
        return frozenset(FIELDS)

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
        place = await self._places.take(window)
        busy: Worker | None = None  # where the slot may still be at work when we are done
        try:
            busy = await self._supervisor.worker()
            async with aclosing(self._reply(busy, place, fields)) as events:
                async for event in events:
                    yield event
            busy = None
        except (EngineRefused, InvalidRequest):
            busy = None
            raise
        finally:
            if busy is None:
                self._places.give_back(place)
            else:
                self._leave(busy, place)

    async def close(self) -> None:
        self._places.close()
        await self._supervisor.close()
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _reply(
        self, worker: Worker, place: Place, fields: dict[str, Any]
    ) -> AsyncGenerator[EngineEvent, None]:
        """The events of one request. Until the model has said something, what breaks can be tried again."""
        spoken = False
        fields |= {"id_slot": place.number, "cache_prompt": place.reuse}
        try:
            async with asking.completion(worker, fields) as body:
                place.begun()
                yield Accepted()
                async with aclosing(chat_events(body)) as events:
                    async for event in events:
                        spoken = spoken or isinstance(event, ContentDelta | ReasoningDelta | ToolCalls)
                        yield event
        except EngineBroke as error:
            if spoken:
                raise
            raise EngineUnavailable(f"{error.message} Try again.") from error

    def _leave(self, worker: Worker, place: Place) -> None:
        task = asyncio.create_task(self._until_left(worker, place))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _until_left(self, worker: Worker, place: Place) -> None:
        """Give the place back when its slot is idle: a request for a busy one would wait in the worker."""
        pause = FIRST_LOOK
        try:
            while await asking.is_busy(worker, place.number):
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self._places.give_back(place)
