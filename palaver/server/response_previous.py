"""The response that another goes on from."""

from __future__ import annotations

from palaver.core import ids
from palaver.core.errors import InvalidRequest, TurnNotFound, TurnRunning
from palaver.stores.base import Store, TurnRecord


async def place_of(store: Store, owner: str, response: str, end_user: str | None) -> tuple[TurnRecord, str]:
    """The turn that `previous_response_id` names, and the message that what goes on from it hangs below.

    Raises InvalidRequest where there is none, also where an `end_user` is named and it is another's; TurnRunning.
    """
    turn = await previous_turn(store, owner, response)
    end = end_of(turn, response)
    if end_user is not None and not await store.messages(owner, [end], end_user=end_user):
        raise not_found(response)
    return turn, end


async def previous_turn(store: Store, owner: str, response: str) -> TurnRecord:
    """The turn that `previous_response_id` names. Raises InvalidRequest where there is none, TurnRunning."""
    turn = ids.turn_id(response)
    if turn is None:
        raise not_found(response)
    try:
        record = await store.turn(owner, turn)
    except TurnNotFound:
        raise not_found(response) from None
    if not record.state.ended:
        raise TurnRunning(
            "The previous response is still running; go on from it when it has ended.",
            param="previous_response_id",
        )
    return record


def end_of(turn: TurnRecord, response: str) -> str:
    """The message that what goes on from a turn hangs below: its reply or, where it has none, its question.

    Raises InvalidRequest where that was deleted.
    """
    replies = [turn.reply, *(other.item for other in turn.others)]
    said = next((reply for reply in replies if reply is not None and not reply.deleted), None)
    if said is not None:
        return said.id
    if any(reply is not None for reply in replies) or turn.question is None:
        raise not_found(response)
    return turn.question


def not_found(response: str) -> InvalidRequest:
    """There is no such response to go on from, for whoever asks."""
    return InvalidRequest(
        f"Previous response with id '{response[:100]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
