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
from palaver.core.errors import EngineError, PalaverError, TurnCancelled
from palaver.core.turn import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    ToolCalls,
    TurnState,
    Usage,
    decode_deltas,
)
from palaver.stores.base import TurnRecord

LiveEvent = ContentDelta | ReasoningDelta | ToolCalls


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended, as its readers hear it: after it is stored, never before."""

    state: TurnState
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: PalaverError | None = None


class LiveReply:
    """The reply of one turn, from its admission on.

    `conversation` is None where the turn is not stored. `model` is the name of what answers. `created` is in
    seconds since 1970. `on_left` is called each time the last reader leaves before the end.
    """

    def __init__(
        self,
        *,
        turn: str,
        conversation: str | None,
        model: str,
        created: int,
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        self.turn = turn
        self.conversation = conversation
        self.model = model
        self.created = created
        self.events: list[LiveEvent] = []
        self.outcome: Outcome | None = None
        self.readers = 0
        self._on_left = on_left
        self._accepted = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def content(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, ContentDelta))

    @property
    def reasoning(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, ReasoningDelta))

    @property
    def tool_calls(self) -> list[ToolCalls]:
        return [e for e in self.events if isinstance(e, ToolCalls)]

    @property
    def deltas(self) -> list[Delta]:
        return [e for e in self.events if isinstance(e, ContentDelta | ReasoningDelta)]

    def accept(self) -> None:
        """The engine took the request (writer)."""
        self._accepted = True
        self._wake()

    def publish(self, event: LiveEvent) -> None:
        """Add an event (writer). Not to be called after `end`."""
        self.events.append(event)
        self._wake()

    def end(self, outcome: Outcome) -> None:
        """Say how it ended (writer). The first call counts."""
        if self.outcome is None:
            self.outcome = outcome
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

    async def follow(self, start: int = 0) -> AsyncGenerator[list[LiveEvent], None]:
        """The events from number `start` on, as many at a time as there are, until the turn has ended."""
        while True:
            if start < len(self.events):
                news = self.events[start:]
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
    """The reply of a turn that has ended, as its readers heard it: the same events, with the same numbers."""
    live = LiveReply(
        turn=turn.id, conversation=turn.conversation, model=turn.model, created=ids.seconds_of(turn.id)
    )
    live.accept()
    if turn.reply is not None:
        message = turn.reply.message
        for delta in decode_deltas(turn.deltas, message.text, message.reasoning or ""):
            live.publish(delta)
        if message.tool_calls:
            live.publish(ToolCalls(message.tool_calls))
    kind = TurnCancelled if turn.state is TurnState.CANCELLED else EngineError
    error = kind(turn.error_message) if turn.error_message else None
    live.end(
        Outcome(
            state=turn.state,
            finish_reason=turn.finish_reason or ("stop" if error is None else None),
            usage=turn.usage,
            error=error,
        )
    )
    return live
