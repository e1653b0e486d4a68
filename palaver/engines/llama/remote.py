"""A llama-server of the user's own: the same engine without the worker.

The wheel computes on the CPU only, on Linux and Windows; whoever has another device runs llama.cpp's own server built
for it, and names its address. What is known of a model by its file is asked of the server here (`remote_model`), now
and then again: it may have been started with another model, and then nothing that was known counts any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
import msgspec
import structlog
from yarl import URL

from palaver.core.errors import ConfigError, EngineError, EngineRefused, EngineUnavailable
from palaver.core.message import Message
from palaver.core.turn import EngineEvent, Finish
from palaver.core.window import Window
from palaver.engines.base import Embedded, KvCache, Options
from palaver.engines.llama.engine import CHAT, TOOLS, WorkerEngine
from palaver.engines.llama.remote_model import (
    CHECK_SECONDS,
    Props,
    RemoteModel,
    is_there,
    read_model,
    read_props,
)
from palaver.engines.llama.workers import Use, Worker

CONNECT_SECONDS = 10.0
CHECK_AGE = 2.0
"""Seconds after which the server is asked again what it runs, where somebody wants a reply."""
RETRY_AFTER = 5
"""Seconds until a server that loads its model, or is being started again, is worth another try."""

log = structlog.get_logger(__name__)


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the server's address, with or without ``/v1``; `key` is what it was started with as ``--api-key``.
    `stall_timeout` is how long it may say nothing, in seconds."""

    url: str
    key: str | None = None
    stall_timeout: float = 300.0

    @property
    def root(self) -> str:
        """The address below which all its paths are. Raises ConfigError (setting ``llama_server``)."""
        try:
            url = URL(self.url)
        except ValueError as error:
            raise _unusable("The address of the llama-server is no URL.") from error
        if url.user or url.password or url.query_string or url.fragment:
            raise _unusable(
                f"The address of the llama-server {url.host} holds more than an address; its key belongs into the "
                "environment variable LLAMA_SERVER_API_KEY."
            )
        if url.scheme not in ("http", "https") or not url.host:
            raise _unusable(f"{self.url!r} is no address of a llama-server such as http://127.0.0.1:8080.")
        return str(url).rstrip("/").removesuffix("/v1")

    def __repr__(self) -> str:
        """Without the key: a repr ends up in logs."""
        return f"RemoteSettings(url={self.url!r}, …)"

    def check(self) -> None:
        """Raises ConfigError for an address or a key that cannot be used."""
        self.root  # noqa: B018 - raises
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise _unusable("The key of the llama-server holds characters that no key has.")
        if not self.stall_timeout > 0:
            raise _unusable(f"stall_timeout must be more than 0 seconds, not {self.stall_timeout}.")


class RemoteServer:
    """The server as a worker, see `workers.Worker`: from when it was found until it fails."""

    def __init__(self, session: aiohttp.ClientSession, base: str, stall_timeout: float) -> None:
        self.session = session
        self.base = base
        self.called = "The llama-server"
        self.stall_timeout = stall_timeout
        self._gone: str | None = None

    @property
    def alive(self) -> bool:
        return self._gone is None

    def give_up(self, reason: str) -> None:
        self._gone = self._gone or reason

    async def how_it_ended(self) -> str | None:
        if self._gone is None and not await is_there(self.session, self.base):
            self._gone = "cannot be reached"
        return self._gone


class _Connection:
    """Where the engine of one model gets its server from, see `workers.Workers`."""

    def __init__(self, server: RemoteServer) -> None:
        self.server = server

    @property
    def running(self) -> RemoteServer | None:
        return self.server if self.server.alive else None

    def renew(self, worker: Worker) -> None:
        """It is not ours to start again."""

    async def use(self) -> Use:
        return Use(self.server)

    async def close(self) -> None:
        self.server.give_up("is not used any more")


class _Running(msgspec.Struct, frozen=True):
    """A model that the server runs, by what it said of it."""

    props: Props
    model: RemoteModel
    connection: _Connection
    engine: WorkerEngine


