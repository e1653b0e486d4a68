"""Repeated requests: those whose turns are not stored join a turn that runs in this process, and nothing else."""

from __future__ import annotations

import asyncio

from palaver.chat.waiting import LOOK_AGAIN
from palaver.core.errors import StoreError
from palaver.core.turn import TurnState
from palaver.running import RunningTurn
from palaver.stores.base import Admitted, Attempt, Ending, Store, TurnRecord


class Resends:
    """Which running turns, of those that are not stored, answer which requests.

    The rules are the store's (`palaver.stores.attempts`), as far as turns still run: the latest turn of an equal
    request is joined that was not claimed for this count yet.
    """

    def __init__(self) -> None:
        self._turns: dict[tuple[str, Attempt], list[tuple[RunningTurn, set[int]]]] = {}

    def join(self, owner: str, attempt: Attempt) -> RunningTurn | None:
        """The turn that a request repeats, or None; a first request joins none without an idempotency key."""
        for turn, counts in reversed(self._turns.get(_kind(owner, attempt), [])):
            if attempt.idempotency_key or attempt.count > max(counts):
                counts.add(attempt.count)
                return turn
        return None

    def add(self, owner: str, attempt: Attempt, turn: RunningTurn) -> None:
        """A new turn answers this request."""
        self._turns.setdefault(_kind(owner, attempt), []).append((turn, {attempt.count}))

    def remove(self, owner: str, attempt: Attempt, turn: RunningTurn) -> None:
        """The turn has ended: nobody can join it any more."""
        kind = _kind(owner, attempt)
        left = [each for each in self._turns.get(kind, []) if each[0] is not turn]
        if left:
            self._turns[kind] = left
        else:
            self._turns.pop(kind, None)


def _kind(owner: str, attempt: Attempt) -> tuple[str, Attempt]:
    return owner, Attempt(route=attempt.route, body=attempt.body, idempotency_key=attempt.idempotency_key)


def is_unstored(turn: RunningTurn) -> bool:
    """Whether a turn has ended, and the store did not take that."""
    outcome = turn.live.outcome
    return outcome is not None and isinstance(outcome.error, StoreError)


async def answered(store: Store, owner: str, admitted: Admitted, lease: str) -> TurnRecord | None:
    """The turn that a request repeats, once it has ended; None where it has no answer to give, or nobody will end it.

    `lease` is that of this process, which does not work on it.
    """
    record = await store.turn(owner, admitted.turn)
    if not record.state.ended and admitted.lease == lease:
        # Its end could not be stored: nothing more will come of it.
        await store.finish(abandoned(admitted))
        return None
    while not record.state.ended:
        await asyncio.sleep(LOOK_AGAIN)
        record = await store.turn(owner, admitted.turn)
    # One that has no answer to give is tried again.
    return None if record.state in (TurnState.FAILED, TurnState.INCOMPLETE) else record


def abandoned(turn: Admitted) -> Ending:
    """The end of a turn of this process that nobody works on any more."""
    assert turn.lease is not None
    return Ending(
        turn=turn.turn,
        lease=turn.lease,
        state=TurnState.INCOMPLETE,
        error_code="interrupted",
        error_message="Nobody worked on this turn any more.",
    )
