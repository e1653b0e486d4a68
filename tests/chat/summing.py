"""A model that sums up, and an app whose conversation's windows show what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from palaver.core.summaries import INSTRUCTION, Summary
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, Finish, FinishReason
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Options
from palaver.live import LiveReply
from tests.chat.settled import SIZE, App, WarmEngine

ON = WindowSettings(summaries=True)


class SummingEngine(WarmEngine):
    """Sums up as a test says, and answers everything else by itself."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.capabilities |= {"titles"}
        self.summed: list[Window] = []
        self.says: list[str] = []
        """What it says next of what it is to sum up; then it numbers what it says."""
        self.ends: FinishReason = "stop"
        self.error: Exception | None = None
        self.may_sum_up = asyncio.Event()
        self.may_sum_up.set()

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        if not window.messages[0].text.startswith(INSTRUCTION):
            async for event in super().generate(window, options):
                yield event
            return
        self.summed.append(window)
        await self.may_sum_up.wait()
        if self.error is not None:
            raise self.error
        yield Accepted()
        yield ContentDelta(self.says.pop(0) if self.says else f"They talked, part {len(self.summed)}.")
        yield Finish(self.ends)


class Home(App):
    """An app whose conversation's windows show summaries."""

    engine: SummingEngine

    async def until_begun(self) -> LiveReply:
        """Ask until an epoch has begun that leaves something out; the turn that began it."""
        before = len(await self.chat.store.epochs("local", self.id)) if self.said else 0
        for _ in range(40):
            live = await self.ask()
            self.id = live.conversation or ""
            receipt = live.receipt
            if receipt is not None and receipt.began and receipt.reason != "start":
                assert len(await self.chat.store.epochs("local", self.id)) > before
                return live
        raise AssertionError("no epoch began")

    id = ""

    async def summaries(self) -> list[Summary]:
        return await self.chat.store.summaries("local", self.id)

    def shown(self) -> list[str]:
        """The summaries that the last prompt held."""
        return [m.text for m in self.engine.prompts[-1].messages if m.text.startswith("<summary>")]
