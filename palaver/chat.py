"""The one path every turn takes: admit, fit, generate, finish, tell.

`Chat.say` returns as soon as the turn is durable; a task of its own carries it to its end, whoever reads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from palaver.core import ids
from palaver.core.errors import EngineUnavailable, InvalidRequest, TooManyRequests
from palaver.core.message import Message
from palaver.core.tree import read_history
from palaver.core.turn import Sampling, TurnState
from palaver.core.window import Window, rendered, woven
from palaver.engines.base import Catalog, Model
from palaver.live import LiveReply
from palaver.running import RunningTurn
from palaver.stores.base import Admission, Store

LOOK_AGAIN = 1.0
"""Seconds between looks whether anybody waits for the place of a turn that nobody reads."""

OnLeave = Literal["finish", "grace"]
Record = Literal["all", "asked", "none"]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `Chat` goes by. Times are in seconds.

    `record` says what is stored: every turn, those that ask for it, none. `grace` is how long a turn whose
    reader left (with `on_leave` of ``grace``) holds its place against turns that wait. `readerless_turns` is
    how many turns of one owner may go on without a reader; `readerless_max_tokens` ends those that set no
    limit themselves. `max_open_turns` bounds the turns of this process.
    """

    record: Record = "all"
    grace: float = 60.0
    readerless_turns: int = 16
    readerless_max_tokens: int = 4096
    max_open_turns: int = 1000
    log_interval: float = 0.25


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to answer a history, from whichever door.

    `conversation` is an id or a name, or None to find it by content. `truncate_reply` lowers `max_tokens`
    where prompt and reply together do not fit the context, instead of refusing. `reasoning` of False wants an
    answer without thinking. `extra` holds parameters that palaver does not know.
    """

    owner: str
    model: str
    messages: list[Message]
    door: str
    end_user: str | None = None
    conversation: str | None = None
    sampling: Sampling = Sampling()
    store: bool | None = None
    metadata: dict[str, str] | None = None
    source: str | None = None
    truncate_reply: bool = False
    reasoning: Literal[False] | None = None
    on_leave: OnLeave = "grace"
    extra: dict[str, Any] = {}


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
        self._closed = False

    async def say(self, request: ChatRequest) -> LiveReply:
        """Admit the turn and set it going; returns once the question is durable.

        A caller that is cancelled meanwhile stops nothing: the turn is admitted and answered all the same.
        Raises ModelNotFound, ConversationNotFound, InvalidRequest, TooManyRequests, EngineUnavailable and
        StoreError; errors of the reply itself are the live reply's.
        """
        self._check_open()
        stored = self._is_stored(request)
        model = await self.catalog.find(request.model)
        self._check_open()  # again: others came, or we were closed, while the model was looked up
        admitting = asyncio.create_task(self._admit(request, model, stored))
        self._admitting.add(admitting)
        admitting.add_done_callback(self._admitting.discard)
        try:
            return await asyncio.shield(admitting)
        except asyncio.CancelledError:
            admitting.add_done_callback(self._nobody_came)
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise EngineUnavailable("palaver is shutting down.")
        if len(self._running) + len(self._admitting) >= self.settings.max_open_turns:
            raise TooManyRequests(
                f"This server answers at most {self.settings.max_open_turns} turns at a time."
            )

    def _is_stored(self, request: ChatRequest) -> bool:
        record = self.settings.record
        if request.store is True and record == "none":
            raise InvalidRequest("This server records nothing, so `store` cannot be true.", param="store")
        if request.store is False or record == "none":
            return False
        return record == "all" or request.store is True or request.conversation is not None

    async def _admit(self, request: ChatRequest, model: Model, stored: bool) -> LiveReply:
        turn = ids.TURN + ids.id_body(int(self._clock() * 1000), secrets.token_bytes(ids.RANDOM_BYTES))
        sampling = request.sampling.over(model.defaults)
        if stored:
            conversation, messages = await self._thread(request, model, turn, sampling)
        else:
            conversation, messages = None, tuple(request.messages)
        running = RunningTurn(
            window=Window(owner=request.owner, conversation=conversation, turn=turn, messages=messages),
            model=model,
            sampling=sampling,
            lower_max_tokens=request.truncate_reply or request.sampling.max_tokens is None,
            limited=request.sampling.max_tokens is not None,
            reasoning=request.reasoning,
            extra=request.extra,
            on_leave=request.on_leave,
            store=self.store if stored else None,
            lease=self.lease,
            clock=self._clock,
            log_interval=self.settings.log_interval,
            on_left=self._reader_left,
        )
        self._running[turn] = running
        running.start(lambda: self._running.pop(turn, None))
        return running.live

    async def _thread(
        self, request: ChatRequest, model: Model, turn: str, sampling: Sampling
    ) -> tuple[str, tuple[Message, ...]]:
        """Hang the history on the tree; the conversation, and the prompt's messages as they are stored."""
        root = await self.store.root_key(request.owner, request.end_user)
        history = read_history(request.messages, root)
        admitted = await self.store.admit(
            Admission(
                owner=request.owner,
                end_user=request.end_user,
                turn=turn,
                lease=self.lease,
                door=request.door,
                requested_model=request.model,
                model=model.name,
                history=history,
                sampling=sampling,
                conversation=request.conversation,
                metadata=request.metadata,
                source=request.source,
            )
        )
        seen = [rendered(kept, sent) for kept, sent in zip(admitted.messages, history.messages, strict=True)]
        return admitted.conversation, woven(history.instructions, seen)

    def live(self, owner: str, turn: str) -> LiveReply | None:
        """The reply of a turn that runs in this process, or None."""
        running = self._running.get(turn)
        return running.live if running and running.window.owner == owner else None

    async def cancel(self, owner: str, turn: str) -> None:
        """Stop a running turn, keeping its text; returns when that is stored. One that has ended stays as it is.

        Raises TurnNotFound.
        """
        running = self._running.get(turn)
        if running is None or running.window.owner != owner:
            await self.store.turn(owner, turn)
            return
        running.stop(TurnState.CANCELLED)
        await running.live.ended()

    def _nobody_came(self, admitting: asyncio.Task[LiveReply]) -> None:
        """A caller left before its turn was admitted: the same as leaving right after."""
        if not admitting.cancelled() and admitting.exception() is None:
            turn = self._running.get(admitting.result().turn)
            if turn is not None and turn.live.readers == 0:
                self._reader_left(turn)

    def _reader_left(self, turn: RunningTurn) -> None:
        turn.left = True
        owner = turn.window.owner
        alone = [
            t for t in self._running.values() if t.left and t.live.readers == 0 and t.window.owner == owner
        ]
        for oldest in alone[: max(0, len(alone) - self.settings.readerless_turns)]:
            oldest.stop(TurnState.INCOMPLETE, "Too many replies of this owner ran without a reader.")
        if not turn.limited:
            turn.limit_while_alone(self.settings.readerless_max_tokens)
        if turn.on_leave == "grace":
            turn.after(self.settings.grace, self._grace_is_over)

    def _grace_is_over(self, turn: RunningTurn) -> None:
        """Whoever left has had time to come back; a turn that waits for this place goes first now."""
        if turn.live.readers:
            return
        if turn.model.engine.waiting or turn.store is None:
            turn.stop(TurnState.INCOMPLETE, "Its reader left, and another turn was waiting.")
        else:
            turn.after(LOOK_AGAIN, self._grace_is_over)

    async def close(self, patience: float = 0.0) -> None:
        """Take no more turns, give the running ones `patience` seconds, then end them as incomplete.

        Returns when all of them are stored, where the store still works, and closes the catalog; the store stays
        open.
        """
        self._closed = True
        if self._admitting:
            await asyncio.wait(self._admitting)
        turns = list(self._running.values())
        if turns and patience > 0:
            await asyncio.wait([t.task for t in turns], timeout=patience)
        for turn in turns:
            turn.stop(TurnState.INCOMPLETE, "palaver was shut down.")
            turn.hurry()
        if turns:
            await asyncio.wait([t.task for t in turns])
        await self.catalog.close()
