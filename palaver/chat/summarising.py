"""Summaries that a model makes of what windows leave out: in idle time before the epoch that needs one, or on demand.

Each is made of the one before and of the messages since, word for word. It is no turn: nothing is kept of it but its
text. In idle time whatever comes goes first; what is being made is dropped then, and made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from palaver.chat.completing import Completing
from palaver.chat.request import ChatSettings
from palaver.chat.summaries_now import OnDemand
from palaver.chat.summing_up import SummingUp, end_of
from palaver.core.errors import EngineError, RequestError, StoreError
from palaver.core.path import Step
from palaver.core.summaries import (
    Failure,
    Summary,
    best,
    uncovered,
)
from palaver.engines.base import Catalog
from palaver.stores.base import Store

TRIES = 3
LOOKS, LOOK = 100, 0.05
"""How often, and after how many seconds, it is looked whether something else runs, before this is given up."""

log = structlog.get_logger(__name__)


class Summarising:
    """Makes summaries, those of idle time one after the other. `new_turn` makes an id of the kind that turns have,
    `running` says how many turns are; those that somebody waits for are part of the work `besides` turns."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: ChatSettings,
        new_turn: Callable[[], str],
        running: Callable[[], int],
        besides: Completing,
    ) -> None:
        self._store = store
        self.summing = SummingUp(store, catalog, settings, new_turn)
        self.now = OnDemand(store, catalog, self.summing, besides)
        """Those that somebody waits for."""
        self._running = running
        self._one_at_a_time = asyncio.Lock()
        self._making: asyncio.Task[Summary | Failure] | None = None

    def make_way(self) -> None:
        """Something comes that somebody waits for: what is being made in idle time is dropped."""
        if self._making is not None:
            self._making.cancel()

    async def ahead(
        self, owner: str, conversation: str, message: str, start: int, model: str, room: int
    ) -> tuple[list[Summary], Failure | None]:
        """The summaries of the path to a message that windows may show, with a new one of all before the depth `start`
        if that can be made in idle time; else, why not. `room` is how long prompts may be, in tokens.

        Raises StoreError.
        """
        steps = await self._store.path(owner, message, attachments=False)
        there = await self.summing.usable(owner, conversation, steps)
        if not uncovered(steps, best(there, start), start):
            return there, None
        made: Summary | Failure = "none_yet"
        async with self._one_at_a_time:
            for _ in range(TRIES):
                if not await self._is_quiet():
                    break
                making = asyncio.create_task(
                    self._in_idle_time(owner, conversation, steps, there, start, model, room)
                )
                if await self._ended(making):
                    made = making.result()
                    break
        return ([*there, made], None) if isinstance(made, Summary) else (there, made)

    async def _is_quiet(self) -> bool:
        for _ in range(LOOKS):
            if not self._running():
                return True
            await asyncio.sleep(LOOK)
        return False

    async def _ended(self, making: asyncio.Task[Summary | Failure]) -> bool:
        """Wait for it; whether it was not dropped. It does not outlive whoever waits."""
        self._making = making
        try:
            await asyncio.wait([making])
        finally:
            self._making = None
            if not making.done():
                making.cancel()
                await asyncio.wait([making])
        return not making.cancelled()

    async def _in_idle_time(
        self,
        owner: str,
        conversation: str,
        steps: Sequence[Step],
        there: Sequence[Summary],
        start: int,
        model: str,
        room: int,
    ) -> Summary | Failure:
        try:
            asked = await self.summing.model(model)
            if asked is None:
                return "none_yet"
            before = best(there, start)
            written = await self.summing.written(asked, owner, steps, before, start, room, idle=True)
            if written.failure is not None:
                return written.failure
            message, living = end_of(steps, start)
            kept = await self._store.add_summary(
                owner,
                conversation,
                message,
                written.text,
                model=asked.name,
                living=living,
                of=before.id if before is not None else None,
            )
            return kept or "none_yet"
        except (EngineError, RequestError, StoreError) as error:
            log.info("there is no summary", error=type(error).__name__)
            return "failed"
