"""The tool calls of a streamed reply, put together from their pieces and evened out.

Servers differ: some send no index or the same one for every call, some the name with every piece or an empty one
with the later ones, some no id or the same for all, some no arguments at all or an object in place of text.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from palaver.core.turn import ToolCallDelta
from palaver.engines.chat_chunk import CallDelta


class Calls:
    """The tool calls of one reply while their pieces come in. `choice` is the number of the reply."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_Call] = []

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def add(self, delta: CallDelta) -> Iterator[ToolCallDelta]:
        """The piece as it is told. A call is told once its name has come; until then its arguments are held."""
        name = (delta.function and delta.function.name) or ""
        arguments = _json_text(delta.function.arguments) if delta.function else ""
        call = self._find(delta, name, arguments)
        if call is None:
            call = _Call(len(self._calls), delta.index)
            self._calls.append(call)
        if not call.id and delta.id and delta.id not in [each.id for each in self._calls]:
            call.id = delta.id
        call.wire_id = call.wire_id or delta.id or ""
        call.name = call.name or name
        call.arguments.append(arguments)
        if call.told:
            if arguments:
                yield ToolCallDelta(call.number, arguments=arguments, choice=self._choice)
        elif call.name:
            yield call.begin(self._choice)

    def end(self) -> Iterator[ToolCallDelta]:
        """What is missing of them: names that never came, and arguments where there are none."""
        for call in self._calls:
            if not call.told:
                yield call.begin(self._choice)
            if not call.text.strip():
                yield ToolCallDelta(call.number, arguments="{}", choice=self._choice)

    def _find(self, delta: CallDelta, name: str, arguments: str) -> _Call | None:
        """The call that a piece belongs to: the last of its index, or of its id where it has no index.

        None where it begins another: under another id, or without one where the call before has all its
        arguments. What begins a call has a name.
        """
        same = [call for call in self._calls if delta.index is None or call.index == delta.index]
        known = [call for call in same if delta.id and call.wire_id == delta.id]
        if known:
            is_another = name and arguments and name != known[-1].name and known[-1].is_whole
            return None if is_another else known[-1]
        if not same:
            return None
        last = same[-1]
        if delta.id and last.wire_id and name:
            return None
        if not delta.id and name and arguments and last.told and last.is_whole:
            return None
        return last


class _Call:
    """`wire_id` is the id that the server gave it, `id` that which is told: no two calls have the same."""

    def __init__(self, number: int, index: float | None) -> None:
        self.number = number
        self.index = index
        self.id = self.wire_id = self.name = ""
        self.arguments: list[str] = []
        self.told = False

    @property
    def text(self) -> str:
        return "".join(self.arguments)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are whole JSON, so that no more of them can follow."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode(self.text)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
        return True

    def begin(self, choice: int) -> ToolCallDelta:
        self.told = True
        id = self.id or "call_" + secrets.token_hex(12)
        return ToolCallDelta(self.number, id, self.name, self.text, choice)


def _json_text(arguments: Any) -> str:
    """Arguments as JSON text; some servers send the object itself."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
