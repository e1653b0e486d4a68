"""A response as it comes: its items, and the events that tell of them.

Both follow from the deltas of the turn alone, so that whoever comes late, or comes back, hears the same events with
the same numbers, live or derived from what is stored. Each run of thinking and each run of text is an item; a text is
over when something else begins, the calls of a reply when the reply is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from palaver.core import ids
from palaver.core.errors import StoreError
from palaver.core.reply import NO_ARGUMENTS
from palaver.core.turn import ContentDelta, Delta, TokenLogprob, ToolCallDelta
from palaver.live import LiveReply, Outcome
from palaver.server.errors import detail_of
from palaver.server.items import (
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    ReasoningItem,
    ReasoningText,
    ShownItem,
)
from palaver.server.receipt_shapes import ReceiptBody
from palaver.server.response_logprobs import response_logprobs
from palaver.server.response_shapes import ResponseBody, as_it_stands, status_of
from palaver.server.sse import Encoder

Event = tuple[str, dict[str, Any]]
"""A type, and the fields besides that and the number."""
TERMINAL = {"completed": "response.completed", "failed": "response.failed"}
"""By the status; all others are incomplete, as far as this API has an event."""

_encode = msgspec.json.Encoder().encode


class _Said:
    """A run of text or thinking, or a call, as far as it has come."""

    def __init__(
        self, kind: str, id: str, place: int, call: ToolCallDelta | None = None, *, summed: bool = False
    ) -> None:
        self.kind = kind
        self.is_summary = kind == "reasoning" and summed
        self.id = id
        self.place = place
        self.call = call
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.is_open = True
        self.kept_back = ""

    def shown(self, status: ItemStatus, *, is_new: bool = False) -> ShownItem:
        text = "" if is_new else "".join(self.pieces) + self.kept_back
        if self.call is not None:
            return FunctionCallItem(
                id=self.id,
                call_id=self.call.id or self.id,
                name=self.call.name,
                arguments=text,
                status=status,
            )
        if self.kind == "reasoning":
            thought = [] if is_new else [self.part(text)]
            if self.is_summary:
                return ReasoningItem(id=self.id, summary=thought, content=[], status=status)
            whole = [] if is_new else [ReasoningText(text=text)]
            return ReasoningItem(id=self.id, content=whole, status=status)
        content = [] if is_new else [self.part(text)]
        return MessageItem(id=self.id, role="assistant", status=status, content=content)

    def part(self, text: str) -> dict[str, Any]:
        if self.kind == "reasoning":
            return {"type": "summary_text" if self.is_summary else "reasoning_text", "text": text}
        logprobs = response_logprobs(self.logprobs) if text else []
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


class Output:
    """The items of a response, and the events in which they come. `message` is the id of the message that the reply
    is, or will be; only its first choice is told. With `summed` thinking is told as a summary of itself: clients that
    ask for one show nothing else."""

    def __init__(self, message: str, *, summed: bool) -> None:
        self._message = message
        self._summed = summed
        self._said: list[_Said] = []
        self._calls: dict[int, _Said] = {}
        self._last: _Said | None = None
        """The run of text or thinking that goes on."""

    def take(self, delta: Delta) -> list[Event]:
        """The events of one more delta."""
        if delta.choice:
            return []
        if isinstance(delta, ToolCallDelta):
            return self._call(delta)
        kind = "message" if isinstance(delta, ContentDelta) else "reasoning"
        events: list[Event] = []
        if self._last is None or self._last.kind != kind:
            events = [*self._close(self._last), *self._open(kind)]
        said = self._last
        assert said is not None
        said.pieces.append(delta.text)
        fields = self._within(said, delta=delta.text)
        if isinstance(delta, ContentDelta):
            said.logprobs += delta.logprobs
            fields["logprobs"] = response_logprobs(delta.logprobs)
        return [*events, (f"response.{_text_of(said)}.delta", fields)]

    def end(self, *, called: bool, status: ItemStatus) -> list[Event]:
        """The events of the end. A call that was made without arguments gets empty ones, if it was `called`."""
        events = []
        for said in self._said:
            if called and said.call is not None and not said.pieces and not said.kept_back:
                said.kept_back = NO_ARGUMENTS
            if said.is_open:
                events += self._close(said, status)
        return events

    def items(self, status: ItemStatus = "in_progress") -> list[ShownItem]:
        """What there is, with this status where it is not done."""
        return [said.shown(status if said.is_open else "completed") for said in self._said]

    def items_done(self, status: ItemStatus) -> list[ShownItem]:
        """What there was in the end: the last text and all calls are as the reply is, the rest is done."""
        last = len(self._said) - 1
        return [
            said.shown(status if said.call is not None or place == last else "completed")
            for place, said in enumerate(self._said)
        ]

    def _open(self, kind: str) -> list[Event]:
        prefix = ids.MESSAGE if kind == "message" else ids.REASONING
        said = self._new(kind, prefix)
        self._last = said
        part = self._within(said, part=said.part(""))
        return [self._added(said), (f"response.{_part_of(said)}.added", part)]

    def _call(self, delta: ToolCallDelta) -> list[Event]:
        events: list[Event] = []
        said = self._calls.get(delta.index)
        if said is None:
            events = self._close(self._last)
            self._last = None
            said = self._calls[delta.index] = self._new("call", ids.FUNCTION_CALL, delta)
            events.append(self._added(said))
            # Whether more comes is seen later; where none comes, or came, it ends in these.
            if delta.arguments == NO_ARGUMENTS:
                said.kept_back = NO_ARGUMENTS
                return events
        if delta.arguments:
            text, said.kept_back = said.kept_back + delta.arguments, ""
            said.pieces.append(text)
            events.append(("response.function_call_arguments.delta", self._at(said, delta=text)))
        return events

    def _new(self, kind: str, prefix: str, call: ToolCallDelta | None = None) -> _Said:
        place = sum(said.kind == kind for said in self._said)
        id = ids.item_id(prefix, self._message, place)
        said = _Said(kind, id, len(self._said), call, summed=self._summed)
        self._said.append(said)
        return said

    def _close(self, said: _Said | None, status: ItemStatus = "completed") -> list[Event]:
        if said is None:
            return []
        events: list[Event] = []
        if said.kept_back:
            events.append(("response.function_call_arguments.delta", self._at(said, delta=said.kept_back)))
            said.pieces.append(said.kept_back)
            said.kept_back = ""
        said.is_open = False
        text = "".join(said.pieces)
        if said.call is not None:
            done = self._at(said, name=said.call.name, arguments=text)
            events.append(("response.function_call_arguments.done", done))
        else:
            fields = self._within(said, text=text)
            if said.kind == "message":
                fields["logprobs"] = response_logprobs(said.logprobs)
            events.append((f"response.{_text_of(said)}.done", fields))
            events.append((f"response.{_part_of(said)}.done", self._within(said, part=said.part(text))))
        item = said.shown(status)
        return [*events, ("response.output_item.done", {"output_index": said.place, "item": item})]

    def _added(self, said: _Said) -> Event:
        item = said.shown("in_progress", is_new=True)
        return "response.output_item.added", {"output_index": said.place, "item": item}

    def _at(self, said: _Said, **fields: Any) -> dict[str, Any]:
        return {"item_id": said.id, "output_index": said.place, **fields}

    def _within(self, said: _Said, **fields: Any) -> dict[str, Any]:
        return self._at(said, **{"summary_index" if said.is_summary else "content_index": 0}, **fields)


def _text_of(said: _Said) -> str:
    if said.kind == "message":
        return "output_text"
    return "reasoning_summary_text" if said.is_summary else "reasoning_text"


def _part_of(said: _Said) -> str:
    return "reasoning_summary_part" if said.is_summary else "content_part"


Context = Callable[[], Awaitable[ReceiptBody | None]]
"""Says what a response's `context` is, once it has ended."""


