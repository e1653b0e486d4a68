"""The slots of one worker: what each holds, and what is done with it.

A turn, or work ahead of one, gets a slot by `take`, where most of its prompt is there already: as it was left there,
or as a snapshot that is restored into it (`placing` decides). What one owner left in a slot is never reused for
another: not even the time an answer takes may tell what somebody else has said.

A worker that is another than before holds nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from palaver.core.errors import EngineRefused, PalaverError
from palaver.engines.base import Held
from palaver.engines.llama import asking
from palaver.engines.llama.kv import placing
from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.placing import WORTH, Ask, Holding, Source, choose, is_worth_saving
from palaver.engines.llama.kv.snapshot_file import Head, Refused
from palaver.engines.llama.kv.snapshots import Snapshot, Snapshots
from palaver.engines.llama.workers import Worker

TOKENS_A_BYTE = 0.25
"""Of a prompt, until one was counted."""
IDLE_TOKENS = 256
IDLE_SHARE = 8
"""While idle a slot is saved once so many of its tokens are new, or one of so many: a slot is written whole."""
AROUND = 1 << 20
"""Bytes that a snapshot may have beside those of its tokens."""

log = structlog.get_logger(__name__)


class Seat:
    """A slot. While somebody has it: what it holds, and what was asked there last (`fields` make its prompt, `tail`
    follows that), so that its tokens can be told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.holding: Holding | None = None
        self.asked: tuple[dict[str, Any], str] | None = None
        self.is_taken = False
        self.is_ahead = False
        self.is_free = asyncio.Event()
        self.is_condemned = False
        self.used = 0
        self.used_at = 0.0
        self.reuse = False

    @property
    def slot(self) -> placing.Slot:
        return placing.Slot(number=self.number, holding=self.holding, used=self.used)


class Keeping(msgspec.Struct, frozen=True):
    """How a model's slots are saved: as what (`model`, `identity`), where, and how large a token is there. `context` is
    how many tokens a slot can hold."""

    model: str
    snapshots: Snapshots
    identity: Callable[[], Awaitable[Identity]]
    token_bytes: int
    context: int


