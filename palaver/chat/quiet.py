"""When there is time for what nobody waits for: once nothing has run in this process for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET = 5.0
"""Seconds in which nothing runs before such work begins."""
LOOKS = 10
"""How often in that time it is looked whether something runs."""


class Quiet:
    """Tells whether there is time. `is_busy` says whether something runs, `seconds` is how long nothing has to have."""

    def __init__(self, is_busy: Callable[[], bool], seconds: float = QUIET) -> None:
        self._is_busy = is_busy
        self.seconds = seconds
        self._ran_at = 0.0

    def ends(self) -> None:
        """Something has come, or has just ended: all the time is to pass again."""
        self._ran_at = asyncio.get_running_loop().time()

    async def comes(self) -> None:
        """Wait until there is time."""
        loop = asyncio.get_running_loop()
        while True:
            is_busy = self._is_busy()
            if is_busy:
                self._ran_at = loop.time()
            left = self._ran_at + self.seconds - loop.time()
            if not is_busy and left <= 0:
                return
            await asyncio.sleep(max(0.001, min(left, self.seconds / LOOKS)))


async def ended(task: asyncio.Task[None]) -> None:
    """Stop a task, and return when it has ended."""
    task.cancel()
    await asyncio.wait([task])
