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

from palaver.core.errors import EngineError, EngineRefused, EngineUnavailable
from palaver.core.message import Message
from palaver.core.turn import EngineEvent, Finish
from palaver.core.window import Window
from palaver.engines.base import Embedded, KvCache, Options
from palaver.engines.llama.engine import CHAT, TITLES, TOOLS, WorkerEngine
from palaver.engines.llama.footprint import token_bytes
from palaver.engines.llama.kv.identity import Identity, layout_of, model_hash, template_hash
from palaver.engines.llama.kv.saving import erased
from palaver.engines.llama.kv.slots import Keeping
from palaver.engines.llama.kv.snapshots import Snapshots
from palaver.engines.llama.kv.state import saved_state
from palaver.engines.llama.remote_model import (
    CHECK_SECONDS,
    Props,
    RemoteModel,
    read_model,
    read_props,
)
from palaver.engines.llama.remote_server import Connection, RemoteServer, RemoteSettings

NAME = "llama-server"
"""What its snapshots are filed under, whatever its model is called."""
BATCH = 512
"""How many tokens it is taken to prefill at once: llama-server's own default."""
CONNECT_SECONDS = 10.0
CHECK_AGE = 2.0
"""Seconds after which the server is asked again what it runs, where somebody wants a reply."""
RETRY_AFTER = 5
"""Seconds until a server that loads its model, or is being started again, is worth another try."""

log = structlog.get_logger(__name__)


class _Running(msgspec.Struct, frozen=True):
    """A model that the server runs, by what it said of it."""

    props: Props
    model: RemoteModel
    connection: Connection
    engine: WorkerEngine


class RemoteEngine:
    """The model of a llama-server. It is asked with the first request; see `palaver.engines.base.Engine`.

    `snapshots` is where it saves what it has computed of conversations, None for nowhere: the folder into which it does
    so is that of the settings. Raises ConfigError for settings that cannot be used.
    """

    def __init__(self, settings: RemoteSettings, snapshots: Snapshots | None = None) -> None:
        settings.check()
        self.settings = settings
        self._snapshots = snapshots if settings.saves is not None else None
        if self._snapshots is not None:
            self._snapshots.register(NAME)
        self._session: aiohttp.ClientSession | None = None
        self._running: _Running | None = None
        self._before: list[WorkerEngine] = []
        self._asked_at = 0.0
        self._failed: EngineError | None = None
        self._asking = asyncio.Lock()
        self._closed = False

    @property
    def capabilities(self) -> frozenset[str]:
        return CHAT | TOOLS | TITLES if self._running is None else self._running.engine.capabilities

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
        # What an earlier model had in the slots is not there any more.
        count = await self._running.engine.forget(owner, conversation) if self._running else 0
        if self._snapshots is not None:  # also where nobody asked it anything yet, or it keeps none now
            count += await erased(self._snapshots, NAME, owner, conversation)
        return count

    async def kv_cache(self) -> KvCache | None:
        if self._running is not None:
            return await self._running.engine.kv_cache()
        return None if self._snapshots is None else await saved_state(self._snapshots, NAME)

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
        elif not known.connection.server.alive or isinstance(self._failed, EngineUnavailable):
            known.connection.server = self._server(session)  # it was away: its slots may be empty
        self._failed = None
        return known

    async def _changed(self, session: aiohttp.ClientSession, props: Props) -> _Running:
        """It runs another model than before, or was never asked. Replies of the old one come to their end."""
        model = await read_model(session, self.settings.root, props)
        if self._running is not None:
            log.info("the llama-server runs another model", model=model.name)
            self._running.connection.parting = None  # its slots are another model's by now
            self._before.append(self._running.engine)
        connection = Connection(self._server(session))
        keeping = self._keeping(model)
        engine = WorkerEngine(
            model.model, model.slots, model.context, connection, batch=BATCH, keeping=keeping
        )
        connection.parting = engine.save_all
        self._running = _Running(props, model, connection, engine)
        return self._running

    def _keeping(self, model: RemoteModel) -> Keeping | None:
        """How its slots are saved: only where its model's file is known to be the one that lies here, too."""
        snapshots, gguf = self._snapshots, model.model
        if snapshots is None or not snapshots.enabled or gguf.unkept or not gguf.files:
            return None

        async def identity() -> Identity:
            return Identity(
                model=await model_hash(gguf.files, snapshots.folder),
                engine=f"llama-server {model.build}",
                template=template_hash(gguf.chat_template),
                layout=f"{layout_of(model.slots)}, {model.context} tokens",
            )

        return Keeping(
            model=NAME,
            snapshots=snapshots,
            identity=identity,
            token_bytes=token_bytes(gguf),
            context=model.context,
        )

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
