"""Server-sent events of a running reply, for whichever API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from palaver.core.turn import Delta
from palaver.core.waiting import Waiting
from palaver.live import LiveReply, Outcome
from palaver.server.errors import error_event
from palaver.server.exchange import ClientGone
from palaver.server.settings import ServerSettings

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which all clients skip. No event of ours has an ``id:`` line: once one was sent, a comment makes
the Python SDKs emit an empty event and fail."""

PROGRESS_SECONDS = 2.0
"""How often it is told how much of a model is loaded, or of a prompt read."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Encoder(Protocol):
    """Gives a reply the form of one API's events."""

    def begin(self) -> bytes:
        """What comes before all else, once it is known that there will be a reply."""
        return b""

    def broken(self, error: Exception) -> bytes:
        """The last piece where palaver itself fails."""
        return error_event(error)

    def events(self, news: Sequence[Delta]) -> bytes:
        """What has come, as one piece."""

    async def end(self, outcome: Outcome) -> bytes:
        """The last piece."""


class EventStream(Response):
    """A reply, streamed to whoever reads it.

    The headers wait until the engine has taken the request, at most `hold_seconds`: an error up to then is
    raised and gets a status of its own. `at_once` they do not wait, and events tell of every error. After that
    comments keep the connection alive, and say what is waited for: how much of a model is loaded, for one. A reader
    that leaves takes nothing away, and raises ClientGone here.
    """

    media_type = "text/event-stream;charset=utf-8"

    def __init__(
        self, live: LiveReply, encoder: Encoder, settings: ServerSettings, *, at_once: bool = False
    ) -> None:
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._live = live
        self._encoder = encoder
        self._hold = settings.hold_seconds
        self._at_once = at_once
        self._silence = settings.keepalive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._live.reader():
            await unless_gone(receive, self._tell(send))

    async def _tell(self, send: Send) -> None:
        accepted = self._at_once or await self._live.accepted(self._hold)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if not accepted:
            await send({"type": "http.response.body", "body": _comment(self._live), "more_body": True})
        if first := self._encoder.begin():
            await send({"type": "http.response.body", "body": first, "more_body": True})
        try:
            async with (
                _kept_alive(send, self._silence, self._live) as told,
                contextlib.aclosing(self._live.follow()) as pieces,
            ):
                async for news in pieces:
                    told()
                    if piece := self._encoder.events(news):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
            last = await self._encoder.end(await self._live.ended())
        except Exception as error:
            # The status has gone out, so that only an event can still tell.
            log.exception("a stream failed in an unforeseen way", turn=self._live.turn)
            last = self._encoder.broken(error)
        await send({"type": "http.response.body", "body": last, "more_body": False})


@contextlib.asynccontextmanager
async def _kept_alive(
    send: Send, silence: float, live: LiveReply
) -> AsyncGenerator[Callable[[], None], None]:
    """Send a comment whenever `silence` seconds pass in which nothing was told (call what this gives).

    One task looks on from the side: a timer for each piece would cost more than the piece.
    """
    loop = asyncio.get_running_loop()
    last = loop.time()

    def told() -> None:
        nonlocal last
        last = loop.time()

    def left(waiting: Waiting | None) -> float:
        is_moving = waiting is not None and waiting.progress is not None
        return last + (min(silence, PROGRESS_SECONDS) if is_moving else silence) - loop.time()

    async def watch() -> None:
        while True:
            waiting = live.waiting
            # While something is waited for, there may be percentages before the silence has lasted.
            await asyncio.sleep(left(waiting) if waiting is None else min(left(waiting), PROGRESS_SECONDS))
            if left(live.waiting) <= 0:
                await send({"type": "http.response.body", "body": _comment(live), "more_body": True})
                told()

    watching = asyncio.create_task(watch())
    try:
        yield told
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _comment(live: LiveReply) -> bytes:
    """What is said where there is nothing to say yet: ``: loading NAME 40 %``, ``: reading the prompt 40 %``,
    ``: queued behind 2``, or only that it lives."""
    match live.waiting:
        case Waiting(what="loading", progress=float(share)):
            name = "".join(character for character in live.model if character.isprintable())
            return f": loading {name} {share * 100:.0f} %\n\n".encode()
        case Waiting(what="prompt", progress=float(share)):
            return f": reading the prompt {share * 100:.0f} %\n\n".encode()
        case Waiting(what="queue" | "place", ahead=int(ahead)) if ahead > 0:
            return f": queued behind {ahead}\n\n".encode()
    return KEEP_ALIVE


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client goes first; that raises ClientGone.

    To be called once the request's body has been read.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
