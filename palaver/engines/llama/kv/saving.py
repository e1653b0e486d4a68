"""Slots saved as snapshots, restored and erased: what the worker is asked for that, and what follows where it fails.

What the worker was asked it does, also where whoever wanted it leaves: then that is waited for. Until then nobody else
may have the slot, or the file.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext

import msgspec
import structlog

from palaver.core.errors import EngineError, EngineRefused, PalaverError
from palaver.engines.llama import asking
from palaver.engines.llama.finishing import to_its_end
from palaver.engines.llama.kv.eviction import Snapshot
from palaver.engines.llama.kv.identity import Identity
from palaver.engines.llama.kv.placing import Ask, Holding
from palaver.engines.llama.kv.seat import Seat
from palaver.engines.llama.kv.snapshot_file import Head, Refused
from palaver.engines.llama.kv.snapshots import Snapshots
from palaver.engines.llama.workers import Worker

NOTHING = (0,)
"""A prompt that takes the place of one that is to be erased: any token, for each model has this one."""

ERASE_SECONDS = 10.0
"""So long a slot is waited for that is to be erased: another client of the same server may use it."""
UNSURE = 128
"""Tokens by which what a slot holds may be estimated wrongly."""
READY_SECONDS = 0.2
"""So long a new worker's turns wait for what has to be known before snapshots can be used; then they go without."""

log = structlog.get_logger(__name__)


class Keeping(msgspec.Struct, frozen=True):
    """How a model's slots are saved: as what (`model`, `identity`), where, and how large a token is there. `context` is
    how many tokens a slot can hold."""

    model: str
    snapshots: Snapshots
    identity: Callable[[], Awaitable[Identity]]
    token_bytes: int
    context: int


