"""Thinking that stands in a reply's text, between ``<think>`` and ``</think>``, told apart from the reply.

Reasoning models write it so, and servers that know nothing of it pass it on as it is. Only at the very beginning of
a reply is it thinking; anywhere else the words are the reply's own.
"""

from __future__ import annotations

import msgspec

from palaver.core.message import Message, Part, TextPart

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str, str]:
    """The thinking and the rest of a whole text.

    >>> split_thinking("<think>Hm.</think>\\n\\nYes.")
    ('Hm.', 'Yes.')
    >>> split_thinking("I <think> so."), split_thinking("<think>Hm")
    (('', 'I <think> so.'), ('Hm', ''))
    """
    thinking = Thinking()
    pieces = [*thinking.feed(text), *thinking.end()]
    return (
        "".join(piece for is_thought, piece in pieces if is_thought),
        "".join(piece for is_thought, piece in pieces if not is_thought),
    )


class Thinking:
    """Splits the text of one reply as it comes. Pieces are (whether it is thinking, text), never empty."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"  # then perhaps "opened", "thinking" and "after", at last "done"

    def feed(self, text: str) -> list[tuple[bool, str]]:
        if self._state == "done":
            return [(False, text)] if text else []
        self._held += text
        pieces: list[tuple[bool, str]] = []
        if self._state == "start":
            self._look_for_beginning()
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "thinking"
        if self._state == "thinking":
            self._think(pieces)
        if self._state == "after":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "done"
        if self._state == "done" and self._held:
            pieces.append((False, self._held))
            self._held = ""
        return pieces

    def end(self) -> list[tuple[bool, str]]:
        """What was held back, at the end of the reply."""
        held, self._held = self._held, ""
        return [(self._state == "thinking", held)] if held else []

    def _look_for_beginning(self) -> None:
        begun = self._held.lstrip()
        if begun.startswith(OPEN):
            self._held = begun[len(OPEN) :]
            self._state = "opened"
        elif not OPEN.startswith(begun):
            self._state = "done"

    def _think(self, pieces: list[tuple[bool, str]]) -> None:
        thought, closing, rest = self._held.partition(CLOSE)
        if closing:
            thought, self._held, self._state = thought.rstrip("\n"), rest, "after"
        else:
            # The closing tag, or line breaks before it, may have come in part.
            keep = next(i for i in range(len(CLOSE), -1, -1) if thought.endswith(CLOSE[:i]))
            kept = len(thought[: len(thought) - keep].rstrip("\n"))
            thought, self._held = thought[:kept], thought[kept:]
        if thought:
            pieces.append((True, thought))


def thought_apart(message: Message) -> Message:
    """A reply as it is kept: thinking at the beginning of its text apart from it, as its reasoning.

    Clients that know no reasoning send a reply back with the thinking in its text; it is the same reply all the
    same. Reasoning that the message has already stays what it is.
    """
    if message.role != "assistant" or not message.text.lstrip().startswith(OPEN):
        return message
    parts: list[Part] = (
        [TextPart(message.content)] if isinstance(message.content, str) else message.content or []
    )
    first, *others = parts
    if not isinstance(first, TextPart):
        return message  # the text comes after something else
    thought, said = split_thinking(first.text)
    content: str | list[Part] | None = [*([TextPart(said)] if said else []), *others] or None
    if isinstance(message.content, str):
        content = said or None
    has_reasoning = message.reasoning or message.reasoning_content
    return msgspec.structs.replace(
        message, content=content, reasoning=message.reasoning if has_reasoning else thought or None
    )
