"""How commands run that look after the files of a store themselves, not through whatever owns it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import typer

from palaver.cli import logs
from palaver.config import Config

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""
TOLD = ("conversations", "messages", "turns")


@contextlib.contextmanager
def directly(config: Config) -> Iterator[None]:
    """Run what is inside, logging as the settings say; Ctrl-C ends it at once."""
    logs.configure(config, quiet=True)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def counted(rows: Mapping[str, int]) -> str:
    """How much a store holds, in words."""
    return ", ".join(f"{rows.get(name, 0)} {name}" for name in TOLD)
