"""How things are written for people: text that is safe to print, times, sizes, columns. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime

KEPT_CONTROLS = "\n\t"


def harmless(text: str) -> str:
    """Text without control characters: what a model or a client wrote must not steer the terminal."""
    return "".join(c for c in text if c in KEPT_CONTROLS or unicodedata.category(c) not in ("Cc", "Cs"))


def line(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join(harmless(text).split())


def moment(seconds: float | None) -> str:
    """A time of day here, to the minute; empty where there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def ago(seconds: float) -> str:
    """How long ago something was, in the largest unit that it was one of."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds / length), unit)} ago"
    return "just now"


def columns(rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines with their parts below each other; the last part of a line is as long as it likes."""
    table = [list(row) for row in rows]
    widths = [max(len(part) for part in column) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            [*(part.ljust(width) for part, width in zip(row, widths[:-1], strict=False)), row[-1]]
        ).rstrip()
        for row in table
    ]


def counted(count: int, what: str) -> str:
    """A number of things: ``no tools``, ``1 tool``, ``1,204 tools``."""
    return f"{count:,} {what}{'s'[: count != 1]}" if count else f"no {what}s"


def size(count: int) -> str:
    """A number of bytes, in bytes, kB, MB or GB."""
    if count < 1000:
        return f"{count} bytes"
    if count >= 1_000_000_000:
        return f"{count / 1_000_000_000:.1f} GB"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
