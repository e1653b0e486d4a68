"""Where the lines come from that a person says: a terminal, or whatever standard input is."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import threading
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

CHUNK = 65_536


class Prompt(Protocol):
    """Where lines come from."""

    async def line(self, before: str = "") -> str | None:
        """The next line, without its end; None after the last. Raises KeyboardInterrupt for Ctrl-C.

        Where lines are typed, `before` stands there already, to be changed.
        """


def prompt() -> Prompt:
    """A prompt with editing where a person sits at a terminal, else the lines of standard input."""
    return Typed() if sys.stdin and sys.stdin.isatty() and sys.stdout.isatty() else Piped()


class Typed:
    """Lines that are typed: Enter sends, Alt-Enter begins a new line.

    What was typed is remembered until the end only: what is deleted must not live on in a file of ours.
    """

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(
            FormattedText([("bold", "> ")]), history=InMemoryHistory(), key_bindings=_bindings()
        )

    async def line(self, before: str = "") -> str | None:
        try:
            return await self._session.prompt_async(default=before)
        except EOFError:
            return None


class Piped:
    """The lines of standard input.

    They are read by a thread that nobody waits for: a read that has begun cannot be ended, and Ctrl-C must
    not wait for it. It reads the descriptor itself, because a lock on `sys.stdin` would be missed at the end.
    """

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(
            target=self._read, args=(sys.stdin.fileno() if sys.stdin else -1,), daemon=True
        ).start()

    async def line(self, before: str = "") -> str | None:
        return await self._lines.get()

    def _read(self, descriptor: int) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        while data := _some(descriptor):
            *lines, rest = (rest + decoder.decode(data)).split("\n")
            for line in lines:
                self._put(line.removesuffix("\r"))
        if rest := rest + decoder.decode(b"", final=True):
            self._put(rest)
        self._put(None)

    def _put(self, line: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


def _some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""  # the terminal behind it has gone, which is an end like any other


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
