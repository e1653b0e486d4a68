"""What becomes of replies whose readers have left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from palaver.chat.request import ChatSettings
from palaver.core.turn import TurnState
from palaver.live import LiveReply
from palaver.running import RunningTurn

LOOK_AGAIN = 1.0
"""Seconds between looks whether anybody waits for the place of a turn that nobody reads."""


class Leaving:
    """Bounds what goes on without a reader, among the turns that run."""

    def __init__(self, running: Mapping[str, RunningTurn], settings: ChatSettings) -> None:
        self._running = running
        self._settings = settings
        self._coming: Counter[str] = Counter()

    def has_room(self, owner: str) -> bool:
        """Whether another turn of an owner's may begin in the background."""
        running = sum(t.in_background and t.window.owner == owner for t in self._running.values())
        return running + self._coming[owner] < self._settings.readerless_turns

    def expect(self, owner: str, admitting: asyncio.Task[LiveReply]) -> None:
        """A turn is about to begin in the background; until it is admitted it counts among those that run so."""
        self._coming[owner] += 1
        admitting.add_done_callback(lambda _: self._coming.subtract([owner]))

    def reader_left(self, turn: RunningTurn) -> None:
        """The last reader of a turn has left."""
        if turn.in_background:
            return  # that nobody reads it is what was asked for
        if not turn.limited:
            turn.limit_while_alone(self._settings.readerless_max_tokens)
        # What is not stored nobody can hear once the time is over.
        if turn.on_leave == "grace" or turn.store is None:
            turn.after(self._settings.grace, self._grace_is_over)
        else:
            self._goes_on_alone(turn)

    def _goes_on_alone(self, turn: RunningTurn) -> None:
        """Nobody is expected back: the turn counts among those that an owner may have so.

        A turn in its grace does not. Clients whose lines all broke at once are about to ask again, and must
        find their turns.
        """
        turn.left = True
        owner = turn.window.owner
        alone = [
            t for t in self._running.values() if t.left and t.live.readers == 0 and t.window.owner == owner
        ]
        for oldest in alone[: max(0, len(alone) - self._settings.readerless_turns)]:
            oldest.stop(TurnState.INCOMPLETE, "Too many replies of this owner ran without a reader.")

    def _grace_is_over(self, turn: RunningTurn) -> None:
        """Whoever left has had time to come back; a turn that waits for this place goes first now."""
        if turn.live.readers:
            return
        if turn.model.engine.waiting or turn.store is None:
            turn.stop(TurnState.INCOMPLETE, "Its reader left, and another turn was waiting.")
        else:
            self._goes_on_alone(turn)
            turn.after(LOOK_AGAIN, self._grace_is_over)