class Slots:
    """`keeping` is None where nothing is saved."""

    def __init__(self, count: int, keeping: Keeping | None, clock: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self.is_doubtful = False
        """Whether the worker failed to restore what was whole: another one is better."""
        self._seats = [Seat(number) for number in range(count)]
        self._keeping = keeping
        self._clock = clock
        self._worker: Worker | None = None
        self._changing = asyncio.Lock()
        self._uses = 0
        self._ratio = TOKENS_A_BYTE

    @property
    def count(self) -> int:
        return len(self._seats)

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
                self._belong_to(worker)
                worked_on = None if ask.ahead else self._worked_on(ask)
                if worked_on is None:
                    return await self._taken(ask, worker)
            await worked_on.is_free.wait()

    async def _taken(self, ask: Ask, worker: Worker) -> Seat | None:
        snapshot, there = await self._best(ask)
        free = [seat.slot for seat in self._seats if not seat.is_taken]
        chosen = choose(free, ask, snapshot=there, can_save=self._keeping is not None)
        if chosen is None:
            return None
        seat = self._seats[chosen.number]
        seat.is_taken, seat.is_ahead = True, ask.ahead
        seat.is_free.clear()
        try:
            if chosen.save and await self._save(seat, worker) is not None:
                self.counts["evicted"] += 1
            if chosen.source is Source.SLOT and chosen.copied is not None:
                snapshot = await self._save(self._seats[chosen.copied], worker)
            if chosen.source is not Source.HERE and snapshot is not None:
                await self._restore(seat, snapshot, worker)
        except BaseException:
            self.give_back(seat)
            raise
        self._uses += 1
        seat.used, seat.used_at = self._uses, self._clock()
        seat.reuse = seat.holding is not None and seat.holding.owner == ask.owner
        if not seat.reuse:
            # Another owner's prompt is in the slot until the worker has begun with this one. If it never
            # does, nobody may reuse what is there.
            seat.holding = seat.asked = None
        return seat

    def _worked_on(self, ask: Ask) -> Seat | None:
        """The slot where work ahead is being done, if it has more of a prompt than any that is free."""

        def shared(seat: Seat) -> int:
            return seat.holding.shared(ask.owner, ask.prefix) if seat.holding else 0

        best = max(self._seats, key=shared)
        is_better = shared(best) > max((shared(s) for s in self._seats if not s.is_taken), default=0)
        return best if best.is_taken and best.is_ahead and is_better else None

    def begun(self, seat: Seat, ask: Ask, asked: tuple[dict[str, Any], str] | None = None) -> None:
        """The worker has begun with this prompt: from here on the slot holds it and no other."""
        before = seat.holding
        saved = 0
        if before is not None:
            saved = min(before.saved, before.shared(ask.owner, ask.prefix))
        self._hold(seat, ask, self.tokens(ask.prefix.size), saved)
        seat.asked = asked
        if ask.conversation is not None and ask.epoch and not ask.ahead:
            self._left_behind(ask, seat)

    def computed(self, seat: Seat, ask: Ask, ids: tuple[int, ...]) -> None:
        """The slot holds exactly these tokens, of this prompt."""
        before, saved = seat.holding, 0
        if before is not None:
            saved = min(before.saved, len(ids), before.shared(ask.owner, ask.prefix))
        self._hold(seat, ask, len(ids), saved, ids)
        seat.asked = None

    def ended(self, seat: Seat, prompt_tokens: int, completion_tokens: int, cached: int | None) -> None:
        """What a turn came to, in tokens."""
        holding = seat.holding
        if holding is not None:
            if prompt_tokens >= WORTH and holding.prefix.size:
                self._ratio = prompt_tokens / holding.prefix.size
            seat.holding = msgspec.structs.replace(holding, tokens=prompt_tokens + completion_tokens)
        if cached is not None:
            self.counts["prefilled"] += prompt_tokens - cached
            self.counts["reused"] += cached

    def give_back(self, seat: Seat) -> None:
        """Nobody works there any more."""
        seat.is_taken = False
        seat.is_free.set()
        if seat.is_condemned:
            seat.holding = seat.asked = None

    async def save_idle(self, worker: Worker) -> None:
        """Save what has become much since it was saved last, while nobody is at work."""

        def least(holding: Holding) -> int:
            return max(IDLE_TOKENS, holding.tokens // IDLE_SHARE) if holding.saved else WORTH

        await self._save_where(worker, least)

    async def save_all(self, worker: Worker) -> None:
        """Save what would be lost with the worker, what was used last first."""
        if self.is_doubtful:
            return
        await self._save_where(worker, lambda _: WORTH)

    async def forget(self, owner: str | None, conversation: str | None, worker: Worker | None) -> int:
        """Erase slots: of a conversation, of an owner, or all; those in use when that ends. How many."""
        async with self._changing:
            found = [seat for seat in self._seats if _is_of(seat.holding, owner, conversation)]
            if worker is None or worker is not self._worker:
                self._reset()
                return len(found)
            for seat in found:
                seat.is_condemned = True
                if not seat.is_taken:
                    seat.holding = seat.asked = None
            await self._erase(worker)
        return len(found)

    async def erase_condemned(self, worker: Worker) -> None:
        """Erase what was to be forgotten when it was not in use any more."""
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

    def _belong_to(self, worker: Worker) -> None:
        if worker is not self._worker:
            self._reset()
            self._worker = worker
            self.is_doubtful = False

    def _reset(self) -> None:
        self._worker = None
        for seat in self._seats:
            seat.is_condemned = seat.is_taken  # whoever is there yet worked with the worker before
            if not seat.is_taken:
                seat.holding = seat.asked = None

    def _hold(self, seat: Seat, ask: Ask, tokens: int, saved: int, ids: tuple[int, ...] = ()) -> None:
        seat.holding = Holding(
            owner=ask.owner,
            conversation=ask.conversation,
            epoch=ask.epoch,
            prefix=ask.prefix,
            tokens=tokens,
            kept=ask.kept,
            saved=saved,
            ids=ids,
        )
        seat.reuse = True

    def _left_behind(self, ask: Ask, now: Seat) -> None:
        for seat in self._seats:
            if seat is not now and seat.holding and _is_of(seat.holding, ask.owner, ask.conversation):
                left = seat.holding.epoch != ask.epoch
                seat.holding = msgspec.structs.replace(seat.holding, left=left)
        if self._keeping is not None:
            keeping = self._keeping
            keeping.snapshots.leave(keeping.model, ask.owner, ask.conversation, ask.epoch)

    async def _best(self, ask: Ask) -> tuple[Snapshot | None, int]:
        if self._keeping is None:
            return None, 0
        try:
            await self._keeping.snapshots.open()
        except OSError as error:
            log.warning("snapshots cannot be used", reason=str(error))
            return None, 0
        return self._keeping.snapshots.best(self._keeping.model, ask.owner, ask.prefix)

    async def _save_where(self, worker: Worker, least: Callable[[Holding], int]) -> None:
        for seat in sorted(self._seats, key=lambda each: -each.used):
            async with self._changing:
                holding = seat.holding
                is_free = worker is self._worker and not seat.is_taken and not seat.is_condemned
                if holding is not None and is_free and is_worth_saving(holding, least(holding)):
                    await self._save(seat, worker)

    async def _save(self, seat: Seat, worker: Worker) -> Snapshot | None:
        """Save a slot as it is; None where that does not work. Raises EngineUnavailable, EngineTimeout."""
        keeping, holding = self._keeping, seat.holding
        if keeping is None or holding is None or not holding.kept or seat.is_condemned:
            return None
        file = None
        try:
            file = await keeping.snapshots.room_for(holding.tokens * keeping.token_bytes + AROUND)
            if file is None:
                self.counts["unsaved"] += 1
                return None
            tokens, written = await asking.save(worker, seat.number, file.name)
            if written != file.stat().st_size or tokens == 0:
                raise OSError("what was saved is not whole")
            head = Head(
                identity=await keeping.identity(),
                owner=holding.owner,
                conversation=holding.conversation,
                epoch=holding.epoch,
                prefix=holding.prefix,
                tokens=tokens,
                ids=holding.ids if len(holding.ids) == tokens else (),
            )
            snapshot = await keeping.snapshots.add(keeping.model, head, file)
        except BaseException as error:
            if file is not None:
                with suppress(OSError):
                    file.unlink(missing_ok=True)
            if not isinstance(error, (OSError, EngineRefused)):
                raise
            self.counts["unsaved"] += 1
            log.warning("a slot could not be saved", model=keeping.model, reason=str(error))
            return None
        seat.holding = msgspec.structs.replace(holding, tokens=tokens, saved=tokens)
        self.counts["saved"] += 1
        return snapshot

    async def _restore(self, seat: Seat, snapshot: Snapshot, worker: Worker) -> None:
        """Have a slot hold a snapshot. One that cannot be used leaves the slot as it was, or empty."""
        assert self._keeping is not None
        snapshots, head = self._keeping.snapshots, snapshot.head
        if head.tokens >= self._keeping.context:
            snapshots.refuse(snapshot, "layout")
            return
        try:
            file, is_copy = await snapshots.fetch(snapshot, await self._keeping.identity())
        except (Refused, OSError) as error:
            log.info("a snapshot is not used", model=self._keeping.model, reason=str(error))
            return
        seat.holding = seat.asked = None
        try:
            restored = await asking.restore(worker, seat.number, file.name)
        except EngineRefused:
            snapshots.refuse(snapshot, "worker")
            self.is_doubtful = True
            return
        finally:
            if is_copy:
                file.unlink(missing_ok=True)
        if restored != head.tokens:
            snapshots.refuse(snapshot, "worker")
            return
        self.counts["restored"] += 1
        seat.holding = Holding(
            owner=head.owner,
            conversation=head.conversation,
            epoch=head.epoch,
            prefix=head.prefix,
            tokens=head.tokens,
            kept=True,
            saved=head.tokens,
            ids=head.ids,
        )

    async def _erase(self, worker: Worker) -> None:
        for seat in self._seats:
            if seat.is_condemned and not seat.is_taken:
                seat.is_condemned = False
                try:
                    await asking.erase(worker, seat.number)
                except PalaverError as error:
                    # Nobody reuses it all the same, and the next prompt there is computed over it.
                    log.info("a slot could not be erased", reason=error.message)
                self.counts["erased"] += 1


def _is_of(holding: Holding | None, owner: str | None, conversation: str | None) -> bool:
    if holding is None:
        return False
    return owner is None or (holding.owner == owner and conversation in (None, holding.conversation))
