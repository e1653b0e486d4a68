"""Turns: their states, the events of a running one, and the options it runs with."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from palaver.core.message import ToolCall


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


class ContentDelta(msgspec.Struct, frozen=True, tag="content"):
    """More text of the reply. Never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """More text of the thinking before the reply. Never empty."""

    text: str


class ToolCalls(msgspec.Struct, frozen=True, tag="tool_calls"):
    """Complete calls of tools that the reply asks for."""

    calls: list[ToolCall]


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """The engine's last event: why the reply ended, and what it cost."""

    reason: FinishReason
    usage: Usage | None = None
    model: str | None = None


EngineEvent = Accepted | ContentDelta | ReasoningDelta | ToolCalls | Finish
Delta = ContentDelta | ReasoningDelta


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a reply is drawn. None means the model's own default.

    Names, ranges and meaning are those of Together's chat completions
    (https://docs.together.ai/reference/chat-completions-1).
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | None = None

    def over(self, defaults: Sampling) -> Sampling:
        """These settings, with `defaults` where nothing was asked for."""
        asked = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(defaults, **asked)


def encode_deltas(deltas: list[Delta]) -> list[int]:
    """The lengths of a reply's deltas: content positive, reasoning negative.

    With the stored text they give back the same events with the same numbers for late readers, in far
    less space than the events.
    """
    return [len(d.text) if isinstance(d, ContentDelta) else -len(d.text) for d in deltas]


def decode_deltas(lengths: list[int], content: str, reasoning: str) -> list[Delta]:
    """The deltas that `encode_deltas` measured, cut again from the text of the reply."""
    deltas: list[Delta] = []
    at = thought = 0
    for length in lengths:
        if length >= 0:
            deltas.append(ContentDelta(content[at : at + length]))
            at += length
        else:
            deltas.append(ReasoningDelta(reasoning[thought : thought - length]))
            thought -= length
    return deltas
