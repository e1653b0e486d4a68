"""The slots of one worker: what each holds, and who gets which.

A turn, or work ahead of one, gets a slot by `take`, where most of its prompt is there already: as it was left there,
or as a snapshot that is restored into it (`placing` decides). What one owner left in a slot is never reused for
another: not even the time an answer takes may tell what somebody else has said.

A worker that is another than before holds nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from palaver.core.errors import EngineUnavailable
from palaver.engines.base import Held
from palaver.engines.llama.kv.eviction import Snapshot
from palaver.engines.llama.kv.placing import (
    COPY_SHARE,
    WORTH,
    Ask,
    Holding,
    Placement,
    Source,
    choose,
    is_worth_saving,
)
from palaver.engines.llama.kv.saving import Keeping, Saving
from palaver.engines.llama.kv.seat import Seat
from palaver.engines.llama.workers import Worker

__all__ = ["Keeping", "Seat", "Slots"]

TOKENS_A_BYTE = 0.25
"""Of a prompt, until one was counted."""
WORTH_WAITING = 512
"""Tokens of a snapshot for which a turn waits until it is known which model runs: to read its file takes seconds, to
prefill so many longer."""
IDLE_TOKENS = 256
IDLE_SHARE = 8
"""While idle a slot is saved once so many of its tokens are new, or one of so many: a slot is written whole."""


class Slots:
    """`keeping` is None where nothing is saved. `freed` is told when a slot is free."""

    def __init__(self, count: int, keeping: Keeping | None, clock: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self.freed: Callable[[], object] = lambda: None
        self._seats = [Seat(number) for number in range(count)]
        self._saving = Saving(keeping, self.counts)
        self._clock = clock
        self._worker: Worker | None = None
        self._changing = asyncio.Lock()
        self._uses = 0
        self._ratio = TOKENS_A_BYTE

    @property
    def count(self) -> int:
        return len(self._seats)

    @property
    def is_doubtful(self) -> bool:
        """Whether the worker failed to restore what was whole: another one is better."""
        return self._saving.is_doubtful

    @property
    def has_condemned(self) -> bool:
        """Whether something is to be erased, and nobody uses it."""
        return any(seat.is_condemned and not seat.is_taken for seat in self._seats)

    def tokens(self, size: int) -> int:
        """About how many tokens a prompt of so many bytes has."""
        return int(size * self._ratio)

    async def take(self, ask: Ask, worker: Worker) -> Seat | None:
        """A slot for a prompt, to be given back; whoever takes one has a place (`Places`). None only for work ahead.

        A turn whose prompt is where work ahead of it is being done waits for the end of that, which is near.

        Raises EngineUnavailable, EngineTimeout.
        """
        while True:
            async with self._changing:
                if not worker.alive:
                    raise EngineUnavailable(f"{worker.called} {await worker.how_it_ended() or 'has ended'}.")
                self._belong_to(worker)
                worked_on = None if ask.ahead else self._worked_on(ask)
                if worked_on is None:
                    return await self._taken(ask, worker)
            await worked_on.is_free.wait()

    def begun(self, seat: Seat, ask: Ask, asked: tuple[dict[str, Any], str] | None = None) -> None:
        """The worker has begun with this prompt: from here on the slot holds it and no other."""
        before = seat.holding
        saved = min(before.saved, before.shared(ask.owner, ask.prefix)) if before is not None else 0
        seat.hold(_holding(ask, self.tokens(ask.prefix.size), saved), asked)
        if ask.conversation is not None and ask.epoch and not ask.ahead:
            self._left_behind(ask, seat)

    def computed(self, seat: Seat, ask: Ask, ids: tuple[int, ...]) -> None:
        """The slot holds exactly these tokens, of this prompt."""
        before, saved = seat.holding, 0
        if before is not None:
            saved = min(before.saved, len(ids), before.shared(ask.owner, ask.prefix))
        seat.hold(_holding(ask, len(ids), saved, ids))

    def untouched(self, seat: Seat) -> None:
        """The worker was asked nothing for it: it holds what it held."""
        seat.is_known = True

    def ended(self, seat: Seat, prompt_tokens: int, completion_tokens: int, cached: int | None) -> None:
        """What a turn came to, in tokens."""
        holding = seat.holding
        if holding is not None:
            if prompt_tokens >= WORTH and holding.prefix.size:
                self._ratio = prompt_tokens / holding.prefix.size
            seat.holding = holding.but(tokens=prompt_tokens + completion_tokens)
        if cached is not None:
            self.counts["prefilled"] += prompt_tokens - cached
            self.counts["reused"] += cached

    def give_back(self, seat: Seat) -> None:
        """Nobody works there any more."""
        seat.give_back()
        self.freed()

    async def save_idle(self, worker: Worker) -> None:
        """Save what has become much since it was saved last, as long as nobody is at work."""

        def least(holding: Holding) -> int:
            return max(IDLE_TOKENS, holding.tokens // IDLE_SHARE) if holding.saved else WORTH

        if await self._saving.is_ready(is_patient=True):
            await self._save_where(worker, least, is_parting=False)

    async def save_all(self, worker: Worker) -> None:
        """Save what would be lost with a worker that is to be stopped, what was used last first."""
        if await self._saving.is_ready(is_patient=True):
            await self._save_where(worker, lambda _: WORTH, is_parting=True)

    async def forget(self, owner: str | None, conversation: str | None, worker: Worker | None) -> int:
        """Erase slots and snapshots: of a conversation, of an owner, or all; slots in use when that ends. How many.

        Raises EngineRefused for snapshots that cannot be erased.
        """
        async with self._changing:
            found = [seat for seat in self._seats if seat.is_of(owner, conversation)]
            if worker is None or worker is not self._worker:
                self._reset()
            else:
                for seat in found:
                    seat.condemn()
                await self._erase(worker)
            # With the slots: else one of the two might come out of the other meanwhile.
            return len(found) + await self._saving.forget(owner, conversation)

    async def erase_condemned(self, worker: Worker) -> None:
        """Erase what was to be forgotten when it was not in use any more, and what nobody knows."""
        async with self._changing:
            if worker is self._worker:
                await self._erase(worker)

    def held(self, worker: Worker | None) -> list[Held]:
        """What the slots hold."""
        if worker is None or worker is not self._worker:
            return []
        return [
            Held(
                owner=seat.holding.owner,
                conversation=seat.holding.conversation,
                where="slot",
                slot=seat.number,
                tokens=seat.holding.tokens,
                used=seat.used_at,
            )
            for seat in self._seats
            if seat.holding is not None
        ]

    async def _taken(self, ask: Ask, worker: Worker) -> Seat | None:
        snapshot, there = self._saving.best(ask)
        can_save = await self._saving.is_ready(is_patient=there >= WORTH_WAITING)
        if not can_save:
            snapshot, there = None, 0
        if snapshot is not None and there < snapshot.head.tokens // COPY_SHARE:
            there = 0
        free = [seat.slot(self._saving.saved(seat.holding)) for seat in self._seats if not seat.is_taken]
        chosen = choose(free, ask, snapshot=there, can_save=can_save)
        if chosen is None:
            return None
        seat = self._seats[chosen.number]
        seat.take(ask)
        try:
            is_ready = await self._made_ready(seat, chosen, ask, snapshot, worker)
        except BaseException:
            self.give_back(seat)
            raise
        if not is_ready:
            self.give_back(seat)
            return None
        self._uses += 1
        seat.used, seat.used_at = self._uses, self._clock()
        seat.hand_over(ask)
        return seat

    async def _made_ready(
        self, seat: Seat, chosen: Placement, ask: Ask, snapshot: Snapshot | None, worker: Worker
    ) -> bool:
        """Save what is in a slot, and restore what is to be there. False for work ahead that would cost too much: what
        it was to take cannot be saved."""
        if chosen.source is not Source.SNAPSHOT:
            snapshot = None
        with self._saving.pinned(snapshot):
            if chosen.save:
                if await self._saving.save(seat, worker) is not None:
                    self.counts["evicted"] += 1
                elif ask.ahead:
                    return False
            if chosen.source is Source.SLOT and chosen.copied is not None:
                snapshot = await self._saving.save(self._seats[chosen.copied], worker)
            if snapshot is not None:
                await self._saving.restore(seat, snapshot, worker)
        return True

    def _worked_on(self, ask: Ask) -> Seat | None:
        """The slot where work ahead is being done, if it has more of a prompt than any that is free."""

        def shared(seat: Seat) -> int:
            return seat.holding.shared(ask.owner, ask.prefix) if seat.holding else 0

        best = max(self._seats, key=shared)
        is_better = shared(best) > max((shared(s) for s in self._seats if not s.is_taken), default=0)
        return best if best.is_ahead and is_better else None

    def _belong_to(self, worker: Worker) -> None:
        if worker is not self._worker:
            self._reset()
            self._worker = worker
            self._saving.begin()

    def _reset(self) -> None:
        self._worker = None
        for seat in self._seats:
            seat.is_condemned = False
            if seat.is_taken:
                seat.condemn()  # whoever is there yet worked with the worker before
            else:
                seat.hold(None)

    def _left_behind(self, ask: Ask, now: Seat) -> None:
        for seat in self._seats:
            holding = seat.holding
            if seat is not now and holding is not None and _is_of(holding, ask):
                seat.holding = holding.but(left=holding.epoch < ask.epoch)  # their ids are in order
        self._saving.leave(ask)

    async def _save_where(self, worker: Worker, least: Callable[[Holding], int], *, is_parting: bool) -> None:
        for seat in sorted(self._seats, key=lambda each: -each.used):
            async with self._changing:
                if worker is not self._worker:
                    return
                if not is_parting and any(each.is_taken for each in self._seats):
                    return  # saving one stalls the others
                holding = seat.slot(self._saving.saved(seat.holding)).holding
                if seat.is_taken or holding is None or not is_worth_saving(holding, least(holding)):
                    continue
                saved = await self._saving.save(seat, worker, is_parting=is_parting)
            if saved is not None and saved.writing is not None and not is_parting:
                await asyncio.wait([saved.writing])

    async def _erase(self, worker: Worker) -> None:
        for seat in self._seats:
            if seat.is_condemned and not seat.is_taken:
                await self._saving.erase(seat, worker)


def _holding(ask: Ask, tokens: int, saved: int, ids: tuple[int, ...] = ()) -> Holding:
    return Holding(
        owner=ask.owner,
        conversation=ask.conversation,
        epoch=ask.epoch,
        prefix=ask.prefix,
        tokens=tokens,
        kept=ask.kept,
        saved=saved,
        ids=ids,
    )


def _is_of(holding: Holding, ask: Ask) -> bool:
    return (holding.owner, holding.conversation) == (ask.owner, ask.conversation)
