"""``…/{id}/follow``: a reply for a page that shows it while it comes, from wherever the page left off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import msgspec
import structlog
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from palaver.chat import Chat
from palaver.core import ids
from palaver.core.errors import StoreError, TurnNotFound
from palaver.core.turn import Delta, TurnState
from palaver.core.waiting import Waiting
from palaver.live import LiveReply
from palaver.server.body import decode_fields
from palaver.server.errors import detail_of
from palaver.server.exchange import exchange_of
from palaver.server.follow_shapes import FOLLOW_EVENTS
from palaver.server.messages import timing_of
from palaver.server.responses import found_turn
from palaver.server.route import Operation, turn_of
from palaver.server.sse import KEEP_ALIVE, unless_gone
from palaver.server.telling import Event, Telling
from palaver.stores.base import TurnRecord

BATCH = 0.05
"""Seconds for which news are gathered before they are told: twenty events a second are as smooth as more."""
PROGRESS = 0.2
"""Seconds between two events that say what is waited for, at least."""
SILENCE = 10.0
"""After so many seconds without news a comment says that the stream lives."""
DESCRIPTION = """\
Server-sent events for a page: what the reply waits for, its text as it comes, and each block of it as safe HTML once \
it is finished. Every event has `n`, how many pieces of the reply it accounts for; who comes back says the last one in \
`starting_after`, and hears the rest. A reply that has ended is told at once. Comments keep a silent stream alive."""

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class FollowQuery(msgspec.Struct, frozen=True):
    starting_after: Annotated[
        Annotated[int, Meta(ge=0, le=2**53)],
        Meta(description="The `n` of the last event that was heard; what came up to it is not told again."),
    ] = 0


class Following:
    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=f"/{api}/{{id}}/follow",
                handler=self.follow,
                scope="chat",
                summary="A reply as a page shows it",
                description=DESCRIPTION,
                query=FollowQuery,
                streams=FOLLOW_EVENTS,
            )
            for api in ("responses", "chat/completions")
        ]

    async def follow(self, request: Request) -> Response:
        query = decode_fields(request.query_params, FollowQuery)
        owner, turn = exchange_of(request).owner, turn_of(request)
        record, live = await found_turn(self._chat, owner, turn)
        return _Stream(self._chat, owner, record, live, query.starting_after)


class _Stream(Response):
    """The events of one reply for one reader."""

    media_type = "text/event-stream;charset=utf-8"

    def __init__(self, chat: Chat, owner: str, record: TurnRecord, live: LiveReply, known: int) -> None:
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chat = chat
        self._owner = owner
        self._record = record
        self._live = live
        self._telling = Telling(known)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._live.reader():
            await unless_gone(receive, self._tell(send))

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with contextlib.aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except Exception:
            # The status has gone out: who reads finds the stream broken, and comes back.
            log.exception("a stream failed in an unforeseen way", turn=self._live.turn)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self) -> AsyncGenerator[bytes]:
        yield _data([self._turn()])
        async for waiting in changes(self._live):
            if waiting is None:
                yield KEEP_ALIVE
            else:
                yield _data([{**_waiting(waiting), "n": self._telling.n}])
        if self._record.question is None:  # it waited, and its question came to be only then
            with contextlib.suppress(TurnNotFound):  # deleted meanwhile: how it ended is still known
                self._record = await self._chat.store.turn(self._owner, self._live.turn)
                yield _data([self._turn()])
        async for piece in self._said():
            yield piece
        yield _data([await self._end()])

    def _turn(self) -> Event:
        live = self._live
        return {
            "type": "turn",
            "turn": ids.as_chat_completion(live.turn),
            "conversation": live.conversation,
            "question": self._record.question,
            "message": live.message,
            "model": live.model,
            "created_at": live.created,
            "n": self._telling.n,
        }

    async def _said(self) -> AsyncGenerator[bytes]:
        """What comes, a few times a second."""
        telling = self._telling
        async with contextlib.aclosing(self._live.follow()) as batches:
            coming: asyncio.Task[list[Delta]] | None = None
            try:
                while True:
                    coming = coming or asyncio.ensure_future(anext(batches, []))
                    pause = telling.pause
                    await asyncio.wait((coming,), timeout=SILENCE if pause is None else pause)
                    events: list[Event] = []
                    if coming.done():
                        news, coming = coming.result(), None
                        if not news:
                            return
                        events = await telling.take(news)
                    events += await telling.open()
                    if events:
                        yield _data(events)
                        await asyncio.sleep(BATCH)
                    elif pause is None:
                        yield KEEP_ALIVE
            finally:
                if coming is not None:
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)

    async def _end(self) -> Event:
        outcome = await self._live.ended()
        error = None
        if outcome.error is not None and outcome.state is not TurnState.CANCELLED:
            detail = detail_of(outcome.error)
            error = {"message": detail.message, "code": detail.code}
        timing = None
        with contextlib.suppress(StoreError):  # how long it took is no reason to break off
            figures = await self._chat.store.figures(self._owner, [self._live.turn])
            thought = any(reply.reasoning for reply in self._live.replies())
            timing = timing_of(figures.get(self._live.turn), thought=thought)
        return {
            "type": "end",
            "state": outcome.state,
            "finish_reason": outcome.finish_reason,
            "error": error,
            "model": self._live.model,
            "usage": None if outcome.usage is None else msgspec.to_builtins(outcome.usage),
            "timing": timing,
            "blocks": await self._telling.end(),
            "n": self._telling.n,
        }


async def changes(live: LiveReply) -> AsyncGenerator[Waiting | None]:
    """What `live` waits for, whenever that changes, until something of it comes; None where that has long stayed so."""
    known: Waiting | None = None
    while (now := live.waiting) is not None:
        if now != known:
            known = now
            yield now
            await _has_come(live, PROGRESS)
            continue
        try:
            async with asyncio.timeout(SILENCE):
                await live.waits(known)
        except TimeoutError:
            yield None


async def _has_come(live: LiveReply, seconds: float) -> None:
    """Wait until it waits for nothing any more, so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            waiting = live.waiting
            while waiting is not None:
                waiting = await live.waits(waiting)


def _waiting(waiting: Waiting) -> Event:
    kind: Literal["queue", "place", "loading", "prompt"] = waiting.what
    told: dict[str, Any] = {"progress": waiting.progress, "ahead": waiting.ahead, "tokens": waiting.tokens}
    return {"type": "waiting", "for": kind, **told}


def _data(events: list[Event]) -> bytes:
    return b"".join(b"data: " + _encode(event) + b"\n\n" for event in events)
