"""What messages and questions mean, by an embedding model: a score beside that of words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from pathlib import Path
from typing import Protocol

from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine, LlamaSettings

Vector = list[float]
AT_ONCE = 64
"""Texts of one request."""


class Meaning(Protocol):
    """Makes vectors of texts, and says how near a question is to each of them: the larger the nearer."""

    async def vectors(self, texts: Sequence[str]) -> list[Vector]: ...
    async def near(self, question: str, vectors: Sequence[Vector]) -> list[float]: ...


class Embedding:
    """A model in a GGUF, run as palaver runs it. Texts that come again are not computed again."""

    def __init__(self, path: Path) -> None:
        self._name = path.stem
        self._window = Window(owner="bench", conversation="", turn="", messages=())
        self._engine = LlamaEngine(LlamaSettings(path, self._name, threads=2))
        self._known: dict[str, Vector] = {}

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            found = await self._engine.embed(some, None, self._window, Options(model=self._name))
            self._known |= zip(some, map(_of_length_1, found.vectors), strict=True)
        return [self._known[text] for text in texts]

    async def near(self, question: str, vectors: Sequence[Vector]) -> list[float]:
        (asked,) = await self.vectors([question])
        return [sum(map(mul, asked, vector)) for vector in vectors]

    async def close(self) -> None:
        await self._engine.close()


def _of_length_1(vector: Sequence[float]) -> Vector:
    length = math.hypot(*vector)
    return [number / length for number in vector]
