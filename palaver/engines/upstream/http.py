"""The connection to a model server: its address, its key, its session; aiohttp's errors end here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TypeVar

import aiohttp

from palaver import __version__
from palaver.core.errors import ConfigError, EngineBroke, EngineTimeout, EngineUnavailable
from palaver.engines.upstream.address import addresses

T = TypeVar("T")

REST_SECONDS = 1.0
"""How long the end of a body may take after the last event. Then the connection is closed, not used again."""


class UpstreamServer:
    """One server's address and connections. Errors that are not the server's own words are mapped here.

    `root` is the base URL without the API's version, `api` with it. Raises ConfigError for an address or a
    key that cannot be used.
    """

    def __init__(self, name: str, base_url: str, api_key: str | None, connect_timeout: float) -> None:
        self.name = name
        self.root, self.api = addresses(base_url)
        self._headers = {"User-Agent": f"palaver/{__version__}", "Accept-Encoding": "identity"}
        if api_key:
            if not api_key.isascii() or not api_key.isprintable():
                raise ConfigError(f"The key for {name} holds characters that no key has.", setting="upstream")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self.is_closed = False
        self.replies: set[ReplyBody] = set()
        self._waits: set[asyncio.Timeout] = set()
        self._resting: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        deadline: float,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request; returns with the head of the answer, whatever its status.

        A request that fails on a connection that had been used before is sent once more: the server had
        closed it meanwhile, which shows only now. `deadline` is in the loop's time.

        Raises EngineUnavailable, EngineTimeout.
        """
        used = SimpleNamespace(connection=False)
        try:
            return await self._ask(method, url, body, deadline, headers, used)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) or not used.connection:
                raise self._unavailable(error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._mapped(error) from error
        try:
            return await self._ask(method, url, body, deadline, headers, used)
        except (aiohttp.ClientError, OSError) as error:
            raise self._mapped(error) from error

    async def read(self, response: aiohttp.ClientResponse, limit: int, deadline: float) -> bytes:
        """The body, at most `limit` bytes of it. Raises EngineTimeout, EngineBroke."""
        body = bytearray()
        try:
            while len(body) < limit and not response.content.at_eof():
                body += await self._within(deadline, response.content.readany())
        except (aiohttp.ClientError, OSError) as error:
            raise self.broken(error) from error
        return bytes(body[:limit])

    def broken(self, error: Exception) -> EngineBroke | EngineTimeout:
        """What it means that the body could not be read on."""
        if isinstance(error, TimeoutError) and not self.is_closed:
            return self._silent()
        return EngineBroke(f"The connection to the model server {self.name} broke off.")

    def let_go(self, response: aiohttp.ClientResponse, *, complete: bool) -> None:
        """Done with an answer. A `complete` one leaves its connection for the next; any other is stopped."""
        if not complete:
            response.close()
        elif response.content.at_eof():
            response.release()
        else:
            rest = asyncio.create_task(self._await_end(response))
            self._resting.add(rest)
            rest.add_done_callback(partial(self._rested, response))

    async def close(self) -> None:
        """Close the connections; whoever waits for the server hears of it at once."""
        self.is_closed = True
        for wait in self._waits:
            wait.reschedule(0.0)  # in the past
        for reply in self.replies:
            reply.fail()  # closing a connection does not wake its reader
        for rest in self._resting:
            rest.cancel()
        await asyncio.gather(*self._resting, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        deadline: float,
        headers: Mapping[str, str] | None,
        used: SimpleNamespace,
    ) -> aiohttp.ClientResponse:
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if body is not None else {})}
        asking = self._open_session().request(
            method, url, data=body, headers=sent, allow_redirects=False, trace_request_ctx=used
        )
        return await self._within(deadline, asking)

    async def _within(self, deadline: float, answer: Awaitable[T]) -> T:
        """Wait until then, or until this is closed. Raises TimeoutError for both."""
        async with asyncio.timeout_at(deadline) as wait:
            self._waits.add(wait)
            try:
                return await answer
            finally:
                self._waits.discard(wait)

    async def _await_end(self, response: aiohttp.ClientResponse) -> None:
        """Read the few bytes that close a body, so that the connection can serve the next request."""
        deadline = asyncio.get_running_loop().time() + REST_SECONDS
        with suppress(EngineTimeout, EngineBroke):
            await self.read(response, 4096, deadline)

    def _rested(self, response: aiohttp.ClientResponse, rest: asyncio.Task[None]) -> None:
        self._resting.discard(rest)
        response.close()  # where its body ended, the connection is no more its own

    def _open_session(self) -> aiohttp.ClientSession:
        if self.is_closed:
            raise self._closed()
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self._connect_timeout, sock_connect=self._connect_timeout
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),  # replies of different owners share this session
                trace_configs=[tracing],
            )
        return self._session

    def _mapped(self, error: Exception) -> EngineUnavailable | EngineTimeout:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
            return self._closed() if self.is_closed else self._silent()
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            reason = f"no connection within {self._connect_timeout:g} s"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = "its certificate is not valid"
        elif isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or type(error.os_error).__name__
        elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            reason = "it closed the connection without an answer"
        else:
            reason = f"its answer is not HTTP ({type(error).__name__})"
        return EngineUnavailable(f"The model server {self.name} cannot be reached: {reason}.")

    def _closed(self) -> EngineUnavailable:
        return EngineUnavailable(f"The connection to the model server {self.name} is closed.")

    def _silent(self) -> EngineTimeout:
        return EngineTimeout(f"The model server {self.name} did not answer in time.")


class ReplyBody:
    """The body of a reply, piece by piece; each is waited for only so long.

    The first must be there by `deadline` (in the loop's time), each other within `stall_timeout` seconds.
    One timer watches the whole body: a timeout of its own for every token would cost as much as reading it.
    Iterating raises EngineTimeout, EngineBroke. `stop` must be called in the end.
    """

    def __init__(
        self,
        server: UpstreamServer,
        response: aiohttp.ClientResponse,
        deadline: float,
        stall_timeout: float,
    ) -> None:
        self._server = server
        self._content = response.content
        self._stall_timeout = stall_timeout
        self._has_begun = False
        self._loop = asyncio.get_running_loop()
        self._until: float | None = deadline
        self._timer = self._loop.call_at(deadline, self._look)
        server.replies.add(self)

    def __aiter__(self) -> ReplyBody:
        return self

    async def __anext__(self) -> bytes:
        if self._has_begun:
            self._until = self._loop.time() + self._stall_timeout
        try:
            piece = await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._server.broken(error) from error
        if not self._has_begun:
            self._has_begun = True
            self._timer.cancel()
            self._timer = self._loop.call_later(self._stall_timeout, self._look)
        self._until = None  # whoever reads may take as long as he likes
        if not piece:
            raise StopAsyncIteration
        return piece

    def fail(self) -> None:
        """End the wait for the next piece, and all further ones."""
        self._content.set_exception(TimeoutError())

    def stop(self) -> None:
        """Watch no more."""
        self._timer.cancel()
        self._server.replies.discard(self)

    def _look(self) -> None:
        now = self._loop.time()
        if self._until is not None and self._until <= now:
            self.fail()
        else:
            self._timer = self._loop.call_at(self._until or now + self._stall_timeout, self._look)


async def _note_reuse(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    context.trace_request_ctx.connection = True
