"""The script of the scripted engine: a file of JSON lines, and which of them answers what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from palaver.core.errors import ConfigError
from palaver.core.message import RESULTS, Message

FAILURE = re.compile(r"(unavailable|refused)|(break|stall|timeout)(?: after (\d+) tokens?)?")


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A call of a function. `arguments` is an object, or text that stands as it is, such as JSON that is broken."""

    name: str
    arguments: dict[str, Any] | str = {}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a script, as JSON.

    `reply` is the text, or null for one that depends on the history; `reasoning` the thinking before it, which a
    request without `reasoning` is spared. `replies` stands in place of `reply` and has a text for each choice
    (`n`) of a request, after the last the first again; without it all choices have the same text.
    `tool_calls` are made after the text (none where `reply` is null), as far as the request has tools and does not
    forbid it: only the first without `parallel_tool_calls`, only those of the function that `tool_choice` names.
    Where a request demands a call that the line does not make, one is made up.

    A line with `when` answers every request that ends in a user message which holds that text. One with
    `when_tool` answers every request that ends in results of tools of which one holds that text, and with both,
    the user message before them has to hold the other. The first such line answers. The others are used in their
    order, each for one request; after the last comes the first again. So the steps of a tool's loop stand below
    each other, or each says the result it goes on from::

        {"when": "Count to two", "tool_calls": [{"name": "add", "arguments": {"to": 0}}]}
        {"when_tool": "1", "tool_calls": [{"name": "add", "arguments": {"to": 1}}]}
        {"when_tool": "2", "reply": "Done: 2."}

    `delay` is in seconds a token, in place of the engine's own. For `loading` seconds the model is being loaded
    before anything else, and it takes `prefill` seconds to read the prompt, which is told in ten steps.

    `fail`: ``unavailable`` or ``refused`` before anything is said, or in mid-reply ``break after N tokens``,
    ``timeout after N tokens`` or ``stall after N tokens``, which says nothing more until it is stopped. N is
    1 where it is left out; a shorter reply fails at its end.
    """

    reply: str | None = None
    replies: list[str] = []
    reasoning: str = ""
    tool_calls: list[ScriptedCall] = []
    when: str | None = None
    when_tool: str | None = None
    delay: float | None = None
    loading: float = 0.0
    prefill: float = 0.0
    fail: str | None = None

    def text(self, choice: int) -> str | None:
        """What it has a choice say; None where it says nothing of that."""
        return self.replies[choice % len(self.replies)] if self.replies else self.reply

    @property
    def failure(self) -> tuple[str | None, int]:
        """How it fails (None: it does not), and after how many tokens."""
        match = FAILURE.fullmatch(self.fail or "")
        if match is None:
            return None, 0
        return match[1] or match[2], 1 if match[3] is None else int(match[3])


class Script:
    """The lines of a file, each in its turn; without a file every request has an empty line.

    Raises ConfigError where it cannot be read.
    """

    def __init__(self, file: Path | None) -> None:
        lines = _read(file) if file is not None else [Line()]
        self._conditional = [line for line in lines if line.when is not None or line.when_tool is not None]
        self._ordered = [line for line in lines if line.when is None and line.when_tool is None]
        self._next = 0

    def line(self, messages: Sequence[Message]) -> Line:
        """The line that answers this history."""
        said, results = question(messages), _results(messages)
        for line in self._conditional:
            if _answers(line, said, results):
                return line
        if not self._ordered:
            return Line()
        line = self._ordered[self._next % len(self._ordered)]
        self._next += 1
        return line


def question(messages: Sequence[Message]) -> str:
    """The text of the last user message."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _results(messages: Sequence[Message]) -> list[str]:
    """The texts of the tools' results that a history ends in."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role not in RESULTS:
            break
        results.append(message.text)
    return results


def _answers(line: Line, said: str, results: Sequence[str]) -> bool:
    if line.when is not None and line.when not in said:
        return False
    if line.when_tool is None:
        return not results
    return any(line.when_tool in result for result in results)


def _read(script: Path) -> list[Line]:
    try:
        rows = script.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(
            f"The script {script} cannot be read: {error.strerror}.", setting="script"
        ) from error
    lines = [_parsed(script, number, row) for number, row in enumerate(rows, 1) if row.strip()]
    if not lines:
        raise ConfigError(f"The script {script} holds no line.", setting="script")
    return lines


def _parsed(script: Path, number: int, row: bytes) -> Line:
    def wrong(what: object) -> ConfigError:
        return ConfigError(f"Line {number} of the script {script}: {what}", setting="script")

    try:
        line = msgspec.json.decode(row, type=Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise wrong(error) from error
    if line.fail is not None and not FAILURE.fullmatch(line.fail):
        raise wrong(f"no such failure: {line.fail!r}.")
    if min(line.delay or 0.0, line.loading, line.prefill) < 0:
        raise wrong("a delay cannot be negative.")
    if line.reply is not None and line.replies:
        raise wrong("give `reply` or `replies`, not both.")
    if any(not call.name for call in line.tool_calls):
        raise wrong("a call needs the name of a function.")
    return line
