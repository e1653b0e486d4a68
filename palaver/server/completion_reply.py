"""What chat completions answer with: the plain reply, and the chunks of a streamed one.

`prompt` and a `role` in every delta are required by Together's SDKs; usage comes with the chunk that says why
the reply ended, as Together sends it (OpenAI's extra chunk without choices breaks code that reads the first).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from palaver.core import ids
from palaver.core.message import ToolCall
from palaver.core.turn import ContentDelta, FinishReason, ReasoningDelta, TurnState, Usage
from palaver.live import LiveEvent, LiveReply, Outcome
from palaver.server.errors import ErrorDetail, error_event
from palaver.stores.base import TurnRecord

CHUNK = "chat.completion.chunk"
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


class CachedTokens(msgspec.Struct, frozen=True):
    cached_tokens: int


class ReasoningTokens(msgspec.Struct, frozen=True):
    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply cost, in tokens. `cached_tokens` is in both of the forms that are about."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens | UnsetType = UNSET
    completion_tokens_details: ReasoningTokens | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET


class ReplyFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class ReplyToolCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["function"] = "function"
    index: int
    function: ReplyFunction


class ReplyMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The reply. `reasoning` and `reasoning_content` are two names of the same text."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: list[ReplyToolCall] = []
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    message: ReplyMessage
    finish_reason: FinishReason
    logprobs: None = None


class PromptText(msgspec.Struct, frozen=True):
    text: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply. `prompt` is always empty, as `echo` is not supported.

    `status` and `error` are in a stored reply that is asked for later: how its turn ended, and why. One that
    was cut off has the finish reason ``length``; one that failed before any text has no choices.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    prompt: list[PromptText] = []
    choices: list[Choice]
    usage: CompletionUsage | None
    status: TurnState | UnsetType = UNSET
    error: ErrorDetail | UnsetType = UNSET


def usage_of(usage: Usage | None) -> CompletionUsage | None:
    if usage is None:
        return None
    cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=UNSET if cached is None else CachedTokens(cached),
        completion_tokens_details=UNSET if reasoning is None else ReasoningTokens(reasoning),
        cached_tokens=UNSET if cached is None else cached,
    )


def _message(content: str, reasoning: str | None, calls: Sequence[ToolCall]) -> ReplyMessage:
    return ReplyMessage(
        content=None if calls and not content else content,
        tool_calls=_numbered(calls, 0),
        reasoning=reasoning or UNSET,
        reasoning_content=reasoning or UNSET,
    )


def _numbered(calls: Sequence[ToolCall], first: int) -> list[ReplyToolCall]:
    return [
        ReplyToolCall(
            id=call.id, index=i, function=ReplyFunction(call.function.name, call.function.arguments)
        )
        for i, call in enumerate(calls, first)
    ]


def completion(live: LiveReply, outcome: Outcome) -> Completion:
    """The reply of a turn that has just ended."""
    calls = [call for event in live.tool_calls for call in event.calls]
    choice = Choice(
        message=_message(live.content, live.reasoning, calls), finish_reason=outcome.finish_reason or "stop"
    )
    return Completion(
        id=ids.as_chat_completion(live.turn),
        created=live.created,
        model=live.model,
        choices=[choice],
        usage=usage_of(outcome.usage),
    )


def stored_completion(turn: TurnRecord) -> Completion:
    """The reply of a turn that ended some time ago."""
    cut_off = turn.state is TurnState.INCOMPLETE
    choices = []
    if turn.reply is not None:
        message = turn.reply.message
        reply = _message(
            message.text, message.reasoning or message.reasoning_content, message.tool_calls or ()
        )
        choices = [
            Choice(message=reply, finish_reason=turn.finish_reason or ("length" if cut_off else "stop"))
        ]
    error: ErrorDetail | UnsetType = UNSET
    if turn.error_message:
        error = ErrorDetail(turn.error_message, "server_error", None, turn.error_code)
    return Completion(
        id=ids.as_chat_completion(turn.id),
        created=turn.created_at // 1000,
        model=turn.model,
        choices=choices,
        usage=usage_of(turn.usage),
        status=turn.state,
        error=error,
    )


class Chunks:
    """Encodes a reply as it comes, as the data of server-sent events.

    Between two chunks of one reply only the text differs, so the rest is encoded once.
    """

    def __init__(self, live: LiveReply) -> None:
        start = {
            "id": ids.as_chat_completion(live.turn),
            "object": CHUNK,
            "created": live.created,
            "model": live.model,
        }
        self._head = b"data: " + _encode(start)[:-1] + b',"choices":[{"index":0,"delta":{"role":"assistant",'
        self._tail = b'},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
        self._content = self._head + b'"content":'
        self._calls = 0

    def events(self, news: Sequence[LiveEvent]) -> bytes:
        """What has come, as one piece."""
        return b"".join([self._event(event) for event in news])

    def _event(self, event: LiveEvent) -> bytes:
        if isinstance(event, ContentDelta):
            return self._content + _encode(event.text) + self._tail
        delta: dict[str, Any] = {"content": ""}  # never missing: who prints it would print "None"
        if isinstance(event, ReasoningDelta):
            delta |= {"reasoning": event.text, "reasoning_content": event.text}
        else:
            delta |= {"tool_calls": _numbered(event.calls, self._calls)}
            self._calls += len(event.calls)
        return self._head + _encode(delta)[1:-1] + self._tail

    def end(self, outcome: Outcome) -> bytes:
        """The last piece: why it ended and what it cost, or the error that ended it.

        After an error nothing follows, not even ``[DONE]``: the stream was no success.
        """
        if outcome.error is not None:
            return error_event(outcome.error)
        reason, usage = _encode(outcome.finish_reason or "stop"), _encode(usage_of(outcome.usage))
        finish = (
            b'"content":""},"logprobs":null,"finish_reason":' + reason + b'}],"usage":' + usage + b"}\n\n"
        )
        return self._head + finish + DONE
