"""The engine on llama.cpp: the contract `palaver.engines.base.Engine`, out of the parts of this folder.

    generate    plans a reply (`plan`), takes a place (`places`) and a worker (`workers`), and sends it a
                `Completion` (`asking`)
      _reply    its stream read (`reading`), its failures told apart
      _leave    where the reader left in mid-reply: the place is free when the worker's slot is

Starting the worker is nobody's duty: whoever needs one that does not run waits until it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import msgspec

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    InvalidRequest,
    UnsupportedParameter,
)
from palaver.core.message import Message
from palaver.core.turn import Accepted, Delta, EngineEvent, Finish, ToolCallDelta
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, Options
from palaver.engines.choices import several
from palaver.engines.llama.asking import Completion
from palaver.engines.llama.completing import completion_plan
from palaver.engines.llama.counting import message_tokens
from palaver.engines.llama.embedding import AT_ONCE, embed, embedding_input
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.lore import Lore
from palaver.engines.llama.places import Place, Places
from palaver.engines.llama.plan import NO_TOOLS, Plan, Planner
from palaver.engines.llama.reading import Reading
from palaver.engines.llama.sending import counted, prepared
from palaver.engines.llama.workers import Use, Worker, Workers

CHAT = SAMPLING | {
    *("json_object", "json_schema", "regex", "grammar"),
    *("reasoning", "reasoning_effort", "chat_template_kwargs"),
    *("logprobs", "echo", "count", "prefill", "completions"),
}
TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
NO_CALL = "the model made no tool call although one was required"
SOON = 1.0
"""Seconds in which a turn follows that a question was about; so long the model makes no room for another."""
MakePlan = Callable[[Options], Awaitable[Plan]]


class WorkerEngine:
    """A model that some llama.cpp server runs. `slots` is how many replies it works on at once, `context` that of one
    in tokens."""

    def __init__(self, model: Gguf, slots: int, context: int, workers: Workers) -> None:
        self.gguf = model
        self._context = context
        self._planner = Planner(model)
        self._lore = Lore(model.special_tokens)
        self._places = Places(slots)
        self._workers = workers
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> frozenset[str]:
        if self.embeds:
            return frozenset({"embeddings"})
        return CHAT | (TOOLS if self._planner.has_tools else frozenset())

    @property
    def embeds(self) -> bool:
        """Whether the model makes vectors of texts, and nothing else."""
        return self.gguf.pooling > 0

    @property
    def waiting(self) -> int:
        return self._places.waiting

    async def context_size(self, model: str) -> int:
        return self._context

    async def count(self, window: Window, options: Options) -> int:
        plan = await self._plan(window, options)
        async with self._worker(SOON) as worker:
            return await counted(plan, worker)

    def tokenizer(self, model: str) -> str | None:
        return None if self.embeds else self.gguf.tokenizer

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int]:
        async with self._worker(SOON) as worker:
            return await message_tokens(messages, worker, self._planner.escape)

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        async def plan(one: Options) -> Plan:
            return await self._plan(window, one)

        replies = several(lambda one: self._one(window, one, plan), options)
        async with aclosing(replies) as events:
            async for event in events:
                yield event

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        async def plan(one: Options) -> Plan:
            self._check_chats()
            return await asyncio.to_thread(completion_plan, prompt, suffix, one.parameters, self.gguf)

        replies = several(lambda one: self._one(window, one, plan), options)
        try:
            async with aclosing(replies) as events:
                async for event in events:
                    yield event
        except ContextLengthExceeded as error:
            raise ContextLengthExceeded(
                prompt_tokens=error.prompt_tokens, context_size=error.context_size, param="prompt"
            ) from error

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        if not self.embeds:
            raise InvalidRequest("This model makes no embeddings: it is for chats.", param="model")
        given = embedding_input(texts, dimensions, self.gguf, self._planner.escape)
        parts = []
        for start in range(0, len(given), AT_ONCE):
            place = await self._places.take(window)
            try:
                async with self._worker() as worker:
                    parts.append(await embed(worker, given[start : start + AT_ONCE]))
            finally:
                self._places.give_back(place)
        vectors = [vector for part in parts for vector in part.vectors]
        return Embedded(vectors, sum(part.prompt_tokens for part in parts))

    async def close(self) -> None:
        self._places.close()
        await self._workers.close()
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _plan(self, window: Window, options: Options) -> Plan:
        """What to ask the worker. It is asked itself only for what is not known without it."""
        self._check_chats()
        planner, form = self._planner, None
        if window.tools:
            planner.prompt(window, options)  # what is wrong with it is told before a worker starts
            async with self._worker(SOON) as worker:
                lore = await self._lore.tools(worker)
            if not lore.shown:
                raise UnsupportedParameter(NO_TOOLS, param="tools")
            form = lore.form
        elif options.parameters.format is None:
            return planner.plan(window, options, None)
        return await asyncio.to_thread(planner.plan, window, options, form)  # reading a grammar takes a while

    def _check_chats(self) -> None:
        if self.embeds:
            raise InvalidRequest("This model does not chat: it makes embeddings.", param="model")

    async def _one(
        self, window: Window, options: Options, make: MakePlan
    ) -> AsyncGenerator[EngineEvent, None]:
        """One reply."""
        plan = await make(options)
        place = await self._places.take(window)
        use: Use | None = None
        request: Completion | None = None  # while the worker may be at work on it
        try:
            use = await self._workers.use()
            asked = await prepared(plan, use.worker, echo=options.parameters.echo)
            fields = asked.fields | {"cache_prompt": place.reuse}
            request = Completion(use.worker, place.number, fields, asked.path)
            reading = Reading(plan)
            async with aclosing(self._reply(request, place, reading)) as events:
                called = options.parameters.tool_choice in (None, "auto", "none")
                async for event in events:
                    called = called or isinstance(event, ToolCallDelta)
                    if isinstance(event, Finish):
                        if not reading.cut:
                            request = None  # nobody may come back after this event
                        warnings = event.warnings if called else [*event.warnings, NO_CALL]
                        event = msgspec.structs.replace(
                            event, prompt=asked.prompt, warnings=warnings, marks=self._planner.marks(window)
                        )
                    yield event
            if not reading.cut:
                request = None
        except (EngineRefused, InvalidRequest):
            request = None
            raise
        finally:
            if request is None or use is None:
                self._free(place, use)
            else:
                self._leave(request, place, use)

    async def _reply(
        self, request: Completion, place: Place, reading: Reading
    ) -> AsyncGenerator[EngineEvent, None]:
        """The events of one request. Until the model has said something, what breaks can be tried again."""
        spoken = False
        try:
            await request.begun()
            place.begun()
            yield Accepted()
            async with aclosing(request.body()) as body, aclosing(reading.events(body)) as events:
                async for event in events:
                    spoken = spoken or isinstance(event, Delta)
                    yield event
        except EngineBroke as error:
            if spoken:
                raise
            raise EngineUnavailable(f"{error.message.rstrip('.')}. Try again.") from error

    @asynccontextmanager
    async def _worker(self, after: float = 0.0) -> AsyncIterator[Worker]:
        """The worker, for a question that takes no place. It stays so many seconds longer."""
        use = await self._workers.use()
        try:
            yield use.worker
        finally:
            use.release(after)

    def _free(self, place: Place, use: Use | None) -> None:
        self._places.give_back(place)
        if use is not None:
            use.release()

    def _leave(self, request: Completion, place: Place, use: Use) -> None:
        """Give the place back once the slot is idle: a request for a busy one would wait in the worker."""

        async def leave() -> None:
            try:
                await request.left()
            finally:
                self._free(place, use)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
