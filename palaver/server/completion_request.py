"""From the body of ``POST /v1/chat/completions`` to the request of `chat` that comes of it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from starlette.datastructures import Headers

from palaver.chat import HEAD, ChatRequest
from palaver.core.calls import check_results
from palaver.core.errors import InvalidRequest
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.thinking import thought_apart
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model
from palaver.server.attachments import check_contents
from palaver.server.body import check_depth, decode
from palaver.server.completion_body import CHOICES, KNOWN, CompletionRequest
from palaver.server.completion_format import asked_format
from palaver.server.completion_logprobs import LogprobShape
from palaver.server.completion_reply import ReplyForm
from palaver.server.completion_tools import AskedTools, asked_tools, check_tool_messages
from palaver.server.exchange import Caller
from palaver.server.headers import attempt_of, is_together, on_leave_of, source_of
from palaver.server.names import conversation_of, end_user_of, is_task
from palaver.server.parameters import (
    asked_window,
    check_parameters,
    check_template_arguments,
    extra_parameters,
    other_parameters,
)
from palaver.server.sampling import drawn
from palaver.server.settings import ServerSettings

DOOR = "chat.completions"

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(CompletionRequest)


class Asked(msgspec.Struct, frozen=True):
    """A decoded body, checked as far as that can be done without its model.

    `messages` are in the form in which they are kept. `others` are the parameters that palaver does not honour
    itself. `digest` is a hash of the bytes that came.
    """

    body: CompletionRequest
    messages: list[Message]
    tools: AskedTools
    parameters: Parameters
    others: dict[str, Any]
    digest: bytes

    def form(self, headers: Headers) -> ReplyForm:
        """In which form the reply is told."""
        shape: LogprobShape = "openai" if isinstance(self.body.logprobs, bool) else "together"
        return ReplyForm(
            logprobs=None if self.parameters.logprobs is None else shape,
            is_legacy=self.tools.is_legacy,
            has_whole_calls=is_together(headers),
        )


def read_request(body: bytes, settings: ServerSettings) -> Asked:
    """Decode and check a body. Raises InvalidRequest."""
    fields = decode(body, _fields)
    request = decode(body, _typed, CHOICES)
    _check_messages(request, settings.max_messages)
    messages = [thought_apart(_without_repetition(message)) for message in request.messages]
    if request.parent is None:  # else the calls may be stored above
        check_results(messages)
    tools = asked_tools(request.tools, request.tool_choice, request.functions, request.function_call)
    if request.chat_template_kwargs:
        check_depth("chat_template_kwargs", request.chat_template_kwargs, settings.max_depth)
        check_template_arguments(request.chat_template_kwargs)
    return Asked(
        body=request,
        messages=messages,
        tools=tools,
        parameters=_parameters(request, tools),
        others=other_parameters(fields, KNOWN, settings.max_depth) | _hints(request),
        digest=blake2b(body, digest_size=32).digest(),
    )


def _hints(request: CompletionRequest) -> dict[str, str]:
    """What names an end user here, and says to a server behind an upstream where the prompt is cached."""
    return {} if request.prompt_cache_key is None else {"prompt_cache_key": request.prompt_cache_key}


def _check_messages(request: CompletionRequest, most: int) -> None:
    messages = request.messages
    if not messages and request.parent in (None, HEAD):
        raise InvalidRequest("Input required: `messages` is empty.", param="messages")
    if len(messages) > most:
        raise InvalidRequest(
            f"`messages` has {len(messages)} messages; this server takes at most {most}.", param="messages"
        )
    for i, message in enumerate(messages):
        if message.role == "assistant":
            _check_calls(i, message)
        elif message.role in ("system", "developer", "user") and message.content is None:
            raise _missing(f"messages[{i}].content")
        elif message.role == "tool" and not message.tool_call_id:
            raise _missing(f"messages[{i}].tool_call_id")
        elif message.role == "function" and not message.name:
            raise _missing(f"messages[{i}].name")


def _check_calls(place: int, message: Message) -> None:
    for k, call in enumerate(message.tool_calls or ()):
        if not call.function.name:
            raise _missing(f"messages[{place}].tool_calls[{k}].function.name")
    if message.function_call is not None and not message.function_call.name:
        raise _missing(f"messages[{place}].function_call.name")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"Input required: `{param}` is missing or null.", param=param)


def _without_repetition(message: Message) -> Message:
    """A reply to `functions` holds its call in the older form, too; sent back, it is the reply that we gave."""
    if message.function_call is None or not message.tool_calls:
        return message
    return msgspec.structs.replace(message, function_call=None)


def chat_request(
    asked: Asked, headers: Headers, caller: Caller, model: Model, settings: ServerSettings
) -> ChatRequest:
    """The request for `chat`. Raises UnsupportedParameter for what the model's engine cannot do."""
    body, capabilities = asked.body, model.engine.capabilities
    if model.kind != "chat":
        raise InvalidRequest(
            f"The model {model.name} makes embeddings; it answers no messages.", param="model"
        )
    check_tool_messages(asked.messages, capabilities, model.name)
    check_contents(asked.messages, capabilities, model.name, settings)
    parameters = check_parameters(asked.parameters, asked.tools, capabilities, model.name)
    end_user, conversation = end_user_of(headers, body), conversation_of(headers, body)
    if body.concurrency is not None and body.parent != HEAD:
        raise InvalidRequest(
            "`concurrency` is for turns with a `parent` of head: others never wait.", param="concurrency"
        )
    if body.background:
        _check_background(body)
    if body.parent == HEAD and conversation is None:
        raise InvalidRequest("Whose head? `parent` of head needs a `conversation`.", param="conversation")
    return ChatRequest(
        owner=caller.owner,
        model=body.model,
        messages=asked.messages,
        door=DOOR,
        asked={"background": True} if body.background else {},
        background=bool(body.background),
        end_user=end_user,
        conversation=conversation,
        parent=body.parent,
        concurrency=body.concurrency,
        is_task=is_task(headers, body),
        temporary=bool(body.temporary),
        attempt=attempt_of(headers, DOOR, asked.digest, end_user, conversation),
        parameters=parameters,
        tools=asked.tools.tools,
        store=True if body.background else body.store,
        metadata=body.metadata,
        source=source_of(headers),
        window=_window(body),
        key_window=caller.api_key.window if caller.api_key else None,
        on_leave=on_leave_of(headers),
        extra=extra_parameters(asked.others, capabilities, model.name),
    )


