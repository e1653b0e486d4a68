"""How a reply is drawn, as bodies say it: chat and text completions alike."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from msgspec import Meta

from palaver.core.errors import InvalidRequest

MOST_BIASES = 1024

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Stop = Annotated[str, Meta(min_length=1, max_length=512)]
Token = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]{1,10}$"})]
Bias = Annotated[float, Meta(ge=-100, le=100)]

Temperature = Annotated[
    Annotated[float, Meta(ge=0, le=2)] | None,
    Meta(description="How freely tokens are drawn; 0 takes the likeliest."),
]
TopP = Annotated[
    Annotated[float, Meta(gt=0, le=1)] | None,
    Meta(description="Draw from the likeliest tokens that together have this probability."),
]
TopK = Annotated[
    Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None,
    Meta(description="Draw from so many of the likeliest tokens; 0 and -1 draw from all."),
]
MinP = Annotated[
    Fraction | None,
    Meta(description="Leave out tokens below this share of the likeliest one's probability."),
]
RepetitionPenalty = Annotated[
    Annotated[float, Meta(gt=0, le=100)] | None,
    Meta(description="Above 1, tokens that occurred are less likely; 1 changes nothing."),
]
PresencePenalty = Annotated[
    Penalty | None, Meta(description="Lowers what occurred at all; 0 changes nothing.")
]
FrequencyPenalty = Annotated[
    Penalty | None, Meta(description="Lowers what occurred, by how often; 0 changes nothing.")
]
Seed = Annotated[
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
    Meta(description="The same seed and request draw the same reply, as far as the engine can."),
]
Stops = Annotated[
    Stop | Annotated[list[Stop], Meta(max_length=16)] | None,
    Meta(description="Texts at which the reply ends; they are no part of it."),
]
LogitBias = Annotated[
    Annotated[dict[Token, Bias], Meta(max_length=MOST_BIASES)] | None,
    Meta(description="By the number of a token in the model's vocabulary, what is added to its logit."),
]
AS_IT_IS = (
    *("temperature", "top_p", "top_k", "min_p", "seed"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
"""Fields that mean in a body what they mean in `Sampling`."""


class Drawn(Protocol):
    """A body with these fields, and those of `AS_IT_IS`."""

    @property
    def stop(self) -> str | list[str] | None: ...

    @property
    def logit_bias(self) -> dict[str, float] | None: ...


def drawn(body: Drawn) -> dict[str, Any]:
    """What a body says of all this, as fields of `Sampling`. Raises InvalidRequest."""
    fields: dict[str, Any] = {name: getattr(body, name) for name in AS_IT_IS}
    fields["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop or None
    fields["logit_bias"] = _token_biases(body.logit_bias)
    return fields


def _token_biases(biases: dict[str, float] | None) -> dict[str, float] | None:
    """What `logit_bias` asks for, None where that is nothing. Raises InvalidRequest."""
    for token in biases or ():
        if not (token.isascii() and token.isdecimal() and len(token) <= 10):
            raise InvalidRequest(
                f"`logit_bias`: {token[:50]!r} is no number of a token in the model's vocabulary.",
                param="logit_bias",
            )
    return biases or None
