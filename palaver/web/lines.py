"""Text as the lines that Markdown is read by: bounded, and with nothing in them that a reader cannot see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

LINE = 16_000
"""A longer line is broken after so many characters."""

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Line(NamedTuple):
    """A line without its end. `units` is its length in UTF-16 code units, with its end where it has one."""

    text: str
    units: int

    @property
    def is_blank(self) -> bool:
        return not self.text.strip(" \t")


class Lines:
    """Cuts text that comes in pieces into lines; how it was cut into pieces makes no difference."""

    def __init__(self) -> None:
        self.rest = ""
        """What has come of the line that has not ended."""

    def feed(self, text: str) -> Iterator[Line]:
        """The lines that have ended now."""
        *ended, self.rest = (self.rest + text).split("\n")
        for line in ended:
            *parts, last = _broken(line)
            yield from (_line(part, "") for part in parts)
            yield _line(last, "\n")
        *parts, self.rest = _broken(self.rest)
        yield from (_line(part, "") for part in parts)

    def end(self) -> Iterator[Line]:
        """The last line, which nothing ended."""
        if self.rest:
            yield _line(self.rest, "")
            self.rest = ""


def visible(text: str) -> str:
    """`text`, in which control characters are seen: as their pictures, or, of those that turn the direction of
    writing around, as their numbers."""
    return _HIDDEN.sub(_picture, text)


def plain(lines: Sequence[str]) -> str:
    """Lines as they were written, as HTML."""
    return f'<pre class="plain">{escape(chr(10).join(lines), quote=False)}</pre>'


def _broken(line: str) -> list[str]:
    return [line[at : at + LINE] for at in range(0, len(line), LINE)] or [""]


def _line(text: str, end: str) -> Line:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2 + len(end)
    return Line(visible(text.removesuffix("\r") if end else text), units)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\u2039U+{code:04X}\u203a" if 0x9F < code < 0xD800 else "\ufffd"
