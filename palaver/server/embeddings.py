"""``/v1/embeddings``: texts become vectors. Nothing of them is kept.

Vectors are sent as lists of numbers, or as base 64 where that is asked for: little-endian floats of 32 bits, one
after the other, as OpenAI has it. Some SDKs ask for it by themselves; see `_reads_numbers` for who gets numbers all
the same.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat, VectorRequest
from palaver.core.errors import InvalidRequest
from palaver.server.body import decode, read_body
from palaver.server.completion_body import Name
from palaver.server.exchange import exchange_of
from palaver.server.headers import is_together
from palaver.server.metering import estimate
from palaver.server.parameters import extra_parameters, other_parameters
from palaver.server.route import Operation, json_response
from palaver.server.sampling import Count
from palaver.server.settings import ServerSettings
from palaver.server.sse import unless_gone
from palaver.server.text_body import TokenNumber, prompts

MOST_INPUTS = 2048
"""As OpenAI has it."""
CHOICES = {"encoding_format": ("float", "base64")}


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become vectors. A parameter that is null is one that was not given."""

    model: Annotated[str, Meta(min_length=1, description="The name of a model, or an alias.")]
    input: Annotated[
        str | list[str | TokenNumber | list[TokenNumber]],
        Meta(
            description="A text, or the numbers of its tokens in the model's vocabulary; or a list of at most 2,048 "
            "texts or of such lists. None may be empty."
        ),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        Meta(
            description="`float` (default): lists of numbers. `base64`: little-endian floats of 32 bits; OpenAI's "
            "SDK for Python, which asks for that by itself, and Together's get numbers."
        ),
    ] = None
    dimensions: Annotated[
        Count | None, Meta(description="How many numbers a vector has, where the model has a choice.")
    ] = None
    user: Annotated[Name | None, Meta(description="Accepted without effect: nothing is kept.")] = None


class VectorBody(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    model: str
    data: list[VectorBody]
    usage: EmbeddingUsage


KNOWN = frozenset(EmbeddingRequest.__struct_fields__)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(EmbeddingRequest)


class Embeddings:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/embeddings",
                handler=self.create,
                scope="chat",
                is_limited=True,
                summary="Make vectors of texts",
                description="OpenAI's and Together's embeddings. A model that makes none is refused with 400 "
                "(`unsupported_parameter`), and so are `dimensions` that it does not have. Nothing is kept, and the "
                "work stops when the client leaves. Other parameters are handed to engines that take unknown ones.",
                body=EmbeddingRequest,
                reply=EmbeddingList,
            )
        ]

    async def create(self, request: Request) -> Response:
        body = await read_body(request, self._settings.max_body_bytes)
        fields, asked = decode(body, _fields), decode(body, _typed, CHOICES)
        texts = _texts(asked)
        others = other_parameters(fields, KNOWN, self._settings.max_depth)
        exchange = exchange_of(request)
        model = await self._chat.completing.model(asked.model, "embeddings")
        await exchange.identify_again()  # an upstream may have taken its time to say what it has
        wanted = VectorRequest(
            owner=exchange.owner,
            texts=texts,
            dimensions=asked.dimensions,
            extra=extra_parameters(others, model.engine.capabilities, model.name),
        )
        embedded = await unless_gone(request.receive, self._chat.completing.embed(model, wanted))
        if exchange.meter is not None:
            exchange.meter.charge(embedded.prompt_tokens or estimate(exchange.sent))
        as_text = asked.encoding_format == "base64" and not _reads_numbers(request.headers)
        return json_response(
            EmbeddingList(
                model=model.name,
                data=[
                    VectorBody(index=i, embedding=_packed(vector) if as_text else vector)
                    for i, vector in enumerate(embedded.vectors)
                ],
                usage=EmbeddingUsage(
                    prompt_tokens=embedded.prompt_tokens, total_tokens=embedded.prompt_tokens
                ),
            )
        )


def _texts(asked: EmbeddingRequest) -> list[str] | list[list[int]]:
    texts = prompts("input", asked.input)
    if len(texts) > MOST_INPUTS:
        raise InvalidRequest(
            f"`input` has {len(texts)} texts; this server takes at most {MOST_INPUTS}.", param="input"
        )
    for i, text in enumerate(texts):
        if not text:
            param = "input" if isinstance(asked.input, str) else f"input[{i}]"
            raise InvalidRequest(f"Input required: `{param}` is empty.", param=param)
    return texts


def _reads_numbers(headers: Headers) -> bool:
    """Whether an official SDK asks that takes numbers also where it asked for base64, and may refuse the text.

    OpenAI's for Python checks a strict reply before it decodes it. OpenAI's for TypeScript asks for base64 by
    itself, and up to its version 6 takes numbers for base64: they would be zeros.
    """
    return is_together(headers) or "OpenAI/Python" in headers.get("user-agent", "")


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
