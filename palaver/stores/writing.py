"""The rows that admitting a turn leads to."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from palaver.core import ids
from palaver.core.attachments import parted
from palaver.core.message import KEY_BYTES, Message, path_keys, root_key
from palaver.core.parameters import Tool
from palaver.core.tree import History, Instruction, read_history
from palaver.core.turn import TurnState
from palaver.stores import attachments
from palaver.stores.base import Admission, Item
from palaver.stores.database import Row, Session
from palaver.stores.places import Place
from palaver.stores.rows import instructions_of, new_id, now, to_json
from palaver.stores.titles import title_of


class Input(msgspec.Struct, frozen=True):
    """What a queued turn will hang on the tree when its time comes."""

    messages: list[Message]
    instructions: list[Instruction]
    passing: list[Instruction] = []

    @property
    def history(self) -> History:
        """As a history whose keys start nowhere: it hangs below a message, which gives it its keys."""
        history = read_history(self.messages, b"", whole=True)
        return msgspec.structs.replace(history, instructions=self.instructions)


def waiting_input(turn: str, body: str, created_at: int) -> list[Item]:
    """The messages of a turn that waits: they hang nowhere yet, and have ids that lead nowhere."""
    sent = msgspec.json.decode(body, type=Input)
    return [
        Item(
            id=f"in_{turn.removeprefix(ids.TURN)}_{place}",
            parent=None,
            depth=place,
            message=message,
            turn=None,
            state=None,
            model=None,
            created_at=created_at,
        )
        for place, message in enumerate(sent.messages)
    ]


class Written(msgspec.Struct, frozen=True):
    """The last message of a turn's input, and the title that its first words make, with where they stand."""

    question: int | None
    title: str | None = None
    title_from: int | None = None


def owner_and_secret(session: Session, owner: str) -> tuple[int, bytes]:
    """An owner's number and secret; a new owner is made."""
    row = session.one("owner", name=owner)
    if row is None:
        session.run("add_owner", name=owner, secret=secrets.token_bytes(32), now=now())
        row = session.one("owner", name=owner)
    assert row is not None
    return row["seq"], row["secret"]


def end_user_number(session: Session, owner: int, name: str | None) -> int | None:
    if name is None:
        return None
    session.run("add_end_user", owner=owner, name=name, now=now())
    row = session.one("end_user", owner=owner, name=name)
    assert row is not None
    seq: int = row["seq"]
    return seq


def starting_key(session: Session, owner: str, end_user: str | None) -> bytes:
    return root_key(owner_and_secret(session, owner)[1], end_user)


def add_conversation(session: Session, owner: int, end_user: int | None, admission: Admission) -> Row:
    """A new conversation; its `seq`, `id` and `end_user_name`."""
    id = new_id(ids.CONVERSATION)
    row = session.one(
        "add_conversation",
        id=id,
        owner=owner,
        end_user=end_user,
        name=admission.conversation,
        one_shot=int(admission.conversation is None or admission.is_task),
        source=admission.source,
        metadata=None,
        keep_seconds=admission.temporary,
        now=now(),
    )
    assert row is not None
    return {"seq": row["seq"], "id": id, "end_user_name": admission.end_user}


def add_messages(session: Session, conversation: int, root: bytes, place: Place, history: History) -> Written:
    """Write what the tree does not hold yet. `root` is where the conversation's keys start."""
    node = place.parent
    parent, depth = (node.id, node.depth + 1) if node else (None, 0)
    above = key_below(node.key) if node else root
    title, title_from = None, None
    keys = path_keys(above, history.forms[place.matched :])
    for message, key in zip(history.messages[place.matched :], keys, strict=True):
        kept, attached = parted(message)
        row = session.one(
            "add_message",
            id=new_id(ids.MESSAGE),
            conversation=conversation,
            parent=parent,
            depth=depth,
            role=message.role,
            body=to_json(kept),
            key=key,
            tail=None,
            turn=None,
            now=now(),
        )
        assert row is not None
        parent, depth = row["seq"], depth + 1
        attachments.keep(session, row["seq"], attached)
        if title is None and message.role == "user" and (title := title_of(message)):
            title_from = parent
    return Written(parent, title, title_from)


