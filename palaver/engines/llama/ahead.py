"""Work ahead of a turn: what the next prompt of a conversation begins with, prefilled while nobody waits.

A reply's text is not always made of the tokens that the model chose, templates drop the thinking of earlier replies,
and a new epoch begins elsewhere: each time llama.cpp would compute again, while somebody waits, what can be computed
before. So the prompt is rendered as it will be, with a question to come, and prefilled up to that question: in pieces
of half a batch, each only while no turn is at work. Nothing is lost where a turn comes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import msgspec

from palaver.core.message import Message
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import asking
from palaver.engines.llama.finishing import to_its_end
from palaver.engines.llama.kv.placing import Ask
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.slots import Seat, Slots
from palaver.engines.llama.places import Places
from palaver.engines.llama.plan import Planner
from palaver.engines.llama.workers import Worker, Workers

QUESTION = "qu3st10n-t0-c0me"
"""Stands for what comes next; in no template."""


class Ahead:
    """Does so for one model; `batch` is how many tokens a piece has."""

    def __init__(self, planner: Planner, places: Places, slots: Slots, workers: Workers, batch: int) -> None:
        self._planner = planner
        self._places = places
        self._slots = slots
        self._workers = workers
        self._batch = batch

    async def settle(self, window: Window, options: Options) -> bool:
        """See `palaver.engines.base.Engine.settle`. Never starts a worker: without one nothing is to be brought on."""
        fields = self._planner.prompt(_with_question(window), options)
        ask = Ask(
            owner=window.owner,
            conversation=window.conversation,
            prefix=Prefix.of_prompt(fields | {"messages": fields["messages"][:-1]}),
            epoch=window.epoch,
            kept=window.kept,
            ahead=True,
        )
        try:
            return await self._settled(ask, fields)
        except _Unplaced:
            return False

    async def _settled(self, ask: Ask, fields: dict[str, Any]) -> bool:
        target: tuple[int, ...] | None = None
        while True:
            await self._places.take_ahead()
            try:
                use = self._workers.use_running()
                if use is None:
                    return False
                try:
                    if target is None:
                        target = await self._target(use.worker, fields)
                    if not target or await self._piece(use.worker, ask, target):
                        return bool(target)
                finally:
                    use.release()
            finally:
                self._places.give_back()

    async def _target(self, worker: Worker, fields: dict[str, Any]) -> tuple[int, ...]:
        """The tokens up to the question; none where the template puts that in a place of its own making."""
        text = await asking.render(worker, fields | {"add_generation_prompt": False})
        before, found, _ = text.rpartition(QUESTION)
        if not found:
            return ()
        # The last token may be another one together with what follows.
        return tuple((await asking.tokens_of(worker, before))[:-1])

    async def _piece(self, worker: Worker, ask: Ask, target: tuple[int, ...]) -> bool:
        """One piece more of it; whether that was the last. Raises _Unplaced where there is no slot for it."""
        seat = await self._slots.take(ask, worker)
        if seat is None:
            raise _Unplaced
        try:
            at, is_sure = await self._there(worker, seat, target)
            until = min(len(target), at + self._batch)
            if at < len(target) or not is_sure:
                await to_its_end(self._prefilled(worker, seat, ask, target[:until]))
            else:
                self._slots.untouched(seat)
            if seat.is_condemned:
                raise _Unplaced  # it was forgotten meanwhile: nobody wants it any more
        finally:
            self._slots.give_back(seat)
        return until == len(target)

    async def _prefilled(self, worker: Worker, seat: Seat, ask: Ask, tokens: tuple[int, ...]) -> None:
        done = await asking.prefill(worker, seat.number, tokens, reuse=seat.reuse)
        self._slots.counts["settled"] += done.prompt_n
        self._slots.computed(seat, ask, tokens)

    async def _there(self, worker: Worker, seat: Seat, target: tuple[int, ...]) -> tuple[int, bool]:
        """How many tokens of it the slot has, and whether that is sure: else at most so many. Of a piece that ends
        before them the slot would lose the others, so it is rather too many."""
        holding = seat.holding
        if holding is None or not seat.reuse:
            return 0, True
        if holding.ids:
            return _alike(holding.ids, target), True
        most = min(holding.tokens, len(target))
        if seat.asked is None:
            return most, False
        fields, tail = seat.asked
        asked = await asking.tokens_of(worker, await asking.render(worker, fields) + tail)
        alike = _alike(asked, target)
        # The last token may be another one together with what follows. After it comes the reply, whose tokens nobody
        # knows here.
        return (alike, True) if alike < len(asked) - 1 else (max(alike, most), False)


class _Unplaced(Exception):
    """There is no slot for it: none can be had that would not cost more than it gains, or it was forgotten."""


def _with_question(window: Window) -> Window:
    """The window with something in the place of what comes next: a result, where a tool was called."""
    last = window.messages[-1] if window.messages else None
    if last is not None and last.role == "assistant" and last.tool_calls:
        question = Message("tool", QUESTION, tool_call_id=last.tool_calls[0].id)
    else:
        question = Message("user", QUESTION)
    return msgspec.structs.replace(window, messages=(*window.messages, question))


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many numbers both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
