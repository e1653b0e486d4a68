"""Turns: their states, the events of a running one, and the reply that comes of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class TurnState(StrEnum):
    QUEUED = "queued"
    """Admitted and durable; waits for its conversation."""
    RUNNING = "running"
    """Its messages are in the tree; an engine works on the reply, or is about to."""
    COMPLETED = "completed"
    """The model ended its reply, by itself or at `max_tokens`."""
    INCOMPLETE = "incomplete"
    """Cut off (its reader left, the process died, the engine broke): the text so far is kept."""
    FAILED = "failed"
    """Ended by an error before any text."""
    CANCELLED = "cancelled"
    """Stopped by the user; the text so far is kept."""

    @property
    def ended(self) -> bool:
        return self not in (TurnState.QUEUED, TurnState.RUNNING)


TRANSITIONS: dict[TurnState, frozenset[TurnState]] = {
    TurnState.QUEUED: frozenset(
        {TurnState.RUNNING, TurnState.INCOMPLETE, TurnState.FAILED, TurnState.CANCELLED}
    ),
    TurnState.RUNNING: frozenset(
        {TurnState.COMPLETED, TurnState.INCOMPLETE, TurnState.FAILED, TurnState.CANCELLED}
    ),
    TurnState.COMPLETED: frozenset(),
    TurnState.INCOMPLETE: frozenset(),
    TurnState.FAILED: frozenset(),
    TurnState.CANCELLED: frozenset(),
}
"""From each state, the states that may follow. What has ended never changes again."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reply cost, in tokens of the model that gave it.

    `cached_tokens` is how much of the prompt was not prefilled again; None where the engine does not say.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The engine took the request: from here on no status code can tell of an error."""


class InLine(msgspec.Struct, frozen=True, tag="in_line"):
    """The engine has no free place: as many turns go before this one, where that is known."""

    ahead: int | None = None


class Prefilled(msgspec.Struct, frozen=True, tag="prefilled"):
    """It has a place, and of the prompt's `of` tokens (0: not known yet) so many are in the KV cache now."""

    done: int = 0
    of: int = 0


class TopLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token that might have stood in a place. `logprob` is the natural logarithm of its probability; `bytes` is
    its UTF-8, where the engine tells it (a token may be a part of a character); `id` its number, likewise."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    id: int | None = None


class TokenLogprob(TopLogprob, frozen=True, omit_defaults=True):
    """A token of the reply, with the likeliest ones in its place (`top`), as many as were asked for."""

    top: list[TopLogprob] = []


class ContentDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag="content"):
    """More text of the reply. Never empty. `choice` numbers the replies of one turn; nearly all have one, 0.

    `logprobs` are those of its tokens where they were asked for; a token that shows only with the next one
    (a part of a character) comes with that.
    """

    text: str
    choice: int = 0
    logprobs: list[TokenLogprob] = []


class ReasoningDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag="reasoning"):
    """More text of the thinking before the reply. Never empty."""

    text: str
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_call"):
    """A piece of a tool call. `index` numbers the calls of one reply, from 0 on.

    `id` and `name` come whole with the first piece of a call, and only there; `arguments` is a piece of JSON text
    and may be empty.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, omit_defaults=True, tag="finish"):
    """The engine's last event: why the reply ended, and what it cost.

    `others` are the reasons of the replies 1, 2, … where there are several; `usage` is that of all of them, the
    prompt counted once. `model` is the engine's own name of what answered. `prompt` is the prompt as the model
    saw it, where `echo` was asked for. `warnings` are what whoever asked should know although it went well, `marks`
    what the receipt says of how the model was shown the messages.
    """

    reason: FinishReason
    usage: Usage | None = None
    model: str | None = None
    others: list[FinishReason] = []
    prompt: str | None = None
    warnings: list[str] = []
    marks: list[str] = []


Delta = ContentDelta | ReasoningDelta | ToolCallDelta
Progress = InLine | Prefilled
EngineEvent = Accepted | Progress | Delta | Finish
