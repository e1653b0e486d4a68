"""What is not palaver's fault has palaver's errors all the same: a connection that breaks, another program."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from palaver.core.errors import EngineUnavailable, PalaverError
from palaver.library import Palaver


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[Palaver]:
    """A client of something that answers each request with these bytes and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            yield Palaver(session, f"http://127.0.0.1:{port}", "m", own=False)


def response(status: str, body: bytes, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), length, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        response("200 OK", b'{"object": "li', 500),
        response("404 Not Found", b'{"error": {', 500),
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"obj',
    ],
)
async def test_a_connection_that_breaks(answer: bytes) -> None:
    async with answering(answer) as palaver:
        with pytest.raises(EngineUnavailable):
            await palaver.conversations()


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"\xff"])
async def test_something_else_that_answers(body: bytes) -> None:
    async with answering(response("200 OK", body)) as palaver:
        with pytest.raises(PalaverError, match="no palaver"):
            await palaver.conversations()
