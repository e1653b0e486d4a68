"""A real door: uvicorn on loopback, a real store, and engines that do what a test tells them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import uvicorn
from starlette.types import ASGIApp

from palaver.chat import Chat, ChatSettings
from palaver.core.message import Message
from palaver.core.turn import EngineEvent, TurnState
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Options
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.server.app import ServerSettings, build_app
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

KEY = "test-key"


class HandEngine:
    """An engine in the test's hand: it says what is put into `steps`, and raises what is an exception."""

    def __init__(self, capabilities: frozenset[str] = SAMPLING, context: int | None = None) -> None:
        self.capabilities = capabilities | {"count"}
        self.waiting = 0
        self.steps: asyncio.Queue[EngineEvent | Exception] = asyncio.Queue()
        self.options: list[Options] = []
        self.windows: list[Window] = []
        self.texts: list[tuple[str | list[int], str | None]] = []
        """What it was given to complete: each text with what comes after the gap."""
        self.began = asyncio.Event()
        self._context = context

    def put(self, *steps: EngineEvent | Exception) -> None:
        for step in steps:
            self.steps.put_nowait(step)

    async def context_size(self, model: str) -> int | None:
        return self._context

    def tokenizer(self, model: str) -> str | None:
        return None

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        return None

    async def count(self, window: Window, options: Options) -> int | None:
        return sum(len(message.text) for message in window.messages)

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        self.windows.append(window)
        self.options.append(options)
        self.began.set()
        while True:
            step = await self.steps.get()
            if isinstance(step, Exception):
                raise step
            yield step

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        self.texts.append((prompt, suffix))
        async with contextlib.aclosing(self.generate(window, options)) as events:
            async for event in events:
                yield event

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        """A vector of a text's length and its place, for each."""
        self.windows.append(window)
        self.options.append(options)
        lengths = [len(text) for text in texts]
        vectors = [[float(length), float(place)] for place, length in enumerate(lengths)]
        return Embedded(vectors, sum(lengths))

    async def settle(self, window: Window, options: Options) -> bool:
        return False

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return 0

    async def kv_cache(self) -> KvCache | None:
        return None

    async def close(self) -> None:
        return None


class Door:
    """A running server, with what stands behind it."""

    def __init__(self, address: str, chat: Chat, hand: HandEngine, scripted: ScriptedEngine) -> None:
        self.address = address
        self.chat = chat
        self.hand = hand
        self.scripted = scripted
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def post(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        data: bytes | None = None,
    ) -> tuple[aiohttp.ClientResponse, Any]:
        """Send JSON, or `data` as it is; the response and its decoded body."""
        sent = msgspec.json.encode(body) if data is None else data
        given = {"content-type": "application/json", **(headers or {})}
        async with self.http.post(self.address + path, data=sent, headers=given) as response:
            return response, _decoded(await response.read())

    async def get(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[aiohttp.ClientResponse, Any]:
        async with self.http.get(self.address + path, headers=headers) as response:
            return response, _decoded(await response.read())

    async def ask(self, text: str = "Hello", **more: Any) -> tuple[aiohttp.ClientResponse, Any]:
        """Ask the scripted model one question; a parameter of `more` may replace anything."""
        body = {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}
        return await self.post("/v1/chat/completions", body)

    async def say(self, messages: Sequence[dict[str, Any]], **more: Any) -> tuple[str, str]:
        """The scripted model's answer to a history, and the conversation it went to."""
        response, body = await self.post(
            "/v1/chat/completions", {"model": "scripted", "messages": messages, **more}
        )
        assert response.status == 200, body
        return body["choices"][0]["message"]["content"], response.headers["palaver-conversation"]

    async def until_ended(self, turn: str, state: TurnState) -> None:
        """Wait until a turn is stored as ended so."""
        stored = turn.replace("chatcmpl-", "turn_")
        while True:
            record = await self.chat.store.turn("local", stored)
            if record.state.ended:
                break
            await asyncio.sleep(0.002)
        assert record.state is state


async def until(condition: Callable[[], object]) -> None:
    """Wait until something has come to be that nothing tells of."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.002)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode()


@contextlib.asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[str]:
    """The app behind uvicorn on a free port; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio does it for sockets that were made with a protocol only; without it each reply takes 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    config.load()
    server = uvicorn.Server(config)
    # What `serve` does, without its signal handlers and without asking ten times a second whether to go on.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    settings: ServerSettings | None = None,
    chat_settings: ChatSettings | None = None,
    hand: HandEngine | None = None,
    script: str | None = None,
    upstreams: Sequence[UpstreamEngine] = (),
) -> AsyncIterator[Door]:
    """A door over a store in `folder`, with the models ``scripted`` and ``test/hand``, and those of `upstreams`."""
    script_file = folder / "script.jsonl"
    if script is not None:
        script_file.write_text(script)
    scripted = ScriptedEngine(script_file if script is not None else None)
    hand = hand or HandEngine(context=4096)
    catalog = ModelCatalog(
        models=[
            ModelSpec(
                name="scripted",
                engine=scripted,
                description="Answers without a model.",
                loading=lambda: scripted.loading,
            ),
            ModelSpec(name="test/hand", engine=hand),
        ],
        aliases={"gpt": "scripted"},
        upstreams=upstreams,
    )
    store = SqlStore(await SqliteDatabase.open(folder / "palaver.db"))
    chat = Chat(store, catalog, chat_settings)
    settings = settings or ServerSettings(version="1.2.3")
    try:
        async with listening(build_app(chat, settings)) as address:
            door = Door(address, chat, hand, scripted)
            async with door.http:
                yield door
            await chat.close()
    finally:
        await chat.close()
        await store.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path) as door:
        yield door


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One door for a whole module of small requests, whose tests need the module's event loop."""
    async with opened(tmp_path_factory.mktemp("door")) as door:
        yield door
