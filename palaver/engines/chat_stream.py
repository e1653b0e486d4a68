"""A streamed chat completion, decoded: from the bytes of its event stream to the events of an engine.

Every server that speaks OpenAI's chat API streams the same shape with small differences: where the usage
stands, what the thinking is called, how a reply ends. They are evened out here, once for all engines.

    bytes -> lines -> `data:` lines -> one msgspec struct a chunk -> deltas; at the end calls and `Finish`

A `data:` line is one event. The format allows an event to span several lines, but no such server writes
that, and some leave out the empty line between two events.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from typing import Any

import msgspec

from palaver.core.errors import EngineBroke, EngineError
from palaver.core.thinking import Thinking
from palaver.core.turn import (
    ContentDelta,
    EngineEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
)
from palaver.engines.chat_calls import Calls
from palaver.engines.chat_chunk import (
    CallDelta,
    Choice,
    Chunk,
    Delta,
    generated_by,
    logprobs_of,
    prefilled_by,
    usage_of,
)

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
NO_COUNT = "The model server's count of tokens is none."

_decode = msgspec.json.Decoder(Chunk).decode


class ErrorFrame(EngineBroke):
    """The model server told of an error in the middle of its stream.

    `body` is what it sent, for those who know more of that server's errors. Nobody outside the engines need tell
    it from EngineBroke.
    """

    def __init__(self, message: str | None, body: bytes) -> None:
        super().__init__(message or EngineBroke().message)
        self.body = body


async def chat_events(
    chunks: AsyncIterable[bytes], n: int = 1, *, is_text: bool = False
) -> AsyncGenerator[EngineEvent, None]:
    """The events of a streamed chat completion of `n` replies: `Prefilled` where the server tells of that, deltas, then
    exactly one `Finish`.

    With `is_text` it is a text completion's: nothing in it is thinking.

    `chunks` is the response's body, cut anywhere; it stays the caller's to close. `Accepted` is not among the
    events: it is the caller that knows when the server took the request. `Finish` comes at ``[DONE]``, or
    where the body ends or fails after a `finish_reason`: the reply was complete by then.

    Raises EngineBroke where the server reports an error in the stream (`ErrorFrame`, with its own words), where
    the stream ends without a `finish_reason` for each reply, and where it is no such stream.
    """
    decoder = ChatDecoder(n, is_text=is_text)
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

    `finished` says that every reply has its `finish_reason`, `done` that nothing more need be read.
    """

    def __init__(self, n: int = 1, *, is_text: bool = False) -> None:
        self.done = False
        self._choices = [_Choice(i, is_text) for i in range(n)]
        self._pieces: list[bytes] = []
        self._held = 0
        self._model: str | None = None
        self._usage: Any = None
        self._timings: Any = None

    @property
    def finished(self) -> bool:
        return all(choice.reason is not None for choice in self._choices)

    @property
    def generated(self) -> int | None:
        """How many tokens there are of the reply so far, where the server says (llama.cpp's `timings_per_token`)."""
        return generated_by(self._timings)

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
        for choice in self._choices:
            yield from choice.end()  # what was held back is told, also of a reply that broke off
        reasons = [choice.reason for choice in self._choices if choice.reason is not None]
        if not reasons:
            raise EngineBroke("The model server ended its stream before the reply was complete.")
        if len(reasons) < len(self._choices):
            raise EngineBroke(f"The model server gave {len(reasons)} of {len(self._choices)} replies.")
        first, *others = reasons
        usage, is_broken = usage_of(self._usage, self._timings)
        warnings = [NO_COUNT] if is_broken else []
        yield Finish(first, usage, self._model, others, warnings=warnings)

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
            body = line.removeprefix(b"error:")
            message = error_message(body)
            raise ErrorFrame(message, body) if message else EngineBroke(NO_STREAM)

    def _chunk(self, payload: bytes) -> Iterator[EngineEvent]:
        try:
            chunk = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EngineBroke(NO_STREAM) from error
        if chunk.is_error:
            raise ErrorFrame(error_message(payload), payload)
        if isinstance(chunk.model, str) and chunk.model:
            self._model = chunk.model
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        if chunk.prompt_progress is not None and (told := prefilled_by(chunk.prompt_progress)) is not None:
            yield told
        for choice in chunk.choices or ():
            if 0 <= choice.index < len(self._choices):
                yield from self._choices[int(choice.index)].feed(choice)


class _Choice:
    """One reply of the stream."""

    def __init__(self, number: int, is_text: bool) -> None:
        self.reason: FinishReason | None = None
        self._number = number
        self._is_text = is_text
        self._calls = Calls(number)
        self._thinking = Thinking()
        self._has_thought = False
        self._logprobs: list[TokenLogprob] = []

    def feed(self, choice: Choice) -> Iterator[EngineEvent]:
        if choice.logprobs is not None:
            self._logprobs += logprobs_of(choice)
        delta = choice.delta
        if self._is_text:
            text = choice.text or (delta.content if delta is not None else None)
            yield from self._said([(False, text)] if text else [])
        elif delta is not None:
            yield from self._delta(delta)
        if choice.finish_reason:
            if choice.finish_reason in BROKEN:
                raise EngineBroke
            self.reason = REASONS.get(choice.finish_reason, "stop")

    def end(self) -> Iterator[EngineEvent]:
        yield from self._said(self._thinking.end())
        if self.reason is not None:
            yield from self._calls.end()
        if self._calls.any and self.reason == "stop":
            self.reason = "tool_calls"  # Ollama and others say "stop" here
        elif not self._calls.any and self.reason == "tool_calls":
            self.reason = "stop"  # vLLM says so where a call was forced and could not be read

    def _delta(self, delta: Delta) -> Iterator[EngineEvent]:
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            self._has_thought = True
            yield ReasoningDelta(thought, self._number)
        calls = list(delta.tool_calls or ())
        if delta.function_call is not None:
            calls.append(CallDelta(index=0, function=delta.function_call))
        content = delta.content or delta.refusal
        if content:
            yield from self._said(self._thinking.feed(content))
        elif thought or calls:
            self._logprobs = []  # only those of the reply itself are told
        for call in calls:
            yield from self._calls.add(call)

    def _said(self, pieces: Iterable[tuple[bool, str]]) -> Iterator[EngineEvent]:
        for is_thought, text in pieces:
            if is_thought:
                self._logprobs = []
                if not self._has_thought:  # llama-server's "deepseek-legacy" tells it twice
                    yield ReasoningDelta(text, self._number)
            else:
                logprobs, self._logprobs = self._logprobs, []
                yield ContentDelta(text, self._number, logprobs)


def error_message(body: bytes) -> str | None:
    """The message of an error body in any of the shapes that servers use; None where it holds none.

    ``{"error": {"message": …}}``, ``{"error": "…"}``, ``{"message": …}``, ``{"detail": …}`` with text or with
    FastAPI's list, or the error object alone; Ollama puts another server's whole body into the text of its own. At
    most `MESSAGE_LIMIT` characters.
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
    if not isinstance(value, str):
        return None
    inner = error_message(value.encode()) if value.startswith("{") and len(value) < len(body) else None
    return inner or value[:MESSAGE_LIMIT]
