"""Replies: put together from the deltas of a turn, and cut into the same deltas again for late readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.turn import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
)

Length = int | tuple[int, int]
"""The length of a delta in characters: of content positive, of reasoning negative; of a piece of a tool call's
arguments with the call's place among the reply's calls before it."""
NO_ARGUMENTS = "{}"
"""The arguments of a call that was made without any."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply of a turn, whole or as far as it came. `deltas` are the lengths of the deltas it came in."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    finish_reason: FinishReason | None = None
    logprobs: list[TokenLogprob] = []
    deltas: list[Length] = []

    @property
    def is_empty(self) -> bool:
        return not (self.content or self.reasoning or self.tool_calls)

    @property
    def message(self) -> Message:
        """The message of the tree that it becomes."""
        return Message(
            role="assistant",
            content=self.content or None,
            tool_calls=self.tool_calls or None,
            reasoning=self.reasoning or None,
        )


def replies(deltas: Iterable[Delta], reasons: Sequence[FinishReason | None] = ()) -> list[Reply]:
    """The replies that these deltas make, by the number of their choice; always one at least.

    `reasons` say why each ended, as far as that is known. A choice of which nothing came is empty.
    """
    parts: dict[int, _Parts] = {}
    for delta in deltas:
        parts.setdefault(delta.choice, _Parts()).add(delta)
    count = max(1, len(reasons), max(parts, default=0) + 1)
    padded = [*reasons, *[None] * (count - len(reasons))]
    return [parts.get(i, _Parts()).reply(padded[i]) for i in range(count)]


class _Parts:
    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._logprobs: list[TokenLogprob] = []
        self._lengths: list[Length] = []  # of calls by their index here

    def add(self, delta: Delta) -> None:
        match delta:
            case ContentDelta(text=text):
                self._content.append(text)
                self._logprobs += delta.logprobs
                self._lengths.append(len(text))
            case ReasoningDelta(text=text):
                self._reasoning.append(text)
                self._lengths.append(-len(text))
            case ToolCallDelta(index=index):
                self._calls.setdefault(index, _Call(delta.id, delta.name)).pieces.append(delta.arguments)
                self._lengths.append((index, len(delta.arguments)))

    def reply(self, reason: FinishReason | None) -> Reply:
        called = reason == "tool_calls"
        return Reply(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            tool_calls=[self._calls[index].made(called) for index in sorted(self._calls)],
            finish_reason=reason,
            logprobs=list(self._logprobs),
            deltas=self._deltas(called),
        )

    def _deltas(self, called: bool) -> list[Length]:
        """The lengths, with calls by their place; that of a call without arguments begins with what it gets."""
        places = {index: place for place, index in enumerate(sorted(self._calls))}
        bare = {index for index, call in self._calls.items() if called and not any(call.pieces)}
        lengths: list[Length] = []
        for length in self._lengths:
            if isinstance(length, tuple):
                index = length[0]
                length = (places[index], len(NO_ARGUMENTS) if index in bare else length[1])
                bare.discard(index)
            lengths.append(length)
        return lengths


class _Call:
    def __init__(self, id: str, name: str) -> None:
        self._id = id
        self._name = name
        self.pieces: list[str] = []

    def made(self, whole: bool) -> ToolCall:
        """The call. One of a reply that was cut off stays as far as it came: nobody made it."""
        arguments = "".join(self.pieces) or (NO_ARGUMENTS if whole else "")
        return ToolCall(FunctionCall(self._name, arguments), self._id)


def deltas_of(reply: Reply, choice: int = 0) -> list[Delta]:
    """The deltas that a reply came in, cut again from its text.

    Log probabilities come with the content in which their token begins or, where the tokens do not make up the content,
    all with its first; ``{}`` comes with the first of a call that came without arguments. What no length tells of (a
    reply of which the lengths were not kept) comes in one piece each.
    """
    cut = _Cut(reply, choice)
    deltas = [cut.next(length) for length in reply.deltas]
    return deltas + cut.rest()


class _Cut:
    def __init__(self, reply: Reply, choice: int) -> None:
        self._reply = reply
        self._choice = choice
        self._at = self._thought = 0
        self._called: dict[int, int] = {}
        self._logprobs = deque(reply.logprobs)
        self._are_its = "".join(token.token for token in reply.logprobs) == reply.content
        self._told = 0

    def next(self, length: Length) -> Delta:
        if isinstance(length, tuple):
            return self._piece(*length)
        if length < 0:
            self._thought -= length
            return ReasoningDelta(self._reply.reasoning[self._thought + length : self._thought], self._choice)
        return self._content(length)

    def rest(self) -> list[Delta]:
        rest: list[Delta] = []
        if thought := self._reply.reasoning[self._thought :]:
            rest.append(ReasoningDelta(thought, self._choice))
        if left := len(self._reply.content) - self._at:
            rest.append(self._content(left))
        for index, call in enumerate(self._reply.tool_calls):
            left = len(call.function.arguments) - self._called.get(index, 0)
            if left or index not in self._called:
                rest.append(self._piece(index, left))
        return rest

    def _content(self, length: int) -> ContentDelta:
        self._at += length
        is_last = self._at == len(self._reply.content)
        logprobs: list[TokenLogprob] = []
        while self._logprobs and (self._told < self._at or is_last or not self._are_its):
            logprobs.append(self._logprobs.popleft())
            self._told += len(logprobs[-1].token)
        return ContentDelta(self._reply.content[self._at - length : self._at], self._choice, logprobs)

    def _piece(self, index: int, length: int) -> ToolCallDelta:
        call = self._reply.tool_calls[index]
        at = self._called.get(index)
        self._called[index] = (at or 0) + length
        arguments = call.function.arguments[at or 0 : (at or 0) + length]
        if at is not None:
            return ToolCallDelta(index, arguments=arguments, choice=self._choice)
        return ToolCallDelta(index, call.id, call.function.name, arguments, self._choice)
