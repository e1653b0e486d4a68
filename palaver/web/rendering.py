"""Markdown as HTML that can be trusted, whole or while it comes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from palaver.web.lines import LINE, Line, Lines, plain, visible

if TYPE_CHECKING:
    from markdown_it.token import Token

    from palaver.web.markdown import Part

PROSE = LINE + 4_000
"""Longer blocks, in characters, are cut. The pieces of a list are lists."""
CODE = 64_000
"""Longer blocks of code are cut. Their pieces have no colours."""


class Block(msgspec.Struct, frozen=True):
    """A block at the top level: its number, from 0, and its HTML, a ``<div class="block">``.

    `data-start` and `data-stop` say where its source begins and ends in the text, in UTF-16 code units; the one in the
    making has no end.
    """

    index: int
    html: str


def render(text: str) -> str:
    """Markdown as HTML: every block at the top level of it in a ``<div class="block">``.

    Takes some 20 ms for 10 kB of prose, on the thread that calls. For safety it needs nothing of who shows it: no
    scripts, no styles, nothing that is loaded, links to ``http``, ``https`` and ``mailto`` only.
    """
    rendering = Rendering()
    blocks = {block.index: block for block in rendering.feed(text)}
    blocks.update({block.index: block for block in rendering.end()})
    return "".join(blocks[index].html for index in sorted(blocks))


class Rendering:
    """The HTML of a text that comes in pieces.

    A block is finished once nothing that may follow can change what it is. What `feed` gives depends on the text so
    far only, not on the pieces that it came in. Only a link's definition that comes after it, ``[label]: address``,
    still changes a finished block: those come again at the `end`, and then all are what `render` gives.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._open: list[Line] = []
        """The lines that are not part of a finished block."""
        self._at = 0
        """Where they begin in the text, in UTF-16 code units."""
        self._index = 0
        self._references: dict[str, Any] = {}
        self._linking: list[tuple[Block, list[Line], int, bool, int]] = []
        """Finished blocks that a later definition may change, with how many there were for them."""
        self._size = 0
        """How many characters they have."""
        self._fence: re.Pattern[str] | None = None
        """What ends the block of code that they are, where they are one."""
        self._in_fence = False
        """Whether the first of the open lines is ours: it opens the block of code that was cut before them."""

    def feed(self, text: str) -> list[Block]:
        """Go on with `text`; the blocks that are finished now."""
        ended = list(self._lines.feed(text))
        self._open += ended
        self._size += sum(len(line.text) + 1 for line in ended)
        if self._fence and self._size <= CODE and not any(self._fence.match(line.text) for line in ended):
            return []  # all of it is code, and nothing else is to be found out
        return self._finished(ended=False) if ended else []

    @property
    def open(self) -> Block | None:
        """The block in the making, without colours; None where there is none yet.

        It may be several blocks, in one: which they are is not certain. What is not closed is shown as if it were.
        """
        rest = visible(self._lines.rest.removesuffix("\r"))
        start = self._start()
        if start is None and not rest.strip():
            return None
        from palaver.web import unfinished

        lines = [line.text for line in self._open]
        if rest and not unfinished.is_mark(rest):
            lines.append(rest)
        shown = unfinished.html(lines, self._references)
        at = self._at if start is None else start
        return Block(self._index, f'<div class="block" data-start="{at}">{shown}</div>') if shown else None

    def end(self) -> list[Block]:
        """The text has ended: the blocks that were not finished, and those whose HTML is another now."""
        self._open += self._lines.end()
        ended = self._finished(ended=True)
        again: list[Block] = []
        for before, lines, start, colours, known in self._linking:
            if known < len(self._references):
                block = _block(before.index, lines, start, self._references, colours=colours)
                if block != before:
                    again.append(block)
        final = {block.index: block for block in (*ended, *again)}
        return [final[index] for index in sorted(final)]

    def _start(self) -> int | None:
        at = self._at
        for line in self._open:
            if not line.is_blank:
                return at
            at += line.units
        return None

    def _finished(self, *, ended: bool) -> list[Block]:
        """Finish what can be finished; all of it where the text has `ended`."""
        found: list[Block] = []
        size = PROSE
        self._fence = None
        while self._open:
            self._skip()
            window = _first(self._open, size)
            is_whole = len(window) == len(self._open)
            done, cut = self._take(window, found, everything=ended and is_whole)
            del self._open[:done]
            if cut is not None:
                self._open.insert(0, cut)
            if is_whole and not done:
                break
            size = PROSE if done else 2 * size
        self._size = sum(len(line.text) + 1 for line in self._open)
        return found

    def _skip(self) -> None:
        """Leave out empty lines before the next block."""
        first = next((place for place, line in enumerate(self._open) if not line.is_blank), len(self._open))
        self._at += _units(self._open[:first])
        del self._open[:first]

    def _take(self, window: list[Line], found: list[Block], *, everything: bool) -> tuple[int, Line | None]:
        """Finish blocks up to the last one, or one that has to be cut. The number of lines that are done with, and the
        line that the rest of a block of code has to begin with."""
        from palaver.web import markdown

        done = 0
        parts = markdown.parts([line.text for line in window])
        for place, part in enumerate(parts):
            cut = _cut(part, window, everything)
            if cut is None and place == len(parts) - 1 and not everything:
                self._fence = part.closing
                return done, None
            self._at += _units(window[done : part.start])
            lines, done = window[part.start : cut or part.stop], cut or part.stop
            defined = {name: each for name, each in part.references.items() if each["map"][0] < done}
            self._references = {**defined, **self._references}
            colours = cut is None and not self._in_fence
            self._in_fence = cut is not None and part.fence
            if part.tokens:
                found.append(self._finish(lines, part.tokens if cut is None else None, colours))
            self._at += _units(lines)
            if cut is not None:
                return done, Line(lines[0].text, 0) if part.fence else None
        if everything:
            self._at += _units(window[done:])
            done = len(window)
        return done, None

    def _finish(self, lines: list[Line], tokens: list[Token] | None, colours: bool) -> Block:
        block = _block(self._index, lines, self._at, self._references, colours=colours, tokens=tokens)
        if any("[" in line.text for line in lines):
            self._linking.append((block, lines, self._at, colours, len(self._references)))
        self._index += 1
        return block


