"""Admitting a turn, and beginning one that had to wait: what is decided, each in one transaction."""

from __future__ import annotations

import msgspec

from palaver.core.errors import ConversationBusy, LeaseLost, TooManyRequests
from palaver.core.message import root_key
from palaver.core.tree import History, rekeyed
from palaver.core.turn import TurnState
from palaver.stores import attempts, places, writing
from palaver.stores.base import Admission, Admitted
from palaver.stores.database import Row, Session
from palaver.stores.places import Place
from palaver.stores.rows import now
from palaver.stores.writing import Input, Written


def admit(session: Session, admission: Admission) -> Admitted:
    """Join the turn that a request repeats; or hang its history and put a turn on record, running or queued."""
    owner, secret = writing.owner_and_secret(session, admission.owner)
    end_user = writing.end_user_number(session, owner, admission.end_user)
    claimed = None
    if admission.attempt:
        claimed = attempts.claim(session, owner, secret, admission.attempt, admission.replaces)
    if claimed and claimed.joins:
        return _joined(claimed.joins)
    if admission.only_joins:
        raise TooManyRequests(
            "As many responses run in the background already as may: wait for one to end, or cancel one."
        )
    place, history, conversation = _placed(
        session, owner, secret, end_user, admission, claimed.again if claimed else None
    )
    if place.waits and admission.concurrency != "branch":
        turn, admitted = _queued(session, admission, owner, conversation)
    else:
        root = _root(session, conversation, secret)
        turn = _begun(session, admission, owner, conversation, place, history, root)
        admitted = Admitted(turn=admission.turn, conversation=conversation["id"])
    if claimed:
        attempts.record(session, owner, claimed, turn)
    return admitted


def _joined(turn: Row) -> Admitted:
    return Admitted(
        turn=turn["id"],
        conversation=turn["conversation"],
        state=TurnState(turn["state"]),
        joined=True,
        lease=turn["lease"],
    )


def _placed(
    session: Session,
    owner: int,
    secret: bytes,
    end_user: int | None,
    admission: Admission,
    tried: Row | None,
) -> tuple[Place, History, Row]:
    """Where the turn hangs, its history with that conversation's keys, and the conversation."""
    history, exact = admission.history, admission.at_head or admission.parent is not None
    if tried is not None:
        again = places.retried(session, tried, history, exact=exact, for_head=admission.at_head)
        if again is not None:
            return again, history, _conversation(session, again)
    named, is_new = places.conversation_named(session, owner, end_user, admission.conversation)
    if is_new:
        named = writing.add_conversation(session, owner, end_user, admission)
    ref = named["id"] if named else None
    if admission.parent is not None:
        place = places.below(session, owner, end_user, admission, ref)
    elif admission.at_head and ref is not None:
        place = places.at_head(session, ref, history)
    else:
        # Keyed for whoever spoke; the conversation may be another's, or the owner deleted and made anew meanwhile.
        root = root_key(secret, named["end_user_name"] if named else admission.end_user)
        history = history if history.root == root else rekeyed(history, root)
        place = places.by_content(session, owner, history, ref)
    if place.conversation is None:
        return place, history, writing.add_conversation(session, owner, end_user, admission)
    return place, history, named or _conversation(session, place)


def _conversation(session: Session, place: Place) -> Row:
    row = session.one("conversation_with_id", id=place.conversation)
    assert row is not None
    return row


def _root(session: Session, conversation: Row, secret: bytes) -> bytes:
    """Where the keys of a conversation start: with the end user whose it is, whoever the request names."""
    row = session.one("speaker_of_conversation", seq=conversation["seq"])
    assert row is not None
    return root_key(secret, row["end_user"])


