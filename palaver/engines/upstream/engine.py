"""Any server that speaks OpenAI's chat API: Together, vLLM, Ollama, llama-server, OpenAI itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
import msgspec

from palaver.core.errors import (
    ConfigError,
    EngineBroke,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from palaver.core.message import Message
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, Finish, ReasoningDelta
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Options
from palaver.engines.chat_stream import chat_events
from palaver.engines.upstream_body import chat_body
from palaver.engines.upstream_errors import come_again, not_taken, refusal
from palaver.engines.upstream_http import ReplyBody, UpstreamServer
from palaver.engines.upstream_models import ListedModel, listed_models, props_context, shown_context

ERROR_BYTES = 64 * 1024
"""As much of an error body is read."""
LIST_BYTES = 16 * 1024 * 1024
"""As much of a list of models is read."""
ASKING_SECONDS = 5.0
"""How long a question about a model may take, for each place that is asked."""
KNOWN_SECONDS = 300.0
"""How long a context size is taken as known."""
UNKNOWN_SECONDS = 60.0
"""How long it is not asked for again where it could not be found."""


class UpstreamEngine:
    """An engine that passes turns on to a server and its reply back.

    `name` is what the server is called in the configuration. `base_url` may end in ``/v1`` or not; a path
    with another version (``/v1beta/openai``) is taken as it is. `api_key` is palaver's own key there; what
    clients send as theirs never reaches it. The reply is always streamed.

    Times are in seconds: `connect_timeout` for the connection, `first_byte_timeout` for all before the first
    byte of the reply (a long prompt takes long), `stall_timeout` for the silence between two bytes.

    Raises ConfigError for a name, address or key that cannot be used.
    """

    capabilities = SAMPLING | {"parts", "tools", "extra"}
    """Everything is passed on; what the server does not take it refuses with its own words."""
    waiting = 0
    """The queue is the server's."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        connect_timeout: float = 10.0,
        first_byte_timeout: float = 600.0,
        stall_timeout: float = 120.0,
    ) -> None:
        if not name or "/" in name or not name.isprintable():
            raise ConfigError(
                f"{name!r} is no name for an upstream: it stands before a /.", setting="upstream"
            )
        self.name = name
        self._server = UpstreamServer(name, base_url, api_key, connect_timeout)
        self._api_key = api_key
        self._first_byte_timeout = first_byte_timeout
        self._stall_timeout = stall_timeout
        self._without: dict[str, frozenset[str]] = {}
        self._contexts: dict[str, tuple[int | None, float]] = {}

    async def models(self) -> list[ListedModel]:
        """The chat models that the server lists now.

        Raises EngineUnavailable, EngineTimeout, EngineRefused.
        """
        status, body = await self._question("GET", f"{self._server.api}/models", None)
        if status != 200:
            raise refusal(self.name, status, body, self._api_key)
        models = listed_models(body)
        if models is None:
            raise EngineRefused(f"The model server {self.name} sent no list of models.", status=502)
        return models

    async def context_size(self, model: str) -> int | None:
        """By the server's list of models, llama-server's ``/props`` or Ollama's ``/api/show``.

        Asked again only after `KNOWN_SECONDS`, or `UNKNOWN_SECONDS`. Raises EngineUnavailable.
        """
        size, until = self._contexts.get(model, (None, 0.0))
        if until <= _now():
            try:
                size = await self._find_context_size(model)
            except EngineTimeout:  # what it answers slowly is not worth the turn
                size = None
            self._contexts[model] = size, _now() + (UNKNOWN_SECONDS if size is None else KNOWN_SECONDS)
        return size

    async def count(self, window: Window, model: str) -> int | None:
        """None: the API has no route that counts."""
        return None

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.generate`."""
        deadline = _now() + self._first_byte_timeout
        response = await self._accepted(window.messages, options, deadline)
        body = ReplyBody(self._server, response, deadline, self._stall_timeout)
        complete = begun = False
        try:
            yield Accepted()
            async with aclosing(chat_events(body)) as events:
                async for event in events:
                    begun = begun or isinstance(event, ContentDelta | ReasoningDelta)
                    complete = isinstance(event, Finish)
                    yield event
        except EngineBroke as error:
            if begun:
                raise
            raise EngineUnavailable(f"The model server {self.name} gave no reply: {error.message}") from error
        finally:
            body.stop()
            self._server.let_go(response, complete=complete)

    async def close(self) -> None:
        """Close the connections; replies that run over them break off."""
        await self._server.close()

    async def _accepted(
        self, messages: Sequence[Message], options: Options, deadline: float
    ) -> aiohttp.ClientResponse:
        """The answer to a request that the server took. What a model does not take is learnt once."""
        while True:
            without = self._without.get(options.model, frozenset())
            body = chat_body(messages, options, without)
            response = await self._server.ask("POST", f"{self._server.api}/chat/completions", body, deadline)
            if response.status == 200:
                return self._checked(response)
            answer = await self._rest(response, ERROR_BYTES, deadline)
            unwanted = not_taken(response.status, answer)
            if unwanted is None or unwanted in without:
                again = come_again(response.headers)
                raise refusal(self.name, response.status, answer, self._api_key, again)
            self._without[options.model] = without | {unwanted}

    def _checked(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        if response.content_type != "text/html":
            return response
        self._server.let_go(response, complete=False)
        raise EngineRefused(
            f"The model server {self.name} answered with a web page: its base URL is not where the API is.",
            status=502,
        )

    async def _find_context_size(self, model: str) -> int | None:
        status, body = await self._question("GET", f"{self._server.api}/models", None)
        for listed in (listed_models(body) or []) if status == 200 else []:
            if listed.id == model and listed.context_size is not None:
                return listed.context_size
        root = self._server.root
        status, body = await self._question("GET", f"{root}/props", None)
        size = props_context(body) if status == 200 else None
        if size is None:
            asked = msgspec.json.encode({"model": model})
            status, body = await self._question("POST", f"{root}/api/show", asked)
            size = shown_context(body) if status == 200 else None
        return size

    async def _question(self, method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
        deadline = _now() + ASKING_SECONDS
        response = await self._server.ask(method, url, body, deadline)
        return response.status, await self._rest(response, LIST_BYTES, deadline)

    async def _rest(self, response: aiohttp.ClientResponse, limit: int, deadline: float) -> bytes:
        try:
            return await self._server.read(response, limit, deadline)
        except EngineBroke as error:
            raise EngineUnavailable(error.message) from error
        finally:
            self._server.let_go(response, complete=response.content.at_eof())


def _now() -> float:
    return asyncio.get_running_loop().time()
