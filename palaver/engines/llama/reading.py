"""A reply of the worker's, read: the events of its stream, made into those that were asked for.

The text of a forced call becomes the call; a form is held against the finished text; thoughts are counted; a reply
that may hold one call ends after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterator

import msgspec

from palaver.core.errors import EngineBroke, EngineError
from palaver.core.thinking import Thinking
from palaver.core.turn import (
    ContentDelta,
    Delta,
    EngineEvent,
    Finish,
    Prefilled,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from palaver.engines.chat_stream import ChatDecoder
from palaver.engines.llama.calls import new_call_id
from palaver.engines.llama.plan import Plan

ENDED = b'data: {"choices": [{"index": 0, "finish_reason": "tool_calls"}]}\n'
"""Tells the decoder of an end that the worker does not know of."""
OUT_OF_FORM = "The reply does not have the form that was asked for; what the model had said is kept."


class Reading:
    """One reply. `cut` says, when all events have come, that the worker has not ended it: we have."""

    def __init__(self, plan: Plan) -> None:
        self.cut = False
        self._plan = plan
        self._decoder = ChatDecoder(is_text=plan.way != "chat")
        self._thinking = Thinking() if plan.thoughts else None
        self._call = plan.calls.reader(texts=plan.texts) if plan.calls is not None else None
        self._said: list[str] = []
        self._thought = self._thought_last = 0
        self._has_spoken = False

    async def events(self, body: AsyncIterable[bytes]) -> AsyncGenerator[EngineEvent, None]:
        """How far the prompt is read, deltas, then `Finish`. Raises EngineBroke also for a text that does not have its
        form."""
        try:
            async for data in body:
                for event in self._decoder.feed(data):
                    for delta in self._deltas(event):
                        yield delta
                    if self.cut:
                        break
                if self.cut or self._decoder.done:
                    break
        except EngineError:
            if not self._decoder.finished:
                raise
            self._decoder.drop_rest()
        if self.cut:
            self._decoder.drop_rest()
            list(self._decoder.feed(ENDED))
        for event in self._decoder.end():
            for delta in self._rest() if isinstance(event, Finish) else self._deltas(event):
                yield delta
            if isinstance(event, Finish):
                yield await self._finish(event)

    def _deltas(self, event: EngineEvent) -> Iterator[Delta | Prefilled]:
        match event:
            case Prefilled():
                yield event
            case ReasoningDelta():
                self._thought_last = self._decoder.generated or 0
                yield event
            case ContentDelta() if self._thinking is not None:
                for is_thought, text in self._thinking.feed(event.text):
                    if is_thought:
                        self._thought_last = self._decoder.generated or 0
                        yield ReasoningDelta(text)
                    else:
                        yield from self._content(msgspec.structs.replace(event, text=text))
            case ContentDelta():
                yield from self._content(event)
            case ToolCallDelta(index=index):
                self._speak(0)
                if index > 0 and self._plan.one_call:
                    self.cut = True
                elif event.id:
                    yield msgspec.structs.replace(event, id=new_call_id())
                else:
                    yield event

    def _rest(self) -> Iterator[Delta]:
        """What was held back until it was clear what it is."""
        if self._thinking is not None:
            for is_thought, text in self._thinking.end():
                yield from [ReasoningDelta(text)] if is_thought else self._content(ContentDelta(text))
        if self._call is not None:
            for text in self._call.end():
                yield ContentDelta(text)

    def _content(self, event: ContentDelta) -> Iterator[Delta]:
        self._speak(1)
        if self._plan.start:
            self._said.append(event.text)
        if self._call is not None:
            for piece in self._call.feed(event.text):
                yield ContentDelta(piece) if isinstance(piece, str) else piece
        elif self._plan.top == 0:
            told = [msgspec.structs.replace(each, top=[]) for each in event.logprobs]
            yield msgspec.structs.replace(event, logprobs=told)
        else:
            yield event

    def _speak(self, own: int) -> None:
        """Note how many tokens were thoughts, tags and all, when the first of the reply comes: all but its `own`.
        A call shows only some tokens after its beginning, so there it is what there was at the last thought."""
        if not self._has_spoken:
            self._has_spoken = True
            if self._thought_last:
                generated = self._decoder.generated or self._thought_last
                self._thought = generated - own if own else self._thought_last + 1

    async def _finish(self, finish: Finish) -> Finish:
        plan = self._plan
        called = self._call is not None and self._call.called
        if (checked := plan.checked) is not None:
            # What `max_tokens` or a stop cut off need not be whole, nor a thought that has not come to its end.
            whole = finish.reason == "stop" and not plan.stops
            text = "".join(self._said)
            if not await asyncio.to_thread(checked.fits, text, whole=whole):
                raise EngineBroke(OUT_OF_FORM)
        reason = "tool_calls" if called and finish.reason == "stop" else finish.reason
        return msgspec.structs.replace(
            finish,
            reason=reason,
            usage=self._usage(finish.usage),
            warnings=[*finish.warnings, *plan.warnings],
        )

    def _usage(self, usage: Usage | None) -> Usage | None:
        if usage is None or not self._plan.thinks:
            return usage
        thought = self._thought
        if self._thought_last and not self._has_spoken:
            thought = usage.completion_tokens  # cut off in the middle of a thought
        return msgspec.structs.replace(usage, reasoning_tokens=min(thought, usage.completion_tokens))
