"""The one implementation of the store's contract, over any `Database`."""

from __future__ import annotations

from palaver.core.errors import ConversationNotFound, InvalidRequest, TurnNotFound
from palaver.core.tree import Instruction
from palaver.core.turn import Delta
from palaver.stores import admission as admitting
from palaver.stores import ending as ends
from palaver.stores.base import Admission, Admitted, Conversation, Ending, Item, Order, TurnRecord
from palaver.stores.database import Database, Row, Session
from palaver.stores.rows import conversation_of, instructions_of, item_of, turn_of

LAST = (1 << 63) - 1
"""Comes after every time and every sequence number."""


class SqlStore:
    """Keeps the tree in a database. See `stores.base.Store` for the contract."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roots: dict[tuple[str, str | None], bytes] = {}

    async def root_key(self, owner: str, end_user: str | None) -> bytes:
        known = self._roots.get((owner, end_user))
        if known is None:
            known = await self._database.write(lambda s: admitting.starting_key(s, owner, end_user))
            if len(self._roots) >= 10_000:
                self._roots.clear()  # a cache of what can be had again
            self._roots[owner, end_user] = known
        return known

    async def admit(self, admission: Admission) -> Admitted:
        return await self._database.write(lambda s: admitting.admit(s, admission))

    async def log(self, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
        await self._database.write(lambda s: ends.log(s, turn, lease, batch, deltas), durable=False)

    async def finish(self, ending: Ending) -> None:
        await self._database.write(lambda s: ends.finish(s, ending))

    async def recover(self, lease: str) -> list[str]:
        return await self._database.write(lambda s: ends.recover(s, lease))

    async def conversations(
        self,
        owner: str,
        *,
        end_user: str | None = None,
        name: str | None = None,
        one_shots: bool = False,
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
                updated_at=cursor["updated_at"] if cursor else LAST,
                seq=cursor["seq"] if cursor else LAST,
                limit=limit,
            )
            return [conversation_of(row) for row in rows]

        return await self._database.read(work)

    async def conversation(self, owner: str, ref: str, end_user: str | None = None) -> Conversation:
        return await self._database.read(lambda s: conversation_of(_find(s, owner, ref, end_user)))

    async def items(
        self,
        owner: str,
        conversation: str,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> list[Item]:
        def work(session: Session) -> list[Item]:
            found = _find(session, owner, conversation, None)
            seq, depth = found["head_seq"], -1
            if after is not None:
                cursor = session.one("on_path", seq=seq, id=after)
                if cursor is None:
                    raise InvalidRequest(f"No item of this conversation has the id {after}.", param="after")
                seq, depth = cursor["parent"], cursor["depth"]
            if order == "asc":
                rows = session.all("items_down_to", seq=found["head_seq"], depth=depth, limit=limit)
            else:
                rows = session.all("items_up_from", seq=seq, limit=limit) if seq is not None else []
            return [item_of(row) for row in rows]

        return await self._database.read(work)

    async def turn(self, owner: str, turn: str) -> TurnRecord:
        def work(session: Session) -> TurnRecord:
            row = session.one("turn", owner=owner, id=turn)
            if row is None:
                raise TurnNotFound(f"No turn has the id {turn}.")
            rows = session.all("items_up_from", seq=row["reply"], limit=1) if row["reply"] is not None else []
            return turn_of(row, item_of(rows[0]) if rows else None)

        return await self._database.read(work)

    async def last_instructions(self, owner: str, conversation: str) -> list[Instruction]:
        def work(session: Session) -> list[Instruction]:
            found = _find(session, owner, conversation, None)
            row = session.one("last_instructions", conversation=found["seq"])
            return instructions_of(row["body"]) if row else []

        return await self._database.read(work)

    async def announce(self, address: str, key: str, model: str = "") -> None:
        await self._database.announce(address, key, model)

    async def withdraw(self) -> None:
        await self._database.withdraw()

    async def close(self) -> None:
        await self._database.close()


def _find(session: Session, owner: str, ref: str, end_user: str | None) -> Row:
    row = session.one("find_conversation", owner=owner, ref=ref, end_user=end_user)
    if row is None:
        raise ConversationNotFound(f"There is no conversation {ref}.", param="conversation")
    return row
