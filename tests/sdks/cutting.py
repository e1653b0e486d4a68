"""A line to a server that breaks where a test wants it to.

It is an HTTP proxy on loopback, as small as can be: it changes nothing in what it passes on, and knows just enough
of HTTP to find the end of it. Clients see a connection that breaks, the server sees a client that goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from urllib.parse import urlsplit

import msgspec

from tests.sdks.waiting import PATIENCE, within

END_OF_HEAD = b"\r\n\r\n"
LARGEST = 16 * 1024 * 1024


class Cut(Enum):
    """Where an exchange breaks off."""

    BEFORE = "before the request reaches the server"
    FORWARDED = "as soon as the server has been sent the request"
    RUNNING = "while the server answers, before it has said anything"
    ANSWERED = "when the server has answered, before any of that was passed on"
    IN_BODY = "after the headers and half of the body"
    IN_STREAM = "after the headers and the first event"
    AFTER = "after the whole answer, though the connection was to be kept"
    HELD_UP = "at once, but the request reaches the server when another one was answered"


class Attempt(msgspec.Struct, frozen=True):
    """A request as the client sent it; `count` is how often it says that it has sent it before."""

    count: str
    body: bytes


class Line:
    """The address of a server to one client. The n-th request breaks off as `cuts[n]` says, the others pass.

    `running` is set by who knows when the server has begun to answer, for cuts while it does. Whatever a line waits
    for, except a client's next request, it waits for PATIENCE; then the block that it serves fails.
    """

    def __init__(self, cuts: Sequence[Cut] = (), running: asyncio.Event | None = None) -> None:
        self.attempts: list[Attempt] = []
        self.address = ""
        self.held_up: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """What the server answered to the request that was held up."""
        self.answered = asyncio.Event()
        """Set when the server has given an answer of which nothing is passed on."""
        self._cuts = cuts
        self._running = running
        self._passed = asyncio.Event()
        self._target: str | None = None
        self._has_target = asyncio.Event()

    def lead_to(self, address: str | None) -> None:
        """Lead to the server at this base URL from now on; with None requests wait until there is one."""
        self._target = address
        if address is None:
            self._has_target.clear()
        else:
            self._has_target.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the client."""
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(END_OF_HEAD)
                    body = await reader.readexactly(int(_header(head, "content-length") or 0))
                    number = len(self.attempts)
                    self.attempts.append(Attempt(_header(head, "x-stainless-retry-count"), body))
                    cut = self._cuts[number] if number < len(self._cuts) else None
                    if cut is Cut.HELD_UP:
                        await _close(writer)
                        async with within(PATIENCE, f"a request to be answered after number {number}"):
                            await self._passed.wait()
                    if cut is not Cut.BEFORE:
                        await self._forward(head + body, cut, writer)
                    if cut is not None:
                        break
        finally:
            await _close(writer)

    async def _forward(self, request: bytes, cut: Cut | None, writer: asyncio.StreamWriter) -> None:
        async with within(PATIENCE, "a server to lead to"):
            await self._has_target.wait()
        assert self._target is not None
        server = urlsplit(self._target)
        from_server, to_server = await asyncio.open_connection(server.hostname, server.port, limit=LARGEST)
        try:
            to_server.write(request)
            await to_server.drain()
            if cut is Cut.RUNNING:
                assert self._running is not None
                async with within(PATIENCE, "the server to begin its answer"):
                    await self._running.wait()
            if cut not in (Cut.FORWARDED, Cut.RUNNING):
                async with within(
                    PATIENCE, "the server's answer" + (f", which is cut {cut.value}" if cut else "")
                ):
                    await self._answer(cut, from_server, writer)
        finally:
            await _close(to_server)

    async def _answer(
        self, cut: Cut | None, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on as much of the answer as the cut leaves."""
        head = await from_server.readuntil(END_OF_HEAD)
        pieces = _body(head, from_server)
        match cut:
            case Cut.ANSWERED | Cut.HELD_UP:
                whole = head + b"".join([piece async for piece in pieces])
                if cut is Cut.HELD_UP:
                    self.held_up.set_result(whole)
                self.answered.set()
            case Cut.IN_BODY:
                body = b"".join([piece async for piece in pieces])
                writer.write(head + body[: len(body) // 2])
            case Cut.IN_STREAM:
                writer.write(head + await anext(pieces))
            case _:
                writer.write(head)
                async for piece in pieces:
                    writer.write(piece)
                self._passed.set()
        await writer.drain()


@contextlib.asynccontextmanager
async def cutting(
    address: str | None, cuts: Sequence[Cut] = (), running: asyncio.Event | None = None
) -> AsyncIterator[Line]:
    """A line to the server at `address`, with an address of its own (`Line.address`) until the end of the block.

    What fails in the line fails the block, in an ExceptionGroup.
    """
    line = Line(cuts, running)
    line.lead_to(address)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # asyncio holds what serves a connection until the client goes away, and a request that is held up goes on
            # after that: garbage collection would end it.
            tasks.append(group.create_task(line.serve(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=LARGEST)
        line.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with server:
                yield line
        finally:
            for task in tasks:
                task.cancel()


def _header(head: bytes, name: str) -> str:
    for row in head.decode("latin-1").split("\r\n"):
        found, _, value = row.partition(":")
        if found.lower() == name:
            return value.strip()
    return ""


async def _body(head: bytes, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The bytes of a body as they come, to its end. Raises IncompleteReadError where the server breaks off."""
    if _header(head, "transfer-encoding") != "chunked":
        yield await reader.readexactly(int(_header(head, "content-length")))
        return
    while True:
        size = await reader.readuntil(b"\r\n")
        yield size + await reader.readexactly(int(size, 16) + len(b"\r\n"))
        if int(size, 16) == 0:
            return


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
