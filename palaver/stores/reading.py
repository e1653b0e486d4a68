"""Reading: lists, conversations, paths, turns."""

from __future__ import annotations

from palaver.core.errors import (
    ConversationNotFound,
    InvalidRequest,
    MessageNotFound,
    StoreCorrupt,
    TurnNotFound,
)
from palaver.core.tree import Instruction
from palaver.stores.base import Conversation, Item, Order, TurnRecord
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.rows import conversation_of, instructions_of, item_of, other_reply_of, turn_of

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
        after: str | None = None,
        limit: int = 20,
    ) -> list[Conversation]:
        def work(session: Session) -> list[Conversation]:
            cursor = session.one("conversation_cursor", owner=owner, id=after) if after else None
            if after and cursor is None:
                raise ConversationNotFound(f"No conversation has the id {after}.", param="after")
            rows = session.all(
                "list_conversations",
                owner=owner,
                end_user=end_user,
                name=name,
                one_shots=int(one_shots),
                temporary=int(temporary),
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
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        def work(session: Session) -> list[Item]:
            found = find_conversation(session, owner, conversation)
            end = found["head_seq"] if to is None else find_message(session, found["seq"], to)["seq"]
            seq, depth = end, -1
            if after is not None:
                cursor = session.one("on_path", seq=seq, id=after)
                if cursor is None:
                    raise InvalidRequest(f"No item of this conversation has the id {after}.", param="after")
                seq, depth = cursor["parent"], cursor["depth"]
            if order == "asc":
                rows = session.all("items_down_to", seq=end, depth=depth, limit=limit)
            else:
                rows = session.all("items_up_from", seq=seq, limit=limit) if seq is not None else []
            return [item_of(row) for row in rows]

        return await self._database.read(work)

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        def work(session: Session) -> TurnRecord:
            row = session.one("turn", owner=owner, id=turn)
            if row is None:
                raise TurnNotFound(f"No turn has the id {turn}.")
            others = [
                other_reply_of(choice, _reply(session, turn, choice["reply"]))
                for choice in session.all("choices_of", turn=row["seq"])
            ]
            return turn_of(row, _reply(session, turn, row["reply"]), others)

        return await self._database.read(work)

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        def work(session: Session) -> list[Instruction]:
            found = find_conversation(session, owner, conversation)
            row = session.one("last_instructions", conversation=found["seq"])
            row = row or session.one("instructions_of_fork", conversation=found["seq"])
            return instructions_of(row["body"]) if row else []

        return await self._database.read(work)


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


def _reply(session: Session, turn: str, seq: int | None) -> Item | None:
    if seq is None:
        return None
    rows = session.all("items_up_from", seq=seq, limit=1)
    if not rows:
        raise StoreCorrupt(f"A reply of the turn {turn} is missing; `palaver check` says more.")
    return item_of(rows[0])
