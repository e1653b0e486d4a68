"""The vectors in a server's answer. Pure."""

from __future__ import annotations

import base64
import binascii
import math
import struct

import msgspec

from palaver.core.errors import EngineBroke, UnsupportedParameter
from palaver.engines.base import Embedded

BROKEN = "The model server's answer holds no vectors."


class _Vector(msgspec.Struct):
    embedding: list[float] | str  # text: base 64 of 32-bit floats, from servers that give only that
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: object = None


class _Answer(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


def vectors_of(body: bytes, texts: int, dimensions: int | None) -> Embedded:
    """The vectors of so many texts, in their order. `prompt_tokens` is 0 where the server does not count them.

    Raises EngineBroke where the answer holds anything but one vector for each text, UnsupportedParameter where
    they have other than the `dimensions` asked for: some servers ignore them.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        found = {each.index if each.index is not None else at: each for at, each in enumerate(answer.data)}
        vectors = [_floats(found[number].embedding) for number in sorted(found)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, struct.error) as error:
        raise EngineBroke(BROKEN) from error
    if len(answer.data) != texts or sorted(found) != list(range(texts)):
        raise EngineBroke(f"The model server gave {len(answer.data)} vectors for {texts} texts.")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1 or 0 in lengths or not all(math.isfinite(sum(vector)) for vector in vectors):
        raise EngineBroke(BROKEN)
    if dimensions is not None and lengths != {dimensions}:
        raise UnsupportedParameter(
            f"This model's vectors have {lengths.pop()} dimensions, and its server makes no others.",
            param="dimensions",
        )
    counted = answer.usage.prompt_tokens if answer.usage is not None else None
    return Embedded(vectors, counted if type(counted) is int and counted >= 0 else 0)


def _floats(embedding: list[float] | str) -> list[float]:
    if isinstance(embedding, list):
        return embedding
    raw = base64.b64decode(embedding, validate=True)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))
