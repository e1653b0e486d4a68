"""From the body of ``POST /v1/responses`` to the request of `chat` that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import msgspec
from starlette.datastructures import Headers

from palaver.chat import HEAD, ChatRequest
from palaver.core.calls import check_results
from palaver.core.errors import InvalidRequest, MessageNotFound, RequestError, UnsupportedParameter
from palaver.core.message import Message
from palaver.core.parameters import Format, Parameters
from palaver.core.schema_bounds import check_grammar, check_pattern, check_schema
from palaver.core.tree import apart
from palaver.core.window_settings import WindowSettings, mode_of
from palaver.engines.base import Model
from palaver.server.attachments import check_contents
from palaver.server.body import check_depth, decode
from palaver.server.completion_tools import AskedTools, check_tool_messages
from palaver.server.exchange import Caller
from palaver.server.headers import attempt_of, on_leave_of, source_of
from palaver.server.input_items import InputItems, read_items
from palaver.server.names import conversation_of, end_user_of, is_chore, sends_all
from palaver.server.parameters import (
    asked_window,
    check_moved,
    check_parameters,
    check_template_arguments,
    extra_parameters,
    other_parameters,
)
from palaver.server.response_body import (
    CHOICES,
    KNOWN,
    LOGPROBS,
    MOVED,
    NOTHING,
    WITHOUT_EFFECT,
    GbnfFormat,
    ObjectFormat,
    PatternFormat,
    ResponseRequest,
    SchemaFormat,
)
from palaver.server.response_previous import not_found
from palaver.server.response_shapes import GIVEN, INSTRUCTIONS
from palaver.server.response_tools import response_tools
from palaver.server.sampling import drawn
from palaver.server.settings import ServerSettings

DOOR = "responses"
INPUT = "input"
RENAMED = {
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
    "parent": "previous_response_id",
}
"""What this API calls what others have other names for."""
ECHOED = (
    *("previous_response_id", "max_tool_calls", "prompt_cache_key", "safety_identifier", "user"),
    "background",
)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(ResponseRequest)
_items = msgspec.json.Decoder(list[msgspec.Raw])


class AskedResponse(msgspec.Struct, frozen=True):
    """A decoded body, checked as far as that can be done without its model and the store.

    `others` are the parameters that palaver does not honour itself. `digest` is a hash of the bytes that came.
    """

    body: ResponseRequest
    items: InputItems
    tools: AskedTools
    parameters: Parameters
    others: dict[str, Any]
    digest: bytes


def read_response(body: bytes, settings: ServerSettings) -> AskedResponse:
    """Decode and check a body. Raises InvalidRequest."""
    fields = decode(body, _fields)
    request = decode(body, _typed, CHOICES)
    check_moved(fields, MOVED, NOTHING)
    _check_together(request)
    items = _input(request, fields)
    check_number(items, settings)
    for name in ("tools", "tool_choice", "chat_template_kwargs"):
        if getattr(request, name):
            check_depth(name, getattr(request, name), settings.max_depth)
    if request.chat_template_kwargs:
        check_template_arguments(request.chat_template_kwargs)
    tools = response_tools(request.tools, request.tool_choice)
    hints = {} if request.prompt_cache_key is None else {"prompt_cache_key": request.prompt_cache_key}
    if request.text is not None and request.text.verbosity is not None:
        hints["verbosity"] = request.text.verbosity
    return AskedResponse(
        body=request,
        items=items,
        tools=tools,
        parameters=_parameters(request, tools),
        others=other_parameters(fields, KNOWN | MOVED.keys() | WITHOUT_EFFECT, settings.max_depth) | hints,
        digest=blake2b(body, digest_size=32).digest(),
    )


def check_number(items: InputItems, settings: ServerSettings) -> None:
    """Raises InvalidRequest for more messages than the server takes."""
    if len(items.entries) > settings.max_messages:
        raise InvalidRequest(
            f"`input` has {len(items.entries)} messages; this server takes at most {settings.max_messages}.",
            param=INPUT,
        )


def _check_together(request: ResponseRequest) -> None:
    """Raises InvalidRequest for what contradicts itself, UnsupportedParameter for what is not there."""
    if request.prompt is not None:
        raise UnsupportedParameter("There are no stored prompts here: send `instructions`.", param="prompt")
    if request.previous_response_id is not None and request.conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` exclude each other: both say where this goes on.",
            param="conversation",
            code="mutually_exclusive_parameters",
        )
    if request.background and request.store is False:
        raise InvalidRequest("A response in the background is stored: leave `store` out.", param="background")
    if request.store is False and request.conversation is not None:
        raise in_conversation_is_stored()


def in_conversation_is_stored() -> InvalidRequest:
    """The error for a conversation that is named, in the body or a header, where nothing is to be stored."""
    return InvalidRequest(
        "What is said in a conversation is stored: leave `store` out, or the `conversation`.", param="store"
    )


def sent_items(sent: object, fields: dict[str, msgspec.Raw]) -> InputItems:
    """What the `input` of a body says, that was decoded as `sent`: text, items, or nothing. Raises InvalidRequest."""
    if isinstance(sent, str):
        return InputItems(INPUT, [Message("user", sent)], [0])
    return read_items(_items.decode(fields[INPUT]), INPUT) if sent else InputItems(INPUT, [], [])


def _input(request: ResponseRequest, fields: dict[str, msgspec.Raw]) -> InputItems:
    found = sent_items(request.input, fields)
    if not found.entries and request.previous_response_id is None:
        raise InvalidRequest("Input required: `input` is missing, or says nothing.", param=INPUT)
    return found


def _parameters(body: ResponseRequest, tools: AskedTools) -> Parameters:
    effort = body.reasoning.effort if body.reasoning else None
    has_logprobs = LOGPROBS in (body.include or ())
    if body.top_logprobs and not has_logprobs:
        raise InvalidRequest(f"`top_logprobs` needs `include` to hold {LOGPROBS}.", param="top_logprobs")
    return Parameters(
        **drawn(body),
        max_tokens=body.max_output_tokens,
        tool_choice=tools.choice,
        parallel_tool_calls=body.parallel_tool_calls,
        format=_format(body),
        reasoning=False if effort == "none" else None,
        reasoning_effort=None if effort == "none" else effort,
        chat_template_kwargs=body.chat_template_kwargs or None,
        logprobs=(body.top_logprobs or 0) if has_logprobs else None,
    )


def _format(body: ResponseRequest) -> Format | None:
    match body.text.format if body.text else None:
        case ObjectFormat():
            return Format(type="json_object")
        case SchemaFormat(name=name, schema=schema, description=description, strict=strict):
            check_schema(schema, "text.format.schema")
            return Format(
                type="json_schema", schema=schema, name=name, description=description, strict=strict
            )
        case PatternFormat(pattern=pattern):
            check_pattern(pattern, "text.format.pattern")
            return Format(type="regex", pattern=pattern)
        case GbnfFormat(grammar=grammar):
            check_grammar(grammar, "text.format.grammar")
            return Format(type="grammar", grammar=grammar)
    return None


def response_chat_request(
    asked: AskedResponse,
    messages: list[Message],
    parent: str | None,
    headers: Headers,
    caller: Caller,
    model: Model,
    settings: ServerSettings,
) -> ChatRequest:
    """The request for `chat`, of which `messages` are new, below the message `parent`.

    Raises UnsupportedParameter for what the model's engine cannot do, and InvalidRequest.
    """
    body, capabilities = asked.body, model.engine.capabilities
    if model.kind != "chat":
        raise InvalidRequest(f"The model {model.name} makes embeddings; it answers nothing.", param="model")
    end_user = end_user_of(headers, body)
    conversation = conversation_of(headers, body) if parent is None else None
    is_resent = conversation is not None and sends_all(headers, body)
    if body.store is False:
        if conversation is not None and not is_resent and not asked.items.above:
            raise in_conversation_is_stored()
        conversation = None
    hangs = HEAD if conversation is not None and not is_resent else parent
    if body.concurrency is not None and hangs != HEAD:
        raise InvalidRequest("`concurrency` is for turns of a `conversation`.", param="concurrency")
    window = asked_window(body.window, WindowSettings(truncation=body.truncation))
    said = [each.compact_threshold for each in body.context_management or () if each.compact_threshold]
    if said:
        window = msgspec.structs.replace(window, room=min([*said, window.room or said[0]]))
    if hangs is None:
        check_results(messages)
    check_tool_messages(messages, capabilities, model.name)
    check_contents(messages, capabilities, model.name, settings)
    return ChatRequest(
        owner=caller.owner,
        model=body.model,
        messages=messages,
        door=DOOR,
        instructions=[Message("system", body.instructions)] if body.instructions else [],
        is_whole=hangs is not None,
        asked=_asked(body, messages, window, is_exact=hangs is not None),
        logs_first=True,
        background=bool(body.background),
        end_user=end_user,
        conversation=conversation,
        parent=hangs,
        concurrency=body.concurrency,
        is_task=is_resent and is_chore(body, messages),
        temporary=bool(body.temporary),
        attempt=attempt_of(headers, DOOR, asked.digest, end_user, conversation),
        parameters=check_parameters(asked.parameters, asked.tools, capabilities, model.name),
        tools=asked.tools.tools,
        store=True if body.background else body.store,
        metadata=body.metadata,
        source=source_of(headers),
        window=window,
        key_window=caller.api_key.window if caller.api_key else None,
        on_leave=on_leave_of(headers, default="finish"),
        extra=extra_parameters(asked.others, capabilities, model.name),
    )


def _asked(
    body: ResponseRequest, messages: list[Message], window: WindowSettings, *, is_exact: bool
) -> dict[str, Any]:
    """What the response tells again of its request, besides what a turn keeps anyway."""
    asked: dict[str, Any] = {name: getattr(body, name) for name in ECHOED}
    is_auto = mode_of(window, WindowSettings(), exact=is_exact) == "auto"
    asked["truncation"] = "auto" if is_auto else "disabled"
    summary = (body.reasoning.summary or body.reasoning.generate_summary) if body.reasoning else None
    asked["summary"] = None if summary == "none" else summary  # the official types have no such word
    asked["verbosity"] = body.text.verbosity if body.text else None
    asked[INSTRUCTIONS] = bool(body.instructions)
    asked[GIVEN] = 0 if is_exact else len(apart(messages)[0])
    return {name: value for name, value in asked.items() if value}


@contextmanager
def naming(items: InputItems, previous: str | None = None) -> Iterator[None]:
    """Have errors name what was sent by the names that it has here."""
    try:
        with items.naming():
            yield
    except MessageNotFound as error:
        if error.param != "parent" or previous is None:
            raise
        raise not_found(previous) from None
    except RequestError as error:
        if error.param == "parent" and type(error) is InvalidRequest and not items.entries:
            error.param = INPUT
            said = "There is nothing in `input`, and what is named was not cut off in its text."
            error.message = error.public = said
        head, dot, rest = (error.param or "").partition(".")
        if head in RENAMED:
            name = "conversation" if head == "parent" and previous is None else RENAMED[head]
            error.message = error.public = error.message.replace(f"`{head}", f"`{name}")
            error.param = name + dot + rest
        raise
