"""One conversation in the hands of a command: what was said, who answers, and how one more is said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from palaver.cli.interrupts import Interrupts
from palaver.cli.link import Link
from palaver.cli.names import model_name, new_names
from palaver.cli.resent import resent
from palaver.cli.terminal import ReplyView
from palaver.core.errors import (
    ConversationNotFound,
    EngineUnavailable,
    ModelNotFound,
    PalaverError,
    RequestError,
)
from palaver.library import Palaver, Reply

T = TypeVar("T")
PAGE = 100


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


async def messages_of(palaver: Palaver, ref: str) -> list[dict[str, Any]]:
    """All messages on a conversation's path, the oldest first, as items. Raises RequestError."""
    items: list[dict[str, Any]] = []
    after = None
    while True:
        page = await palaver.items(ref, limit=PAGE, order="asc", after=after)
        items += page["data"]
        if not page["has_more"]:
            return items
        after = items[-1]["id"]


class Talk:
    """A conversation that is resent with every question, as any client of the API does.

    `model` is what --model said, or None for the model of whoever owns the store. `name` is the name or id of
    the conversation; without one, each question is a conversation of its own. `instructions` come first.
    """

    def __init__(
        self,
        link: Link,
        *,
        model: str | None = None,
        name: str | None = None,
        instructions: str | None = None,
    ) -> None:
        self.link = link
        self.name = name
        self.messages: list[dict[str, Any]] = []
        self._asked = model
        self._chosen: str | None = None
        self._instructions = [{"role": "system", "content": instructions}] if instructions else []
        self._kept = True

    @property
    def model(self) -> str:
        """The name of the model that is asked."""
        if self._chosen is not None:
            return self._chosen
        # Where this process owns the store, --model was a setting of it, and may be the path of a file.
        palaver = self.link.palaver
        return palaver.model if self._asked is None or palaver.own else model_name(self._asked)

    @property
    def is_kept(self) -> bool:
        """Whether what is said here is stored."""
        return self._kept

    def choose(self, model: str) -> None:
        """From here on this model is asked."""
        self._chosen = model

    def of(self, name: str | None) -> Talk:
        """Another conversation with the same model; nothing of it is loaded."""
        other = Talk(self.link, model=self._asked, name=name)
        other._chosen = self._chosen
        return other

    async def check_model(self) -> None:
        """Raises RequestError where whoever answers has no such model, saying who that is."""
        palaver = self.link.palaver
        try:
            await self.link.asked(lambda palaver: palaver.model_named(self.model))
        except RequestError as error:
            if palaver.own or error.code != ModelNotFound.default_code:
                raise
            who = f"It is the palaver at {palaver.address} that answers here, as long as it runs."
            raise RequestError(f"{error.message} {who}", param=error.param, code=error.code) from error

    async def load(self) -> None:
        """Take the messages as they are stored; there are none where the conversation does not exist yet."""
        name = self.name
        if name is None or not self._kept:
            return
        items = await unless_missing(self.link.asked(lambda palaver: messages_of(palaver, name)))
        self.messages = resent(items or [])

    async def say(self, text: str, view: ReplyView) -> Said:
        """Ask, show the reply as it comes, and remember both.

        Raises PalaverError. The conversation can go on then: what was stored of this question is remembered.
        """
        question = {"role": "user", "content": text}
        try:
            said = await self._answer([*self._instructions, *self.messages, question], view)
        except PalaverError:
            await self.load()
            raise
        self._kept = said.conversation is not None
        if said.stopped and self._kept:
            await self.load()  # more of it may be stored than came here
        else:
            self.messages += [question, {"role": "assistant", "content": said.text}]
        return said

    async def _answer(self, messages: Sequence[Mapping[str, Any]], view: ReplyView) -> Said:
        """The answer of whoever owns the store; if it goes before it says anything, that of the next one."""
        model, here = self.model, self.link.palaver.own
        options = {"model": model, "conversation": self.name}
        try:
            return await answer(self.link.palaver, messages, view, **options)
        except EngineUnavailable:
            if here:
                raise
            view.end()  # before anything else is said
            await self.link.renew()
            if view.text:
                raise
            if self.model != model:
                raise EngineUnavailable(f"{model} is gone. Say it again, and {self.model} answers.") from None
            return await answer(self.link.palaver, messages, view, **options)


async def new_name(link: Link) -> str:
    """A name for a conversation that begins now, which no other has. Raises PalaverError."""
    for name in new_names(datetime.now()):
        if await unless_missing(link.asked(partial(Palaver.conversation, ref=name))) is None:
            return name
    raise AssertionError("new_names has an end")


async def unless_missing(asking: Awaitable[T]) -> T | None:
    """What was asked for; None where there is no such conversation."""
    try:
        return await asking
    except RequestError as error:
        if error.code != ConversationNotFound.default_code:
            raise
        return None