def key_below(key: bytes) -> bytes:
    """What the keys of new messages below another start from.

    That is its key. A tombstone has none, and what was said below it must match nothing that anybody resends:
    those keys start at random.
    """
    return key or secrets.token_bytes(KEY_BYTES)


def add_turn(
    session: Session,
    admission: Admission,
    owner: int,
    conversation: int,
    *,
    state: TurnState,
    instructions: tuple[int | None, int | None],
    place: Place | None = None,
    question: int | None = None,
    head_before: int | None = None,
) -> int:
    """The turn itself; its number. A queued one has no place yet, and keeps its input.

    `instructions` are those it is asked with and, of them, those that turns below take over (numbers).
    """
    waits = state is TurnState.QUEUED
    gap_from, gap_to = (place.gap if place else None) or (None, None)
    history = admission.history
    row = session.one(
        "add_turn",
        id=admission.turn,
        owner=owner,
        conversation=conversation,
        state=state.value,
        lease=admission.lease,
        door=admission.door,
        requested_model=admission.requested_model,
        model=admission.model,
        parameters=to_json(admission.parameters),
        tools=toolset_number(session, owner, admission.tools),
        metadata=to_json(admission.metadata) if admission.metadata else None,
        input=to_json(Input(history.messages, history.instructions, admission.passing)) if waits else None,
        instructions=instructions[0],
        carried=instructions[1],
        inputs=len(history.messages),
        asked=to_json(admission.asked) if admission.asked else None,
        parent=_asked_below(place),
        question=question,
        continues=place.continues["seq"] if place and place.continues else None,
        head_before=head_before,
        gap_from=gap_from,
        gap_to=gap_to,
        now=now(),
        started_at=None if waits else now(),
    )
    assert row is not None
    seq: int = row["seq"]
    return seq


def _asked_below(place: Place | None) -> int | None:
    """The message that a turn's input hangs below, or the last one of it where it is there already."""
    if place is None or place.parent is None:
        return None
    return place.asked_below if place.retry else place.parent.id


def instructions_number(session: Session, owner: int, instructions: list[Instruction]) -> int | None:
    """Instructions are stored once by content: many requests carry the same."""
    return _stored_once(session, "add_instructions", "instructions_of_hash", owner, instructions)


def instructions_in_force(
    session: Session, owner: int, own: int | None, passing: list[Instruction], above: int | None
) -> tuple[int | None, int | None]:
    """The instructions that a turn is asked with and, of them, those that turns below take over (numbers).

    They are its `own` or else those `above`; those that are `passing` stand before them.
    """
    carried = above if own is None else own
    if not passing:
        return carried, carried
    row = session.one("instructions_body", seq=carried) if carried is not None else None
    kept = instructions_of(row["body"]) if row else []
    return instructions_number(session, owner, [*passing, *kept]), carried


def toolset_number(session: Session, owner: int, tools: list[Tool]) -> int | None:
    """Tools are stored once by content, as instructions are."""
    return _stored_once(session, "add_toolset", "toolset_of_hash", owner, tools)


def _stored_once(session: Session, add: str, find: str, owner: int, values: Sequence[object]) -> int | None:
    """The number of the row that holds these values, which is made where there is none; None for no values."""
    if not values:
        return None
    digest = content_hash(values)
    session.run(add, owner=owner, hash=digest, body=to_json(values))
    row = session.one(find, owner=owner, hash=digest)
    assert row is not None
    seq: int = row["seq"]
    return seq


def content_hash(values: Sequence[object]) -> bytes:
    """What stored-once values are found by."""
    return blake2b(to_json(values).encode(), digest_size=16).digest()


def instructions_above(session: Session, conversation: int, message: int | None) -> int | None:
    """The instructions that a turn below a message takes over (their number): of the nearest turn on its path.

    Where that has none, there are none; where there is no turn, those that a fork was made with.
    """
    while message is not None:
        at = session.one("instructions_at", message=message)
        assert at is not None
        if at["turn"] is not None:
            number: int | None = at["instructions"]
            return number
        message = at["parent"]
    row = session.one("instructions_of_fork", conversation=conversation)
    return row["seq"] if row else None
