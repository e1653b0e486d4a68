"""Puts one palaver together from its settings, and takes it apart."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import structlog
import uvicorn

from palaver import __version__, idle
from palaver.chat import Chat, ChatSettings
from palaver.config import Config, SettingError
from palaver.core.errors import ConfigError, EngineError, StoreError
from palaver.engines.catalog.gone import GoneEngine
from palaver.engines.llama import LlamaEngine, RemoteEngine
from palaver.engines.llama.footprint import told
from palaver.engines.llama.settings import cores
from palaver.server.app import ServerSettings, build_app
from palaver.stores.ownership import Owner
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from palaver.wiring.embeddings import embedding_name
from palaver.wiring.models import catalog_of, snapshots_of
from palaver.wiring.windows import window_of

START_PATIENCE = 30.0
STOP_PATIENCE = 5
"""How long a server that stops waits for open connections once all turns have ended, in seconds."""


class Running(msgspec.Struct, frozen=True):
    """A palaver that answers: where, with which key for this machine's user, and with what.

    `created_keys` is how many API keys of the store are accepted at its start; None where there never was one.
    `serving` is done when it answers no more; before the end of the block that is an error.
    """

    owner: Owner
    chat: Chat
    config: Config
    created_keys: int | None
    serving: asyncio.Task[None]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: who runs it decides what Ctrl-C means."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def start_engine(running: Running) -> str:
    """Start what answers where no model is named; where it computes, in words. Raises EngineUnavailable."""
    name, config = running.owner.model, running.config
    while name in config.alias:
        name = config.alias[name]
    upstream = name.partition("/")[0]
    if upstream in config.upstream:
        return f"at {config.upstream[upstream]}"
    engine = (await running.chat.catalog.find(name)).engine
    if isinstance(engine, GoneEngine):
        return f"which cannot be used: {engine.reason}"
    if isinstance(engine, RemoteEngine):
        return await _remote(engine)
    if not isinstance(engine, LlamaEngine):
        return "without a model"
    await engine.start()
    threads = engine.settings.threads or cores()
    slots = engine.settings.slots
    context = f"context {engine.slot_context:,} tokens × {slots} slot{'s' if slots > 1 else ''}"
    size = f"about {told(engine.footprint.total)}"
    return f"on {engine.device}, {threads} thread{'s' if threads > 1 else ''}; {context}, {size}"


async def _remote(engine: RemoteEngine) -> str:
    """What a llama-server runs. One that is not there yet may come later."""
    try:
        model = await engine.describe()
    except EngineError as error:
        return f"at {engine.settings.url}, which does not answer now ({error.message})"
    return f"at {engine.settings.url}: {model.name}, context {model.context:,} tokens × {model.slots} slots"


@contextlib.asynccontextmanager
async def running(config: Config, *, private: bool = False) -> AsyncIterator[Running]:
    """A palaver from these settings, listening until the end of the block.

    `private` listens on a free port of loopback, for this machine's user only. When the block ends, running
    turns end as incomplete, with their text stored. Raises ConfigError (a taken port too), SettingError (a host
    that needs a key), StoreError.
    """
    _log_through_logging()
    async with contextlib.AsyncExitStack() as stack:
        snapshots = snapshots_of(config)
        stack.push_async_callback(snapshots.close)  # once what the models held is saved
        catalog, default_model = catalog_of(config, snapshots)
        stack.push_async_callback(catalog.close)
        store = SqlStore(await SqliteDatabase.open(config.store_path))
        stack.push_async_callback(store.close)
        await snapshots.open(config)  # only now: the folder is that of whoever owns the store
        created_keys = await _created_keys(store)
        if not private:
            _check_reach(config, created_keys)
        # Only now, so that of two reasons why this cannot start the one is told that names the other palaver.
        listener = stack.enter_context(
            _listener("127.0.0.1" if private else config.host, 0 if private else config.port)
        )
        chat = Chat(store, catalog, _chat_settings(config))
        await idle.recover(chat)
        key = "palaver-local-" + secrets.token_urlsafe(24)
        server = _Server(_uvicorn_config(config, chat, key, private, default_model))
        address = _address(listener)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stack.push_async_callback(_stop, server, serving, chat)
        await _started(server, serving)
        await store.announce(address, key, default_model, is_private=private)
        await stack.enter_async_context(idle.keeping(chat, config.retain))
        owner = Owner(address, key, os.getpid(), default_model, private)
        yield Running(owner, chat, config, created_keys, serving)


async def _created_keys(store: SqlStore) -> int | None:
    """How many created API keys are accepted; None where there never was one. Raises StoreError."""
    if not await store.had_api_key():
        return None
    now = time.time() * 1000
    return sum(
        key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
        for key in await store.api_keys()
    )


def _check_reach(config: Config, created_keys: int | None) -> None:
    """Raises SettingError where other machines could reach a door without a key."""
    if not config.on_loopback and not config.api_key and not config.no_auth and created_keys is None:
        raise SettingError(
            "host",
            f"{config.host} can be reached from other machines: make an API key with `palaver keys add NAME`, "
            "set --api-key (or PALAVER_API_KEY), or --no-auth if that is meant",
        )


def _log_through_logging() -> None:
    """Hand log lines to `logging`, unless the program around us has set structlog up.

    Left to itself, structlog prints to standard output, and with an exception the values of variables: keys,
    and what people wrote.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket of our own, so that a taken port is an error of ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"host: {host} is no address of this machine ({error.strerror})", setting="host"
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port: {port} on {host} is taken by another program; choose one with --port", setting="port"
            ) from error
        raise ConfigError(
            f"host: cannot listen on {host}:{port} ({error.strerror})", setting="host"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    """The base URL at which this machine reaches the listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _uvicorn_config(
    config: Config, chat: Chat, key: str, private: bool, default_model: str
) -> uvicorn.Config:
    settings = ServerSettings(
        api_keys=tuple(config.api_key),
        local_key=key,
        require_key=private or bool(config.api_key),
        allowed_hosts=(*config.allowed_host, *(() if config.on_loopback else (config.host,))),
        cors_origins=tuple(config.cors_origin),
        max_body_bytes=config.max_body,
        max_messages=config.max_messages,
        max_attachment=config.max_attachment,
        media_hosts=tuple(config.media_host),
        default_model=default_model,
        retain_days=config.retain or None,
        version=__version__,
    )
    return uvicorn.Config(
        build_app(chat, settings),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_PATIENCE,
    )


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(START_PATIENCE):
        while not server.started:
            if serving.done():
                await serving
                raise ConfigError("The server ended as it began.")
            await asyncio.sleep(0.005)


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None], chat: Chat) -> None:
    """Call nobody here any more, then end the turns: their readers hear it, and no connection is waited for."""
    with contextlib.suppress(StoreError):  # a note that stays counts for nothing once the lock is gone
        await chat.store.withdraw()
    await chat.close()
    server.should_exit = True
    await asyncio.wait((serving,))  # how it ended is told by whoever waits for that


def _chat_settings(config: Config) -> ChatSettings:
    return ChatSettings(
        record=config.record,
        grace=config.grace,
        readerless_turns=config.readerless_turns,
        readerless_max_tokens=config.readerless_max_tokens,
        max_open_turns=config.max_open_turns,
        concurrency=config.concurrency,
        max_waiting=config.max_waiting,
        max_wait=config.max_wait,
        keep_temporary=config.temporary_hours * 3600,
        window=window_of(config),
        titles=config.titles,
        title_model=config.title_model or None,
        summary_model=config.summary_model or None,
        embedding_model=embedding_name(config),
    )
