"""What becomes of replies whose readers have left."""

from __future__ import annotations

from collections.abc import Mapping

from palaver.chat.request import ChatSettings
from palaver.core.turn import TurnState
from palaver.running import RunningTurn

LOOK_AGAIN = 1.0
"""Seconds between looks whether anybody waits for the place of a turn that nobody reads."""


class Leaving:
    """Bounds what goes on without a reader, among the turns that run."""

    def __init__(self, running: Mapping[str, RunningTurn], settings: ChatSettings) -> None:
        self._running = running
        self._settings = settings

    def reader_left(self, turn: RunningTurn) -> None:
        """The last reader of a turn has left."""
        if not turn.limited:
            turn.limit_while_alone(self._settings.readerless_max_tokens)
        if turn.on_leave == "grace":
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
