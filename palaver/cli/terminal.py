"""What a person sees: replies as they come, notes beside them, messages of the past."""

from __future__ import annotations

import io
import sys
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from palaver.cli.wording import harmless
from palaver.cli.wrapping import Wrapping


class PieceOfReply(Protocol):
    """A piece of a reply as the library gives it."""

    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...


class Terminal:
    """Standard output, with colours where it is a terminal. Notes go to standard error where it is none."""

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # not every terminal has every character
        self.out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.is_terminal = self.out.is_terminal
        self.notes = self.out if self.is_terminal else self.errors

    def say(self, text: str, style: str = "", end: str = "\n") -> None:
        """Print text, at once. On a terminal it can only be read; elsewhere it is printed as it is."""
        if self.is_terminal and style:
            self.out.print(Text(harmless(text), style), end=end)
        else:
            self.out.file.write((harmless(text) if self.is_terminal else text) + end)
        self.out.file.flush()

    def paragraph(self, text: str) -> None:
        """Print text that is there already, on a terminal with line breaks between words."""
        wrapping = Wrapping(self.out.width)
        self.say(wrapping.add(harmless(text)) + wrapping.end() if self.is_terminal else text)

    def note(self, text: str = "") -> None:
        """Say something about the conversation that is no part of it."""
        self.notes.print(Text(harmless(text), "dim"), soft_wrap=not self.notes.is_terminal)

    def complain(self, text: str) -> None:
        """One line on standard error."""
        self.errors.print(Text("palaver: " + harmless(" ".join(text.split())), "red"))


class ReplyView:
    """Prints one reply, unless it is `silent`. Thinking is shown on a terminal, dimmed, and nowhere else."""

    def __init__(self, terminal: Terminal, *, silent: bool = False) -> None:
        self._terminal = terminal
        self._silent = silent
        self._wrapping = Wrapping(terminal.out.width) if terminal.is_terminal else None
        self._thinking = False
        self._at_start = True
        self._loading: Live | None = None
        self.has_begun = False
        """Whether anything has come."""
        self.text = ""
        """What has come of the reply itself."""

    @property
    def shows_loading(self) -> bool:
        """Whether there is a place for what comes before the reply."""
        return self._terminal.is_terminal and not self._silent

    def loading(self, name: str, share: float | None) -> None:
        """Say how much of a model is loaded, from 0 to 1, in a line that goes when the reply comes, or with None."""
        if share is None or self.has_begun:
            if self._loading is not None:
                self._loading.stop()
                self._loading = None
            return
        if self._loading is None:
            self._loading = Live(
                console=self._terminal.out,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._loading.start()
        self._loading.update(Text(harmless(f"loading {name} {share * 100:.0f} %"), "dim"), refresh=True)

    def piece(self, piece: PieceOfReply) -> None:
        """Print what has come."""
        self.has_begun = True
        self.loading("", None)
        self.text += piece.text
        if self._silent:
            return
        if piece.reasoning and self._wrapping:
            self._thinking = True
            self._print(self._wrapping.add(harmless(piece.reasoning)), "dim")
        if piece.text:
            self._end_thinking()
            self._print(self._wrapping.add(harmless(piece.text)) if self._wrapping else piece.text)

    def end(self) -> None:
        """Print what is held back, and end the line if there is one."""
        self._end_thinking()
        if self._wrapping:
            self._print(self._wrapping.end())
        if not self._at_start:
            self._print("\n")

    def _end_thinking(self) -> None:
        if self._thinking and self._wrapping:
            self._print(self._wrapping.add("\n").rstrip("\n") + "\n\n", "dim")
            self._thinking = False

    def _print(self, text: str, style: str = "") -> None:
        if text:
            self._terminal.say(text, style, end="")
            self._at_start = text.endswith("\n")


def wide() -> int | None:
    """How many columns the terminal has; None where standard output is none."""
    return Console().width if sys.stdout.isatty() else None
