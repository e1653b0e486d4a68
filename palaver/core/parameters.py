"""What a request asks for besides its messages: how the reply is drawn, which tools there are, what form it has.

Names, ranges and meaning are those of Together's chat completions
(https://docs.together.ai/reference/chat-completions-1) and OpenAI's
(https://platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

import msgspec

S = TypeVar("S", bound="Sampling")

NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "top_p": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
"""Values of sampling parameters that change nothing, so that an engine need not have the parameter."""


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a reply is drawn. None means the model's own default.

    `logit_bias` is added to the logits of tokens, by their numbers in the model's vocabulary.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    logit_bias: dict[str, float] | None = None

    def over(self: S, defaults: Sampling) -> S:
        """These settings, with `defaults` where nothing was asked for."""
        filled = {
            name: getattr(defaults, name)
            for name in Sampling.__struct_fields__
            if getattr(self, name) is None and getattr(defaults, name) is not None
        }
        return msgspec.structs.replace(self, **filled)


def sampling_of(parameters: Sampling) -> Sampling:
    """How the reply is drawn, of all that was asked for."""
    return Sampling(**{name: getattr(parameters, name) for name in Sampling.__struct_fields__})


class Tool(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A function that the model may ask to be called. `parameters` is the JSON schema of its arguments; without
    one it takes none. With `strict` the arguments are held to the schema where the engine can do that."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True):
    """The one function that the reply has to call."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool
"""Whether the reply may call tools, may not, has to call one at least, or has to call this one."""


class Format(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The form that the reply's text has to have.

    ``json_object``: any JSON object. ``json_schema``: JSON that fits `schema`; `name`, `description` and `strict`
    are passed on where a server takes them. ``regex``: text that matches `pattern` as a whole. ``grammar``: text
    of the language of `grammar`, in the engine's own notation (llama.cpp's GBNF).
    """

    type: Literal["json_object", "json_schema", "regex", "grammar"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    pattern: str | None = None
    grammar: str | None = None


class Parameters(Sampling, frozen=True, omit_defaults=True, kw_only=True):
    """Everything that a request asks for besides messages and tools.

    `n` is how many replies are wanted, siblings below the same question. `reasoning` says whether the model
    thinks before it answers, `reasoning_effort` how much (``minimal``, ``low``, ``medium``, ``high``, …); None
    leaves it to the model. `chat_template_kwargs` goes to the model's chat template. `logprobs` is None or how
    many of the likeliest tokens are told beside each token's own log probability, 0 to 20. `echo` wants the
    prompt as the model saw it.
    """

    n: int = 1
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    format: Format | None = None
    reasoning: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    logprobs: int | None = None
    echo: bool = False


def needs(parameters: Parameters, *, has_tools: bool) -> Iterator[tuple[str, str]]:
    """What parameters ask of an engine besides how the reply is drawn: the word of the capability (see
    `palaver.engines.base.Engine.capabilities`), and the field that asks for it."""
    if has_tools:
        yield "tools", "tools"
    if parameters.tool_choice not in (None, "auto", "none"):
        yield "tool_choice", "tool_choice"
    if has_tools and parameters.parallel_tool_calls is False:
        yield "parallel_tool_calls", "parallel_tool_calls"
    if parameters.format is not None:
        yield parameters.format.type, "response_format"
    for name in ("reasoning", "reasoning_effort", "chat_template_kwargs", "echo"):
        if getattr(parameters, name):
            yield name, name
    if parameters.logprobs is not None:
        yield "logprobs", "logprobs"
