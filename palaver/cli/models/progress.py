"""How far a download is: a bar on a terminal, a line for every tenth elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from palaver.cli.wording import size

STEPS = 10
"""So many lines say how far it is where there is no terminal."""


class Progress:
    """Shows how far the work on one model is. `told` takes what is done, how many bytes, and of how many."""

    def __init__(self, name: str) -> None:
        self._name = name
        console = Console(stderr=True)
        self._bar = (
            Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            if console.is_terminal
            else None
        )
        self._what = ""
        self._step = 0
        self._begun = (0.0, 0)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is KeyboardInterrupt and self._what == "fetching":
            print("What has come is kept; the same command goes on from there.", file=sys.stderr)

    def told(self, what: str, done: int, total: int) -> None:
        """Show it."""
        if what != self._what:
            self._what, self._step, self._begun = what, 0, (time.monotonic(), done)
            if self._bar is not None:
                for task in self._bar.task_ids:
                    self._bar.remove_task(task)
                self._bar.add_task(f"{what} {self._name}", total=total, completed=done)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[-1], completed=done)
        elif what == "fetching":
            self._line(done, total)

    def _line(self, done: int, total: int) -> None:
        step = done * STEPS // max(total, 1)
        if step <= self._step:
            return
        self._step = step
        since, at = self._begun
        speed = (done - at) / max(time.monotonic() - since, 1e-3)
        left = f", {_span((total - done) / speed)} left" if speed and done < total else ""
        so_far = f"{100 * done // max(total, 1)} %, {size(done)} of {size(total)}"
        print(f"fetching {self._name}: {so_far}, {size(int(speed))}/s{left}", file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
