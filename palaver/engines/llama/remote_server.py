"""A llama-server of the user's own, as the engine's worker; and what a user may say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import structlog
from yarl import URL

from palaver.core.errors import ConfigError, EngineError
from palaver.engines.llama.remote_model import is_there
from palaver.engines.llama.workers import Use, Worker

PARTING_SECONDS = 20.0
"""How long it may take to save what its slots hold."""

log = structlog.get_logger(__name__)


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the server's address, with or without ``/v1``; `key` is what it was started with as ``--api-key``,
    `saves` the folder as ``--slot-save-path``, where that is on this machine. `stall_timeout` is how long it may say
    nothing, in seconds."""

    url: str
    key: str | None = None
    saves: Path | None = None
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


class Connection:
    """Where the engine of one model gets its server from, see `workers.Workers`."""

    def __init__(self, server: RemoteServer) -> None:
        self.server = server
        self.parting: Callable[[Worker], Awaitable[None]] | None = None
        """Told of the server before it is left, while it still answers."""

    @property
    def running(self) -> RemoteServer | None:
        return self.server if self.server.alive else None

    def use_running(self) -> Use | None:
        return Use(self.server) if self.server.alive else None

    def renew(self, worker: Worker) -> None:
        """It is not ours to start again: what is in its slots is not used any more."""
        if worker is self.server and self.server.alive:
            self.server = RemoteServer(self.server.session, self.server.base, self.server.stall_timeout)

    async def use(self) -> Use:
        return Use(self.server)

    async def close(self) -> None:
        if self.parting is not None and self.server.alive:
            try:
                async with asyncio.timeout(PARTING_SECONDS):
                    await self.parting(self.server)
            except (EngineError, TimeoutError) as error:
                log.warning("what the llama-server held was not saved", reason=str(error))
            except Exception as error:
                log.error("what the llama-server held was not saved", exc_info=error)
        self.server.give_up("is not used any more")


def _unusable(message: str) -> ConfigError:
    return ConfigError(message, setting="llama_server")
