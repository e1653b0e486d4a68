"""Where a turn hangs: by what its request names, or by the rules of `core.tree`, answered from the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from palaver.core import ids
from palaver.core.errors import ConversationNotFound, InvalidRequest, MessageNotFound
from palaver.core.message import canonical, next_key
from palaver.core.tree import History, Node, Placement, hang
from palaver.core.turn import TurnState
from palaver.stores.base import Admission
from palaver.stores.database import Row, Session
from palaver.stores.rows import message_of, node_of

CUT = frozenset({TurnState.INCOMPLETE, TurnState.CANCELLED})


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


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a turn's new messages hang, and what its prompt begins with.

    `matched` messages of the history stand in the tree already, the last of them is `parent`. `exact` places
    were named: the prompt has the whole path above them. `continues` is the reply that is to go on; `waits`
    says that another turn is being answered there. `retry` hangs nothing new: it asks for another reply to what
    hangs below `asked_below`. Where the conversation has gone on meanwhile, it does not move the head.
    """

    conversation: str | None
    parent: Node | None = None
    matched: int = 0
    gap: tuple[int, int] | None = None
    exact: bool = False
    continues: Row | None = None
    waits: bool = False
    retry: bool = False
    asked_below: int | None = None
    moves_head: bool = True

    @property
    def last(self) -> int | None:
        """The message in whose light a turn that names no instructions is to be seen."""
        if self.continues is not None:
            seq: int = self.continues["seq"]
            return seq
        return self.parent.id if self.parent else None


def by_content(session: Session, owner: int, history: History, named: str | None) -> Place:
    """The place that the threading rules find for a resent history."""
    found: Placement = hang(history, OwnersTrees(session, owner), named)
    return Place(conversation=found.conversation, parent=found.parent, matched=found.matched, gap=found.gap)


def again(session: Session, turn: Row, history: History, exact: bool) -> Place | None:
    """The question of a turn that is tried again; None where that is gone."""
    if turn["question"] is None or turn["conversation"] is None:
        return None
    gap = None if turn["gap_from"] is None else (turn["gap_from"], turn["gap_to"])
    continues = session.one("node", seq=turn["continues"]) if turn["continues"] is not None else None
    question = session.one("node", seq=turn["question"])
    if question is None or question["deleted_at"] is not None:
        return None
    return Place(
        conversation=turn["conversation"],
        parent=node_of(question),
        matched=len(history.messages),
        gap=gap,
        exact=exact,
        continues=continues,
        retry=True,
        asked_below=turn["parent"],
    )


def retried(session: Session, turn: Row, history: History, *, exact: bool, for_head: bool) -> Place | None:
    """Where a turn is tried again; None where it is to find its place anew.

    It asks for another reply to its question. But a turn for the head that failed without a word has given its
    place back: it goes to the end like any other, and may have to wait.
    """
    place = again(session, turn, history, exact)
    if place is None:
        return None
    head = session.one("head_node", id=turn["conversation"])
    replies = {row["seq"] for row in session.all("replies_of_turn", turn=turn["seq"])}
    if head is None or head["seq"] in {turn["question"], *replies}:
        return place
    if for_head and not replies:
        anew = at_head(session, turn["conversation"], history)
        is_there = anew.parent is not None and anew.parent.id == turn["question"]
        if turn["state"] == TurnState.FAILED or (is_there and not anew.waits):
            return None
    has_gone_on = for_head or session.one("on_path", seq=head["seq"], id=turn["question_id"]) is not None
    return msgspec.structs.replace(place, moves_head=not has_gone_on)


def below(
    session: Session, owner: int, end_user: int | None, admission: Admission, named: str | None
) -> Place:
    """The place below the message that the request names. Raises MessageNotFound, InvalidRequest."""
    row = session.one("node_of_owner", owner=owner, id=admission.parent)
    known = row is not None and is_open_to(row, end_user)
    if row is None or not known or (named is not None and row["conversation"] != named):
        raise MessageNotFound(f"There is no message {admission.parent}.", param="parent")
    if admission.history.messages:
        return under(session, row, admission.history)
    if row["deleted_at"] is not None:
        raise MessageNotFound(f"The message {admission.parent} was deleted.", param="parent")
    if row["role"] != "assistant":
        return Place(conversation=row["conversation"], parent=node_of(row), exact=True)
    return _continued(session, row)


