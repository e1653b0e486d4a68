"""One worker: started, watched, asked over HTTP, stopped."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec
import structlog

from palaver.core.errors import EngineUnavailable
from palaver.engines.llama import worker
from palaver.engines.llama.folder import PrivateFolder
from palaver.engines.llama.settings import START_SECONDS, LlamaSettings, cores

HEALTH = "/health"
LOG_LINES = 50
LINE_LIMIT = 4096
STOP_SECONDS = 2.0
"""How long a worker gets to end by itself."""
CONNECT_SECONDS = 10.0
END_SECONDS = 1.0
"""How long after its connections a process may end."""
ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # else a crash starts a debugger, where there is one
    "GOMP_SPINCOUNT": "10000",  # else threads that wait for each other starve other programs, and are starved
}
SECRET = re.compile(r".*(_KEY|_TOKEN|_SECRET|_PASSWORD)", re.IGNORECASE)
"""Names of environment variables that a worker has no use for."""
ERROR_LINE = re.compile(r"\S+ E (?:\w+ +)?\w+: (.+)")
"""How llama.cpp writes an error."""

log = structlog.get_logger(__name__)


class _Ready(msgspec.Struct):
    address: str
    device: str


class Worker:
    """A running worker. `session` asks it, with paths below `base`."""

    def __init__(
        self, settings: LlamaSettings, process: asyncio.subprocess.Process, folder: PrivateFolder | None
    ) -> None:
        self.settings = settings
        self.session: aiohttp.ClientSession
        self.base = ""
        self.called = "The model worker"
        self.device = ""
        self._model = f"The model {settings.name}"
        self._process = process
        self._folder = folder
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._log = asyncio.create_task(self._read_log())
        self._given_up: str | None = None

    @classmethod
    async def start(
        cls,
        settings: LlamaSettings,
        slot_context: int,
        launched: Callable[[Worker], object] = lambda worker: None,
        saves: Path | None = None,
    ) -> Worker:
        """Start a worker and wait until it answers. Leaves nothing behind where that fails or is cancelled.

        `launched` gets it as soon as there is a process, while the model loads. It writes what slots hold into the
        folder `saves`, None for nowhere.

        Raises EngineUnavailable.
        """
        folder = None
        try:
            folder = PrivateFolder.make()
            # PR_SET_PDEATHSIG is tied to the thread that starts the child: the event loop's, which lives as
            # long as the child is watched.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", worker.__file__),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # signals of the terminal are for palaver alone
            )
        except BaseException as error:
            if folder is not None:
                folder.remove()
            if isinstance(error, OSError):
                raise EngineUnavailable(f"The model worker could not be started: {error}") from error
            raise
        self = cls(settings, process, folder)
        launched(self)
        try:
            await self._set_up(slot_context, saves)
        except BaseException:
            await self._end()
            raise
        return self

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and self._given_up is None

    @property
    def stall_timeout(self) -> float:
        return self.settings.stall_timeout

    @property
    def pid(self) -> int:
        return self._process.pid

    def give_up(self, reason: str) -> None:
        """Kill it: it hangs. `reason` is what those hear whose replies it was working on."""
        if self.alive:
            self._given_up = reason
            self._kill()

    async def ended(self) -> str:
        """Wait for its end; how it came. Its files are gone then."""
        await self._process.wait()
        await self._end()
        return self._how()

    async def how_it_ended(self) -> str | None:
        """How the worker ended, for someone whose connection to it did; None where it still runs."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            return self._given_up
        return self._how()

    async def answers(self, seconds: float) -> bool:
        """Whether it says within so long that it is there. One that has ended does not hang."""
        try:
            async with asyncio.timeout(seconds), self.session.get(self.base + HEALTH):
                return True
        except TimeoutError:
            return not self.alive
        except aiohttp.ClientError:
            return True

    async def stop(self) -> None:
        """End it, at once where it can be."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                log.warning("the model worker did not end and is killed", pid=self.pid)
        await self._end()

    async def _end(self) -> None:
        """Whatever state it is in: no process, no connection, no file is left."""
        self._kill()
        await self._process.wait()
        await self._log
        if hasattr(self, "session"):
            await self.session.close()
        if self._folder is not None:
            self._folder.remove()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended by itself
                self._process.kill()

    async def _set_up(self, slot_context: int, saves: Path | None) -> None:
        """Tell the worker what to run, and wait until it does."""
        key = secrets.token_urlsafe(24)
        path = str(self._folder.socket) if self._folder else None
        start: worker.Start = {
            "parent": os.getpid(),
            "model": str(self.settings.path),
            "name": self.settings.name,
            "socket": path,
            "api_key": key,
            "slots": self.settings.slots,
            "context": slot_context * self.settings.slots,
            "threads": self.settings.threads or cores(),
            "batch": self.settings.batch,
            "pooling": self.settings.pooling,
            "saves": None if saves is None else str(saves),
        }
        ready = await self._ready(msgspec.json.encode(start) + b"\n")
        self.device = ready.device
        self.base = ready.address if path is None else "http://worker"
        self.session = self._connect(path, key)

    async def _ready(self, settings: bytes) -> _Ready:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        seconds = self.settings.start_timeout or START_SECONDS
        try:
            async with asyncio.timeout(seconds):
                stdin.write(settings)
                line = await stdout.readline()
        except TimeoutError:
            raise EngineUnavailable(f"{self._model} did not load within {seconds:g} seconds.") from None
        try:
            return msgspec.json.decode(line, type=_Ready)
        except msgspec.DecodeError:
            await self.how_it_ended()
            self._kill()
            await self._log
            log.error("the model worker did not start", said=list(self._lines))
            raise EngineUnavailable(f"{self._model} could not be loaded: {self._complaint()}") from None

    def _complaint(self) -> str:
        """The first error in its log, which says the most; else its last words; else how it ended."""
        errors = [match[1] for line in self._lines if (match := ERROR_LINE.fullmatch(line))]
        spoken = [line.strip() for line in self._lines if line.strip()]
        return (errors or spoken[-1:] or [f"the worker {self._how()}"])[0]

    def _how(self) -> str:
        code = self._process.returncode
        if self._given_up is not None:
            return self._given_up
        if code is not None and code < 0:
            name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
            return f"was killed by {name}"
        return f"ended with exit code {code}"

    def _connect(self, path: str | None, key: str) -> aiohttp.ClientSession:
        # A connection for each request: the worker closes them after a stream, and one used again meets that.
        connector = (
            aiohttp.TCPConnector(limit=0, force_close=True)
            if path is None
            else aiohttp.UnixConnector(path=path, limit=0, force_close=True)
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=self.settings.stall_timeout
            ),
        )

    async def _read_log(self) -> None:
        """Keep the last lines of its log. They are read all the time: a full pipe would stop the worker."""
        stderr = self._process.stderr
        assert stderr is not None
        rest = b""
        while data := await stderr.read(65_536):
            *lines, rest = (rest + data).split(b"\n")
            self._lines.extend(line[:LINE_LIMIT].decode("utf-8", "replace") for line in lines)
            rest = rest[:LINE_LIMIT]
        self._lines.append(rest.decode("utf-8", "replace"))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not SECRET.fullmatch(name)}
    return ENVIRONMENT | kept
