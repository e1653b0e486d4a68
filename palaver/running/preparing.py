"""Epochs that are prepared while nobody waits: before the window is full, the next one is chosen and prefilled.

Such an epoch hangs on the turn that was the last when it was ready. The turn that comes next below that begins it, and
whatever else comes below that turn goes on with it; a turn elsewhere goes on with the epoch that it would have gone on
with anyway.
"""

from __future__ import annotations

from collections import OrderedDict

from palaver.core.epoch import Epoch

LOW_MARK = 7 / 8
"""The share of the room for prompts from which on the next epoch is prepared."""
MOST = 10_000


class Prepared:
    """The epochs that are ready, by the id of the turn that they hang on. They live as long as this process: after a
    restart a window that is nearly full is prepared anew."""

    def __init__(self) -> None:
        self._ready: OrderedDict[str, Epoch] = OrderedDict()
        self._begun: OrderedDict[str, None] = OrderedDict()

    def put(self, turn: str, epoch: Epoch) -> None:
        self._ready[turn] = epoch
        if len(self._ready) > MOST:
            self._ready.popitem(last=False)

    def get(self, turn: str | None, model: str) -> Epoch | None:
        """The epoch that a turn below this one begins, for this model."""
        epoch = self._ready.get(turn) if turn else None
        return epoch if epoch is not None and epoch.model == model else None

    def begin(self, epoch: str) -> None:
        """A turn shows its window (by the epoch's id): others go on with it from now on."""
        self._begun[epoch] = None
        if len(self._begun) > MOST:
            self._begun.popitem(last=False)

    def has_begun(self, epoch: str) -> bool:
        return epoch in self._begun
