"""Titles that a model makes, in the place of the first words."""

from __future__ import annotations

from palaver.stores.base import Item
from palaver.stores.database import Session, Verbs
from palaver.stores.reading import find_conversation, item_at


class SqlTitles(Verbs):
    """See `palaver.stores.base.titles.Titles`."""

    async def titled_by_words(self, owner: str, conversation: str) -> Item | None:
        def work(session: Session) -> Item | None:
            found = find_conversation(session, owner, conversation)
            row = session.one("titled_by_words", conversation=found["seq"])
            return item_at(session, row["title_from"]) if row is not None else None

        return await self._database.read(work)

    async def set_model_title(self, owner: str, conversation: str, title: str, message: str) -> bool:
        def work(session: Session) -> bool:
            found = find_conversation(session, owner, conversation)
            return session.run("set_model_title", conversation=found["seq"], title=title, message=message) > 0

        return await self._database.write(work)
