"""Conversations that are made and filled beside turns; what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from palaver.core import ids
from palaver.core.calls import check_results
from palaver.core.errors import ConversationBusy, InvalidRequest
from palaver.core.message import RESULTS, Message, root_key
from palaver.core.tree import History, read_history
from palaver.stores import writing
from palaver.stores.base import Conversation, Item
from palaver.stores.branches import living
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.places import Place, check_name_is_free, under
from palaver.stores.reading import LAST, find_conversation
from palaver.stores.rows import conversation_of, item_of, message_of, new_id, node_of, now, to_json
from palaver.stores.titles import title_of

NEAR = 64
"""Calls are looked for so far up first: nearly always they are the last message."""


class SqlConversations(Verbs):
    """See `palaver.stores.base.conversations.Conversations`."""

    async def create_conversation(
        self,
        owner: str,
        messages: Sequence[Message] = (),
        *,
        end_user: str | None = None,
        name: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        source: str | None = None,
        temporary: int | None = None,
    ) -> Conversation:
        def work(session: Session) -> Conversation:
            check_results(messages)
            whose, _ = writing.owner_and_secret(session, owner)
            user = writing.end_user_number(session, whose, end_user)
            check_name_is_free(session, whose, user, name)
            id = new_id(ids.CONVERSATION)
            session.one(
                "add_conversation",
                id=id,
                owner=whose,
                end_user=user,
                name=name,
                one_shot=0,
                source=source,
                metadata=to_json(metadata or {}),  # not NULL, which says that nobody made it
                keep_seconds=temporary,
                now=now(),
            )
            found = find_conversation(session, owner, id)
            if messages:
                _append(session, owner, found, messages)
            if title:
                _set_title(session, found["seq"], title)
            return conversation_of(find_conversation(session, owner, id))

        return await self._database.write(work)

    async def add_items(
        self, owner: str, conversation: str, messages: Sequence[Message], *, below: str | None = None
    ) -> list[Item]:
        def work(session: Session) -> list[Item]:
            found = find_conversation(session, owner, conversation)
            if below is not None:
                last = _hang(session, owner, found, living(session, found["seq"], below), messages)
            elif session.all("open_turns", conversation=found["id"]):
                raise ConversationBusy(
                    "A turn is being answered in this conversation, or waits to be.", param="conversation"
                )
            else:
                last = _append(session, owner, found, messages)
            rows = session.all("items_up_from", seq=last, limit=len(messages))
            return [item_of(row) for row in reversed(rows)]

        return await self._database.write(work)

    async def update_conversation(
        self,
        owner: str,
        conversation: str,
        *,
        metadata: Mapping[str, str] | None = None,
        title: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        expires_in: int | UnsetType | None = UNSET,
    ) -> Conversation:
        def work(session: Session) -> Conversation:
            found = find_conversation(session, owner, conversation)
            if metadata is not None:
                session.run("set_metadata", seq=found["seq"], metadata=to_json(metadata))
            if title is not None:
                _set_title(session, found["seq"], title)
            if pinned is not None or archived is not None:
                session.run("set_marks", seq=found["seq"], pinned=pinned, archived=archived)
            if expires_in is not UNSET:
                expires_at = None if expires_in is None else now() + expires_in * 1000
                session.run("set_expiry", seq=found["seq"], expires_at=expires_at)
            return conversation_of(find_conversation(session, owner, conversation))

        return await self._database.write(work)


def _append(session: Session, owner: str, conversation: Row, messages: Sequence[Message]) -> int:
    """Write messages below the head, and move it to the last of them, whose number this is. Raises InvalidRequest."""
    head = session.one("head_node", id=conversation["id"])
    _check_results(session, head, messages)
    place = Place(conversation=conversation["id"], parent=node_of(head) if head else None, exact=True)
    history = _history(session, owner, conversation, messages)
    written = writing.add_messages(session, conversation["seq"], history.root, place, history)
    assert written.question is not None
    session.run(
        "move_head",
        seq=conversation["seq"],
        head=written.question,
        now=now(),
        continued=1,
        title=written.title,
        title_from=written.title_from,
    )
    return written.question


def _hang(session: Session, owner: str, conversation: Row, message: int, messages: Sequence[Message]) -> int:
    """Write messages below another (its number), as a branch: the head stays. What hangs there already is not written
    again. The number of the last of them. Raises InvalidRequest."""
    node = session.one("node", seq=message)
    assert node is not None
    _check_results(session, node, messages)
    history = _history(session, owner, conversation, messages)
    place = under(session, node, history)
    written = writing.add_messages(session, conversation["seq"], history.root, place, history)
    assert written.question is not None
    return written.question


def _history(session: Session, owner: str, conversation: Row, messages: Sequence[Message]) -> History:
    _, secret = writing.owner_and_secret(session, owner)
    return read_history(messages, root_key(secret, conversation["end_user"]), whole=True)


def _check_results(session: Session, head: Row | None, messages: Sequence[Message]) -> None:
    """Raises InvalidRequest for the result of a call that was made neither above nor among these messages."""
    if head is None or not any(message.role in RESULTS for message in messages):
        check_results(messages)
        return
    try:
        _check_below(session, head, messages, NEAR)
    except InvalidRequest:
        _check_below(session, head, messages, LAST)


def _check_below(session: Session, head: Row, messages: Sequence[Message], count: int) -> None:
    rows = session.all("calls_up_from", seq=head["seq"], count=count)
    check_results([*(message_of(row) for row in rows), *messages], len(rows))


def _set_title(session: Session, conversation: int, title: str) -> None:
    """The user's title, in one line; in the place of an empty one the first words of the head's path."""
    line = " ".join(title.split())
    if line:
        session.run("set_title", seq=conversation, title=line, title_from=None, titled_by="user")
        return
    words, made_of = None, None
    for row in session.all("first_questions", conversation=conversation):
        if words := title_of(message_of(row)):
            made_of = row["seq"]
            break
    session.run("set_title", seq=conversation, title=words, title_from=made_of, titled_by=None)
