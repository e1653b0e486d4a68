"""The one path every turn takes: admit, begin, fit, generate, finish, tell.

`Chat.say` returns as soon as the turn is durable; a task of its own carries it to its end, whoever reads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection

import msgspec

from palaver.chat.beginnings import unstored
from palaver.chat.between import Between
from palaver.chat.completing import Completing, VectorRequest
from palaver.chat.leaving import Leaving
from palaver.chat.request import (
    HEAD,
    ChatRequest,
    ChatSettings,
    OnLeave,
    Record,
    admission_of,
    asked_of,
    history_of,
    is_stored,
)
from palaver.chat.resends import Resends, answered, is_unstored
from palaver.chat.settling import Settling
from palaver.chat.summarising import Summarising
from palaver.chat.texts import TextRequest
from palaver.chat.waiting import Queues
from palaver.chat.windows import Windows
from palaver.core import ids
from palaver.core.errors import EngineUnavailable, TooManyRequests
from palaver.core.tree import History
from palaver.core.turn import TurnState
from palaver.engines.base import Catalog, Model
from palaver.live import LiveReply, replayed
from palaver.running import Beginning, RunningTurn
from palaver.stores.base import Admitted, Store

__all__ = ["HEAD", "Chat", "ChatRequest", "ChatSettings", "OnLeave", "Record", "TextRequest", "VectorRequest"]

PATIENCE = 1.0
"""How long a repeated request waits for a store that failed to take the reply, in seconds."""


class Chat:
    """Everything that happens to turns in this process, over one store and one catalog."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: ChatSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.settings = settings or ChatSettings()
        self.lease = "lease_" + secrets.token_hex(8)
        self._clock = clock
        self._running: dict[str, RunningTurn] = {}
        self._admitting: set[asyncio.Task[LiveReply]] = set()
        self._leaving = Leaving(self._running, self.settings)
        self._unstored = Resends()
        self._queues = Queues(store, self.lease, self.settings.max_wait)
        self._closed = False
        self.between = Between(store, catalog, self.settings, self._is_busy, self._new_turn)
        self.windows = Windows(store, catalog, self.settings, clock, self.between.recall)
        """What turns show their models, before and after."""
        self.completing = Completing(catalog, self._check_open, self._new_turn)
        """What it does besides turns."""
        summaries = Summarising(store, catalog, self.settings, self._new_turn, self._asked, self.completing)
        self.summaries = summaries
        """What windows show of what they leave out."""
        self._settling = Settling(self.windows.prepared, summaries)

    async def say(self, request: ChatRequest) -> LiveReply:
        """Admit the turn and set it going; returns once the question is durable.

        A request that repeats another gets that one's reply. A caller that is cancelled meanwhile stops nothing: the
        turn is answered all the same. Raises ModelNotFound, ConversationNotFound, MessageNotFound, ConversationBusy,
        InvalidRequest, TooManyRequests, EngineUnavailable and StoreError; those of the reply are the live reply's.
        """
        self._check_open()
        stored = is_stored(request, self.settings.record)
        model = await self.catalog.find(request.model)
        self._check_open()  # again: others came, or we were closed, while the model was looked up
        may_begin = not request.background or self._leaving.has_room(request.owner)
        admitting = asyncio.create_task(self._admit(request, model, stored, may_begin))
        if request.background:
            self._leaving.expect(request.owner, admitting)
        self._admitting.add(admitting)
        admitting.add_done_callback(self._admitting.discard)
        try:
            return await asyncio.shield(admitting)
        except asyncio.CancelledError:
            admitting.add_done_callback(self._nobody_came)
            raise

    def _check_open(self, more: int = 1) -> None:
        self.between.make_way()
        self.summaries.make_way()
        if self._closed:
            raise EngineUnavailable("palaver is shutting down.")
        most = self.settings.max_open_turns
        if self._asked() + more > most:
            raise TooManyRequests(f"This server answers at most {most} turns at a time.")

    async def _admit(self, request: ChatRequest, model: Model, stored: bool, may_begin: bool) -> LiveReply:
        if not stored:
            return self._admit_unstored(request, model)
        root = await self.store.root_key(request.owner, request.end_user)
        history = history_of(request, root)
        admission = admission_of(
            request, model, history, self.settings, turn=self._new_turn(), lease=self.lease
        )
        admission = msgspec.structs.replace(admission, only_joins=not may_begin)
        while (admitted := await self.store.admit(admission)).joined:
            if (live := await self._join(request.owner, admitted)) is not None:
                return live
            admission = msgspec.structs.replace(admission, replaces=admitted.turn)
        return self._start(request, model, history, admitted)

    def _admit_unstored(self, request: ChatRequest, model: Model) -> LiveReply:
        attempt = request.attempt
        if attempt and (joined := self._unstored.join(request.owner, attempt)):
            return joined.live
        turn = self._running_turn(request, model, None, self._new_turn(), lambda: unstored(request))
        if attempt is None:
            self._go(turn, lambda: None)
        else:
            self._unstored.add(request.owner, attempt, turn)
            self._go(turn, lambda: self._unstored.remove(request.owner, attempt, turn))
        return turn.live

    def _new_turn(self) -> str:
        return ids.TURN + ids.id_body(int(self._clock() * 1000), secrets.token_bytes(ids.RANDOM_BYTES))

    def _start(self, request: ChatRequest, model: Model, history: History, admitted: Admitted) -> LiveReply:
        """Set an admitted turn going, or let it wait for its time."""
        start = self._queues.due if admitted.state is TurnState.QUEUED else self._queues.now
        exact = request.parent is not None

        def begin() -> Awaitable[Beginning]:
            return start(turn.window, history, exact)

        turn = self._running_turn(request, model, admitted.conversation, admitted.turn, begin)
        turn.in_background = request.background
        if admitted.state is TurnState.QUEUED:
            self._queues.line_up(admitted.conversation, turn.live)
        self._go(turn, lambda: self._queues.ended(admitted.conversation, admitted.turn))
        return turn.live

    def _running_turn(
        self,
        request: ChatRequest,
        model: Model,
        conversation: str | None,
        turn: str,
        begin: Callable[[], Awaitable[Beginning]],
    ) -> RunningTurn:
        asked = asked_of(request, conversation, turn, self.settings.window)
        return RunningTurn(
            asked=asked,
            model=model,
            fitting=self.windows.fitting(stored=conversation is not None),
            on_leave=request.on_leave,
            store=self.store if conversation is not None else None,
            lease=self.lease,
            clock=self._clock,
            log_interval=self.settings.log_interval,
            on_left=self._leaving.reader_left,
            begin=begin,
        )

    def _go(self, turn: RunningTurn, on_end: Callable[[], object]) -> None:
        id = turn.window.turn

        def ended() -> None:
            self._running.pop(id, None)
            on_end()
            if not self._closed:
                self.windows.count(turn)
                self._settling.turn_ended(turn, self.windows.fitting(stored=True))
                self.between.turn_ended(turn)

        self._settling.turn_begins(turn)
        self._running[id] = turn
        turn.start(ended)

    async def _join(self, owner: str, admitted: Admitted) -> LiveReply | None:
        """The reply of the turn that a request repeats; None where nobody works on that turn any more."""
        running = self._running.get(admitted.turn)
        if running is not None and not (is_unstored(running) and await running.stored(PATIENCE)):
            return running.live
        record = await answered(self.store, owner, admitted, self.lease)
        return None if record is None else replayed(record)

    def live(self, owner: str, turn: str) -> LiveReply | None:
        """The reply of a turn that runs in this process, or None."""
        running = self._running.get(turn)
        return running.live if running and running.window.owner == owner else None

    async def cancel(self, owner: str, turn: str, reason: str | None = None) -> None:
        """Stop a turn that runs or waits, keeping its text; returns when that is stored. One that has ended stays.

        With a `reason` its readers hear that, as an error; else only those that have heard nothing yet hear of it.

        Raises TurnNotFound.
        """
        running = self._running.get(turn)
        if running is None or running.window.owner != owner:
            await self.store.turn(owner, turn)
            return
        running.stop(TurnState.CANCELLED, reason)
        await running.live.ended()

    async def stop_turns(
        self,
        owner: str,
        reason: str,
        *,
        conversation: str | None = None,
        conversations: Collection[str] | None = None,
    ) -> None:
        """Stop an owner's turns that run or wait, and summaries that somebody waits for: all, or those of some
        conversations (ids); who reads or waits hears why. Returns when they have ended, stored where that works.
        """
        these = {conversation} if conversation is not None else conversations
        turns = [
            turn
            for turn in self._running.values()
            if turn.window.owner == owner and (these is None or turn.is_about(these))
        ]
        for turn in turns:
            turn.is_unwanted = True
            turn.stop(TurnState.CANCELLED, reason)
        await self.completing.stop(owner, reason, these)
        for turn in turns:
            await turn.live.ended()
        await self._settling.stop(owner, these)
        await self.between.stop(owner, these)

    @property
    def quoting(self) -> list[RunningTurn]:
        """The turns that run and were shown something of other conversations."""
        return [turn for turn in self._running.values() if turn.quoted]

    def _asked(self) -> int:
        return len(self._running) + len(self._admitting) + len(self.completing)

    def _is_busy(self) -> bool:
        return bool(self._asked() or self.settling)

    @property
    def settling(self) -> set[tuple[str, str]]:
        """The owners and ids of conversations for which something is done between turns."""
        return self._settling.conversations

    def _nobody_came(self, admitting: asyncio.Task[LiveReply]) -> None:
        """A caller left before its turn was admitted: the same as leaving right after."""
        if not admitting.cancelled() and admitting.exception() is None:
            turn = self._running.get(admitting.result().turn)
            if turn is not None and turn.live.readers == 0:
                self._leaving.reader_left(turn)

    async def close(self, patience: float = 0.0) -> None:
        """Take no more turns, give the running ones `patience` seconds, then end them as incomplete.

        Returns when all of them are stored, where that still works, and closes the catalog; the store stays open.
        """
        self._closed = True
        if self._admitting:
            await asyncio.wait(self._admitting)
        turns = list(self._running.values())
        working = [*(t.task for t in turns), *self.completing.tasks]
        if working and patience > 0:
            await asyncio.wait(working, timeout=patience)
        await self.completing.close()
        for turn in turns:
            turn.stop(TurnState.INCOMPLETE, "palaver was shut down.")
            turn.hurry()
        if turns:
            await asyncio.wait([t.task for t in turns])
        await self._settling.close()
        await self.between.close()
        await self.windows.close()
        await self.catalog.close()
