"""A palaver with a model for each question, so that each engine counts what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from palaver.chat import Chat, ChatSettings
from palaver.core.turn import Accepted, EngineEvent
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.scripted import ScriptedEngine
from palaver.server.app import ServerSettings, build_app
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.sdks.waiting import PATIENCE, until, within
from tests.server.conftest import listening
from tests.whole.serving import rows


class Held(ScriptedEngine):
    """Answers like any scripted engine, but comes to a halt until it is released, before or after it accepts."""

    def __init__(self, before: Literal["accepting", "speaking"] = "accepting", script: Path | None = None):
        super().__init__(script)
        self.began = asyncio.Event()
        self.released = asyncio.Event()
        self.turn = ""
        self._before = before

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        self.turn = window.turn
        if self._before == "accepting":
            await self._halt()
        async with contextlib.aclosing(super().generate(window, options)) as events:
            said = 0
            async for event in events:
                # A first word is out, so that a stream has something to break off after.
                if said == 1 and self._before == "speaking":
                    await self._halt()
                said += not isinstance(event, Accepted)
                yield event

    async def _halt(self) -> None:
        self.began.set()
        await self.released.wait()


class House:
    """A server with its store in `folder`; look into that with `rows`."""

    def __init__(self, folder: Path, address: str, chat: Chat, engines: Mapping[str, ScriptedEngine]) -> None:
        self.folder = folder
        self.address = address
        self.chat = chat
        self.engines = engines

    def turns(self, model: str) -> list[dict[str, Any]]:
        """The turns of one model in the order of their admission, each with its question and its reply."""
        return turns_of(self.folder, model)

    async def repeated(self, model: str, count: int = 2) -> None:
        """Wait until so many requests have come to the turns of this model."""
        # Many tests of this kind run at once, so each asks no more often than needed.
        await until(
            lambda: len(attempts_of(self.folder, model)) >= count,
            f"{count} requests to {model}",
            every=0.05,
        )

    async def read_again(self, engine: Held) -> None:
        """Wait until the reply of a held engine has lost its reader and found another."""
        async with within(PATIENCE, "the engine to begin"):
            await engine.began.wait()
        for readers in (0, 1):
            await until(partial(self._has_readers, engine, readers), f"the reply to have {readers} readers")

    def _has_readers(self, engine: Held, count: int) -> bool:
        live = self.chat.live("local", engine.turn)
        return live is not None and live.readers == count

    async def ended(self, model: str) -> None:
        """Wait until all turns of this model have ended."""
        await until(
            lambda: all(turn["ended_at"] for turn in self.turns(model)), f"the end of all turns of {model}"
        )


def turns_of(folder: Path, model: str) -> list[dict[str, Any]]:
    found = rows(
        folder,
        "SELECT t.id, t.seq, t.requested_model, t.state, t.question, t.ended_at, t.conversation, t.reply, r.parent, "
        "r.body ->> 'content' AS content FROM turns t LEFT JOIN messages r ON r.seq = t.reply ORDER BY t.seq",
    )
    return [row for row in found if row["requested_model"] == model]


def attempts_of(folder: Path, model: str) -> list[dict[str, Any]]:
    turns = {turn["seq"] for turn in turns_of(folder, model)}
    return [row for row in rows(folder, "SELECT * FROM attempts ORDER BY seq") if row["turn"] in turns]


def messages_with(folder: Path, text: str) -> list[dict[str, Any]]:
    """The messages that users sent with this text."""
    found = rows(
        folder, "SELECT *, body ->> 'content' AS content FROM messages WHERE role = 'user' ORDER BY seq"
    )
    return [row for row in found if row["content"] == text]


@contextlib.asynccontextmanager
async def house(
    folder: Path, engines: Mapping[str, ScriptedEngine], settings: ChatSettings | None = None
) -> AsyncIterator[House]:
    """A palaver whose models these are."""
    (folder / "data").mkdir()
    store = SqlStore(await SqliteDatabase.open(folder / "data" / "palaver.db"))
    catalog = ModelCatalog(models=[ModelSpec(name=name, engine=engine) for name, engine in engines.items()])
    chat = Chat(store, catalog, settings)
    try:
        async with listening(build_app(chat, ServerSettings(version="1.2.3"))) as address:
            yield House(folder, address, chat, engines)
            await chat.close()
    finally:
        await chat.close()
        await store.close()