class RemoteEngine:
    """The model of a llama-server. It is asked with the first request; see `palaver.engines.base.Engine`.

    Raises ConfigError for settings that cannot be used.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        settings.check()
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._running: _Running | None = None
        self._before: list[WorkerEngine] = []
        self._asked_at = 0.0
        self._failed: EngineError | None = None
        self._asking = asyncio.Lock()
        self._closed = False

    @property
    def capabilities(self) -> frozenset[str]:
        return CHAT | TOOLS if self._running is None else self._running.engine.capabilities

    @property
    def waiting(self) -> int:
        return 0 if self._running is None else self._running.engine.waiting

    async def describe(self) -> RemoteModel:
        """What it runs now. Raises EngineUnavailable, EngineRefused."""
        return (await self._current()).model

    async def start(self) -> None:
        """Ask now whether it is there. Raises EngineUnavailable, EngineRefused."""
        await self._current()

    async def context_size(self, model: str) -> int:
        return (await self._current()).model.context

    async def count(self, window: Window, options: Options) -> int | None:
        running = await self._current()
        return await running.engine.count(window, options) if running.model.counts else None

    def tokenizer(self, model: str) -> str | None:
        """None until it was asked something, too."""
        known = self._running
        return known.engine.tokenizer(model) if known is not None and known.model.counts else None

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        running = await self._current()
        if not running.model.counts:
            return None
        try:
            return await running.engine.counts(messages, options)
        except EngineRefused as error:  # an older one takes no texts and numbers in one list
            log.info("the llama-server counts no messages", reason=error.message)
            return None

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        running = await self._current()
        async with aclosing(running.engine.generate(window, options)) as events:
            async for event in events:
                yield _named(event, running.model.name)

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        running = await self._current()
        async with aclosing(running.engine.complete(prompt, suffix, window, options)) as events:
            async for event in events:
                yield _named(event, running.model.name)

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        running = await self._current()
        return await running.engine.embed(texts, dimensions, window, options)

    async def settle(self, window: Window, options: Options) -> bool:
        known = self._running
        return known is not None and await known.engine.settle(window, options)

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        engines = [*self._before, *([self._running.engine] if self._running else [])]
        return sum([await engine.forget(owner, conversation) for engine in engines])

    async def kv_cache(self) -> KvCache | None:
        return None if self._running is None else await self._running.engine.kv_cache()

    async def close(self) -> None:
        self._closed = True
        engines = [*self._before, *([self._running.engine] if self._running else [])]
        await asyncio.gather(*(engine.close() for engine in engines))
        if self._session is not None:
            await self._session.close()

    async def _current(self) -> _Running:
        """What the server runs, by an answer that is not too old. Raises EngineUnavailable, EngineRefused.

        Whoever waits for another's question has that one's answer, also where it is a failure.
        """
        since = asyncio.get_running_loop().time()
        async with self._asking:
            if self._closed:
                raise EngineUnavailable("The connection to the llama-server is closed.")
            if self._failed is not None and self._asked_at >= since:
                raise self._failed
            known = self._running
            is_alive = known is not None and known.connection.server.alive and self._failed is None
            if known is not None and is_alive and since - self._asked_at < CHECK_AGE:
                return known
            try:
                found = await self._asked(known, is_alive=is_alive)
            except EngineError as error:
                self._failed = error
                self._asked_at = asyncio.get_running_loop().time()
                raise
            self._asked_at = asyncio.get_running_loop().time()
            return found

    async def _asked(self, known: _Running | None, *, is_alive: bool) -> _Running:
        session = self._open_session()
        try:
            props = await read_props(session, self.settings.root)
        except TimeoutError:
            if known is not None and is_alive:
                return known  # it is busy: what it said before counts
            raise EngineUnavailable(
                f"The llama-server said nothing for {CHECK_SECONDS:g} seconds.", retry_after=RETRY_AFTER
            ) from None
        if known is None or props != known.props:
            known = await self._changed(session, props)
        elif not known.connection.server.alive:
            known.connection.server = self._server(session)
        self._failed = None
        return known

    async def _changed(self, session: aiohttp.ClientSession, props: Props) -> _Running:
        """It runs another model than before, or was never asked. Replies of the old one come to their end."""
        model = await read_model(session, self.settings.root, props)
        if self._running is not None:
            log.info("the llama-server runs another model", model=model.name)
            self._before.append(self._running.engine)
        connection = _Connection(self._server(session))
        engine = WorkerEngine(model.model, model.slots, model.context, connection)
        self._running = _Running(props, model, connection, engine)
        return self._running

    def _server(self, session: aiohttp.ClientSession) -> RemoteServer:
        return RemoteServer(session, self.settings.root, self.settings.stall_timeout)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self.settings.key:
                headers["Authorization"] = f"Bearer {self.settings.key}"
            self._session = aiohttp.ClientSession(
                # A connection for each request: the server closes them after a stream.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=self.settings.stall_timeout
                ),
            )
        return self._session


def _named(event: EngineEvent, name: str) -> EngineEvent:
    """With the model's name: a server that was given none says the path of its file."""
    return msgspec.structs.replace(event, model=name) if isinstance(event, Finish) else event


def _unusable(message: str) -> ConfigError:
    return ConfigError(message, setting="llama_server")
