"""A chunk of a streamed chat completion as it stands on the wire, and what is put together from several."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.core.message import FunctionCall, ToolCall
from palaver.core.turn import Usage


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct):
    index: float | None = None  # Together's types say float
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct):
    index: float = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Timings(msgspec.Struct):
    cache_n: int | None = None
    prompt_n: int | None = None
    predicted_n: int | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    model: str | None = None
    usage: WireUsage | None = None
    timings: Timings | None = None
    error: Any = None


class Call:
    def __init__(self, delta: CallDelta) -> None:
        self.index = delta.index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, delta: CallDelta) -> None:
        self.id = self.id or delta.id or ""
        if delta.function is not None:
            # The name comes whole, and from some servers with every piece of the arguments.
            self.name = self.name or delta.function.name or ""
            self.arguments.append(delta.function.arguments or "")


class Calls:
    """Tool calls while their pieces come in."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, delta: CallDelta) -> None:
        call = self._find(delta)
        if call is None:
            call = Call(delta)
            self._calls.append(call)
        call.add(delta)

    def _find(self, delta: CallDelta) -> Call | None:
        """The call that a piece belongs to: the last of its index; one with another id begins anew."""
        for call in reversed(self._calls):
            if delta.index is None or call.index == delta.index:
                return None if delta.id and call.id and delta.id != call.id else call
        return None

    def complete(self) -> list[ToolCall]:
        return [
            ToolCall(function=FunctionCall(call.name, "".join(call.arguments) or "{}"), id=call.id)
            for call in self._calls
        ]


def usage_of(usage: WireUsage | None, timings: Timings | None) -> Usage | None:
    """What the reply cost: by the usage, else by llama.cpp's timings."""
    if usage is not None and usage.prompt_tokens is not None:
        cached = usage.cached_tokens
        if cached is None and usage.prompt_tokens_details is not None:
            cached = usage.prompt_tokens_details.cached_tokens
        if cached is None and timings is not None:
            cached = timings.cache_n
        details = usage.completion_tokens_details
        return Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens or 0,
            cached_tokens=cached,
            reasoning_tokens=details.reasoning_tokens if details is not None else None,
        )
    if timings is None or timings.prompt_n is None or timings.predicted_n is None:
        return None
    return Usage(
        prompt_tokens=(timings.cache_n or 0) + timings.prompt_n,
        completion_tokens=timings.predicted_n,
        cached_tokens=timings.cache_n,
    )
