"""What is compared: places that keep conversations, all asked to do the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

SYNCHRONOUS = ("off", "normal", "full", "extra")
"""https://www.sqlite.org/pragma.html#pragma_synchronous, by number."""


class Keeper(Protocol):
    """Keeps conversations in one SQLite file, `path`."""

    name: str
    path: Path
    commits: int
    """Transactions that one turn takes."""
    phases: Mapping[str, float]
    """Where the time of the last turn went, in seconds, if it can tell."""

    async def fill(self, messages: int) -> str:
        """A new conversation of so many messages, an even number; its id."""

    def prepare(self, conversation: str) -> None:
        """What a client does before it sends a turn, and what is not measured."""

    async def append(self, conversation: str) -> None:
        """Keep a question, and then its reply."""

    async def read(self, conversation: str, last: int | None = None) -> int:
        """Read all messages, or the last ones, ready to be used; how many there were."""

    def durability(self) -> str:
        """Its journal and synchronous level, as it sets them by default."""

    async def close(self) -> None:
        """Let go of the file."""


def durability_of(connection: sqlite3.Connection) -> str:
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    return f"{journal}, synchronous {SYNCHRONOUS[synchronous]}"


def size_of(path: Path) -> int:
    """Bytes of a file that is closed, with what may stand beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
