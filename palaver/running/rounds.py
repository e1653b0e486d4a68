"""The rounds of one reply: a model that has something recalled is told it, and goes on.

Whoever reads hears nothing of these calls: to them it is one reply. How often a model may call is bounded; then it is
told so, and what it calls after that is dropped. The tools stay the same, which prompts begin with.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable

import msgspec

from palaver.core.errors import ContextLengthExceeded, EngineBroke
from palaver.core.message import ToolCall
from palaver.core.recall import NAME
from palaver.core.reply import replies
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    EngineEvent,
    Finish,
    Progress,
    ToolCallDelta,
    Usage,
)
from palaver.engines.base import Engine, Options
from palaver.running.fitted import Fitted
from palaver.running.making import shortened
from palaver.running.recalling import Recalling

ROUNDS = 3
"""So often a model may have something recalled in one turn; then it is told that it may not again."""
CALLS = 4
"""As many of its calls are answered at a time."""
QUOTED_SHARE = 0.5
"""Of what is left of the room, quotes take at most this share."""
PLENTY = 2000
"""Where nobody knows how much room there is, quotes are at most about so many tokens long."""
MOST_WITHHELD = 4096
"""A call of so many deltas has no end: nobody reads it, who could stop it."""


class Rounds:
    """Has an engine answer, and its calls of the tool `recall` with it; only withheld are they where it may not
    recall. `on_fitted` is told of each window."""

    def __init__(
        self,
        engine: Engine,
        recalling: Recalling,
        fitted: Fitted,
        on_fitted: Callable[[Fitted], None],
        *,
        may_recall: bool,
    ) -> None:
        self._engine = engine
        self._recalling = recalling
        self._fitted = fitted
        self._on_fitted = on_fitted
        self._rounds = ROUNDS if may_recall else -1
        self._most = fitted.options.parameters.max_tokens
        self._calls_told = 0
        self._before: tuple[Fitted, _Sieve] | None = None
        """What the last round's calls were answered in."""
        self._spent = _Spent()

    async def answer(self) -> AsyncGenerator[EngineEvent, None]:
        """The events of one reply. Raises what `Engine.generate` does, and StoreError."""
        options = self._fitted.options
        for number in range(self._rounds + 2):
            sieve = _Sieve(self._calls_told)
            finish: Finish | None = None
            async with contextlib.aclosing(self._round(options, number)) as events:
                async for event in events:
                    if isinstance(event, Finish):
                        finish = event
                        break
                    elif isinstance(event, Accepted):
                        if number == 0:
                            yield event
                    elif isinstance(event, Progress):
                        yield event  # also while a recalled prompt is read: nobody looks once something was said
                    elif (passed := sieve.passed(event)) is not None:
                        yield passed
            if finish is None:
                return  # whoever hears notices that it has no end
            self._spent.add(finish.usage, sieve.deltas)
            is_last = number > self._rounds
            if not sieve.calls or sieve.others or is_last or finish.reason != "tool_calls":
                yield self._end(finish, sieve)
                return
            left = self._left()
            if left == 0:
                yield msgspec.structs.replace(self._end(finish, sieve), reason="length")
                return
            self._calls_told = sieve.next_index
            self._before = (self._fitted, sieve)
            await self._answer(*self._before, room=self._room(finish.usage), enough=number == self._rounds)
            options = shortened(self._fitted.options, left)

    async def _round(self, options: Options, number: int) -> AsyncGenerator[EngineEvent, None]:
        """The events of one round. What is quoted was estimated: where it is too much after all, it is left out."""
        try:
            generating = self._engine.generate(self._fitted.window, options)
            async with contextlib.aclosing(generating) as events:
                async for event in events:
                    yield event
            return
        except ContextLengthExceeded as error:
            if number == 0:
                raise
            if self._before is None:
                raise EngineBroke("There is no room to go on with what was recalled.") from error
        before, self._before = self._before, None
        await self._answer(*before, room=0, enough=False)
        async with contextlib.aclosing(self._round(options, number)) as events:
            async for event in events:
                yield event

    def _room(self, used: Usage | None) -> int:
        """How long quotes may be, in tokens."""
        room = self._fitted.room
        if room is None or used is None:
            return PLENTY
        free = room - used.prompt_tokens - used.completion_tokens
        return max(0, min(PLENTY, int(free * QUOTED_SHARE)))

    async def _answer(self, fitted: Fitted, sieve: _Sieve, *, room: int, enough: bool) -> None:
        """Have the window go on with the calls of a round, and what they brought."""
        calls, said = sieve.calls[:CALLS], sieve.said
        for call in calls:
            fitted = await self._recalling.by_tool(fitted, call, room // len(calls), said, enough=enough)
            said = ""
        self._fitted = fitted
        self._on_fitted(fitted)

    def _left(self) -> int | None:
        """How much longer the reply may be, in tokens; None for any length."""
        return None if self._most is None else max(0, self._most - self._spent.generated)

    def _end(self, finish: Finish, sieve: _Sieve) -> Finish:
        """The end of the whole reply. Its prompt is that of the last round, which holds the others'."""
        reason = finish.reason
        if reason == "tool_calls" and not sieve.others:
            reason = "stop"  # all that is left of it are calls that nobody is told of
        return msgspec.structs.replace(finish, reason=reason, usage=self._spent.usage)


class _Spent:
    """What the rounds of a reply cost. Where an engine does not say, the deltas are counted, about one a token."""

    def __init__(self) -> None:
        self.generated = 0
        self._usage: Usage | None = Usage(0, 0)

    def add(self, usage: Usage | None, deltas: int) -> None:
        self.generated += deltas if usage is None else usage.completion_tokens
        before = self._usage
        if usage is None or before is None:
            self._usage = None
            return
        thought = [each.reasoning_tokens for each in (before, usage) if each.reasoning_tokens is not None]
        self._usage = Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=before.completion_tokens + usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=sum(thought) if thought else None,
        )

    @property
    def usage(self) -> Usage | None:
        """The prompt of the last round, and all that was generated; None where that is not known of all."""
        return self._usage


class _Sieve:
    """Keeps the calls of our tool from those who read, and numbers the others anew, from a number on."""

    def __init__(self, first: int) -> None:
        self.next_index = first
        self._ours: dict[int, list[Delta]] = {}
        self._theirs: dict[int, int] = {}
        self._said: list[str] = []
        self.deltas = 0
        self._withheld = 0

    def passed(self, event: Delta) -> Delta | None:
        """What is told of an event. Raises EngineBroke for a call that has no end."""
        self.deltas += 1
        if not isinstance(event, ToolCallDelta):
            if isinstance(event, ContentDelta):
                self._said.append(event.text)
            return event
        if event.index in self._ours or (event.index not in self._theirs and event.name == NAME):
            self._ours.setdefault(event.index, []).append(event)
            self._withheld += 1
            if self._withheld > MOST_WITHHELD:
                raise EngineBroke("The model's call has no end.")
            return None
        if event.index not in self._theirs:
            self._theirs[event.index] = self.next_index
            self.next_index += 1
        return msgspec.structs.replace(event, index=self._theirs[event.index])

    @property
    def others(self) -> bool:
        """Whether there were calls of other tools."""
        return bool(self._theirs)

    @property
    def said(self) -> str:
        return "".join(self._said)

    @property
    def calls(self) -> list[ToolCall]:
        """The calls of our tool, whole."""
        found = [
            call for deltas in self._ours.values() for call in replies(deltas, ["tool_calls"])[0].tool_calls
        ]
        return [
            call if call.id else msgspec.structs.replace(call, id=f"call_{place}")
            for place, call in enumerate(found)
        ]
