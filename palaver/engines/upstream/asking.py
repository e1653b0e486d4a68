"""Questions about a model server: short requests whose answers are read whole."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec

from palaver.core.errors import EngineBroke, EngineUnavailable
from palaver.engines.upstream.http import UpstreamServer

ANSWER_BYTES = 16 * 1024 * 1024
"""As much of an answer is read."""


class Answer(msgspec.Struct, frozen=True):
    """What a server answered. `server` is its header of that name."""

    status: int
    body: bytes
    server: str = ""


async def ask(
    server: UpstreamServer,
    url: str,
    deadline: float,
    body: dict[str, Any] | None = None,
    limit: int = ANSWER_BYTES,
) -> Answer:
    """Ask once: a GET, or a POST of this body. `deadline` is in the loop's time.

    Raises EngineUnavailable, EngineTimeout.
    """
    sent = None if body is None else msgspec.json.encode(body)
    response = await server.ask("GET" if body is None else "POST", url, sent, deadline)
    answer = await rest_of(server, response, limit, deadline)
    return Answer(response.status, answer, response.headers.get("Server", ""))


async def rest_of(
    server: UpstreamServer, response: aiohttp.ClientResponse, limit: int, deadline: float
) -> bytes:
    """The body of an answer, at most `limit` bytes of it. Raises EngineUnavailable, EngineTimeout."""
    try:
        return await server.read(response, limit, deadline)
    except EngineBroke as error:
        raise EngineUnavailable(error.message) from error
    finally:
        server.let_go(response, complete=response.content.at_eof())


def now() -> float:
    """The loop's time, in seconds."""
    return asyncio.get_running_loop().time()