def at_head(session: Session, conversation: str, history: History) -> Place:
    """The place below the head or, while a turn is answering there, below what that one hangs on.

    It `waits` where a turn is answering there, or others wait. Raises InvalidRequest where there is nothing new.
    """
    if not history.messages:
        raise InvalidRequest("Input required: `messages` is empty.", param="messages")
    head = session.one("head_node", id=conversation)
    turns = session.all("open_turns", conversation=conversation)
    answering = _answering(turns, head)
    waits = answering is not None or any(t["state"] == TurnState.QUEUED for t in turns)
    if answering is not None:
        head = _asked_below(session, answering)
    if head is None:
        return Place(conversation=conversation, exact=True, waits=waits, moves_head=answering is None)
    # One that does not wait for it hangs beside it; the head stays with the turn that was there first.
    return msgspec.structs.replace(under(session, head, history), waits=waits, moves_head=answering is None)


def _answering(turns: Sequence[Row], head: Row | None) -> Row | None:
    """Of a conversation's open turns, the one that answers its head."""
    running = [turn for turn in turns if turn["state"] == TurnState.RUNNING]
    return next((turn for turn in running if head is not None and turn["question"] == head["seq"]), None)


def _asked_below(session: Session, turn: Row) -> Row | None:
    """The message that a turn's question hangs below, whether it asked it or asked it again.

    A turn may have brought a whole history along: then it is the last answer in that, not what was there before.
    """
    row = session.one("node", seq=turn["question"])
    while row is not None and row["parent"] is not None:
        row = session.one("node", seq=row["parent"])
        if row is None or row["role"] == "assistant" or turn["parent"] in (row["seq"], turn["question"]):
            return row
    return None


def under(session: Session, row: Row, history: History) -> Place:
    """Below this message exactly, following what hangs there already with the same content."""
    node, key, matched = row, row["key"], 0
    for form in history.forms:
        key = next_key(key, form)
        child = session.one("child_with_key", parent=node["seq"], key=key)
        if child is None:
            break
        node, matched = child, matched + 1
    return Place(conversation=row["conversation"], parent=node_of(node), matched=matched, exact=True)


def _continued(session: Session, row: Row) -> Place:
    """To go on with a reply that was cut off: another reply to its question, which begins with its text."""
    message = message_of(row)
    cut = row["turn"] is None or row["state"] in CUT or row["finish_reason"] == "length"
    if not cut:
        raise InvalidRequest(
            "This reply was not cut off. To have its question answered again, name that as `parent`; to go on "
            "from it, send `messages`.",
            param="parent",
        )
    if message.tool_calls or not isinstance(message.content, str):
        raise InvalidRequest("A reply without text, or with tool calls, cannot be continued.", param="parent")
    question = session.one("node", seq=row["parent"]) if row["parent"] is not None else None
    if question is None or question["deleted_at"] is not None:
        raise InvalidRequest(
            "This reply has no question any more that it could go on to answer.", param="parent"
        )
    return Place(conversation=row["conversation"], parent=node_of(question), exact=True, continues=row)


def living_from(session: Session, message: int | None, gone: Collection[int] = frozenset()) -> int | None:
    """A message or, where it is a tombstone or among those that are to go, the nearest one above that is neither."""
    while message is not None:
        row = session.one("place_above", seq=message)
        if row is None or (message not in gone and row["deleted_at"] is None):
            break
        message = row["parent"]
    return message


def is_open_to(conversation: Row, end_user: int | None) -> bool:
    """Whether a request that names this end user may go on there: in what is theirs, and in what is nobody's. One that
    names none speaks for the owner."""
    return end_user is None or conversation["end_user"] in (None, end_user)


def check_name_is_free(session: Session, owner: int, end_user: int | None, name: str | None) -> None:
    """Raises InvalidRequest for a name that this end user has a conversation of."""
    if name is not None and session.one("conversation_by_name", owner=owner, end_user=end_user, name=name):
        raise InvalidRequest(f"There is a conversation named {name} already.", param="name")


def conversation_named(
    session: Session, owner: int, end_user: int | None, ref: str | None
) -> tuple[Row | None, bool]:
    """The conversation that a request names; and whether a new one of that name is to be made.

    Raises ConversationNotFound for an id that this owner and end user do not have.
    """
    if ref is None:
        return None, False
    if ref.startswith(ids.CONVERSATION):
        row = session.one("conversation_by_id", owner=owner, id=ref)
        if row is None or not is_open_to(row, end_user):
            raise ConversationNotFound(f"No conversation has the id {ref}.", param="conversation")
        return row, False
    row = session.one("conversation_by_name", owner=owner, end_user=end_user, name=ref)
    return row, row is None