class Saving:
    """For one worker at a time. `keeping` is None where nothing is saved."""

    def __init__(self, keeping: Keeping | None, counts: Counter[str]) -> None:
        self.is_doubtful = False
        """Whether the worker failed to restore what was whole: another one is better, and nothing of it is saved."""
        self._keeping = keeping
        self._counts = counts
        self._identity: asyncio.Task[Identity | None] | None = None
        self._soon = 0.0

    def begin(self) -> None:
        """There is another worker. Which model it runs is found out once: its file may be another one later."""
        self.is_doubtful = False
        if self._keeping is not None:
            if self._identity is not None:
                self._identity.cancel()
            self._identity = asyncio.create_task(self._identified(self._keeping))
            self._soon = asyncio.get_running_loop().time() + READY_SECONDS

    async def is_ready(self, *, is_patient: bool = False) -> bool:
        """Whether slots can be saved and restored. What has to be known for that is waited for a moment, or as long as
        it takes: to read a large model is not done in one."""
        identity = self._identity
        if identity is None or self.is_doubtful:
            return False
        left = max(0.0, self._soon - asyncio.get_running_loop().time())
        await asyncio.wait([identity], timeout=None if is_patient else left)
        return self._known() is not None

    def best(self, ask: Ask) -> tuple[Snapshot | None, int]:
        """The snapshot with the most of a prompt, and how many of its tokens that has."""
        if self._keeping is None:
            return None, 0
        return self._keeping.snapshots.best(self._keeping.model, ask.owner, ask.prefix)

    def saved(self, holding: Holding | None) -> int:
        """How many tokens of it are in a snapshot by now: what was saved may be gone."""
        if self._keeping is None or holding is None or not holding.saved:
            return 0
        return self._keeping.snapshots.best(self._keeping.model, holding.owner, holding.prefix)[1]

    def leave(self, ask: Ask) -> None:
        """A conversation went on to the epoch of this prompt."""
        if self._keeping is not None:
            self._keeping.snapshots.leave(self._keeping.model, ask.owner, ask.conversation, ask.epoch)

    def pinned(self, snapshot: Snapshot | None) -> AbstractContextManager[None]:
        """Meanwhile a snapshot is not evicted: others are saved before it is restored."""
        if self._keeping is None or snapshot is None:
            return nullcontext()
        return self._keeping.snapshots.pinned(snapshot)

    async def save(self, seat: Seat, worker: Worker, *, is_parting: bool = False) -> Snapshot | None:
        """Save a slot as it is; None where that does not work. A worker that `is_parting` is not waited for.

        Raises EngineUnavailable, EngineTimeout.
        """
        keeping, holding, identity = self._keeping, seat.holding, self._known()
        if keeping is None or identity is None or holding is None or not holding.kept or seat.is_condemned:
            return None
        file = None
        try:
            size = holding.tokens * keeping.token_bytes
            file = await keeping.snapshots.room_for(size, is_patient=is_parting)
            if file is None:
                self._counts["unsaved"] += 1
                return None
            asked = asking.save(worker, seat.number, file.name)
            tokens, written = await (asked if is_parting else to_its_end(asked))
            if tokens == 0:
                seat.hold(None)
            if tokens == 0 or written != file.stat().st_size:
                raise OSError("what was saved is not whole")
            if abs(tokens - holding.tokens) > max(UNSURE, holding.tokens // 2):
                raise OSError("the slot holds something else: another client may have used it")
            head = Head(
                identity=identity,
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
                keeping.snapshots.remove(file)
            if not isinstance(error, (OSError, EngineRefused)):
                raise
            self._counts["unsaved"] += 1
            log.warning("a slot could not be saved", model=keeping.model, reason=str(error))
            return None
        seat.holding = (seat.holding or holding).but(tokens=tokens, saved=tokens)
        self._counts["saved"] += 1
        return snapshot

    async def restore(self, seat: Seat, snapshot: Snapshot, worker: Worker) -> None:
        """Have a slot hold a snapshot. One that cannot be used leaves the slot as it was, or with what nobody knows.

        Raises EngineUnavailable, EngineTimeout.
        """
        keeping, identity, head = self._keeping, self._known(), snapshot.head
        if keeping is None or identity is None:
            return
        snapshots = keeping.snapshots
        if head.tokens >= keeping.context:
            snapshots.refuse(snapshot, "layout")
            return
        with snapshots.pinned(snapshot):
            try:
                file, is_copy = await snapshots.fetch(snapshot, identity)
            except (Refused, OSError) as error:
                log.info("a snapshot is not used", model=keeping.model, reason=str(error))
                return
            seat.hold(None)
            try:
                restored = await to_its_end(asking.restore(worker, seat.number, file.name))
            except EngineRefused:
                snapshots.refuse(snapshot, "worker")
                self.is_doubtful = True
                return
            except EngineError:
                snapshots.refuse(
                    snapshot, "worker"
                )  # it may be what the worker died of, and the next one would
                raise
            finally:
                if is_copy:
                    snapshots.remove(file)
        if restored != head.tokens:
            snapshots.refuse(snapshot, "worker")
            return
        self._counts["restored"] += 1
        seat.hold(
            Holding(
                owner=head.owner,
                conversation=head.conversation,
                epoch=head.epoch,
                prefix=head.prefix,
                tokens=head.tokens,
                kept=True,
                saved=head.tokens,
                ids=head.ids,
            )
        )

    async def erase(self, seat: Seat, worker: Worker) -> None:
        """Have a slot that is condemned hold nothing. Where that fails it stays condemned."""
        try:
            async with asyncio.timeout(ERASE_SECONDS):
                try:
                    await asking.erase(worker, seat.number)
                except EngineRefused:  # llama.cpp erases slots only where it may save them
                    await asking.prefill(worker, seat.number, NOTHING, reuse=False)
        except (PalaverError, TimeoutError) as error:
            log.warning("a slot could not be erased", reason=str(error) or "it took too long")
            return
        seat.is_condemned = False
        self._counts["erased"] += 1

    async def forget(self, owner: str | None, conversation: str | None) -> int:
        """Remove snapshots: of a conversation, of an owner, or all. How many. Raises EngineRefused."""
        if self._keeping is None:
            return 0
        return await erased(self._keeping.snapshots, self._keeping.model, owner, conversation)

    def _known(self) -> Identity | None:
        """What the worker runs, if that is known and its slots can be saved."""
        identity = self._identity
        if identity is None or self.is_doubtful or not identity.done() or identity.cancelled():
            return None
        return identity.result()

    async def _identified(self, keeping: Keeping) -> Identity | None:
        try:
            await keeping.snapshots.open()
            return await keeping.identity()
        except Exception as error:
            log.warning("snapshots cannot be used", model=keeping.model, reason=str(error))
            return None


async def erased(snapshots: Snapshots, model: str, owner: str | None, conversation: str | None) -> int:
    """Remove snapshots of a model: of a conversation, of an owner, or all. How many. Raises EngineRefused."""
    try:
        return await snapshots.forget(model, owner, conversation)
    except OSError as error:
        raise EngineRefused(f"Snapshots could not be erased: {error}.", status=500) from error
