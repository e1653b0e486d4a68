"""The engine on llama.cpp: the contract `palaver.engines.base.Engine`, out of the parts of this folder.

    generate    plans a reply (`plan`) and has it made (`replying`): with a place (`places`), a worker (`workers`) and a
                slot (`kv.slots`); a long prompt goes before it in pieces (`prefill`)
    settle      what the next prompt begins with, while nobody waits (`ahead`)

Starting the worker is nobody's duty: whoever needs one that does not run waits until it does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import msgspec

from palaver.core.errors import ContextLengthExceeded, InvalidRequest, UnsupportedParameter
from palaver.core.message import Message
from palaver.core.turn import EngineEvent, Finish
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Options
from palaver.engines.choices import several
from palaver.engines.llama.ahead import Ahead
from palaver.engines.llama.completing import completion_plan
from palaver.engines.llama.counting import message_tokens
from palaver.engines.llama.embedding import AT_ONCE, embed, embedding_input
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.kv.slots import Keeping, Slots
from palaver.engines.llama.kv.state import kv_state
from palaver.engines.llama.lore import Lore
from palaver.engines.llama.places import Places
from palaver.engines.llama.plan import NO_TOOLS, Plan, Planner
from palaver.engines.llama.prefill import Prefill
from palaver.engines.llama.replying import Replying
from palaver.engines.llama.sending import counted
from palaver.engines.llama.upkeep import Upkeep
from palaver.engines.llama.workers import Worker, Workers

CHAT = SAMPLING | {
    *("json_object", "json_schema", "regex", "grammar"),
    *("reasoning", "reasoning_effort", "chat_template_kwargs"),
    *("logprobs", "echo", "count", "prefill", "settle", "completions"),
}
TITLES = frozenset({"titles"})
TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
LEAST_PIECE = 32
"""Tokens that are prefilled at once while nobody waits, at least."""
SOON = 1.0
"""Seconds in which a turn follows that a question was about; so long the model makes no room for another."""


class WorkerEngine:
    """A model that some llama.cpp server runs. `slots` is how many replies it works on at once, `context` that of one
    and `batch` how much it prefills at once, in tokens. `keeping` is how slots are saved, None where they are not."""

    def __init__(
        self,
        model: Gguf,
        slots: int,
        context: int,
        workers: Workers,
        *,
        batch: int = 256,
        keeping: Keeping | None = None,
    ) -> None:
        self.gguf = model
        self._context = context
        self._planner = Planner(model)
        self._lore = Lore(model.special_tokens)
        self._places = Places(slots)
        self._slots = Slots(slots, keeping, time.time)
        self._keeping = keeping
        self._workers = workers
        piece = max(LEAST_PIECE, batch // 2)  # a turn that comes in between waits for one
        self._ahead = Ahead(self._planner, self._places, self._slots, workers, piece)
        self._upkeep = Upkeep(self._places, self._slots, workers)
        prefill = Prefill(batch, lambda: self._places.taken > 1)
        self._replying = Replying(self._places, self._slots, workers, prefill, context)

    @property
    def capabilities(self) -> frozenset[str]:
        if self.embeds:
            return frozenset({"embeddings"})
        tools = TOOLS if self._planner.has_tools else frozenset()
        return CHAT | tools | (TITLES if self.gguf.has_chat_template else frozenset())

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

        replies = several(lambda one: self._replying.reply(window, one, plan), options)
        async with aclosing(replies) as events:
            async for event in events:
                if isinstance(event, Finish):
                    event = msgspec.structs.replace(event, marks=self._planner.marks(window))
                yield event

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        async def plan(one: Options) -> Plan:
            self._check_chats()
            return await asyncio.to_thread(completion_plan, prompt, suffix, one.parameters, self.gguf)

        replies = several(lambda one: self._replying.reply(window, one, plan), options)
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
            await (self._places.take_ahead() if options.idle else self._places.take(window))
            try:
                async with self._worker() as worker:
                    parts.append(await embed(worker, given[start : start + AT_ONCE]))
            finally:
                self._places.give_back()
        vectors = [vector for part in parts for vector in part.vectors]
        return Embedded(vectors, sum(part.prompt_tokens for part in parts))

    async def settle(self, window: Window, options: Options) -> bool:
        return not self.embeds and await self._ahead.settle(window, options)

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return await self._slots.forget(owner, conversation, self._workers.running)

    async def kv_cache(self) -> KvCache | None:
        if self.embeds:
            return None
        return await kv_state(self.gguf.unkept, self._slots, self._keeping, self._workers.running)

    async def save_all(self, worker: Worker) -> None:
        """Save what would be lost with a worker that is to be left."""
        await self._slots.save_all(worker)

    async def close(self) -> None:
        self._places.close()
        await self._upkeep.close()
        await self._workers.close()
        await self._replying.close()

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

    @asynccontextmanager
    async def _worker(self, after: float = 0.0) -> AsyncIterator[Worker]:
        """The worker, for a question that takes no place. It stays so many seconds longer."""
        use = await self._workers.use()
        try:
            yield use.worker
        finally:
            use.release(after)
