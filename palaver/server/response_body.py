"""The body of ``POST /v1/responses``.

Names, ranges and defaults are OpenAI's (https://platform.openai.com/docs/api-reference/responses/create); how the reply
is drawn may be said in all the words that chat completions know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from palaver.core.window_settings import MOST, Truncation, WindowSettings
from palaver.server.completion_body import (
    Alternatives,
    ConversationRef,
    Effort,
    MetadataKey,
    MetadataValue,
    Name,
    Reference,
    StreamOptions,
)
from palaver.server.item_schemas import ItemJson, ToolJson
from palaver.server.sampling import (
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

LEAST_OUTPUT = 16
LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
Include = list[Includable]
SummaryKind = Literal["auto", "concise", "detailed", "none"]
Verbosity = Literal["low", "medium", "high"]
FORMATS = ("text", "json_object", "json_schema", "regex", "grammar")
CHOICES = {
    "include[]": get_args(Includable),
    "reasoning.effort": get_args(Effort),
    "reasoning.summary": get_args(SummaryKind),
    "text.verbosity": get_args(Verbosity),
    "text.format.type": FORMATS,
    "truncation": get_args(Truncation),
    "concurrency": get_args(Concurrency),
    "context_management[].type": ("compaction",),
}


class ResponseReasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model thinks before it answers (``none``: not at all). Its thinking is shown whole: as
    ``reasoning_text`` or, where a `summary` is asked for, in place of one. `context` and `mode` change nothing."""

    effort: Effort | None = None
    summary: SummaryKind | None = None
    generate_summary: SummaryKind | None = None
    context: str | None = None
    mode: str | None = None


