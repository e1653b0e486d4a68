"""The body of ``POST /v1/chat/completions``.

Names, ranges and defaults are Together's (https://docs.together.ai/reference/chat-completions-1), with what
OpenAI's clients send as well. `palaver.server.parameters` has the parameters that are known but not honoured.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from palaver.core.message import Message, Role
from palaver.core.window_settings import Exceeding, Mode, Truncation, WindowSettings
from palaver.server.completion_format import FORMATS, ResponseFormat
from palaver.server.completion_tools import FunctionName, Functions, ToolChoiceParam, Tools
from palaver.server.headers import NAME_LENGTH
from palaver.server.sampling import (
    Count,
    FrequencyPenalty,
    LogitBias,
    MinP,
    PresencePenalty,
    RepetitionPenalty,
    Seed,
    Stops,
    Temperature,
    TopK,
    TopP,
)
from palaver.stores.base import Concurrency

Name = Annotated[str, Meta(max_length=NAME_LENGTH)]
Reference = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]

Alternatives = Annotated[int, Meta(ge=0, le=20)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

PARTS = ("text", "refusal", "image_url", "video_url", "audio_url", "input_audio", "file")
CHOICES = {
    "messages[].role": get_args(Role),
    "messages[].content[].type": PARTS,
    "messages[].tool_calls[].type": ("function",),
    "context_length_exceeded_behavior": get_args(Exceeding),
    "window": get_args(Mode),
    "window.mode": get_args(Mode),
    "window.truncation": get_args(Truncation),
    "window.context_length_exceeded_behavior": get_args(Exceeding),
    "truncation": get_args(Truncation),
    "tools[].type": ("function",),
    "tool_choice.type": ("function",),
    "response_format.type": FORMATS,
    "reasoning.effort": get_args(Effort),
    "reasoning_effort": get_args(Effort),
    "concurrency": get_args(Concurrency),
}


class ConversationRef(msgspec.Struct, frozen=True):
    id: Reference


class ReasoningParam(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the model thinks before it answers, and how much."""

    enabled: bool | None = None
    effort: Effort | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """Accepted without effect: usage always comes with the last chunk, and nothing is obfuscated."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


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
    temperature: Temperature = None
    top_p: TopP = None
    top_k: TopK = None
    min_p: MinP = None
    repetition_penalty: RepetitionPenalty = None
    presence_penalty: PresencePenalty = None
    frequency_penalty: FrequencyPenalty = None
    seed: Seed = None
    stop: Stops = None
    logit_bias: LogitBias = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=128)] | None,
        Meta(description="How many replies are wanted: siblings in the conversation; its head is the first."),
    ] = None
    logprobs: Annotated[
        bool | Alternatives | None,
        Meta(
            description="The log probabilities of the reply's tokens. A number, as Together has it, also says how "
            "many of the likeliest tokens are told for each place, and has the reply in Together's shape; `true`, as "
            "OpenAI has it, in OpenAI's."
        ),
    ] = None
    top_logprobs: Annotated[
        Alternatives | None,
        Meta(description="With `logprobs`, how many of the likeliest tokens are told for each place."),
    ] = None
    echo: Annotated[
        bool | None, Meta(description="Have the prompt, as the model saw it, in the reply's `prompt`.")
    ] = None
    tools: Annotated[
        Tools | None,
        Meta(description="Functions that the model may call; their schemas have at most 512 KiB in all."),
    ] = None
    tool_choice: Annotated[
        str | ToolChoiceParam | None,
        Meta(
            description="`auto` (default), `none`, `required` (at least one call), or a tool that has to be "
            "called: its name, or an object with it."
        ),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, Meta(description="Whether one reply may hold several calls.")
    ] = None
    functions: Annotated[
        Functions | None,
        Meta(description="The older form of `tools`; the reply then holds a `function_call`, too."),
    ] = None
    function_call: Annotated[
        str | FunctionName | None, Meta(description="The older form of `tool_choice`.")
    ] = None
    response_format: Annotated[
        ResponseFormat | None,
        Meta(
            description="The form of the reply's text. A schema has at most 64 KiB, 32 levels, 1,000 values of "
            "`enum` and 2,000 properties."
        ),
    ] = None
    reasoning: Annotated[
        ReasoningParam | None, Meta(description="Whether the model thinks before it answers.")
    ] = None
    reasoning_effort: Annotated[
        Effort | None, Meta(description="How much the model thinks; `none`: not at all.")
    ] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="Values for the model's chat template.")
    ] = None
    stream_options: Annotated[
        StreamOptions | None,
        Meta(description="Accepted without effect: usage always comes with the last chunk."),
    ] = None
    context_length_exceeded_behavior: Annotated[
        Exceeding | None,
        Meta(
            description="Where prompt and `max_tokens` do not fit the context: refuse, or lower `max_tokens`."
        ),
    ] = None
    window: Annotated[
        Mode | WindowSettings | None,
        Meta(
            description="What the model is shown: `strict` all that was sent, and too much is a 400; `auto` as much of "
            "the conversation as fits, which begins with what it was shown before. An object says more: `mode`, "
            "`size`, `keep`, `reserve`. By default the settings of conversation, API key, model and server."
        ),
    ] = None
    truncation: Annotated[
        Truncation | None,
        Meta(description="OpenAI's words for the same: `auto`, or `disabled` for `strict`."),
    ] = None
    context: Annotated[
        bool | None,
        Meta(
            description="Have the turn's receipt in the reply, as `context`: what the model saw, and what not."
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
    background: Annotated[
        bool | None,
        Meta(
            description="Answer at once with the turn's id and how it stands. It goes on without a reader, and is "
            "kept; how it goes is told by its id. Not together with `stream`."
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
    prompt_cache_key: Annotated[
        Name | None, Meta(description="See `user`. Servers behind an upstream are told it as it is.")
    ] = None


KNOWN = frozenset(CompletionRequest.__struct_fields__)
