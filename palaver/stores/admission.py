"""Admitting a turn: the rules of `core.tree`, answered from the database, and the rows they lead to."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import blake2b

from palaver.core import ids
from palaver.core.errors import ConversationNotFound
from palaver.core.message import Message, canonical, path_keys, root_key
from palaver.core.tree import History, Node, Placement, hang, rekeyed
from palaver.stores.base import Admission, Admitted
from palaver.stores.database import Session
from palaver.stores.rows import message_of, new_id, node_of, now, to_json

TITLE_CHARACTERS = 60


class OwnersTrees:
    """One owner's trees, as the threading rules ask for them (`core.tree.Tree`)."""

    def __init__(self, session: Session, owner: int) -> None:
        self._session = session
        self._owner = owner

    def replies_with_keys(self, keys: Sequence[bytes], limit: int) -> list[Node]:
        rows = self._session.all("replies_with_keys", keys=list(keys), owner=self._owner, limit=limit)
        return [node_of(row) for row in rows]

    def replies_with_tails(
        self, tails: Sequence[bytes], conversation: str | None, limit: int
    ) -> list[tuple[bytes, Node]]:
        rows = self._session.all(
            "replies_with_tails", tails=list(tails), owner=self._owner, conversation=conversation, limit=limit
        )
        return [(row["tail"], node_of(row)) for row in rows]

    def nodes_in(self, conversation: str, keys: Sequence[bytes]) -> list[Node]:
        rows = self._session.all("nodes_in", conversation=conversation, keys=list(keys), owner=self._owner)
        return [node_of(row) for row in rows]

    def forms_up_from(self, node: Node, count: int) -> list[bytes]:
        rows = self._session.all("up_from", seq=node.id, count=count)
        return [canonical(message_of(row)) for row in rows]

    def key_at(self, node: Node, depth: int) -> bytes | None:
        rows = self._session.all("up_from", seq=node.id, count=node.depth - depth + 1)
        return next((row["key"] for row in rows if row["depth"] == depth), None)


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


def admit(session: Session, admission: Admission) -> Admitted:
    """Hang the history, write its new messages and the running turn. One transaction."""
    owner, secret = owner_and_secret(session, admission.owner)
    end_user = end_user_number(session, owner, admission.end_user)
    named, speaker = _named(session, owner, end_user, admission)
    history = admission.history
    if speaker != admission.end_user:
        history = rekeyed(history, root_key(secret, speaker))
    place = hang(history, OwnersTrees(session, owner), named)
    if place.conversation is None:
        conversation, conversation_id = _new_conversation(session, owner, end_user, admission)
    else:
        conversation, conversation_id = _number_of(session, owner, place.conversation), place.conversation
    question = _add_messages(session, conversation, place, history)
    head = _head(session, conversation)
    # What matches nothing in a conversation that has begun may be a chore, such as a request for a title: the
    # head stays where it is until something goes on from there.
    if head is None or place.parent is not None:
        session.run(
            "move_head",
            seq=conversation,
            head=question,
            now=now(),
            one_shot=int(place.conversation is None and admission.conversation is None),
            title=_title(history),
        )
    _add_turn(session, admission, owner, end_user, conversation, place, question, head)
    return Admitted(
        turn=admission.turn,
        conversation=conversation_id,
        messages=_stored_forms(session, place, history),
    )


def _head(session: Session, conversation: int) -> int | None:
    row = session.one("head_of", seq=conversation)
    assert row is not None
    head: int | None = row["head"]
    return head


def _named(
    session: Session, owner: int, end_user: int | None, admission: Admission
) -> tuple[str | None, str | None]:
    """The id of the conversation that the request names, and whose it is; a name that is new makes one."""
    ref = admission.conversation
    if ref is None:
        return None, admission.end_user
    if ref.startswith(ids.CONVERSATION):
        row = session.one("conversation_by_id", owner=owner, id=ref)
        if row is None or (end_user is not None and row["end_user"] != end_user):
            raise ConversationNotFound(f"No conversation has the id {ref}.", param="conversation")
        return ref, row["end_user_name"]
    row = session.one("conversation_by_name", owner=owner, end_user=end_user, name=ref)
    if row is not None:
        return row["id"], admission.end_user
    return _new_conversation(session, owner, end_user, admission)[1], admission.end_user


