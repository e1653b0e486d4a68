"""Vectors of texts without a model: the more words two texts share, the nearer they are."""

from __future__ import annotations

import math
import re
from hashlib import blake2b

DIMENSIONS = 64
WORD = re.compile(r"\w+")


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1: the sum of a direction for each word of the text, drawn by the word's hash. Letters of
    either case are the same; a text without words is one word. `dimensions` are the first so many, again of
    length 1."""
    words = WORD.findall(text.casefold()) or [text]
    directions = [blake2b(word.encode(), digest_size=DIMENSIONS).digest() for word in words]
    total = [sum(direction[i] - 127.5 for direction in directions) for i in range(dimensions)]
    length = math.hypot(*total)
    if length == 0:  # the words cancel each other out
        return [1.0, *[0.0] * (dimensions - 1)]
    return [each / length for each in total]
