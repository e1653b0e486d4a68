"""Turns, from admission to their end."""

from __future__ import annotations

from collections.abc import Mapping

from palaver.core.turn import Delta
from palaver.stores import admission as admitting
from palaver.stores import ending as ends
from palaver.stores import windows, writing
from palaver.stores.base import Admission, Admitted, Ending, Prompt, TurnRecord
from palaver.stores.database import Session, Verbs
from palaver.stores.reading import record_of
from palaver.stores.rows import to_json

ROOTS_KEPT = 10_000


class SqlTurns(Verbs):
    """See `palaver.stores.base.Turns`."""

    async def root_key(self, owner: str, end_user: str | None) -> bytes:
        known = self._roots.get((owner, end_user))
        if known is None:
            known = await self._database.write(lambda s: writing.starting_key(s, owner, end_user))
            if len(self._roots) >= ROOTS_KEPT:
                self._roots.clear()  # a cache of what can be had again
            self._roots[owner, end_user] = known
        return known

    async def admit(self, admission: Admission) -> Admitted:
        return await self._database.write(lambda s: admitting.admit(s, admission))

    async def begin(self, turn: str, lease: str) -> bool:
        return await self._database.write(lambda s: admitting.begin(s, turn, lease))

    async def prompt(self, turn: str, lease: str) -> Prompt:
        return await self._database.read(lambda s: windows.prompt(s, turn, lease))

    async def log(self, turn: str, lease: str, batch: int, deltas: list[Delta]) -> None:
        await self._database.write(lambda s: ends.log(s, turn, lease, batch, deltas), durable=False)

    async def finish(self, ending: Ending) -> None:
        await self._database.write(lambda s: ends.finish(s, ending))

    async def update_turn(self, owner: str, turn: str, metadata: Mapping[str, str]) -> TurnRecord:
        def work(session: Session) -> TurnRecord:
            body = to_json(metadata) if metadata else None
            session.run("set_turn_metadata", owner=owner, id=turn, metadata=body)
            return record_of(session, owner, turn)

        return await self._database.write(work)

    async def recover(self, lease: str) -> list[str]:
        return await self._database.write(lambda s: ends.recover(s, lease))
