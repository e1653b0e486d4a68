"""What chat completions answer with; `palaver.server.completion_stream` has the chunks of a streamed reply.

`prompt` and a `role` in every delta are required by Together's SDKs; usage comes with the chunk that says why
the reply ended, as Together sends it (OpenAI's extra chunk without choices breaks code that reads the first).
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from palaver.core import ids
from palaver.core.message import Message
from palaver.core.reply import Reply
from palaver.core.turn import FinishReason, TurnState, Usage
from palaver.live import LiveReply, Outcome
from palaver.server.completion_logprobs import Logprobs, LogprobShape, shown_logprobs
from palaver.server.errors import ErrorDetail
from palaver.server.receipt_shapes import ReceiptBody
from palaver.stores.base import OtherReply, TurnRecord

NO_PROMPT_LOGPROBS = "The log probabilities of the prompt are not told."
ShownReason = FinishReason | Literal["function_call"]


class ReplyForm(msgspec.Struct, frozen=True, kw_only=True):
    """In which of the forms that are about a reply is told.

    `logprobs` is whose shape log probabilities have, None where they were not asked for. `is_legacy` has a call in
    the older form of `functions`, too. `has_whole_calls` has every piece of a call hold all fields, the known ones
    empty: Together's Python SDK refuses others where it checks replies strictly.
    """

    logprobs: LogprobShape | None = None
    is_legacy: bool = False
    has_whole_calls: bool = False

    def reason(self, reason: FinishReason | None) -> ShownReason:
        """Why a reply ended; a reply that was stopped ended like any other."""
        return "function_call" if self.is_legacy and reason == "tool_calls" else reason or "stop"


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
    """The reply. `reasoning` and `reasoning_content` are two names of the same text. `function_call` is the first
    call, where `functions` were asked for."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: list[ReplyToolCall] = []
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    function_call: ReplyFunction | UnsetType = UNSET


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    message: ReplyMessage
    finish_reason: ShownReason
    logprobs: Logprobs | None = None


class PromptText(msgspec.Struct, frozen=True):
    text: str


class CompletionWarning(msgspec.Struct, frozen=True):
    """What whoever asked should know although it went well."""

    message: str


class TriedModel(msgspec.Struct, frozen=True):
    """A model that failed before its first token, so that another was asked."""

    model: str
    error: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply. `prompt` holds the prompt where `echo` was asked for, and is else empty; `context` the receipt
    where that was asked for.

    What follows is in a stored reply that is asked for later: `metadata` are the notes kept with it, `status` and
    `error` say how its turn ended and why, `served_as` is the engine's own name of the model, `tried` are models that
    failed before it. A reply that was cut off has the finish reason ``length``; a turn that failed before any text has
    no choices.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    prompt: list[PromptText] = []
    choices: list[Choice]
    usage: CompletionUsage | None
    warnings: list[CompletionWarning] | UnsetType = UNSET
    context: ReceiptBody | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    status: TurnState | UnsetType = UNSET
    error: ErrorDetail | UnsetType = UNSET
    served_as: str | UnsetType = UNSET
    tried: list[TriedModel] | UnsetType = UNSET


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


def shown_warnings(outcome: Outcome, form: ReplyForm) -> list[CompletionWarning]:
    """What whoever asked should know: from the engine, and what of the request this reply does not hold."""
    missing = [NO_PROMPT_LOGPROBS] if outcome.prompt is not None and form.logprobs is not None else []
    return [CompletionWarning(message) for message in (*outcome.warnings, *missing)]


def completion(
    live: LiveReply, outcome: Outcome, form: ReplyForm, context: ReceiptBody | None = None
) -> Completion:
    """The reply of a turn that has just ended."""
    return Completion(
        id=ids.as_chat_completion(live.turn),
        created=live.created,
        model=live.model,
        prompt=[] if outcome.prompt is None else [PromptText(outcome.prompt)],
        choices=[_choice(i, reply.message, reply, form) for i, reply in enumerate(live.replies())],
        usage=usage_of(outcome.usage),
        warnings=shown_warnings(outcome, form) or UNSET,
        context=UNSET if context is None else context,
    )


def stored_completion(turn: TurnRecord) -> Completion:
    """The reply of a turn that ended some time ago."""
    first = OtherReply(
        item=turn.reply, finish_reason=turn.finish_reason, deltas=turn.deltas, logprobs=turn.logprobs
    )
    error: ErrorDetail | UnsetType = UNSET
    if turn.error_message:
        error = ErrorDetail(turn.error_message, "server_error", None, turn.error_code)
    return Completion(
        id=ids.as_chat_completion(turn.id),
        created=turn.created_at // 1000,
        model=turn.model,
        choices=[
            choice
            for i, reply in enumerate([first, *turn.others])
            if (choice := _stored_choice(i, reply, turn.state)) is not None
        ],
        usage=usage_of(turn.usage),
        warnings=[CompletionWarning(message) for message in turn.warnings] or UNSET,
        metadata=turn.metadata,
        status=turn.state,
        error=error,
        served_as=UNSET if turn.served_as is None else turn.served_as,
        tried=[TriedModel(each.model, each.error) for each in turn.tried] or UNSET,
    )


def _stored_choice(index: int, stored: OtherReply, state: TurnState) -> Choice | None:
    """None for a reply that was deleted, and for one of which nothing came because its turn failed."""
    if stored.item is None:
        if stored.finish_reason is None:
            return None
        message = Message("assistant")
    elif stored.item.deleted:
        return None
    else:
        message = stored.item.message
    cut_off: FinishReason = "length" if state is TurnState.INCOMPLETE else "stop"
    reply = Reply(finish_reason=stored.finish_reason or cut_off, logprobs=stored.logprobs)
    return _choice(index, message, reply, ReplyForm(logprobs="openai"))


def _choice(index: int, message: Message, reply: Reply, form: ReplyForm) -> Choice:
    """One reply: its message, and what `reply` says besides."""
    shape = form.logprobs if reply.logprobs else None
    return Choice(
        index=index,
        message=_message(message, form),
        finish_reason=form.reason(reply.finish_reason),
        logprobs=None if shape is None else shown_logprobs(reply.logprobs, shape),
    )


def _message(message: Message, form: ReplyForm) -> ReplyMessage:
    reasoning = message.reasoning or message.reasoning_content or UNSET
    calls = [
        ReplyToolCall(
            id=call.id, index=i, function=ReplyFunction(call.function.name, call.function.arguments)
        )
        for i, call in enumerate(message.tool_calls or ())
    ]
    return ReplyMessage(
        content=None if calls and not message.text else message.text,
        tool_calls=calls,
        reasoning=reasoning,
        reasoning_content=reasoning,
        function_call=calls[0].function if calls and form.is_legacy else UNSET,
    )
