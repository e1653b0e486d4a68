"""No wait is for ever: one that comes to nothing says what it was for."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from typing import IO

PATIENCE = 60.0
"""Seconds to wait for something that is bound to happen; machines are shared."""
LONG = 180.0
"""Seconds to wait for clients to do all that they were told."""


@contextlib.asynccontextmanager
async def within(seconds: float, awaited: str) -> AsyncIterator[None]:
    """What is done in the block is `awaited` for so long. Raises AssertionError after that."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"waited {seconds:g} s in vain for {awaited}") from error


async def until(happened: Callable[[], object], awaited: str, every: float = 0.01) -> None:
    """Ask `every` so many seconds whether it has happened. Raises AssertionError when it does not."""
    async with within(PATIENCE, awaited):
        while not happened():
            await asyncio.sleep(every)


def first_line(process: subprocess.Popen[str], stdout: IO[str]) -> str:
    """The first line that a process prints; empty if it ends without one, as it is made to after a while."""
    patience = threading.Timer(PATIENCE, process.kill)
    patience.start()
    try:
        return stdout.readline()
    finally:
        patience.cancel()
