"""Requests sent to a server, again where that may help, and what its answers mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import aiohttp

from palaver.core.errors import (
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineUnavailable,
    PalaverError,
    UnsupportedParameter,
)
from palaver.core.turn import Accepted, Delta, EngineEvent, Finish
from palaver.engines.chat_stream import chat_events
from palaver.engines.upstream.asking import now, rest_of
from palaver.engines.upstream.body import Request
from palaver.engines.upstream.errors import (
    broken_off,
    come_again,
    has_no_route,
    not_taken,
    refusal,
    without_secret,
)
from palaver.engines.upstream.http import ReplyBody, UpstreamServer
from palaver.engines.upstream.retries import Retries

ERROR_BYTES = 64 * 1024
"""As much of an error body is read."""
VECTOR_BYTES = 256 * 1024 * 1024
"""As much of an answer with vectors is read."""
ABSENT = {
    "/completions": "The model server {} completes no texts.",
    "/embeddings": "The model server {} makes no embeddings.",
}
"""What it means that a server has no such route."""

Make = Callable[[frozenset[str]], Request]
"""Makes a request without what the server was found not to take."""


class Sender:
    """Sends requests to one server. For the times, in seconds, and `retries` see `UpstreamEngine`.

    `on_failure` is called each time the server failed, with the model's name.
    """

    def __init__(
        self,
        server: UpstreamServer,
        api_key: str | None,
        *,
        retries: int,
        first_byte_timeout: float,
        stall_timeout: float,
        on_failure: Callable[[str], None],
    ) -> None:
        self._server = server
        self._api_key = api_key
        self._retries = retries
        self._first_byte_timeout = first_byte_timeout
        self._stall_timeout = stall_timeout
        self._on_failure = on_failure
        self._without: dict[str, frozenset[str]] = {}

    async def replies(
        self, make: Make, model: str, n: int, *, is_text: bool = False
    ) -> AsyncGenerator[EngineEvent, None]:
        """The events of one request for `n` replies, which is sent again until one has begun.

        Raises what `palaver.engines.base.Engine.generate` does.
        """
        deadline = now() + self._first_byte_timeout
        retries = Retries(self._server.name, self._retries, deadline)
        is_accepted = False
        while True:
            has_begun = False
            try:
                async with aclosing(self._attempt(make, model, n, deadline, is_text)) as events:
                    async for event in events:
                        has_begun = has_begun or isinstance(event, Delta)
                        if not (is_accepted and isinstance(event, Accepted)):
                            yield event
                        is_accepted = True
                return
            except EngineError as error:
                if has_begun and isinstance(error, EngineBroke):
                    raise EngineBroke(without_secret(error.message, self._api_key)) from error
                if has_begun:
                    raise
                failure: PalaverError = error
                if isinstance(error, EngineBroke):
                    failure = broken_off(self._server.name, error, self._api_key)
                    failure.__cause__ = error
            await self._failed(failure, model, retries)

    async def vectors(self, request: Request, model: str) -> bytes:
        """The answer to a request for vectors. Raises what `palaver.engines.base.Engine.embed` does."""
        deadline = now() + self._first_byte_timeout
        retries = Retries(self._server.name, self._retries, deadline)
        while True:
            try:
                response = await self._accepted(lambda _: request, model, deadline)
                body = await rest_of(self._server, response, VECTOR_BYTES, deadline)
                if body.lstrip().startswith(b'{"error"'):
                    raise refusal(self._server.name, 400, body, self._api_key)  # LM Studio: with 200
            except EngineError as error:
                await self._failed(error, model, retries)
            else:
                return body

    async def _failed(self, failure: PalaverError, model: str, retries: Retries) -> None:
        """Wait for the next attempt. Raises the failure where there is none."""
        if isinstance(failure, EngineUnavailable):
            self._on_failure(model)
        if self._server.is_closed:
            raise failure
        await retries.wait(failure)

    async def _attempt(
        self, make: Make, model: str, n: int, deadline: float, is_text: bool
    ) -> AsyncGenerator[EngineEvent, None]:
        response = await self._accepted(make, model, deadline)
        body = ReplyBody(self._server, response, deadline, self._stall_timeout)
        complete = False
        try:
            yield Accepted()
            async with aclosing(chat_events(body, n, is_text=is_text)) as events:
                async for event in events:
                    complete = isinstance(event, Finish)
                    yield event
        finally:
            body.stop()
            self._server.let_go(response, complete=complete)

    async def _accepted(self, make: Make, model: str, deadline: float) -> aiohttp.ClientResponse:
        """The answer to a request that the server took. What a model does not take is learnt once."""
        while True:
            without = self._without.get(model, frozenset())
            request = make(without)
            url = self._server.api + request.path
            response = await self._server.ask("POST", url, request.body, deadline, request.headers)
            if response.status == 200:
                return self._no_page(response)
            answer = await rest_of(self._server, response, ERROR_BYTES, deadline)
            if request.path in ABSENT and has_no_route(response.status, answer):
                raise UnsupportedParameter(ABSENT[request.path].format(self._server.name), param="model")
            unwanted = not_taken(response.status, answer)
            if unwanted is None or unwanted in without:
                again = come_again(response.headers)
                raise refusal(self._server.name, response.status, answer, self._api_key, again)
            self._without[model] = without | {unwanted}

    def _no_page(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        if response.content_type != "text/html":
            return response
        self._server.let_go(response, complete=False)
        raise EngineRefused(
            f"The model server {self._server.name} answered with a web page: its base URL is not where the API is.",
            status=502,
        )