class PlainFormat(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Any text."""


class ObjectFormat(msgspec.Struct, frozen=True, tag="json_object", tag_field="type"):
    """Any JSON object."""


class SchemaFormat(msgspec.Struct, frozen=True, kw_only=True, tag="json_schema", tag_field="type"):
    """JSON that fits the `schema`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class PatternFormat(msgspec.Struct, frozen=True, tag="regex", tag_field="type"):
    """Text that matches the pattern as a whole. Ours."""

    pattern: str


class GbnfFormat(msgspec.Struct, frozen=True, tag="grammar", tag_field="type"):
    """Text of the language of a grammar, in the engine's own notation. Ours."""

    grammar: str


TextFormatParam = PlainFormat | ObjectFormat | SchemaFormat | PatternFormat | GbnfFormat


class TextParam(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the reply's text. `verbosity` is told to servers behind an upstream; models here have none."""

    format: TextFormatParam | None = None
    verbosity: Verbosity | None = None


class ContextManagement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a window begins anew: where its prompt would have more tokens than `compact_threshold`, though the model's
    context may hold more. With `summaries` on a summary stands for what it leaves out."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Meta(ge=1, le=MOST)] | None = None


class ResponseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer, and how. A parameter that is null is one that was not given."""

    model: Annotated[str, Meta(min_length=1, description="The name of a model, or an alias.")]
    input: Annotated[
        str | list[ItemJson] | None,
        Meta(
            description="What is new: text, or items. Items: messages (`role` and `content`), `reasoning`, "
            "`function_call`, `function_call_output`, `item_reference`, `compaction`; those of a reply, sent back, are "
            "that reply. Without `previous_response_id` and `conversation` it may be a whole history, which is "
            "threaded as those of chat completions are."
        ),
    ] = None
    instructions: Annotated[
        str | None,
        Meta(
            description="A system message for this response only: those below it do not take it over. System and "
            "developer messages of `input` stay."
        ),
    ] = None
    previous_response_id: Annotated[
        Reference | None,
        Meta(
            description="Go on after this response (`resp_…`, or a turn's id of any door), as a branch if something "
            "else came after it already. Not together with `conversation`."
        ),
    ] = None
    conversation: Annotated[
        Reference | ConversationRef | None,
        Meta(
            description="Go on at the head of this conversation: its id, or a name, which makes one if need be. Also "
            "the header `palaver-conversation`."
        ),
    ] = None
    store: Annotated[
        bool | None, Meta(description="Whether it is kept. By default what the server records (`record`).")
    ] = None
    background: Annotated[
        bool | None,
        Meta(description="Answer at once, and go on without a reader. Look it up, or stream it, by its id."),
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Send the response as it comes, as server-sent events.")
    ] = None
    stream_options: Annotated[
        StreamOptions | None, Meta(description="Accepted without effect: nothing is obfuscated.")
    ] = None
    include: Annotated[
        Include | None,
        Meta(
            description=f"`{LOGPROBS}` tells the log probabilities of tokens; the others say nothing about a response."
        ),
    ] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=LEAST_OUTPUT, le=2**31 - 1)] | None,
        Meta(description="The longest reply, in tokens; without it, until it stops or the context ends."),
    ] = None
    tools: Annotated[
        list[ToolJson] | None,
        Meta(
            description="Functions that the model may call: `type` of function, `name`, `description`, `parameters`, "
            "`strict`. There are no built-in tools here."
        ),
    ] = None
    tool_choice: Annotated[
        str | dict[str, Any] | None,
        Meta(
            description="`auto` (default), `none`, `required`, a function (`type` and `name`), or `allowed_tools` with "
            "a `mode` and some of the `tools`."
        ),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, Meta(description="Whether one reply may hold several calls.")
    ] = None
    max_tool_calls: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Accepted without effect: it bounds built-in tools."),
    ] = None
    text: Annotated[TextParam | None, Meta(description="The form of the reply's text.")] = None
    reasoning: Annotated[
        ResponseReasoning | None, Meta(description="How much the model thinks before it answers.")
    ] = None
    top_logprobs: Annotated[
        Alternatives | None,
        Meta(description=f"With `{LOGPROBS}`, how many of the likeliest tokens are told for each place."),
    ] = None
    truncation: Annotated[
        Truncation | None,
        Meta(
            description="`auto` shows the model as much of the conversation as fits, which begins with what it was "
            "shown before; `disabled` all of it, and too much is a 400. By default `auto` with `previous_response_id` "
            "or `conversation`, and as the server has it for a history that is resent."
        ),
    ] = None
    window: Annotated[
        WindowSettings | None, Meta(description="More about that: `size`, `keep`, `reserve`. Ours.")
    ] = None
    context_management: Annotated[
        list[ContextManagement] | None,
        Meta(description="From which length of the prompt on its window begins anew; as `window.room`."),
    ] = None
    metadata: Annotated[
        Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None,
        Meta(description="Notes kept with the response."),
    ] = None
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
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="Values for the model's chat template. Ours.")
    ] = None
    concurrency: Annotated[
        Concurrency | None,
        Meta(
            description="What it does while another response answers in the `conversation`: `queue` waits for that, "
            "`branch` hangs beside it, `reject` is a 409. By default the server's own setting. Ours."
        ),
    ] = None
    temporary: Annotated[
        bool | None,
        Meta(description="Have a conversation that this begins deleted some time after its last turn. Ours."),
    ] = None
    context: Annotated[
        bool | None,
        Meta(description="Have the receipt in the response, as `context`: what the model saw. Ours."),
    ] = None
    user: Annotated[Name | None, Meta(description="Who is speaking; as in chat completions.")] = None
    safety_identifier: Annotated[Name | None, Meta(description="See `user`.")] = None
    prompt_cache_key: Annotated[Name | None, Meta(description="See `user`.")] = None
    prompt: Annotated[
        Any, Meta(description="There are no stored prompts here: refused unless it is null.")
    ] = None


KNOWN = frozenset(ResponseRequest.__struct_fields__)
MOVED = {
    "context_length_exceeded_behavior": "window.context_length_exceeded_behavior",
    "echo": None,
    "function_call": "tool_choice",
    "functions": "tools",
    "logprobs": "include",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "n": None,
    "parent": "previous_response_id",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
"""Parameters of chat completions that have another name here, or (None) no meaning."""
NOTHING = {"echo": b"false", "logprobs": b"false", "n": b"1"}
"""Of these, what asks for nothing; so does null."""
WITHOUT_EFFECT = frozenset({"access_programs", "background_options", "image"})
"""OpenAI's, taken without effect, and handed on to nobody."""
