"""One reply while it is shown: piece by piece, until it ends or Ctrl-C stops it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from palaver.cli.interrupts import Interrupts
from palaver.cli.terminal import ReplyView
from palaver.core.errors import PalaverError
from palaver.library import Palaver, Reply


class Said(msgspec.Struct, frozen=True):
    """A reply that has ended. `stopped` is whether Ctrl-C ended it; `usage` is in tokens."""

    turn: str
    conversation: str | None
    model: str
    text: str
    finish_reason: str | None
    usage: Mapping[str, Any] | None
    stopped: bool


async def answer(
    palaver: Palaver, messages: Sequence[Mapping[str, Any]], view: ReplyView, **options: Any
) -> Said:
    """Have a history answered and show the reply as it comes; the first Ctrl-C stops it, its text is kept.

    Raises PalaverError.
    """
    with Interrupts() as interrupts:
        async with palaver.say(messages, **options) as reply:
            stopping = asyncio.create_task(_stop(palaver, reply, interrupts.stop))
            try:
                await _read(reply, view, interrupts.stop)
            finally:
                if not interrupts.stop.is_set():
                    stopping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await stopping
            return Said(
                turn=reply.turn,
                conversation=reply.conversation,
                model=reply.model,
                text=reply.text,
                finish_reason=reply.finish_reason,
                usage=reply.usage,
                stopped=interrupts.stop.is_set(),
            )


async def _stop(palaver: Palaver, reply: Reply, stop: asyncio.Event) -> None:
    await stop.wait()
    await palaver.cancel(reply.turn)


async def _read(reply: Reply, view: ReplyView, stop: asyncio.Event) -> None:
    try:
        async for piece in reply:
            view.piece(piece)
    except PalaverError:
        if not stop.is_set():
            raise
