"""Breaks lines between words, for text that comes in pieces. Pure."""

from __future__ import annotations

from rich.cells import cell_len

TAB = 8


class Wrapping:
    """Text in pieces, with line breaks where the next word does not fit into `width` columns.

    The last word of a piece is held back until it is known to be whole. A word longer than a line is left to
    the terminal, and wide characters (Chinese, Japanese) may be parted anywhere.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._space = ""
        self._word = ""

    def add(self, text: str) -> str:
        """What of the text so far can be printed now."""
        return "".join([self._next(character) for character in text])

    def end(self) -> str:
        """The rest."""
        return self._placed_word() + self._placed_space()

    def _next(self, character: str) -> str:
        if character == "\n":
            placed = self.end() + "\n"
            self._column = 0
            return placed
        if character.isspace():
            placed = self._placed_word()
            self._space += character
            return placed
        if cell_len(character) < 2:
            self._word += character
            return ""
        placed = self._placed_word()
        self._word = character
        return placed + self._placed_word()

    def _placed_word(self) -> str:
        word, self._word = self._word, ""
        length = cell_len(word)
        if not word:
            return ""
        if self._column and self._column + len(self._space) + length > self._width:
            self._space, self._column = "", length
            return "\n" + word
        placed = self._placed_space() + word
        self._column = (
            (self._column + length) % self._width if length > self._width else self._column + length
        )
        return placed

    def _placed_space(self) -> str:
        space, self._space = self._space, ""
        for character in space:
            self._column += TAB - self._column % TAB if character == "\t" else 1
        return space
