"""A model that makes vectors of words, and anything that a test wants to be wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from palaver.core.errors import ContextLengthExceeded
from palaver.core.window import Window
from palaver.engines.base import Embedded, Options
from palaver.engines.scripted.vectors import vector
from tests.chat.puppets import PuppetEngine

Vectors = list[list[float]]


class WordEngine(PuppetEngine):
    """Texts that share words are near. `dimensions` is the size of its vectors, `longest` the most characters it takes,
    `spoil` what is done to its vectors; `failures` are raised first. While `held_up` is cleared it makes none."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities |= {"embeddings"}
        self.dimensions = 16
        self.longest = 10_000
        self.spoil: Callable[[Vectors], Vectors] = lambda vectors: vectors
        self.failures: list[Exception] = []
        self.held_up = asyncio.Event()
        self.held_up.set()
        self.texts: list[list[str]] = []
        self.asked: list[tuple[Window, Options]] = []
        self.came = asyncio.Event()

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        given = [text for text in texts if isinstance(text, str)]
        self.texts.append(given)
        self.asked.append((window, options))
        self.came.set()
        await self.held_up.wait()
        if self.failures:
            raise self.failures.pop(0)
        if (most := max(map(len, given))) > self.longest:
            raise ContextLengthExceeded(prompt_tokens=most, context_size=self.longest, param="input")
        return Embedded(self.spoil([vector(text, self.dimensions) for text in given]), 1)