def _number_of(session: Session, owner: int, conversation: str) -> int:
    row = session.one("conversation_by_id", owner=owner, id=conversation)
    assert row is not None
    seq: int = row["seq"]
    return seq


def _new_conversation(
    session: Session, owner: int, end_user: int | None, admission: Admission
) -> tuple[int, str]:
    conversation_id = new_id(ids.CONVERSATION)
    row = session.one(
        "add_conversation",
        id=conversation_id,
        owner=owner,
        end_user=end_user,
        name=admission.conversation,
        title=_title(admission.history),
        one_shot=int(admission.conversation is None),
        source=admission.source,
        metadata=None,
        now=now(),
    )
    assert row is not None
    return row["seq"], conversation_id


def _title(history: History) -> str | None:
    """The first words of the first user message."""
    for message in history.messages:
        if message.role == "user" and (words := " ".join(message.text.split())):
            return words if len(words) <= TITLE_CHARACTERS else words[: TITLE_CHARACTERS - 1].rstrip() + "…"
    return None


def _add_messages(session: Session, conversation: int, place: Placement, history: History) -> int | None:
    """Write what the tree does not hold yet; the sequence number of the last message, the turn's question."""
    parent = place.parent
    question = parent.id if parent else None
    depth = parent.depth + 1 if parent else 0
    forms = history.forms[place.matched :]
    keys = path_keys(parent.key if parent else history.root, forms)
    for message, key in zip(history.messages[place.matched :], keys, strict=True):
        row = session.one(
            "add_message",
            id=new_id(ids.MESSAGE),
            conversation=conversation,
            parent=question,
            depth=depth,
            role=message.role,
            body=to_json(message),
            key=key,
            tail=None,
            turn=None,
            now=now(),
        )
        assert row is not None
        question, depth = row["seq"], depth + 1
    return question


def _add_turn(
    session: Session,
    admission: Admission,
    owner: int,
    end_user: int | None,
    conversation: int,
    place: Placement,
    question: int | None,
    head_before: int | None,
) -> None:
    gap_from, gap_to = place.gap or (None, None)
    session.run(
        "add_turn",
        id=admission.turn,
        owner=owner,
        end_user=end_user,
        conversation=conversation,
        lease=admission.lease,
        door=admission.door,
        requested_model=admission.requested_model,
        model=admission.model,
        parameters=to_json(admission.sampling),
        metadata=to_json(admission.metadata) if admission.metadata else None,
        instructions=_instructions_number(session, owner, admission.history),
        parent=place.parent.id if place.parent else None,
        question=question,
        head_before=head_before,
        gap_from=gap_from,
        gap_to=gap_to,
        now=now(),
    )


def _instructions_number(session: Session, owner: int, history: History) -> int | None:
    """Instructions are stored once by content: many requests carry the same."""
    if not history.instructions:
        return None
    body = to_json(history.instructions)
    digest = blake2b(body.encode(), digest_size=16).digest()
    session.run("add_instructions", owner=owner, hash=digest, body=body)
    row = session.one("instructions_of_hash", owner=owner, hash=digest)
    assert row is not None
    seq: int = row["seq"]
    return seq


def _stored_forms(session: Session, place: Placement, history: History) -> list[Message]:
    """The history's messages, those that were in the tree in their stored form."""
    if place.parent is None:
        return list(history.messages)
    rows = session.all("up_from", seq=place.parent.id, count=place.parent.depth + 1)
    gap_from, gap_to = place.gap or (0, 0)
    stored = [message_of(row) for row in reversed(rows) if not gap_from <= row["depth"] < gap_to]
    return stored + history.messages[place.matched :]
