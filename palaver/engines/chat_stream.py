"""A streamed chat completion, decoded: from the bytes of its event stream to the events of an engine.

Every server that speaks OpenAI's chat API streams the same shape with small differences: where the usage
stands, what the thinking is called, how a reply ends. They are evened out here, once for all engines.

    bytes -> lines -> `data:` lines -> one msgspec struct a chunk -> deltas; at the end calls and `Finish`

A `data:` line is one event. The format allows an event to span several lines, but no such server writes
that, and some leave out the empty line between two events.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator

import msgspec

from palaver.core.errors import EngineBroke, EngineError
from palaver.core.turn import (
    ContentDelta,
    EngineEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    ToolCalls,
)
from palaver.engines.chat_chunk import CallDelta, Calls, Choice, Chunk, Timings, WireUsage, usage_of

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one line. A longer one is no chunk of a reply, and must not fill the memory."""
MESSAGE_LIMIT = 1000
"""Characters of a server's own error message that are passed on."""

MESSAGE_KEYS = ("error", "message", "detail", "msg")
"""Where an error body may hold its message, outermost first."""

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""What servers write as `finish_reason`. What is not here ends a reply like ``stop``."""
BROKEN = frozenset({"error", "abort"})
"""Reasons that do not end a reply but break it off."""
FIELDS = (b":", b"event:", b"id:", b"retry:")
"""Comments and the fields of an event stream that say nothing here. Any other line is not of one."""
NO_STREAM = "The model server sent something that is not a chat completion stream."
TOO_LONG = f"The model server sent a line of over {LINE_LIMIT} bytes."


_decode = msgspec.json.Decoder(Chunk).decode


async def chat_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[EngineEvent, None]:
    """The events of a streamed chat completion: deltas, perhaps one `ToolCalls`, then exactly one `Finish`.

    `chunks` is the response's body, cut anywhere; it stays the caller's to close. `Accepted` is not among the
    events: it is the caller that knows when the server took the request. `Finish` comes at ``[DONE]``, or
    where the body ends or fails after a `finish_reason`: the reply was complete by then.

    Raises EngineBroke where the server reports an error in the stream (with its own words), where the stream
    ends without a `finish_reason`, and where it is no such stream.
    """
    decoder = ChatDecoder()
    try:
        async for chunk in chunks:
            for event in decoder.feed(chunk):
                yield event
            if decoder.done:
                break
    except EngineError:
        if not decoder.finished:
            raise
        decoder.drop_rest()
    for event in decoder.end():
        yield event


class ChatDecoder:
    """The same without waiting: `feed` bytes as they come, then `end` once.

    `finished` says that a `finish_reason` was seen, `done` that nothing more need be read.
    """

    def __init__(self) -> None:
        self.done = False
        self._pieces: list[bytes] = []
        self._held = 0
        self._reason: FinishReason | None = None
        self._calls = Calls()
        self._model: str | None = None
        self._usage: WireUsage | None = None
        self._timings: Timings | None = None

    @property
    def finished(self) -> bool:
        return self._reason is not None

    def feed(self, data: bytes) -> Iterator[EngineEvent]:
        """What these bytes complete. Raises EngineBroke, after what came before the fault."""
        for line in self._lines(data):
            yield from self._line(line)
            if self.done:
                return
        if self._held > LINE_LIMIT:
            raise EngineBroke(TOO_LONG)

    def end(self) -> Iterator[EngineEvent]:
        """The last events of the reply. Raises EngineBroke where it never came to its end."""
        if not self.done and self._held:
            yield from self._line(b"".join(self._pieces))
        if self._reason is None:
            raise EngineBroke("The model server ended its stream before the reply was complete.")
        calls = self._calls.complete()
        if calls:
            yield ToolCalls(calls)
        yield Finish(self._reason, usage_of(self._usage, self._timings), self._model)

    def drop_rest(self) -> None:
        """Forget the line that has not come whole: nothing follows."""
        self._pieces.clear()
        self._held = 0

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that are complete now. What is not is held in pieces, joined once."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._pieces:
            lines[0] = b"".join([*self._pieces, lines[0]])
            self.drop_rest()
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        return lines

    def _line(self, line: bytes) -> Iterator[EngineEvent]:
        if len(line) > LINE_LIMIT:
            raise EngineBroke(TOO_LONG)
        line = line.removeprefix(b"\xef\xbb\xbf").strip()
        if line.startswith(b"data:"):
            payload = line[5:].lstrip()
            if payload == b"[DONE]":
                self.done = True
            elif payload:
                yield from self._chunk(payload)
        elif line and not line.startswith(FIELDS):
            # Some servers write an error as a field of its own, or as a plain body in place of the stream.
            raise EngineBroke(error_message(line.removeprefix(b"error:")) or NO_STREAM)

    def _chunk(self, payload: bytes) -> Iterator[EngineEvent]:
        try:
            chunk = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EngineBroke(NO_STREAM) from error
        if chunk.error is not None:
            raise EngineBroke(error_message(payload))
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        for choice in chunk.choices or ():
            if choice.index == 0:
                yield from self._choice(choice)

    def _choice(self, choice: Choice) -> Iterator[EngineEvent]:
        delta = choice.delta
        if delta is not None:
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                yield ReasoningDelta(thought)
            if delta.content:
                yield ContentDelta(delta.content)
            for call in delta.tool_calls or ():
                self._calls.add(call)
            if delta.function_call is not None:
                self._calls.add(CallDelta(index=0, function=delta.function_call))
        if choice.finish_reason:
            if choice.finish_reason in BROKEN:
                raise EngineBroke
            self._reason = REASONS.get(choice.finish_reason, "stop")


def error_message(body: bytes) -> str | None:
    """The message of an error body in any of the shapes that servers use; None where it holds none.

    ``{"error": {"message": …}}``, ``{"error": "…"}``, ``{"message": …}``, ``{"detail": …}`` with text or with
    FastAPI's list, or the error object alone. At most `MESSAGE_LIMIT` characters.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    while isinstance(value, dict | list):
        if isinstance(value, list):
            value = value[0] if value else None
        else:
            value = next((value[key] for key in MESSAGE_KEYS if value.get(key)), None)
    return value[:MESSAGE_LIMIT] if isinstance(value, str) else None
