"""The verbs of a turn: admitted, begun, logged, finished; and recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from palaver.core.epoch import Epoch
from palaver.core.recall import Recall
from palaver.core.receipt import Receipt
from palaver.core.turn import Delta
from palaver.stores.base.values import Admission, Admitted, Ending, Prompt, TurnRecord


class Turns(Protocol):
    """What happens to turns."""

    async def root_key(self, owner: str, end_user: str | None) -> bytes:
        """Where this owner's and end user's keys start. Makes an owner that is new; the same answer until the
        owner is deleted."""

    async def admit(self, admission: Admission) -> Admitted:
        """Put a turn on record, in one durable transaction: running, with its messages in the tree, or queued.

        After it returns, the question cannot be lost. A named conversation that does not exist is made. A
        request that repeats another (`Admission.attempt`) joins its turn instead, or tries it again.

        Raises ConversationNotFound and MessageNotFound for ids that this owner (and end user) does not have,
        ConversationBusy where the conversation's turns may not wait or too many do, TooManyRequests where it may only
        join a turn and there is none, and InvalidRequest for an idempotency key that came with another request before,
        or a place where nothing can hang.
        """

    async def begin(self, turn: str, lease: str) -> bool:
        """Hang a queued turn on its conversation's head, once its time has come; False where others go first.

        One durable transaction. Turns of a conversation begin in the order of their admission. Raises
        LeaseLost for a turn that has ended, is gone, or is another's.
        """

    async def prompt(self, turn: str, lease: str) -> Prompt:
        """What a running turn answers. It may be long, so that it is read apart from what decides and writes.

        Raises LeaseLost for a turn that does not run, is gone, or is another's.
        """

    async def note_window(
        self, turn: str, lease: str, epoch: Epoch, receipt: Receipt, recalls: Sequence[Recall] = ()
    ) -> None:
        """Keep what a running turn shows its model, with what it had recalled for that. Survives the process, not
        necessarily the machine.

        The last one counts. Raises LeaseLost.
        """

    async def log(self, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
        """Keep a batch of a running turn's text. Survives the process, not necessarily the machine.

        Raises LeaseLost.
        """

    async def finish(self, ending: Ending) -> None:
        """Write the replies, the head, usage and state, in one durable transaction; the log goes.

        Several replies are siblings below the question. The head moves to the first of them that says something,
        and only if it still is the turn's question. A turn that failed without text
        gives its head back to what was the head before (if that was a question, to the reply that it has got
        meanwhile), unless another turn still answers that; it keeps its receipt and has no epoch. What a queued
        turn asked is kept as a branch; the head stays.
        Raises LeaseLost if the turn has ended or is another's.
        """

    async def update_turn(self, owner: str, turn: str, metadata: Mapping[str, str]) -> TurnRecord:
        """Give a turn these metadata in place of its own; the turn then. Raises TurnNotFound."""

    async def recover(self, lease: str) -> list[str]:
        """Close as incomplete, with the text in the log, every turn that runs or waits under another lease.

        Returns their ids. To be called by the owner of the store before the first admission.
        """
