"""The way to whatever owns the store, made again when that goes; and how a command runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import typer

from palaver.cli import logs
from palaver.config import Config
from palaver.core.errors import ConversationNotFound, EngineUnavailable, RequestError
from palaver.library import Palaver

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


def run(command: Coroutine[Any, Any, int | None], config: Config, *, quiet: bool = True) -> None:
    """Run a command to its end, logging as the settings say; what it returns is the exit code."""
    logs.configure(config, quiet=quiet)
    try:
        code = asyncio.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if code:
        raise typer.Exit(code)


class Link:
    """A `Palaver` for as long as the block lasts. Raises StoreError and ConfigError as it begins.

    When the process that owns the store goes, the link leads to whoever owns it then: another process, or
    this one. `on_renewed` is told.
    """

    def __init__(self, config: Config, on_renewed: Callable[[Link], object] = lambda link: None) -> None:
        self.config = config
        self.palaver: Palaver
        self._on_renewed = on_renewed
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Link:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def asked(self, question: Callable[[Palaver], Awaitable[T]]) -> T:
        """What `question` gets from the owner of the store; one that has gone is replaced, once.

        Raises what `question` raises, StoreError and ConfigError.
        """
        try:
            return await question(self.palaver)
        except EngineUnavailable:
            if self.palaver.own:
                raise
            await self.renew()
            return await question(self.palaver)

    async def renew(self) -> None:
        """Find the owner again, or be it. Raises StoreError and ConfigError."""
        await self._stack.aclose()
        await self._open()
        self._on_renewed(self)

    async def _open(self) -> None:
        self.palaver = await self._stack.enter_async_context(Palaver.open(self.config))


async def unless_missing(asking: Awaitable[T]) -> T | None:
    """What was asked for; None where there is no such conversation."""
    try:
        return await asking
    except RequestError as error:
        if error.code != ConversationNotFound.default_code:
            raise
        return None
