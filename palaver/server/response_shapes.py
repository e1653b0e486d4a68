"""Responses as the API shows them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from palaver.core import ids
from palaver.core.errors import InvalidRequest, PalaverError, StoreError, TooManyRequests, kept_name
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.tree import Instruction
from palaver.core.turn import TurnState, Usage
from palaver.live import LiveReply, Outcome
from palaver.server.items import ShownItem
from palaver.server.receipt_shapes import ReceiptBody
from palaver.stores.base import TurnRecord

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
INSTRUCTIONS = "instructions"
GIVEN = "given"
"""Of what is asked: whether there were `instructions`, and how many messages of `input` are instructions."""


class ResponseErrorBody(msgspec.Struct, frozen=True):
    """Why a response failed. `code` is one of OpenAI's."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    reason: Literal["max_output_tokens", "content_filter"]


class ConversationId(msgspec.Struct, frozen=True):
    id: str


class InputDetails(msgspec.Struct, frozen=True, kw_only=True):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True, kw_only=True):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a response cost, in tokens of the model that gave it."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ShownTool(msgspec.Struct, frozen=True, kw_only=True, tag="function", tag_field="type"):
    """A function that the model might call."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class ShownReasoning(msgspec.Struct, frozen=True, kw_only=True):
    effort: str | None = None
    summary: str | None = None


class ShownText(msgspec.Struct, frozen=True, kw_only=True):
    format: dict[str, Any]
    verbosity: str | None = None


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True):
    """A response: a turn, by the words of OpenAI's Responses API. Times are in seconds since 1970.

    `output` has what has been said so far while it runs. It is ``incomplete`` where the model came to
    `max_output_tokens`, and ``failed`` where something broke it off, with the text it had; ``cancelled`` ones keep
    theirs too. `conversation` is there for every response that is stored. `context` is its receipt, where that was
    asked for.
    """

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: bool
    completed_at: int | None = None
    error: ResponseErrorBody | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[ShownItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationId | None
    prompt_cache_key: str | None
    reasoning: ShownReasoning
    safety_identifier: str | None
    service_tier: str = "default"
    store: bool
    temperature: float | None
    text: ShownText
    tool_choice: str | dict[str, Any]
    tools: list[ShownTool]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None = None
    user: str | None
    metadata: dict[str, str]
    warnings: list[str] | UnsetType = UNSET
    context: ReceiptBody | UnsetType = UNSET


def begun(
    turn: str,
    created: int,
    conversation: str | None,
    asked: dict[str, Any],
    *,
    parameters: Parameters,
    tools: list[Tool],
    instructions: str | None,
    metadata: dict[str, str],
) -> ResponseBody:
    """A response of which nothing has come yet. `asked` is what its door keeps of the request."""
    choice = parameters.tool_choice
    return ResponseBody(
        id=ids.as_response(turn),
        created_at=created,
        status="queued" if asked.get("background") else "in_progress",
        background=bool(asked.get("background")),
        instructions=instructions,
        max_output_tokens=parameters.max_tokens,
        max_tool_calls=asked.get("max_tool_calls"),
        model="",
        parallel_tool_calls=parameters.parallel_tool_calls is not False,
        previous_response_id=asked.get("previous_response_id"),
        conversation=ConversationId(conversation) if conversation is not None else None,
        prompt_cache_key=asked.get("prompt_cache_key"),
        reasoning=ShownReasoning(
            effort="none" if parameters.reasoning is False else parameters.reasoning_effort,
            summary=asked.get("summary"),
        ),
        safety_identifier=asked.get("safety_identifier"),
        store=conversation is not None,
        temperature=parameters.temperature,
        text=ShownText(format=_format(parameters.format), verbosity=asked.get("verbosity")),
        tool_choice={"type": "function", "name": choice.name}
        if isinstance(choice, NamedTool)
        else choice or "auto",
        tools=[_tool(tool) for tool in tools],
        top_logprobs=parameters.logprobs or 0,
        top_p=parameters.top_p,
        truncation=asked.get("truncation") or "disabled",
        user=asked.get("user"),
        metadata=metadata,
    )


def lasting(turn: TurnRecord) -> list[Instruction]:
    """The instructions of a turn but for those that were for it alone."""
    return turn.instructions[1 if turn.asked.get(INSTRUCTIONS) else 0 :]


def begun_of(turn: TurnRecord) -> ResponseBody:
    """The same of a stored turn, whatever door it came by."""
    has_own = turn.asked.get(INSTRUCTIONS) and turn.instructions
    return begun(
        turn.id,
        ids.seconds_of(turn.id),
        turn.conversation,
        turn.asked,
        parameters=turn.parameters,
        tools=turn.tools,
        instructions=turn.instructions[0].message.text if has_own else None,
        metadata=turn.metadata,
    )


def as_it_stands(
    response: ResponseBody, live: LiveReply, output: list[ShownItem], *, waits: bool = False
) -> ResponseBody:
    """The response of a reply with this output, whether it waits for others, runs or has ended: as long as its end
    could not be stored, that is not known."""
    outcome = live.outcome
    if outcome is None or isinstance(outcome.error, StoreError):
        now: ResponseStatus = "queued" if waits else "in_progress"
        return msgspec.structs.replace(response, status=now, model=live.model, output=output)
    status = status_of(outcome)
    return msgspec.structs.replace(
        response,
        status=status,
        model=live.model,
        completed_at=live.ended_at if status == "completed" else None,
        error=_error(outcome.error) if status == "failed" else None,
        incomplete_details=_details(outcome) if status == "incomplete" else None,
        output=output,
        usage=usage_of(outcome.usage),
        warnings=outcome.warnings or UNSET,
    )


def status_of(outcome: Outcome) -> ResponseStatus:
    """How a turn ended, by the words of this API: its own are about what is kept, these about what was asked."""
    if outcome.state is TurnState.CANCELLED:
        return "cancelled"
    if outcome.error is not None or outcome.state is not TurnState.COMPLETED:
        return "failed"
    return "incomplete" if outcome.finish_reason in ("length", "content_filter") else "completed"


def usage_of(usage: Usage | None) -> ResponseUsage | None:
    if usage is None:
        return None
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.cached_tokens or 0),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputDetails(reasoning_tokens=usage.reasoning_tokens or 0),
        total_tokens=usage.total_tokens,
    )


def _error(error: PalaverError | None) -> ResponseErrorBody:
    if error is None:
        return ResponseErrorBody("server_error", "The reply was cut off.")
    limited = kept_name(error) == TooManyRequests.__name__
    invalid = isinstance(error, InvalidRequest)
    code: Any = "rate_limit_exceeded" if limited else "invalid_prompt" if invalid else "server_error"
    return ResponseErrorBody(code, error.public)


def _details(outcome: Outcome) -> IncompleteDetails:
    return IncompleteDetails("max_output_tokens" if outcome.finish_reason == "length" else "content_filter")


def _format(form: Format | None) -> dict[str, Any]:
    if form is None:
        return {"type": "text"}
    shown = msgspec.to_builtins(form)
    if form.type == "json_schema":
        shown.setdefault("name", "response")
    return dict(shown)


def _tool(tool: Tool) -> ShownTool:
    return ShownTool(
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters if tool.parameters is not None else {},
        strict=tool.strict,
    )
