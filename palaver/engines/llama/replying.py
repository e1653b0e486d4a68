"""One reply of the worker's: a place, a slot and a request for it, and all of them given back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from palaver.core.errors import EngineBroke, EngineRefused, EngineUnavailable, InvalidRequest
from palaver.core.turn import Accepted, Delta, EngineEvent, Finish, InLine, Prefilled, ToolCallDelta
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import asking
from palaver.engines.llama.asking import Completion
from palaver.engines.llama.kv.placing import Ask
from palaver.engines.llama.kv.slots import Seat, Slots
from palaver.engines.llama.places import Places
from palaver.engines.llama.plan import Plan
from palaver.engines.llama.prefill import Prefill
from palaver.engines.llama.reading import Reading
from palaver.engines.llama.sending import Request, prepared
from palaver.engines.llama.workers import Use, Worker, Workers

NO_CALL = "the model made no tool call although one was required"
NEEDED = "Every slot of the model holds what a conversation's next turn needs."
MakePlan = Callable[[Options], Awaitable[Plan]]


class _Stay:
    """What one reply has of the engine: a place, and as they come a worker and a slot in it. One in `idle` time leaves
    nothing in the slot."""

    def __init__(self, *, idle: bool) -> None:
        self.idle = idle
        self.waited = False
        self.use: Use | None = None
        self.seat: Seat | None = None
        self.request: Completion | None = None
        """While the worker may be at work on it."""
        self.cached: int | None = None
        """How much of the prompt was there before it was prefilled in pieces, in tokens."""


class Replying:
    """Has one engine's worker reply. `context` is that of a slot, in tokens."""

    def __init__(
        self,
        places: Places,
        slots: Slots,
        workers: Workers,
        prefill: Prefill,
        context: int,
    ) -> None:
        self._places = places
        self._slots = slots
        self._workers = workers
        self._prefill = prefill
        self._context = context
        self._leaving: set[asyncio.Task[None]] = set()

    async def reply(
        self, window: Window, options: Options, make: MakePlan
    ) -> AsyncGenerator[EngineEvent, None]:
        """The events of a reply, planned by `make`. Raises what `palaver.engines.base.Engine.generate` does."""
        plan = await make(options)
        ask = Ask(
            owner=window.owner,
            conversation=window.conversation,
            prefix=plan.prefix,
            epoch=window.epoch,
            kept=window.kept,
            ahead=options.idle,
        )
        stay = _Stay(idle=options.idle)
        if options.idle:
            await self._places.take_ahead()
        else:
            async with aclosing(self._places.line(window)) as line:
                async for before in line:
                    stay.waited = True
                    yield InLine(before)
        try:
            if stay.waited:
                yield Prefilled()
            stay.use = await self._workers.use()
            seat = stay.seat = await self._slots.take(ask, stay.use.worker)
            if seat is None:  # a turn never goes without
                raise EngineUnavailable(NEEDED)
            asked = await prepared(plan, stay.use.worker, echo=options.parameters.echo)
            async with aclosing(self._in_pieces(stay, plan, asked, ask, seat)) as pieces:
                async for piece in pieces:
                    yield piece
            fields = asked.fields | {"cache_prompt": seat.reuse}
            stay.request = Completion(stay.use.worker, seat.number, fields, asked.path)
            reading = Reading(plan)
            called = options.parameters.tool_choice in (None, "auto", "none")
            async with aclosing(self._events(stay, ask, plan, reading)) as events:
                async for event in events:
                    called = called or isinstance(event, ToolCallDelta)
                    if isinstance(event, Finish):
                        warnings = event.warnings if called else [*event.warnings, NO_CALL]
                        event = msgspec.structs.replace(event, prompt=asked.prompt, warnings=warnings)
                    yield event
        except (EngineRefused, InvalidRequest):
            stay.request = None
            raise
        finally:
            self._end(stay)

    async def close(self) -> None:
        """Give up on whoever leaves."""
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(set(self._leaving))

    async def _in_pieces(
        self, stay: _Stay, plan: Plan, asked: Request, ask: Ask, seat: Seat
    ) -> AsyncGenerator[Prefilled, None]:
        """Prefill a long prompt, and note how many of its tokens were there before. One that is not long is left.

        With one slot there is nobody to be held up.
        """
        assert stay.use is not None
        worker, there = stay.use.worker, _there(seat, ask)
        new = self._slots.tokens(ask.prefix.size) - there
        if self._slots.count < 2 or not self._prefill.is_long(new):
            return
        try:
            tokens = await _tokens(plan, asked, worker)
            if not self._prefill.is_long(len(tokens) - there) or len(tokens) >= self._context:
                return  # what is too long is refused as a whole
            stay.cached = there
            # A batch takes its time: the length is told before.
            yield Prefilled(min(there, len(tokens)), len(tokens))
            pieces = self._prefill.pieces(
                worker,
                seat.number,
                tokens,
                there,
                reuse=seat.reuse,
                computed=lambda at: self._slots.computed(seat, ask, tuple(tokens[:at])),
            )
            async with aclosing(pieces):
                async for at, stay.cached in pieces:
                    yield Prefilled(at, len(tokens))
        except EngineRefused:
            stay.cached = None  # whatever is wrong with it is found by who is asked for all of it

    async def _events(
        self, stay: _Stay, ask: Ask, plan: Plan, reading: Reading
    ) -> AsyncGenerator[EngineEvent, None]:
        """The events of one request. Until the model has said something, what breaks can be tried again."""
        spoken, request, seat = False, stay.request, stay.seat
        assert request is not None
        assert seat is not None
        try:
            await request.begun()
            self._slots.begun(seat, ask, (plan.prompt, plan.tail) if plan.way != "text" else None)
            yield Accepted()
            async with aclosing(request.body()) as body, aclosing(reading.events(body)) as events:
                async for event in events:
                    spoken = spoken or isinstance(event, Delta)
                    if isinstance(event, Finish):
                        event = self._finished(event, stay, seat)
                        if not reading.cut:
                            stay.request = None  # nobody may come back after this event
                    yield event
            if not reading.cut:
                stay.request = None
        except EngineBroke as error:
            if spoken:
                raise
            raise EngineUnavailable(f"{error.message.rstrip('.')}. Try again.") from error

    def _finished(self, finish: Finish, stay: _Stay, seat: Seat) -> Finish:
        """With what was there before its prompt was prefilled in pieces, which the worker takes for cached."""
        usage = finish.usage
        if usage is None:
            return finish
        if stay.cached is not None and usage.cached_tokens is not None:
            usage = msgspec.structs.replace(usage, cached_tokens=min(stay.cached, usage.cached_tokens))
        cached = None if stay.idle else usage.cached_tokens  # what is counted is what turns cost
        self._slots.ended(seat, usage.prompt_tokens, usage.completion_tokens, cached)
        return msgspec.structs.replace(finish, usage=usage)

    def _end(self, stay: _Stay) -> None:
        """Give everything back: once the slot is idle, for a request for a busy one would wait in the worker."""
        request = stay.request
        if request is None:
            self._free(stay)
            return

        async def leave() -> None:
            try:
                await request.left()
            finally:
                self._free(stay)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _free(self, stay: _Stay) -> None:
        if stay.seat is not None:
            if stay.idle:
                stay.seat.condemn()
            self._slots.give_back(stay.seat)
        if stay.use is not None:
            stay.use.release()
        self._places.give_back()


async def _tokens(plan: Plan, asked: Request, worker: Worker) -> list[int]:
    """The tokens of a prompt; none of one that is made of numbers and texts."""
    if plan.way == "chat":
        return await asking.tokens_of(worker, await asking.render(worker, plan.prompt))
    prompt = asked.fields.get("prompt")
    return await asking.tokens_of(worker, prompt) if isinstance(prompt, str) else []


def _there(seat: Seat, ask: Ask) -> int:
    """About how many tokens of a prompt a slot has, rather too many: of a piece that ends before them the slot would
    lose the rest."""
    holding = seat.holding
    if holding is None or not seat.reuse:
        return 0
    if holding.prefix.begins(ask.prefix):
        return holding.tokens
    return int(holding.shared(ask.owner, ask.prefix) * 1.1) + 32
