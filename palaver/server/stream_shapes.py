"""What the server-sent events of a reply hold, for the description of the API: they are encoded piece by piece where
they come from (`completion_stream`, `text_reply`, `response_events`)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from palaver.server.completion_logprobs import Logprobs
from palaver.server.completion_reply import CompletionUsage, CompletionWarning, PromptText, ShownReason
from palaver.server.errors import ErrorDetail
from palaver.server.items import ShownItem
from palaver.server.receipt_shapes import ReceiptBody
from palaver.server.response_shapes import ResponseBody
from palaver.server.route import Events
from palaver.server.text_reply import TextCompletion


class StreamError(msgspec.Struct, frozen=True, kw_only=True):
    """What broke a stream off; nothing follows it."""

    error: ErrorDetail


class CallPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a function's name and arguments."""

    name: str | UnsetType = UNSET
    arguments: str


class ChunkCall(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a call; the first one of each names it."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: CallPiece


class ChunkDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What has come. `reasoning` and `reasoning_content` are two names of the same text."""

    role: Literal["assistant"]
    content: str | UnsetType | None = UNSET
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChunkCall] | UnsetType = UNSET
    function_call: CallPiece | UnsetType = UNSET
    token_id: int | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of one reply. In Together's shape `logprobs` is the number of its one token."""

    index: int
    delta: ChunkDelta
    logprobs: Logprobs | float | None
    top_logprobs: dict[str, float] | UnsetType = UNSET
    finish_reason: ShownReason | None


class CompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a chat completion. `usage`, `warnings`, `context` and `prompt` come with the last one."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None
    warnings: list[CompletionWarning] | UnsetType = UNSET
    context: ReceiptBody | UnsetType = UNSET
    prompt: list[PromptText] | UnsetType = UNSET


class TogetherToken(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    text: str
    logprob: float
    special: bool


class TogetherChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A token of a text completion, as Together's SDKs are told it."""

    id: str
    object: Literal["completion.chunk"]
    created: int
    model: str
    token: TogetherToken
    choices: list[dict[str, Any]]
    finish_reason: ShownReason | None
    seed: int | None
    usage: CompletionUsage | None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    sequence_number: int


class ResponseEvent(_Event, frozen=True, kw_only=True):
    """How a response stands: the first events, and the last one."""

    type: Literal[
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    response: ResponseBody


class OutputItemEvent(_Event, frozen=True, kw_only=True):
    """An item of the output begins, or is whole."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: ShownItem


class _Inside(_Event, frozen=True, kw_only=True):
    item_id: str
    output_index: int


class ContentPartEvent(_Inside, frozen=True, kw_only=True):
    """A part of an item begins, or is whole."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: int
    part: dict[str, Any]


class SummaryPartEvent(_Inside, frozen=True, kw_only=True):
    """Thinking that is told in place of its summary begins, or is whole."""

    type: Literal["response.reasoning_summary_part.added", "response.reasoning_summary_part.done"]
    summary_index: int
    part: dict[str, Any]


class SummaryDeltaEvent(_Inside, frozen=True, kw_only=True):
    """More thinking, in place of its summary."""

    type: Literal["response.reasoning_summary_text.delta"]
    summary_index: int
    delta: str


class SummaryDoneEvent(_Inside, frozen=True, kw_only=True):
    """What was thought, in place of its summary."""

    type: Literal["response.reasoning_summary_text.done"]
    summary_index: int
    text: str


class TextDeltaEvent(_Inside, frozen=True, kw_only=True):
    """More text, or more thinking. Text has its log probabilities, where they were asked for."""

    type: Literal["response.output_text.delta", "response.reasoning_text.delta"]
    content_index: int
    delta: str
    logprobs: list[dict[str, Any]] | UnsetType = UNSET


class TextDoneEvent(_Inside, frozen=True, kw_only=True):
    """A text, or what was thought, as a whole."""

    type: Literal["response.output_text.done", "response.reasoning_text.done"]
    content_index: int
    text: str
    logprobs: list[dict[str, Any]] | UnsetType = UNSET


class ArgumentsDeltaEvent(_Inside, frozen=True, kw_only=True):
    """More of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ArgumentsDoneEvent(_Inside, frozen=True, kw_only=True):
    """A call's arguments as a whole."""

    type: Literal["response.function_call_arguments.done"]
    name: str
    arguments: str


class ErrorEvent(_Event, frozen=True, kw_only=True):
    """What broke the stream off; how the response ended shows when it is asked for again."""

    type: Literal["error"]
    code: str | None
    message: str
    param: str | None


COMPLETION_EVENTS = Events(data=CompletionChunk | StreamError, done=True)
TEXT_EVENTS = Events(data=TextCompletion | TogetherChunk | StreamError, done=True)
RESPONSE_EVENTS = Events(
    data=ResponseEvent
    | OutputItemEvent
    | ContentPartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | SummaryPartEvent
    | SummaryDeltaEvent
    | SummaryDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
    | ErrorEvent
)
