"""Trying again, before the first token, what failed for a reason that passes."""

from __future__ import annotations

import asyncio
import random

import structlog

from palaver.core.errors import EngineRefused, EngineUnavailable, PalaverError
from palaver.engines.upstream.asking import now

FIRST_WAIT = 0.5
"""Seconds before the second attempt, twice as many before each further one; shortened by chance by up to half, so
that many who failed at once do not come back at once."""
LONGEST_WAIT = 5.0
"""Where the server wants to be asked again later than in so many seconds, whoever asked is told."""

log = structlog.get_logger(__name__)


class Retries:
    """What is left of one request's attempts: `count` after the first, all before `deadline` (the loop's time)."""

    def __init__(self, upstream: str, count: int, deadline: float) -> None:
        self._upstream = upstream
        self._count = count
        self._deadline = deadline
        self._made = 0

    async def wait(self, error: PalaverError) -> None:
        """Wait for the next attempt. Raises `error` where there is none."""
        seconds = self._seconds(error)
        if self._made >= self._count or seconds is None or now() + seconds >= self._deadline:
            raise error
        self._made += 1
        log.warning(
            "a request is sent again",
            upstream=self._upstream,
            attempt=self._made + 1,
            seconds=round(seconds, 2),
            reason=type(error).__name__,  # not its words, which may quote the prompt
        )
        await asyncio.sleep(seconds)

    def _seconds(self, error: PalaverError) -> float | None:
        """How long to wait, None where trying again is of no use."""
        if isinstance(error, EngineRefused):
            if error.status != 429 or "quota" in error.message.lower():
                return None
        elif not isinstance(error, EngineUnavailable):
            return None
        if error.retry_after is not None:
            return float(error.retry_after) if error.retry_after <= LONGEST_WAIT else None
        return float(FIRST_WAIT * 2**self._made * random.uniform(0.5, 1.0))
