"""One reply while it is shown: piece by piece, until it ends or Ctrl-C stops it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from palaver.cli.interrupts import Interrupts
from palaver.cli.terminal import ReplyView
from palaver.core.errors import PalaverError
from palaver.library import Palaver, Reply

LOOK_SECONDS = 0.5
"""How often it is looked whether a model is being loaded; small ones never show."""


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
    with Interrupts() as interrupts, _told_of_loading(palaver, options.get("model"), view):
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


@contextlib.contextmanager
def _told_of_loading(palaver: Palaver, model: str | None, view: ReplyView) -> Iterator[None]:
    """Show how much of a model is loaded, until something comes of its reply."""

    async def tell() -> None:
        while not view.has_begun:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                told = await palaver.model_named(model or palaver.model)
            except PalaverError:
                return  # whoever asks for the reply hears that, too
            view.loading(told["id"], told.get("loading"))

    telling = asyncio.create_task(tell()) if view.shows_loading else None
    try:
        yield
    finally:
        if telling is not None:
            telling.cancel()
        view.loading("", None)


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
