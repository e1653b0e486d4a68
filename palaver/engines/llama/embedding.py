"""Texts as vectors, by a model that was made for that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineRefused,
    InvalidRequest,
    UnsupportedParameter,
)
from palaver.engines.base import Embedded
from palaver.engines.llama import asking
from palaver.engines.llama.completing import check_tokens
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.settings import MAX_BATCH, LlamaSettings
from palaver.engines.llama.tools import Escape
from palaver.engines.llama.workers import Worker

LONGEST = 2048
"""Tokens of a text where no context is set: each takes memory as long as the model is loaded."""
AT_ONCE = 32
"""Texts in one request to the worker; between two of them others have their turn."""
TOO_LARGE = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)", re.DOTALL)


def embedding_settings(settings: LlamaSettings, model: Gguf) -> LlamaSettings:
    """The settings of a model that embeds. It reads a text in one batch, so its context is no longer than that."""
    longest = min(model.context_length or MAX_BATCH, settings.context or LONGEST, MAX_BATCH)
    return msgspec.structs.replace(settings, pooling=model.pooling, context=longest, batch=longest)


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: int


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage


def embedding_input(
    texts: Sequence[str | list[int]], dimensions: int | None, model: Gguf, escape: Escape
) -> list[Any]:
    """The texts for the worker. Raises InvalidRequest for what is empty and tokens that the model has not,
    UnsupportedParameter for other dimensions than its own."""
    if dimensions is not None and model.width and dimensions != model.width:
        raise UnsupportedParameter(
            f"This model's vectors have {model.width} dimensions and no other number.", param="dimensions"
        )
    if not texts:
        raise InvalidRequest("`input` is empty.", param="input")
    given: list[Any] = []
    for number, text in enumerate(texts):
        param = f"input[{number}]" if len(texts) > 1 else "input"
        if isinstance(text, list):
            check_tokens(text, model.vocabulary, param)
            given.append(text)
        elif not text:
            raise InvalidRequest(f"`{param}` is empty.", param=param)
        else:
            given.append(escape(text))
    return given


async def embed(worker: Worker, given: list[Any]) -> Embedded:
    """The vectors, of length 1. Raises ContextLengthExceeded and what `asking.ask` does."""
    try:
        answer = await asking.ask(worker, asking.EMBEDDINGS, {"input": given}, _Vectors)
    except ContextLengthExceeded as error:
        raise _too_long(error.prompt_tokens, error.context_size) from error
    except EngineRefused as error:
        if numbers := TOO_LARGE.search(error.message):
            raise _too_long(int(numbers[1]), int(numbers[2])) from error
        raise
    vectors = sorted(answer.data, key=lambda vector: vector.index)
    return Embedded([vector.embedding for vector in vectors], answer.usage.prompt_tokens)


def _too_long(tokens: int, size: int) -> ContextLengthExceeded:
    return ContextLengthExceeded(prompt_tokens=tokens, context_size=size, param="input")
