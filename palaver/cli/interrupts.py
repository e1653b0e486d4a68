"""Ctrl-C as something to wait for, while a reply is running."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType, TracebackType


class Interrupts:
    """Within the block the first Ctrl-C sets `stop`, and the next one interrupts as usual.

    To be used in the main thread, in a coroutine.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, self._before)
        # A signal handler may run in the middle of anything; the loop is only to be told from there.
        self._loop.call_soon_threadsafe(self.stop.set)
