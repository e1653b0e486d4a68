"""What a request needs of a llama.cpp server, whether it is a worker of ours (`process`) or another's (`remote`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import aiohttp


class Worker(Protocol):
    """A llama.cpp server that runs. `session` asks it, with paths below `base`.

    `called` is what it is called where it fails. `stall_timeout` is how long it may say nothing, in seconds.
    """

    session: aiohttp.ClientSession
    base: str
    called: str

    @property
    def stall_timeout(self) -> float: ...

    @property
    def alive(self) -> bool:
        """Whether it is worth asking; once it is not, it never is again."""

    def give_up(self, reason: str) -> None:
        """It hangs. `reason` is what those hear whose replies it was working on."""

    async def how_it_ended(self) -> str | None:
        """How it ended, for someone whose connection to it did; None where it still runs."""


class Use:
    """A worker that stays as long as this is not released, unless it dies. `released` is told in how many seconds
    it may go."""

    def __init__(self, worker: Worker, released: Callable[[float], object] = lambda after: None) -> None:
        self.worker = worker
        self._released: Callable[[float], object] | None = released

    def release(self, after: float = 0.0) -> None:
        """It is not needed any more, or not in so many seconds. The first call counts."""
        released, self._released = self._released, None
        if released is not None:
            released(after)


class Workers(Protocol):
    """Where a worker comes from."""

    @property
    def running(self) -> Worker | None:
        """The one that runs now, if any does."""

    def use_running(self) -> Use | None:
        """The one that runs now, to be released; None where that would take starting one, or it makes room."""

    def renew(self, worker: Worker) -> None:
        """It has become doubtful: another one is started in its place once nobody uses it."""

    async def use(self) -> Use:
        """A running worker, to be released. Raises EngineUnavailable."""

    async def close(self) -> None:
        """Stop it. May be called twice."""
