"""Ending a turn: its reply, the head, the record; and closing what a dead process left."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.core import ids
from palaver.core.errors import LeaseLost
from palaver.core.message import Message, canonical, next_key, root_key
from palaver.core.reply import Reply, replies
from palaver.core.tree import EXCHANGE, exchange_key
from palaver.core.turn import Delta, TurnState, Usage
from palaver.stores import admission, places
from palaver.stores.base import Ending
from palaver.stores.database import Row, Session
from palaver.stores.epochs import drop_other_epoch, epoch_number
from palaver.stores.recalls import keep_recalls
from palaver.stores.rows import StoredError, deltas_of, message_of, new_id, now, to_json
from palaver.stores.writing import key_below

EXCHANGES = (4, EXCHANGE)
"""How far up to look for the user message of a reply: nearly always near; beyond that, no second hash."""


def log(session: Session, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
    held = _held(session, turn, lease)
    session.run("add_log", turn=held["seq"], batch=batch, deltas=to_json(deltas))


def finish(session: Session, ending: Ending) -> None:
    """Write the replies, move the head, close the record, drop the log. One transaction."""
    held = _held(session, ending.turn, ending.lease)
    if held["state"] == TurnState.QUEUED:
        held = _asked_aside(session, held, ending)
    first, *others = ending.replies or [Reply()]
    reply = _add_reply(session, held, first, ids.reply_of(held["id"]))
    heads = [reply, *_add_choices(session, held, others)]
    head = next((each for each in heads if each is not None), None)
    if head is not None:
        session.run(
            "move_head_from", seq=held["conversation"], head=head, expected=held["question"], now=now()
        )
        session.run("hand_head_on", turn=held["seq"], question=held["question"], head=head)
    elif ending.state is TurnState.FAILED:
        _give_back_head(session, held)
    usage = ending.usage or Usage(0, 0)
    failed = ending.error_code or ending.error_message
    epoch = held["epoch"]
    if head is None and ending.state is TurnState.FAILED:
        epoch = None  # nothing can go on from here
    elif ending.epoch is not None:
        epoch = epoch_number(session, held, ending.epoch)
    receipt = to_json(ending.receipt) if ending.receipt else held["receipt"]
    session.run(
        "end_turn",
        seq=held["seq"],
        state=ending.state.value,
        reply=reply,
        finish_reason=first.finish_reason,
        prompt_tokens=usage.prompt_tokens if ending.usage else None,
        completion_tokens=usage.completion_tokens if ending.usage else None,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        error=to_json(StoredError(ending.error_code, ending.error_message)) if failed else None,
        deltas=_or_null(first.deltas),
        logprobs=_or_null(first.logprobs),
        model=ending.model,
        served_as=ending.served_as,
        tried=_or_null(ending.tried),
        warnings=_or_null(ending.warnings),
        epoch=epoch,
        receipt=receipt,
        first_token_at=ending.first_token_at,
        first_text_at=ending.first_text_at,
        ended_at=now() if ending.ended_at is None else ending.ended_at,
    )
    drop_other_epoch(session, held, epoch)
    if ending.receipt is not None:  # else what was noted while it ran stays
        keep_recalls(session, held["seq"], ending.recalls)
    session.run("drop_log", turn=held["seq"])


def recover(session: Session, lease: str) -> list[str]:
    """End as incomplete, with its text, every turn that runs under another lease."""
    closed = []
    for row in session.all("orphaned_turns", lease=lease):
        deltas = [d for batch in session.all("log_of", turn=row["seq"]) for d in deltas_of(batch["deltas"])]
        finish(
            session,
            Ending(
                turn=row["id"],
                lease=row["lease"],
                state=TurnState.INCOMPLETE,
                replies=replies(deltas),
                error_code="interrupted",
                error_message="The process that worked on this turn ended.",
            ),
        )
        closed.append(row["id"])
    return closed


def _asked_aside(session: Session, held: Row, ending: Ending) -> Row:
    """A turn that ends before its time came: what it asked is kept as a branch. The head stays."""
    history = admission.input_of(held).history
    place = places.at_head(session, held["conversation_id"], history)
    admission.hang(session, held, place, history, moves_head=False)
    return _held(session, ending.turn, ending.lease)


def _held(session: Session, turn: str, lease: str) -> Row:
    held = session.one("held_turn", id=turn, lease=lease)
    if held is None:
        raise LeaseLost(f"The turn {turn} is not running under this process any more.")
    return held


def _or_null(values: Sequence[object]) -> str | None:
    return to_json(values) if values else None


def _add_choices(session: Session, held: Row, others: Sequence[Reply]) -> list[int | None]:
    """The further replies of a turn that was asked for several, siblings of its first; their messages."""
    replies = [_add_reply(session, held, other, new_id(ids.MESSAGE)) for other in others]
    for choice, (reply, other) in enumerate(zip(replies, others, strict=True), 1):
        session.run(
            "add_choice",
            turn=held["seq"],
            choice=choice,
            reply=reply,
            finish_reason=other.finish_reason,
            deltas=_or_null(other.deltas),
            logprobs=_or_null(other.logprobs),
        )
    return replies


def _add_reply(session: Session, held: Row, reply: Reply, id: str) -> int | None:
    if reply.is_empty:
        return None
    message = reply.message
    parent = session.one("message", seq=held["question"]) if held["question"] is not None else None
    root = _root_key(session, held["seq"])
    row = session.one(
        "add_message",
        id=id,
        conversation=held["conversation"],
        parent=held["question"],
        depth=parent["depth"] + 1 if parent else 0,
        role="assistant",
        body=to_json(message),
        key=next_key(key_below(parent["key"]) if parent else root, canonical(message)),
        tail=_tail(session, root, held, message),
        turn=held["seq"],
        now=now(),
    )
    assert row is not None
    seq: int = row["seq"]
    return seq


def _root_key(session: Session, turn: int) -> bytes:
    row = session.one("speaker_of_turn", turn=turn)
    assert row is not None
    return root_key(row["secret"], row["end_user"])


def _tail(session: Session, root: bytes, held: Row, reply: Message) -> bytes | None:
    """The second hash of the new reply, from the nearest user message above it."""
    if held["question"] is None:
        return None
    for count in EXCHANGES:
        rows = session.all("up_from", seq=held["question"], count=count)
        messages = [*(message_of(row) for row in reversed(rows)), reply]
        tail = exchange_key(root, messages, [canonical(m) for m in messages], len(messages) - 1)
        if tail is not None:
            return tail
    return None


def _give_back_head(session: Session, held: Row) -> None:
    """A question that got no answer makes way for what was the head before: nothing seems to be gone, and the
    client that asks again extends the conversation instead of branching it."""
    question = session.one("message", seq=held["question"]) if held["question"] is not None else None
    if question is None:
        return
    before = held["head_before"]
    if before == held["question"]:
        row = session.one(
            "head_before_question", conversation=held["conversation"], question=held["question"]
        )
        before = row["head_before"] if row else question["parent"]
    before = places.living_from(session, before)  # it may be deleted by now
    if before is not None:
        session.run(
            "give_back_head",
            seq=held["conversation"],
            head=before,
            question=held["question"],
            turn=held["seq"],
            now=now(),
        )
        session.run("hand_head_on", turn=held["seq"], question=held["question"], head=before)
