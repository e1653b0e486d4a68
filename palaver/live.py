"""A reply while it runs: one writer, any number of readers.

The producer owns the reply; readers only read. They follow a list of events from any number on, so a slow
reader holds nobody up, and one that leaves takes nothing away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator

import msgspec

from palaver.core import ids
from palaver.core.errors import PalaverError, StoreError, TurnCancelled, kept_error
from palaver.core.receipt import Receipt
from palaver.core.reply import Reply, deltas_of, replies
from palaver.core.turn import Delta, FinishReason, TurnState, Usage
from palaver.core.waiting import PROMPT, Waiting
from palaver.stores.base import Item, TurnRecord

LOOK_AGAIN = 0.25
"""Seconds between looks at how much of a model is loaded: nobody tells of that."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended, as its readers hear it: after it is stored, never before.

    `others` are the reasons of its replies 1, 2, … where it has several; for `warnings`, `marks` and `prompt` see
    `palaver.core.turn.Finish`.
    """

    state: TurnState
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: PalaverError | None = None
    others: list[FinishReason | None] = []
    warnings: list[str] = []
    marks: list[str] = []
    prompt: str | None = None


class LiveReply:
    """The reply of one turn, from its admission on.

    `conversation` is None where the turn is not stored. `model` is the name of what answers: where that fails before
    its first token it becomes another's, and only with the first event it is certain. `created` is in seconds since
    1970. `on_left` is called each time the last reader leaves before the end. One that `holds` tells its readers
    nothing that is not `released`: what they hear outlives this process.
    """

    def __init__(
        self,
        *,
        turn: str,
        conversation: str | None,
        model: str,
        created: int,
        on_left: Callable[[], None] = lambda: None,
        holds: bool = False,
    ) -> None:
        self.turn = turn
        self.conversation = conversation
        self.model = model
        self.created = created
        self.message = ids.reply_of(turn)
        """The id of the message that its first reply becomes where it is stored."""
        self.progress: Callable[[], float | None] = lambda: None
        """How much of the model is loaded while that is waited for, from 0 to 1; None at all other times."""
        self.receipt: Receipt | None = None
        """What the model sees or saw; None until that is known."""
        self.events: list[Delta] = []
        self.outcome: Outcome | None = None
        self.ended_at: int | None = None
        """When it ended, in seconds since 1970."""
        self.readers = 0
        self.holds = holds
        self._released = 0
        self._waits_for = PROMPT
        self._on_left = on_left
        self._accepted = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def told(self) -> int:
        """How many events its readers may hear now."""
        if not self.holds or (self.outcome is not None and not isinstance(self.outcome.error, StoreError)):
            return len(self.events)
        return self._released

    @property
    def waiting(self) -> Waiting | None:
        """What it waits for now; None once something of it has come, or the end."""
        if self.events or self.outcome is not None:
            return None
        loaded = None if self._waits_for.what == "queue" else self.progress()
        return self._waits_for if loaded is None else Waiting(what="loading", progress=loaded)

    async def waits(self, known: Waiting | None = None) -> Waiting | None:
        """What it waits for, once that is something else than is `known`; None at once when it waits for nothing."""
        while (now := self.waiting) is not None and now == known:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._changed()
        return now

    def hold(self) -> None:
        """From now on it `holds`: somebody reads it who may go on after this process."""
        self.holds = True

    def release(self, events: int) -> None:
        """So many events are logged (writer)."""
        self._released = events
        self._wake()

    async def news(self, start: int) -> None:
        """Wait until there are more than `start` events, released or not, or the end has come."""
        while len(self.events) <= start and self.outcome is None:
            await self._changed()

    def replies(self) -> list[Reply]:
        """What has come so far, by the number of its choice; one at least."""
        ended = self.outcome
        return replies(self.events, [ended.finish_reason, *ended.others] if ended else [])

    def accept(self) -> None:
        """The engine took the request (writer)."""
        self._accepted = True
        self._wake()

    def wait(self, waiting: Waiting = PROMPT) -> None:
        """Say what it waits for now (writer). That its model is being loaded it finds out itself."""
        if waiting != self._waits_for:
            self._waits_for = waiting
            self._wake()

    def publish(self, event: Delta) -> None:
        """Add an event (writer). Not to be called after `end`."""
        self.events.append(event)
        self._wake()

    def end(self, outcome: Outcome, at: int | None = None) -> None:
        """Say how it ended, and when (writer). The first call counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended_at = at
            self._wake()

    async def accepted(self, seconds: float | None = None) -> bool:
        """Wait until the engine has taken the request, text has come, or the turn has ended.

        False if so many `seconds` passed first (None: no limit). Raises the turn's error if it ended in one
        before any text.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._accepted or self.events or self.outcome):
                    await self._changed()
        if self.outcome and self.outcome.error and not self.events:
            raise self.outcome.error
        return self._accepted or bool(self.events) or self.outcome is not None

    async def follow(self, start: int = 0) -> AsyncGenerator[list[Delta], None]:
        """The events from number `start` on, as many at a time as there are, until the turn has ended."""
        while True:
            if start < self.told:
                news = self.events[start : self.told]
                start += len(news)
                yield news
            elif self.outcome is not None:
                return
            else:
                await self._changed()

    async def ended(self) -> Outcome:
        """Wait for the end."""
        while self.outcome is None:
            await self._changed()
        return self.outcome

    @contextlib.contextmanager
    def reader(self) -> Iterator[LiveReply]:
        """Be counted as a reader. The turn may end early while nobody reads it."""
        self.readers += 1
        try:
            yield self
        finally:
            self.readers -= 1
            if self.readers == 0 and self.outcome is None:
                self._on_left()

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def replayed(turn: TurnRecord) -> LiveReply:
    """The reply of a turn that has ended, as its readers heard it: the same events, with the same numbers.

    Of several replies one comes after the other; one that is deleted has said nothing. For log probabilities see
    `palaver.core.reply.deltas_of`. The prompt that `echo` asked for is not kept, and is None.
    """
    live = LiveReply(
        turn=turn.id, conversation=turn.conversation, model=turn.model, created=ids.seconds_of(turn.id)
    )
    live.receipt = turn.receipt
    live.message = turn.reply.id if turn.reply else live.message
    live.accept()
    stored = [
        _stored(
            turn.reply, Reply(finish_reason=turn.finish_reason, deltas=turn.deltas, logprobs=turn.logprobs)
        ),
        *(
            _stored(o.item, Reply(finish_reason=o.finish_reason, deltas=o.deltas, logprobs=o.logprobs))
            for o in turn.others
        ),
    ]
    for choice, reply in enumerate(stored):
        for delta in deltas_of(reply, choice):
            live.publish(delta)
    error: PalaverError | None = None
    if turn.error_message:
        is_cancelled = turn.state is TurnState.CANCELLED
        error = (
            TurnCancelled(turn.error_message)
            if is_cancelled
            else kept_error(turn.error_code, turn.error_message)
        )
    live.end(
        Outcome(
            state=turn.state,
            finish_reason=turn.finish_reason or ("stop" if error is None else None),
            usage=turn.usage,
            error=error,
            others=[other.finish_reason for other in turn.others],
            warnings=turn.warnings,
        ),
        turn.ended_at // 1000 if turn.ended_at is not None else None,
    )
    return live


def _stored(item: Item | None, reply: Reply) -> Reply:
    if item is None:
        return reply
    message = item.message
    return msgspec.structs.replace(
        reply,
        content=message.text,
        reasoning=message.reasoning or message.reasoning_content or "",
        tool_calls=message.tool_calls or [],
    )
