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
from pathlib import Path

import msgspec
import structlog
import uvicorn

from palaver import __version__, idle
from palaver.chat import Chat, ChatSettings
from palaver.config import Config, SettingError
from palaver.core.errors import ConfigError, StoreError
from palaver.core.turn import Sampling
from palaver.engines.base import Engine
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.llama import LlamaEngine, LlamaSettings
from palaver.engines.llama.settings import cores
from palaver.engines.pocket import POCKET
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.upstream import UpstreamEngine
from palaver.server.app import ServerSettings, build_app
from palaver.stores.ownership import Owner
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

POCKET_DEFAULTS = Sampling(temperature=0.0, max_tokens=80)
POCKET_DESCRIPTION = "Built-in demo model of 4 MB: remembers what it is told and knows a few cities."
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
    if not isinstance(engine, LlamaEngine):
        return "without a model"
    await engine.start()
    threads = engine.settings.threads or cores()
    return f"on {engine.device}, {threads} thread{'s' if threads > 1 else ''}"


@contextlib.asynccontextmanager
async def running(config: Config, *, private: bool = False) -> AsyncIterator[Running]:
    """A palaver from these settings, listening until the end of the block.

    `private` listens on a free port of loopback, for this machine's user only. When the block ends, running
    turns end as incomplete, with their text stored. Raises ConfigError (a taken port too), SettingError (a host
    that needs a key), StoreError.
    """
    _log_through_logging()
    async with contextlib.AsyncExitStack() as stack:
        catalog, default_model = _catalog(config)
        stack.push_async_callback(catalog.close)
        store = SqlStore(await SqliteDatabase.open(config.store_path))
        stack.push_async_callback(store.close)
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
        server = _Server(_uvicorn_config(config, chat, key, private))
        address = _address(listener)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stack.push_async_callback(_stop, server, serving, chat)
        await _started(server, serving)
        await store.announce(address, key, default_model)
        await stack.enter_async_context(idle.keeping(chat, config.retain))
        yield Running(Owner(address, key, os.getpid(), default_model), chat, config, created_keys, serving)


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


def _uvicorn_config(config: Config, chat: Chat, key: str, private: bool) -> uvicorn.Config:
    settings = ServerSettings(
        api_keys=tuple(config.api_key),
        local_key=key,
        require_key=private or bool(config.api_key),
        allowed_hosts=(*config.allowed_host, *(() if config.on_loopback else (config.host,))),
        cors_origins=tuple(config.cors_origin),
        max_body_bytes=config.max_body,
        max_messages=config.max_messages,
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
    )


def _catalog(config: Config) -> tuple[ModelCatalog, str]:
    """The models that may be named, the default first. Raises ConfigError."""
    upstreams = [
        UpstreamEngine(name, url, config.upstream_key.get(name)) for name, url in config.upstream.items()
    ]
    own = _own_model(config)
    default = own[0].name if own else config.model
    return ModelCatalog(models=[*own, _pocket(config)], aliases=config.alias, upstreams=upstreams), default


def _own_model(config: Config) -> list[ModelSpec]:
    name = config.model
    if name == "pocket" or name.partition("/")[0] in config.upstream or name in config.alias:
        return []
    if name == "scripted" or name.startswith("scripted:"):
        script = name.partition(":")[2]
        engine: Engine = ScriptedEngine(Path(script).expanduser() if script else None)
        return [
            ModelSpec(
                name="scripted", served_as="scripted", engine=engine, description="Answers without a model."
            )
        ]
    path = Path(name).expanduser()
    if path.suffix == ".gguf" or path.exists():
        return [_gguf(config, path)]
    raise ConfigError(
        f"model: there is no model {name!r}; give `pocket`, `scripted`, a path to a GGUF file, or UPSTREAM/model "
        "with an --upstream of that name",
        setting="model",
    )


def _gguf(config: Config, path: Path) -> ModelSpec:
    engine = LlamaEngine(_llama_settings(config, path, path.stem))
    return ModelSpec(name=path.stem, served_as=path.stem, engine=engine, description=f"GGUF file {path.name}")


def _pocket(config: Config) -> ModelSpec:
    settings = _llama_settings(config, POCKET, "pocket")
    engine = LlamaEngine(msgspec.structs.replace(settings, context=None, threads=1))
    return ModelSpec(
        name="pocket",
        served_as="pocket",
        engine=engine,
        description=POCKET_DESCRIPTION,
        defaults=POCKET_DEFAULTS,
    )


def _llama_settings(config: Config, path: Path, name: str) -> LlamaSettings:
    return LlamaSettings(
        path=path,
        name=name,
        slots=config.slots,
        context=config.context or None,
        threads=config.threads or None,
    )
