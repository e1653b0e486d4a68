"""The body of ``POST /v1/chat/completions``, and the request of `chat` that comes of it.

Names, ranges and defaults are Together's (https://docs.together.ai/reference/chat-completions-1), with what
OpenAI's clients send as well. `palaver.server.parameters` has the parameters that are known but not honoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers

from palaver.chat import HEAD, ChatRequest
from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import Message, Role, TextPart
from palaver.core.turn import Sampling
from palaver.engines.base import Model
from palaver.server.body import decode
from palaver.server.headers import NAME_LENGTH, attempt_of, on_leave_of
from palaver.server.names import conversation_of, end_user_of
from palaver.server.parameters import NO_THINKING, check_sampling, unknown_parameters
from palaver.server.settings import ServerSettings
from palaver.stores.base import Concurrency

DOOR = "chat.completions"

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Stop = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(max_length=NAME_LENGTH)]
Reference = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]

PARTS = ("text", "refusal", "image_url", "video_url", "audio_url", "input_audio", "file")
CHOICES = {
    "messages[].role": get_args(Role),
    "messages[].content[].type": PARTS,
    "messages[].tool_calls[].type": ("function",),
    "context_length_exceeded_behavior": ("error", "truncate"),
    "concurrency": get_args(Concurrency),
}


class ConversationRef(msgspec.Struct, frozen=True):
    id: Reference


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer, and how. A parameter that is null is one that was not given."""

    model: Annotated[str, Meta(min_length=1, description="The name of a model, or an alias.")]
    messages: Annotated[
        list[Message],
        Meta(
            description="The history, from its first message to the one to answer; with `parent`, what is new."
        ),
    ]
    stream: Annotated[
        bool | None,
        Meta(description="Send the reply as it comes, as server-sent events up to `data: [DONE]`."),
    ] = None
    max_tokens: Annotated[
        Count | None,
        Meta(description="The longest reply, in tokens; without it, until it stops or the context ends."),
    ] = None
    max_completion_tokens: Annotated[Count | None, Meta(description="Another name of `max_tokens`.")] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="How freely tokens are drawn; 0 takes the likeliest."),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Draw from the likeliest tokens that together have this probability."),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None,
        Meta(description="Draw from so many of the likeliest tokens; 0 and -1 draw from all."),
    ] = None
    min_p: Annotated[
        Fraction | None,
        Meta(description="Leave out tokens below this share of the likeliest one's probability."),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(description="Above 1, tokens that occurred are less likely; 1 changes nothing."),
    ] = None
    presence_penalty: Annotated[
        Penalty | None, Meta(description="Lowers what occurred at all; 0 changes nothing.")
    ] = None
    frequency_penalty: Annotated[
        Penalty | None, Meta(description="Lowers what occurred, by how often; 0 changes nothing.")
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
        Meta(description="The same seed and request draw the same reply, as far as the engine can."),
    ] = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Meta(max_length=16)] | None,
        Meta(description="Texts at which the reply ends; they are no part of it."),
    ] = None
    context_length_exceeded_behavior: Annotated[
        Literal["error", "truncate"] | None,
        Meta(
            description="Where prompt and `max_tokens` do not fit the context: refuse, or lower `max_tokens`."
        ),
    ] = None
    store: Annotated[
        bool | None,
        Meta(description="Whether the turn is kept. By default what the server records (`record`)."),
    ] = None
    metadata: Annotated[
        Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None,
        Meta(description="Notes kept with the turn."),
    ] = None
    conversation: Annotated[
        Reference | ConversationRef | None,
        Meta(
            description="The conversation that this belongs to: its id, or a name, which makes one if "
            "need be. Also the headers `palaver-conversation` and `X-OpenWebUI-Chat-Id`. Without it, it is "
            "found by content."
        ),
    ] = None
    parent: Annotated[
        Reference | None,
        Meta(
            description="Where `messages` hang: below the message of this id (`msg_…`), or with `head` below "
            "the head of the `conversation`; the model sees all that comes before. With `messages` of `[]` the "
            "message itself is answered again or, a reply that was cut off, continued."
        ),
    ] = None
    concurrency: Annotated[
        Concurrency | None,
        Meta(
            description="What a turn for the `head` does while another answers there: `queue` waits for it, "
            "`branch` hangs beside it, `reject` is a 409. By default the server's own setting."
        ),
    ] = None
    temporary: Annotated[
        bool | None,
        Meta(
            description="Have a conversation that this begins deleted some time after its last turn; lists "
            "leave it out."
        ),
    ] = None
    user: Annotated[
        Name | None,
        Meta(
            description="Who is speaking: conversations of different end users are never joined. The first "
            "that is not empty counts: `user`, `safety_identifier`, the headers `palaver-user` and "
            "`X-OpenWebUI-User-Id`, `prompt_cache_key`."
        ),
    ] = None
    safety_identifier: Annotated[Name | None, Meta(description="See `user`.")] = None
    prompt_cache_key: Annotated[Name | None, Meta(description="See `user`.")] = None


