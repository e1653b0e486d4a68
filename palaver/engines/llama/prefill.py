"""Long prompts, prefilled in pieces.

llama.cpp computes prompts in the order of its slots, each to its end, so that a short question behind a long prompt
would wait for all of that, and every running reply gets one token a batch. In pieces the others have their turn in
between: two long prompts alternate, short ones pass, and where others are being answered the pieces are small.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from palaver.engines.llama import asking
from palaver.engines.llama.finishing import to_its_end
from palaver.engines.llama.workers import Worker

SMALL = 4
"""Where others are being answered a piece is a batch divided by this: measured with a 1B-shaped model on two cores, a
quarter of the batch makes their pauses a third as long, and the prefill a fifth slower."""
LONG = 2
"""A prompt is long that has more new tokens than so many batches."""


class Prefill:
    """`batch` is how many tokens the worker computes at once, `crowded` says whether anybody else is being answered."""

    def __init__(self, batch: int, crowded: Callable[[], bool]) -> None:
        self.batch = batch
        self._crowded = crowded
        self._next = asyncio.Lock()

    def is_long(self, new_tokens: int) -> bool:
        return new_tokens > LONG * self.batch

    async def pieces(
        self,
        worker: Worker,
        slot: int,
        tokens: Sequence[int],
        there: int,
        *,
        reuse: bool,
        computed: Callable[[int], object] = lambda at: None,
    ) -> AsyncGenerator[tuple[int, int], None]:
        """Have a slot hold all but the last of these tokens, of which about so many are there. After each piece it says
        how many of them the slot holds now, and how many it held before the first; and so does `computed` hear of the
        first, whether anybody is there to go on or not.

        Cancelled, it ends when the worker has come to the end of the piece it is at. Raises what `asking.ask` does.
        """
        cached: int | None = None
        at, end = min(there, len(tokens) - 1), len(tokens) - 1
        while at < end:
            async with self._next:  # in the order of those who wait
                at = min(end, at + (max(1, self.batch // SMALL) if self._crowded() else self.batch))
                piece = asking.prefill(worker, slot, tokens[:at], reuse=reuse or cached is not None)
                done = await to_its_end(_told(piece, computed, at))
            cached = done.cache_n if cached is None else cached
            yield at, cached


async def _told(
    piece: Awaitable[asking.Prefilled], computed: Callable[[int], object], at: int
) -> asking.Prefilled:
    done = await piece
    computed(at)
    return done
