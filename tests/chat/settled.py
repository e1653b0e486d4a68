"""An app that asks a conversation's head again and again, and an engine that settles as a test says."""

from __future__ import annotations

import asyncio
from typing import Any

from palaver.chat import HEAD, Chat
from palaver.core.parameters import Parameters
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Options
from palaver.engines.scripted import ScriptedEngine
from palaver.live import LiveReply
from tests.chat.asking import request, user

AUTO = WindowSettings(mode="auto")
SIZE = 400
SOON = 20.0


class WarmEngine(ScriptedEngine):
    """Answers by itself, and settles as it is told: at once, when it is let, or never an epoch to come."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(context=size)
        self.capabilities |= {"settle"}
        self.settled: list[Window] = []
        self.answer: bool | Exception = True
        self.may_settle = asyncio.Event()
        self.may_settle.set()
        self.cancelled = 0

    async def settle(self, window: Window, options: Options) -> bool:
        self.settled.append(window)
        try:
            await self.may_settle.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or window.epoch == self.prompts[-1].epoch


class App:
    """Asks one conversation's head again and again."""

    def __init__(self, chat: Chat, engine: WarmEngine) -> None:
        self.chat = chat
        self.engine = engine
        self.said = 0

    async def ask(self, words: int = 8, *, settle: bool = True, **more: Any) -> LiveReply:
        self.said += 1
        question = user(" ".join(f"q{self.said}" for _ in range(words)))
        asked = {"parameters": Parameters(max_tokens=12), "conversation": "c", "parent": HEAD, **more}
        live = await self.chat.say(request(question, **asked))
        outcome = await live.ended()
        assert outcome.error is None, outcome.error
        if settle:
            await self.until_settled()
        return live

    async def until_settled(self) -> None:
        async with asyncio.timeout(SOON):
            await asyncio.sleep(0.01)
            while self.chat._settling._tasks:
                await asyncio.sleep(0.001)

    async def until_low(self) -> LiveReply:
        """Ask until an epoch is being prepared; the turn it hangs on."""
        for _ in range(30):
            live = await self.ask()
            if live.receipt is not None and len({w.epoch for w in self.engine.settled}) > 1:
                return live
        raise AssertionError("no epoch was prepared")
