"""Reading: lists, conversations, paths, turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from palaver.core.errors import (
    ConversationNotFound,
    InvalidRequest,
    MessageNotFound,
    StoreCorrupt,
    TurnNotFound,
)
from palaver.core.tree import Instruction
from palaver.stores.base import Conversation, Item, Only, Order, TurnRecord
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.rows import (
    conversation_of,
    gap_of,
    instructions_of,
    item_of,
    other_reply_of,
    portions,
    to_json,
    turn_of,
)
from palaver.stores.writing import waiting_input

LISTS = {"pinned": "list_pinned", "archived": "list_archived"}
"""Sorts of conversations that have an index of their own."""

LAST = (1 << 63) - 1
"""Comes after every time and every sequence number."""


class SqlReading(Verbs):
    """See `palaver.stores.base.Reading`."""

    async def conversations(
        self,
        owner: str,
        *,
        end_user: str | None = None,
        name: str | None = None,
        one_shots: bool = False,
        temporary: bool = False,
        archived: bool = False,
        only: Only | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Conversation]:
        def work(session: Session) -> list[Conversation]:
            cursor = session.one("conversation_cursor", owner=owner, id=after) if after else None
            if after and cursor is None:
                raise ConversationNotFound(f"No conversation has the id {after}.", param="after")
            rows = session.all(
                LISTS.get(only or "", "list_conversations"),
                owner=owner,
                end_user=end_user,
                name=name,
                one_shots=int(one_shots or only is not None),
                temporary=int(temporary or only == "temporary"),
                archived=int(archived),
                only=only,
                updated_at=cursor["updated_at"] if cursor else LAST,
                seq=cursor["seq"] if cursor else LAST,
                limit=limit,
            )
            return [conversation_of(row) for row in rows]

        return await self._database.read(work)

    async def conversation(self, owner: str, ref: str, end_user: str | None = None) -> Conversation:
        return await self._database.read(
            lambda s: conversation_of(find_conversation(s, owner, ref, end_user))
        )

    async def items(
        self,
        owner: str,
        conversation: str,
        *,
        to: str | None = None,
        after: str | None = None,
        since: int = 0,
        at: int | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        def work(session: Session) -> list[Item]:
            found = find_conversation(session, owner, conversation)
            end = found["head_seq"] if to is None else find_message(session, found["seq"], to)["seq"]
            first = since if at is None else max(since, _kept_since(session, end, at))
            seq, depth = end, first - 1
            if after is not None:
                cursor = session.one("on_path", seq=seq, id=after)
                if cursor is None:
                    raise InvalidRequest(f"No item of this conversation has the id {after}.", param="after")
                seq, depth = cursor["parent"], max(depth, cursor["depth"])
            if order == "asc":
                rows = session.all("items_down_to", seq=end, depth=depth, limit=limit)
            else:
                rows = session.all("items_up_from", seq=seq, limit=limit) if seq is not None else []
            return [item_of(row) for row in rows if row["depth"] >= first]

        return await self._database.read(work)

    async def message(self, owner: str, conversation: str, message: str) -> Item:
        def work(session: Session) -> Item:
            found = find_conversation(session, owner, conversation)
            return item_at(session, find_message(session, found["seq"], message)["seq"])

        return await self._database.read(work)

    async def messages(self, owner: str, ids: Sequence[str], *, end_user: str | None = None) -> list[Item]:
        def work(session: Session) -> list[Item]:
            return [
                item_of(row)
                for some in portions(list(dict.fromkeys(ids)))
                for row in session.all("messages_with_ids", owner=owner, ids=some, end_user=end_user)
            ]

        return await self._database.read(work)

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        return await self._database.read(lambda s: record_of(s, owner, turn))

    async def turn_input(self, owner: str, turn: str) -> list[Item]:
        def work(session: Session) -> list[Item]:
            row = session.one("turn_input", owner=owner, id=turn)
            if row is None:
                raise TurnNotFound(f"No turn has the id {turn}.")
            if row["input"] is not None:
                return waiting_input(turn, row["input"], row["created_at"])
            if row["question"] is None:
                return []
            count = row["inputs"]
            if count is None:  # of an older palaver: what hangs between the two
                count = max(1, row["depth"] - (-1 if row["above"] is None else row["above"]))
            return [item_of(each) for each in _sent(session, row, count)]

        return await self._database.read(work)

    async def turns(
        self,
        owner: str,
        *,
        door: str,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Order = "asc",
    ) -> list[TurnRecord]:
        def work(session: Session) -> list[TurnRecord]:
            cursor = session.one("turn_of_door", owner=owner, door=door, id=after) if after else None
            if after is not None and cursor is None:
                raise InvalidRequest(f"No turn of this list has the id {after}.", param="after")
            rows = session.all(
                "turns_of_door" if order == "asc" else "turns_of_door_back",
                owner=owner,
                door=door,
                model=model,
                metadata=to_json(metadata) if metadata else None,
                seq=cursor["seq"] if cursor else (0 if order == "asc" else LAST),
                limit=limit,
            )
            return [record_of(session, owner, row["id"]) for row in rows]

        return await self._database.read(work)

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        def work(session: Session) -> list[Instruction]:
            found = find_conversation(session, owner, conversation)
            row = session.one("last_instructions", conversation=found["seq"])
            row = row or session.one("instructions_of_fork", conversation=found["seq"])
            return instructions_of(row["body"]) if row else []

        return await self._database.read(work)


def _kept_since(session: Session, end: int | None, at: int) -> int:
    """The depth of the first message of the path to `end` that was kept at this time (milliseconds since 1970) or
    later; beyond every depth where none was."""
    row = session.one("first_kept_since", seq=end, at=at)
    return LAST if row is None or row["depth"] is None else row["depth"]


def _sent(session: Session, turn: Row, count: int) -> list[Row]:
    """The last messages of the path to a turn's question, so many, but for those of its gap: what stands above that
    begins the path."""
    start, stop = gap_of(turn) or (0, 0)
    below = min(count, turn["depth"] + 1 - stop)
    rows = session.all("items_up_from", seq=turn["question"], limit=below) if below else []
    more = min(count - below, start)
    above = session.all("items_down_to", seq=turn["question"], depth=-1, limit=more) if more else []
    return [*above, *reversed(rows)]


def record_of(session: Session, owner: str, turn: str) -> TurnRecord:
    """A turn as it is stored. Raises TurnNotFound."""
    row = session.one("turn", owner=owner, id=turn)
    if row is None:
        raise TurnNotFound(f"No turn has the id {turn}.")
    others = [
        other_reply_of(choice, _reply(session, turn, choice["reply"]))
        for choice in session.all("choices_of", turn=row["seq"])
    ]
    return turn_of(row, _reply(session, turn, row["reply"]), others)


def find_conversation(session: Session, owner: str, ref: str, end_user: str | None = None) -> Row:
    """The row of a conversation, by id or by name. Raises ConversationNotFound."""
    row = session.one("find_conversation", owner=owner, ref=ref, end_user=end_user)
    if row is None:
        raise ConversationNotFound(f"There is no conversation {ref}.", param="conversation")
    return row


def find_message(session: Session, conversation: int, id: str, param: str = "message") -> Row:
    """The row of a message of a conversation. Raises MessageNotFound."""
    row = session.one("message_in", conversation=conversation, id=id)
    if row is None:
        raise MessageNotFound(f"This conversation has no message {id}.", param=param)
    return row


def item_at(session: Session, seq: int) -> Item:
    """The message with this number. Raises StoreCorrupt where there is none."""
    rows = session.all("items_up_from", seq=seq, limit=1)
    if not rows:
        raise StoreCorrupt(f"The message number {seq} is missing; `palaver check` says more.")
    return item_of(rows[0])


def _reply(session: Session, turn: str, seq: int | None) -> Item | None:
    try:
        return None if seq is None else item_at(session, seq)
    except StoreCorrupt:
        raise StoreCorrupt(f"A reply of the turn {turn} is missing; `palaver check` says more.") from None
