"""The body of ``POST /v1/completions``, and the request of `chat` that comes of it.

Names and ranges are Together's (https://docs.together.ai/reference/completions-1) and OpenAI's
(https://platform.openai.com/docs/api-reference/completions/create). Where they differ: `max_tokens` has no default,
as Together has it (OpenAI's is 16), but without one a reply ends at `LONGEST_UNASKED`; `logprobs` goes to 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from palaver.chat import TextRequest
from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.parameters import Parameters
from palaver.engines.base import Model
from palaver.server.body import decode
from palaver.server.completion_body import Alternatives, Name, StreamOptions
from palaver.server.completion_tools import AskedTools
from palaver.server.parameters import check_parameters, extra_parameters, other_parameters
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
    drawn,
)
from palaver.server.settings import ServerSettings

MOST_CHOICES = 128
"""Of all prompts of a request together."""

TokenNumber = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = str | list[TokenNumber]


class TextCompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to go on with, and how. A parameter that is null is one that was not given."""

    model: Annotated[str, Meta(min_length=1, description="The name of a model, or an alias.")]
    prompt: Annotated[
        str | list[str | TokenNumber | list[TokenNumber]],
        Meta(
            description="A text, as it stands, without any template; or the numbers of its tokens in the model's "
            "vocabulary; or a list of texts or of such lists."
        ),
    ]
    suffix: Annotated[
        str | None, Meta(description="The text after the gap that is to be filled, for models made for that.")
    ] = None
    echo: Annotated[
        bool | None, Meta(description="Have each reply begin with its prompt. Not with token numbers.")
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Send the replies as they come, as server-sent events.")
    ] = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[
        Count | None,
        Meta(
            description="The longest reply, in tokens; without it, until it stops or the context ends, at the "
            "latest after about 4,096."
        ),
    ] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None,
        Meta(
            description="How many replies to each prompt are wanted; those of all prompts are at most 128. The "
            "choices of the first prompt come first."
        ),
    ] = None
    best_of: Annotated[
        Count | None, Meta(description="Nothing is left out of the replies: null, or what `n` is.")
    ] = None
    logprobs: Annotated[
        Alternatives | None,
        Meta(description="The log probabilities of tokens, with so many of the likeliest in each place."),
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
    user: Annotated[Name | None, Meta(description="Accepted without effect: nothing is kept.")] = None


KNOWN = frozenset(TextCompletionRequest.__struct_fields__)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(TextCompletionRequest)


class AskedText(msgspec.Struct, frozen=True):
    """A decoded body, checked as far as that can be done without its model.

    `others` are the parameters that palaver does not honour itself.
    """

    body: TextCompletionRequest
    prompts: Sequence[Text]
    parameters: Parameters
    others: dict[str, Any]


def read_text_request(body: bytes, settings: ServerSettings) -> AskedText:
    """Decode and check a body. Raises InvalidRequest."""
    fields = decode(body, _fields)
    request = decode(body, _typed)
    texts = prompts("prompt", request.prompt)
    count = request.n or 1
    if len(texts) * count > MOST_CHOICES:
        raise InvalidRequest(
            f"{len(texts)} prompts with {count} replies each are more than {MOST_CHOICES} replies.",
            param="prompt" if count == 1 else "n",
        )
    if request.best_of not in (None, count):
        raise UnsupportedParameter("`best_of` is not supported: leave it out.", param="best_of")
    if request.echo:
        _check_echo(request, texts)
    return AskedText(
        body=request,
        prompts=texts,
        parameters=_parameters(request),
        others=other_parameters(fields, KNOWN, settings.max_depth),
    )


def prompts(param: str, given: str | list[str | int | list[int]]) -> list[str] | list[list[int]]:
    """All texts of a request, or the token numbers of all. Raises InvalidRequest where `given` mixes them."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise InvalidRequest(f"Input required: `{param}` is empty.", param=param)
    if isinstance(given[0], int):
        return [_all_of(int, "a token number", param, given)]
    if isinstance(given[0], str):
        return _all_of(str, "a text", param, given)
    lists: list[list[int]] = _all_of(list, "a list of token numbers", param, given)
    for i, numbers in enumerate(lists):
        if not numbers:
            raise InvalidRequest(f"Input required: `{param}[{i}]` is empty.", param=f"{param}[{i}]")
    return lists


def _all_of(kind: type, what: str, param: str, given: Sequence[Any]) -> list[Any]:
    for i, each in enumerate(given):
        if not isinstance(each, kind):
            raise InvalidRequest(f"`{param}[{i}]` must be {what}, as `{param}[0]` is.", param=f"{param}[{i}]")
    return list(given)


def text_request(asked: AskedText, owner: str, model: Model) -> TextRequest:
    """The request for `chat`. Raises UnsupportedParameter for what the model's engine cannot do."""
    capabilities = model.engine.capabilities
    if asked.others.get("response_format") is not None and "extra" not in capabilities:
        raise UnsupportedParameter(
            "`response_format` is not supported where a text is completed: use chat completions.",
            param="response_format",
        )
    return TextRequest(
        owner=owner,
        prompts=asked.prompts,
        suffix=asked.body.suffix or None,
        echo=bool(asked.body.echo),
        parameters=check_parameters(asked.parameters, AskedTools(), capabilities, model.name),
        extra=extra_parameters(asked.others, capabilities, model.name),
    )


def _check_echo(request: TextCompletionRequest, texts: Sequence[Text]) -> None:
    if not isinstance(texts[0], str):
        raise UnsupportedParameter("`echo` is not supported with token numbers: send texts.", param="echo")
    if request.logprobs is not None:
        raise UnsupportedParameter(
            "`echo` is not supported with `logprobs`: a prompt's log probabilities are not known here.",
            param="echo",
        )


def _parameters(body: TextCompletionRequest) -> Parameters:
    return Parameters(
        **drawn(body),
        max_tokens=body.max_tokens,
        n=body.n or 1,
        logprobs=body.logprobs,
    )
