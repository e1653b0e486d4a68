"""A streamed chat completion: chunks that are server-sent events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from palaver.core import ids
from palaver.core.turn import ContentDelta, Delta, FinishReason, ReasoningDelta, ToolCallDelta
from palaver.live import LiveReply, Outcome
from palaver.server.completion_logprobs import shown_logprobs, together_piece, token_pieces
from palaver.server.completion_reply import ReplyForm, shown_warnings, usage_of
from palaver.server.errors import error_event
from palaver.server.receipt_shapes import ReceiptBody
from palaver.server.sse import Encoder

CHUNK = "chat.completion.chunk"
DONE = b"data: [DONE]\n\n"
TAIL = b'},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'

Context = Callable[[], Awaitable[ReceiptBody | None]]
"""Says what a reply's `context` is, once it has ended."""

_encode = msgspec.json.Encoder().encode


class Chunks(Encoder):
    """Encodes a reply as it comes, as the data of server-sent events.

    Between two chunks of one reply only the text differs, so the rest is encoded once: with the first event, for
    until then another model may come to answer. `context` is asked for the reply's receipt where that is wanted.
    """

    def __init__(
        self, live: LiveReply, form: ReplyForm | None = None, context: Context | None = None
    ) -> None:
        self._live = live
        self._form = form or ReplyForm()
        self._context = context
        self._start = b""
        self._texts: dict[int, bytes] = {}

    def events(self, news: Sequence[Delta]) -> bytes:
        """What has come, as one piece."""
        return b"".join([self._event(event) for event in news])

    def _event(self, event: Delta) -> bytes:
        if isinstance(event, ContentDelta):
            if event.logprobs and self._form.logprobs is not None:
                return self._with_logprobs(event)
            text = self._texts.get(event.choice) or self._text(event.choice)
            return text + _encode(event.text) + TAIL
        if isinstance(event, ReasoningDelta):
            # With content: who prints it would print "None".
            delta = {"content": "", "reasoning": event.text, "reasoning_content": event.text}
        else:
            delta = self._call(event)
        return self._opening(event.choice) + _encode(delta)[1:-1] + TAIL

    def _head(self) -> bytes:
        """What is the same in all chunks."""
        if not self._start:
            start = {
                "id": ids.as_chat_completion(self._live.turn),
                "object": CHUNK,
                "created": self._live.created,
                "model": self._live.model,
            }
            self._start = b"data: " + _encode(start)[:-1] + b',"choices":['
        return self._start

    def _opening(self, choice: int) -> bytes:
        return self._head() + b'{"index":%d,"delta":{"role":"assistant",' % choice

    def _text(self, choice: int) -> bytes:
        self._texts[choice] = self._opening(choice) + b'"content":'
        return self._texts[choice]

    def _call(self, event: ToolCallDelta) -> dict[str, Any]:
        """A piece of a tool call: what names it once, then arguments alone. Its content is null: where there is text,
        even empty, the AI SDK begins a text."""
        function: dict[str, Any] = {"arguments": event.arguments}
        call: dict[str, Any] = {"index": event.index, "function": function}
        if event.id or event.name:
            function = {"name": event.name, "arguments": event.arguments}
            call = {"id": event.id, "type": "function", "index": event.index, "function": function}
        elif self._form.has_whole_calls:
            whole = {"name": "", "arguments": event.arguments}
            call = {"id": "", "type": "function", "index": event.index, "function": whole}
        delta: dict[str, Any] = {"content": None, "tool_calls": [call]}
        if self._form.is_legacy and event.index == 0:
            delta["function_call"] = function
        return delta

    def _with_logprobs(self, event: ContentDelta) -> bytes:
        if self._form.logprobs == "openai":
            shown = _encode(shown_logprobs(event.logprobs, "openai"))
            tail = b'},"logprobs":' + shown + b',"finish_reason":null}],"usage":null}\n\n'
            return self._text(event.choice) + _encode(event.text) + tail
        pieces = [together_piece(text, token) for text, token in token_pieces(event.text, event.logprobs)]
        return b"".join(
            self._head()
            + _encode({"index": event.choice, **piece, "finish_reason": None})
            + b'],"usage":null}\n\n'
            for piece in pieces
        )

    async def end(self, outcome: Outcome) -> bytes:
        """The last piece: why each reply ended and what they cost, or the error that ended them.

        After an error nothing follows, not even ``[DONE]``: the stream was no success.
        """
        if outcome.error is not None:
            return error_event(outcome.error)
        reasons = [outcome.finish_reason, *outcome.others]
        reasons += [None] * (len(self._live.replies()) - len(reasons))
        chunks = [
            self._finish(choice, reason) + b',"usage":null}\n\n' for choice, reason in enumerate(reasons)
        ]
        last: dict[str, Any] = {"usage": usage_of(outcome.usage)}
        if warnings := shown_warnings(outcome, self._form):
            last["warnings"] = warnings
        if self._context is not None and (context := await self._context()) is not None:
            last["context"] = context
        if outcome.prompt is not None:
            last["prompt"] = [{"text": outcome.prompt}]
        chunks[-1] = self._finish(len(reasons) - 1, reasons[-1]) + b"," + _encode(last)[1:] + b"\n\n"
        return b"".join([*chunks, DONE])

    def _finish(self, choice: int, reason: FinishReason | None) -> bytes:
        shown = _encode(self._form.reason(reason))
        content = b'"content":null' if reason == "tool_calls" else b'"content":""'
        return self._opening(choice) + content + b'},"logprobs":null,"finish_reason":' + shown + b"}]"