def item_status(outcome: Outcome) -> ItemStatus:
    """Of what was not done when the turn ended."""
    return "completed" if status_of(outcome) == "completed" else "incomplete"


def wants_summary(response: ResponseBody) -> bool:
    return response.reasoning.summary is not None


def output_of(response: ResponseBody, live: LiveReply) -> list[ShownItem]:
    """The items of a reply, as far as its readers may hear of it."""
    output = Output(live.message, summed=wants_summary(response))
    for delta in live.events[: live.told]:
        output.take(delta)
    outcome = live.outcome
    if outcome is None or isinstance(outcome.error, StoreError):
        return output.items()
    status = item_status(outcome)
    output.end(called=outcome.finish_reason == "tool_calls", status=status)
    return output.items_done(status)


class ResponseEvents(Encoder):
    """Encodes a response as server-sent events, those after the number `after`. They are numbered from 0 on."""

    def __init__(
        self, response: ResponseBody, live: LiveReply, context: Context | None = None, after: int = -1
    ) -> None:
        self._response = response
        self._live = live
        self._context = context
        self._after = after
        self._next = 0
        self._output = Output(live.message, summed=wants_summary(response))

    def begin(self) -> bytes:
        """What comes before anything is said."""
        response = msgspec.structs.replace(self._response, model=self._live.model)
        running = msgspec.structs.replace(response, status="in_progress")
        names = ["created", "queued", "in_progress"] if response.background else ["created", "in_progress"]
        return b"".join(
            self._event(f"response.{name}", {"response": running if name == "in_progress" else response})
            for name in names
        )

    def events(self, news: Sequence[Delta]) -> bytes:
        """What has come, as one piece."""
        return b"".join(self._event(*event) for delta in news for event in self._output.take(delta))

    async def end(self, outcome: Outcome) -> bytes:
        """The last piece. Where the end could not be stored that is no end of the response: whoever asks again later
        hears how that was."""
        if isinstance(outcome.error, StoreError):
            return self.broken(outcome.error)
        status = item_status(outcome)
        called = outcome.finish_reason == "tool_calls"
        told = b"".join(self._event(*event) for event in self._output.end(called=called, status=status))
        response = as_it_stands(self._response, self._live, self._output.items_done(status))
        if self._context is not None and (context := await self._context()) is not None:
            response = msgspec.structs.replace(response, context=context)
        return told + self._event(
            TERMINAL.get(response.status, "response.incomplete"), {"response": response}
        )

    def broken(self, error: Exception) -> bytes:
        """The last piece where nothing else can be told any more: whoever asks again may hear how it ended."""
        detail = detail_of(error)
        return self._event("error", {"code": detail.code, "message": detail.message, "param": detail.param})

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        number, self._next = self._next, self._next + 1
        if number <= self._after:
            return b""
        data = _encode({"type": kind, "sequence_number": number, **fields})
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
