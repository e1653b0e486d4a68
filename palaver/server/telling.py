"""A reply as a page shows it while it comes: what is waited for, raw text, and finished blocks of HTML.

All but what is waited for follows from the deltas of the turn alone, so that a reader who comes back and says how many
of them it knows (`n`) hears the rest, as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from palaver.core.turn import ContentDelta, Delta, ReasoningDelta
from palaver.web.rendering import Block, Rendering

PACE = 0.1
"""Seconds between two looks at the block in the making, at least."""
SHARE = 10
"""It is shown again after so many times as long as rendering it took."""
QUICK = 2000
"""What is longer (characters) is rendered on a thread, so that other replies go on."""

Event = dict[str, Any]


class Telling:
    """Turns the deltas of a reply into the events of its page. `known` is how many of them the reader has heard."""

    def __init__(self, known: int = 0) -> None:
        self.n = 0
        self._known = known
        self._rendering = Rendering()
        self._shown = Block(-1, "")
        """The block in the making, as the reader has it."""
        self._due = 0.0
        self._changed = False
        self._waiting_chars = 0

    async def take(self, news: Sequence[Delta]) -> list[Event]:
        """The events of some more deltas; those that are known already make none.

        A block comes before the text that finished it, whose number it does not have yet: who has heard of that text
        has the block, wherever the stream broke off.
        """
        told: list[Event] = []
        known = max(0, self._known - self.n)
        for is_news, deltas in ((False, news[:known]), (True, news[known:])):
            before = self.n
            events = list(_merged(deltas, before))
            self.n += len(deltas)
            text = "".join(event["text"] for event in events if event["type"] == "text")
            blocks = await self._fed(text) if text else []
            if is_news:
                told += [{**_block(block), "n": before} for block in blocks]
                told += events
        return told

    async def _fed(self, text: str) -> list[Block]:
        self._changed = True
        self._waiting_chars += len(text)
        if self._waiting_chars < QUICK:
            blocks = self._rendering.feed(text)
        else:
            blocks = await asyncio.to_thread(self._rendering.feed, text)
        if blocks:
            self._waiting_chars = 0
        return blocks

    @property
    def pause(self) -> float | None:
        """In how many seconds the block in the making is to be shown again; None where it has not changed."""
        return max(0.0, self._due - time.monotonic()) if self._changed else None

    async def open(self) -> list[Event]:
        """The block in the making, where its time has come and it has changed."""
        if self.pause != 0.0:
            return []
        began = time.monotonic()
        if self._waiting_chars < QUICK:
            block = self._rendering.open
        else:
            block = await asyncio.to_thread(lambda: self._rendering.open)
        ended = time.monotonic()
        self._due = ended + max(PACE, SHARE * (ended - began))
        self._changed = False
        if block is None or block == self._shown:
            return []
        before = self._shown.html if self._shown.index == block.index else ""
        self._shown = block
        keep = _shared(before, block.html)
        event = {"type": "open", "index": block.index, "keep": _units(block.html[:keep])}
        return [{**event, "html": block.html[keep:], "n": self.n}]

    async def end(self) -> list[Event]:
        """The blocks that were not finished, and those that look different in the end; for `blocks` of its event."""
        return [
            {"index": block.index, "html": block.html}
            for block in await asyncio.to_thread(self._rendering.end)
        ]


def _merged(deltas: Sequence[Delta], before: int) -> Iterator[Event]:
    """What comes in one piece is told in one. `before` is how many deltas came earlier."""
    kind, pieces = "", list[str]()
    n = before
    for place, delta in enumerate(deltas, before + 1):
        if delta.choice:
            continue
        this = {ContentDelta: "text", ReasoningDelta: "reasoning"}.get(type(delta), "call")
        if this != kind or this == "call":
            if pieces:
                yield {"type": kind, "text": "".join(pieces), "n": n}
            kind, pieces = this, []
        n = place
        if isinstance(delta, ContentDelta | ReasoningDelta):
            pieces.append(delta.text)
        else:
            yield {
                "type": "call",
                "index": delta.index,
                "name": delta.name,
                "arguments": delta.arguments,
                "n": n,
            }
    if pieces:
        yield {"type": kind, "text": "".join(pieces), "n": n}


def _block(block: Block) -> Event:
    return {"type": "block", "index": block.index, "html": block.html}


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin alike with."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _units(text: str) -> int:
    """As JavaScript counts: characters beyond the first 65,536 are two."""
    return len(text) + sum(character > "\uffff" for character in text)