def _block(
    index: int,
    lines: list[Line],
    start: int,
    references: dict[str, Any],
    *,
    colours: bool,
    tokens: list[Token] | None = None,
) -> Block:
    from palaver.web import markdown

    texts = [line.text for line in lines]
    if tokens is None:
        tokens = [token for part in markdown.parts(texts) for token in part.tokens]
    try:
        shown = markdown.html(tokens, references, colours=colours)
    except markdown.TooDeep:
        shown = plain(texts)
    stop = start + _units(lines)
    return Block(index, f'<div class="block" data-start="{start}" data-stop="{stop}">{shown}</div>')


def _cut(part: Part, window: Sequence[Line], everything: bool) -> int | None:
    """Before which line a block has to be cut, None if it is not too long. It depends on no line further on than the
    one after the first that is too many: only then it is certain that the block holds that one."""
    size, over = 0, part.start
    limit = CODE if part.fence else PROSE
    while size <= limit:
        if over == part.stop:
            return None
        size += len(window[over].text) + 1
        over += 1
    if over == len(window) and not everything:
        return None
    over -= 1
    size -= len(window[over].text) + 1
    if part.fence:
        return over
    for line in range(over, part.start, -1):
        text = window[line].text
        if text[:1].strip() and not part.in_code(line):
            return line
        size -= len(window[line - 1].text) + 1
        if size < PROSE // 2:
            break
    return over


def _first(lines: list[Line], size: int) -> list[Line]:
    """The first lines, up to the second one after more than so many characters."""
    for place, line in enumerate(lines):
        size -= len(line.text) + 1
        if size < 0:
            return lines[: place + 3]
    return lines[:]


def _units(lines: Sequence[Line]) -> int:
    return sum(line.units for line in lines)