KNOWN = frozenset(CompletionRequest.__struct_fields__)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(CompletionRequest)


class Asked(msgspec.Struct, frozen=True):
    """A decoded body, with the parameters palaver does not know. `thinking` is False where it asks for none.

    `digest` is a hash of the bytes that came.
    """

    body: CompletionRequest
    unknown: dict[str, object]
    digest: bytes
    thinking: Literal[False] | None = None


def read_request(body: bytes, settings: ServerSettings) -> Asked:
    """Decode and check a body, as far as that can be done without its model. Raises InvalidRequest."""
    fields = decode(body, _fields)
    request = decode(body, _typed, CHOICES)
    _check_messages(request, settings.max_messages)
    unknown = unknown_parameters(fields, KNOWN, settings.max_depth)
    switched_off = "reasoning" in fields and msgspec.json.decode(fields["reasoning"]) == NO_THINKING
    digest = blake2b(body, digest_size=32).digest()
    return Asked(request, unknown, digest, False if switched_off else None)


def _check_messages(request: CompletionRequest, most: int) -> None:
    messages = request.messages
    if not messages and request.parent in (None, HEAD):
        raise InvalidRequest("Input required: `messages` is empty.", param="messages")
    if len(messages) > most:
        raise InvalidRequest(
            f"`messages` has {len(messages)} messages; this server takes at most {most}.", param="messages"
        )
    for i, message in enumerate(messages):
        if message.content is None and message.role in ("system", "developer", "user"):
            raise InvalidRequest(
                f"Input required: `messages[{i}].content` is missing or null.", param=f"messages[{i}].content"
            )


def chat_request(asked: Asked, headers: Headers, owner: str, model: Model) -> ChatRequest:
    """The request for `chat`. Raises UnsupportedParameter for what the model's engine cannot do."""
    body, capabilities = asked.body, model.engine.capabilities
    _check_content(body.messages, capabilities, model.name)
    end_user, conversation = end_user_of(headers, body), conversation_of(headers, body)
    if body.concurrency is not None and body.parent != HEAD:
        raise InvalidRequest(
            "`concurrency` is for turns with a `parent` of head: others never wait.", param="concurrency"
        )
    if body.parent == HEAD and conversation is None:
        raise InvalidRequest("Whose head? `parent` of head needs a `conversation`.", param="conversation")
    return ChatRequest(
        owner=owner,
        model=body.model,
        messages=body.messages,
        door=DOOR,
        end_user=end_user,
        conversation=conversation,
        parent=body.parent,
        concurrency=body.concurrency,
        temporary=bool(body.temporary),
        attempt=attempt_of(headers, DOOR, asked.digest, end_user, conversation),
        sampling=check_sampling(_sampling(body), capabilities, model.name),
        store=body.store,
        metadata=body.metadata,
        source=headers.get("user-agent", "")[:NAME_LENGTH] or None,
        reasoning=asked.thinking,
        truncate_reply=body.context_length_exceeded_behavior == "truncate",
        on_leave=on_leave_of(headers),
        extra=asked.unknown if "extra" in capabilities else {},
    )


def _check_content(messages: Sequence[Message], capabilities: frozenset[str], model: str) -> None:
    """Refuse content that the engine would have to leave out."""
    parts, tools = "parts" in capabilities, "tools" in capabilities
    if parts and tools:
        return
    for i, message in enumerate(messages):
        if not tools and (
            message.role in ("tool", "function") or message.tool_calls or message.function_call
        ):
            raise UnsupportedParameter(
                f"The model {model} takes no tool calls and results.", param=f"messages[{i}]"
            )
        if parts or not isinstance(message.content, list):
            continue
        for j, part in enumerate(message.content):
            if not isinstance(part, TextPart):
                raise UnsupportedParameter(
                    f"The model {model} takes text only.", param=f"messages[{i}].content[{j}]"
                )


def _sampling(body: CompletionRequest) -> Sampling:
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if body.max_tokens not in (None, most):
        raise InvalidRequest(
            "`max_tokens` and `max_completion_tokens` differ; send one of them.",
            param="max_completion_tokens",
        )
    return Sampling(
        max_tokens=most,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=body.seed,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop or None,
    )