def _queued(session: Session, admission: Admission, owner: int, conversation: Row) -> tuple[int, Admitted]:
    """Put the turn on record behind those that wait already. Raises ConversationBusy where it may not wait."""
    turns = session.all("open_turns", conversation=conversation["id"])
    waiting = sum(turn["state"] == TurnState.QUEUED for turn in turns)
    if admission.concurrency == "reject":
        raise ConversationBusy("Another turn is being answered in this conversation.", param="conversation")
    if waiting >= admission.max_waiting:
        raise ConversationBusy(
            f"{waiting} turns wait for this conversation already, and no more may.", param="conversation"
        )
    own = writing.instructions_number(session, owner, admission.history.instructions)
    turn = writing.add_turn(
        session,
        admission,
        owner,
        conversation["seq"],
        state=TurnState.QUEUED,
        instructions=(own, own),
    )
    return turn, Admitted(turn=admission.turn, conversation=conversation["id"], state=TurnState.QUEUED)


def _begun(
    session: Session,
    admission: Admission,
    owner: int,
    conversation: Row,
    place: Place,
    history: History,
    root: bytes,
) -> int:
    written = writing.add_messages(session, conversation["seq"], root, place, history)
    head = _head(session, conversation["seq"])
    own, above = writing.instructions_number(session, owner, history.instructions), None
    if own is None and place.exact:
        above = writing.instructions_above(session, conversation["seq"], place.last)
    if not admission.is_task:
        _move_head(
            session, conversation["seq"], place, written, head, is_named=admission.conversation is not None
        )
    return writing.add_turn(
        session,
        admission,
        owner,
        conversation["seq"],
        state=TurnState.RUNNING,
        instructions=writing.instructions_in_force(session, owner, own, admission.passing, above),
        place=place,
        question=written.question,
        head_before=head,
    )


def _head(session: Session, conversation: int) -> int | None:
    row = session.one("head_of", seq=conversation)
    assert row is not None
    head: int | None = row["head"]
    return head


def _move_head(
    session: Session,
    conversation: int,
    place: Place,
    written: Written,
    head: int | None,
    *,
    is_named: bool = True,
) -> None:
    """What matches nothing in a conversation that has begun may be a chore, such as a request for a title: the
    head stays where it is until something goes on from there. What is named shows itself in lists at once."""
    if head is None or ((place.parent is not None or place.exact) and place.moves_head):
        session.run(
            "move_head",
            seq=conversation,
            head=written.question,
            now=now(),
            continued=int((place.parent is not None and not place.retry) or is_named),
            title=written.title,
            title_from=written.title_from,
        )


def begin(session: Session, turn: str, lease: str) -> bool:
    """Hang a queued turn's input below the head, unless the turn there is not answered or others came first."""
    held = session.one("held_turn", id=turn, lease=lease)
    if held is None or held["state"] != TurnState.QUEUED:
        raise LeaseLost(f"The turn {turn} is not waiting under this process any more.")
    history = input_of(held).history
    turns = session.all("open_turns", conversation=held["conversation_id"])
    first = next(each["seq"] for each in turns if each["state"] == TurnState.QUEUED)
    place = places.at_head(session, held["conversation_id"], history)
    if first != held["seq"] or not place.moves_head:  # another turn is answering there
        return False
    hang(session, held, place, history, moves_head=True)
    return True


def input_of(held: Row) -> Input:
    """What a queued turn is to ask."""
    return msgspec.json.decode(held["input"], type=Input)


def hang(session: Session, held: Row, place: Place, history: History, *, moves_head: bool) -> None:
    """Put a queued turn's input into the tree; from here on it is running."""
    conversation = held["conversation"]
    row = session.one("speaker_of_turn", turn=held["seq"])
    assert row is not None
    written = writing.add_messages(
        session, conversation, root_key(row["secret"], row["end_user"]), place, history
    )
    head = _head(session, conversation)
    own, above = held["carried"], None
    if own is None:
        above = writing.instructions_above(session, conversation, place.last)
    number, carried = writing.instructions_in_force(
        session, held["owner"], own, input_of(held).passing, above
    )
    if moves_head:
        _move_head(session, conversation, place, written, head)
    session.run(
        "begin_turn",
        seq=held["seq"],
        state=TurnState.RUNNING.value,
        instructions=number,
        carried=carried,
        parent=place.parent.id if place.parent else None,
        question=written.question,
        head_before=head,
        now=now(),
    )
