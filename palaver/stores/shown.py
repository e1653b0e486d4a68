"""What is shown beside the text of conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.stores.base import OpenTurn, TurnFigures
from palaver.stores.database import Session, Verbs
from palaver.stores.reading import find_conversation
from palaver.stores.rows import portions, state_of, usage_of


class SqlShown(Verbs):
    """See `palaver.stores.base.shown.Shown`."""

    async def open_turns(self, owner: str, conversation: str) -> list[OpenTurn]:
        def work(session: Session) -> list[OpenTurn]:
            found = find_conversation(session, owner, conversation)
            rows = session.all("turns_not_ended", conversation=found["seq"])
            return [OpenTurn(row["id"], state_of(row["state"]), row["question"]) for row in rows]

        return await self._database.read(work)

    async def siblings(self, owner: str, messages: Sequence[str]) -> dict[str, list[str]]:
        def work(session: Session) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for some in portions(list(dict.fromkeys(messages))):
                for query in ("siblings_below", "siblings_of_first"):
                    for row in session.all(query, ids=some, owner=owner):
                        found.setdefault(row["beside"], []).append(row["id"])
            return found

        return await self._database.read(work)

    async def figures(self, owner: str, turns: Sequence[str]) -> dict[str, TurnFigures]:
        def work(session: Session) -> dict[str, TurnFigures]:
            return {
                row["id"]: TurnFigures(
                    usage=usage_of(row),
                    started_at=row["started_at"],
                    first_token_at=row["first_token_at"],
                    first_text_at=row["first_text_at"],
                    ended_at=row["ended_at"],
                )
                for some in portions(list(dict.fromkeys(turns)))
                for row in session.all("figures_of_turns", ids=some, owner=owner)
            }

        return await self._database.read(work)