def _check_background(body: CompletionRequest) -> None:
    """Raises InvalidRequest for what contradicts itself."""
    if body.stream:
        raise InvalidRequest(
            "A turn in the background is answered at once: leave `stream` out, and follow it by its id.",
            param="background",
        )
    if body.store is False:
        raise InvalidRequest("A turn in the background is stored: leave `store` out.", param="background")


def _window(body: CompletionRequest) -> WindowSettings:
    """How the request has its window chosen. Raises InvalidRequest for what contradicts itself."""
    asked = body.window
    said = WindowSettings(
        truncation=body.truncation, context_length_exceeded_behavior=body.context_length_exceeded_behavior
    )
    return asked_window(WindowSettings(mode=asked) if isinstance(asked, str) else asked, said)


def _parameters(body: CompletionRequest, tools: AskedTools) -> Parameters:
    reasoning, effort = _reasoning(body)
    return Parameters(
        **drawn(body),
        max_tokens=_max_tokens(body),
        n=body.n or 1,
        tool_choice=tools.choice,
        parallel_tool_calls=body.parallel_tool_calls,
        format=asked_format(body.response_format),
        reasoning=reasoning,
        reasoning_effort=effort,
        chat_template_kwargs=body.chat_template_kwargs or None,
        logprobs=_logprobs(body),
        echo=bool(body.echo),
    )


def _max_tokens(body: CompletionRequest) -> int | None:
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if body.max_tokens not in (None, most):
        raise InvalidRequest(
            "`max_tokens` and `max_completion_tokens` differ; send one of them.",
            param="max_completion_tokens",
        )
    return most


def _logprobs(body: CompletionRequest) -> int | None:
    """How many of the likeliest tokens are told beside each; None where no log probabilities are wanted."""
    asked, top = body.logprobs, body.top_logprobs
    if asked is None or asked is False:
        if top:
            raise InvalidRequest("`top_logprobs` needs `logprobs` to be true.", param="top_logprobs")
        return None
    if asked is True:
        return top or 0
    return asked if top is None else top


def _reasoning(body: CompletionRequest) -> tuple[bool | None, str | None]:
    """Whether the model is to think, and how much; None leaves it to the model."""
    asked = body.reasoning
    enabled, inner = (None, None) if asked is None else (asked.enabled, asked.effort)
    effort = body.reasoning_effort or inner
    if inner not in (None, effort):
        raise InvalidRequest(
            "`reasoning.effort` and `reasoning_effort` differ; send one of them.", param="reasoning_effort"
        )
    if effort == "none":
        if enabled:
            raise InvalidRequest(
                "`reasoning` is enabled, and the effort is none.",
                param="reasoning_effort" if body.reasoning_effort else "reasoning.effort",
            )
        return False, None
    return enabled, None if enabled is False else effort
