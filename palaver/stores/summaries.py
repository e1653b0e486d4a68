"""Summaries: what is kept of them, and how they go with what they are made of."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.core import ids
from palaver.core.errors import SummaryNotFound
from palaver.core.summaries import Summary
from palaver.stores import branches
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.reading import find_conversation
from palaver.stores.rows import new_id, now, portions

NEWEST = 16
"""As many of a conversation are looked through for those of a path, those that cover most."""


class SqlSummaries(Verbs):
    """See `palaver.stores.base.summaries.Summaries`; what deletes one is with the other deletions."""

    async def summaries(self, owner: str, conversation: str) -> list[Summary]:
        def work(session: Session) -> list[Summary]:
            found = find_conversation(session, owner, conversation)
            rows = session.all("summaries_in", conversation=found["seq"], id=None)
            return [summary_of(row) for row in rows]

        return await self._database.read(work)

    async def summary(self, owner: str, conversation: str, summary: str) -> Summary:
        def work(session: Session) -> Summary:
            return summary_of(_find(session, find_conversation(session, owner, conversation), summary))

        return await self._database.read(work)

    async def add_summary(
        self,
        owner: str,
        conversation: str,
        message: str,
        text: str,
        *,
        model: str | None,
        living: int,
        of: str | None = None,
    ) -> Summary | None:
        def work(session: Session) -> Summary | None:
            found = find_conversation(session, owner, conversation)
            seq = branches.living(session, found["seq"], message)
            if not _is_all_there(session, found, seq, living, of):
                return None
            id = new_id(ids.SUMMARY)
            session.run("add_summary", id=id, message=seq, text=text, model=model, now=now())
            return summary_of(_find(session, found, id))

        return await self._database.write(work)

    async def edit_summary(
        self,
        owner: str,
        conversation: str,
        summary: str,
        text: str,
        *,
        model: str | None = None,
        living: int | None = None,
        of: str | None = None,
    ) -> Summary | None:
        def work(session: Session) -> Summary | None:
            found = find_conversation(session, owner, conversation)
            row = _find(session, found, summary)
            seq = row["message_seq"]
            if living is not None and not _is_all_there(session, found, seq, living, of):
                return None
            session.run("set_summary_text", seq=row["seq"], text=text, model=model, now=now())
            return summary_of(_find(session, found, summary))

        return await self._database.write(work)

    async def switch_summary(self, owner: str, conversation: str, summary: str, *, is_off: bool) -> Summary:
        def work(session: Session) -> Summary:
            found = find_conversation(session, owner, conversation)
            row = _find(session, found, summary)
            session.run("switch_summary", seq=row["seq"], is_off=int(is_off), now=now())
            return summary_of(_find(session, found, summary))

        return await self._database.write(work)


def _find(session: Session, conversation: Row, id: str) -> Row:
    row = session.one("summaries_in", conversation=conversation["seq"], id=id)
    if row is None:
        raise SummaryNotFound(f"This conversation has no summary {id}.", param="summary")
    return row


def _is_all_there(session: Session, conversation: Row, message: int, living: int, of: str | None) -> bool:
    """Whether so many messages of a path still are, and the summary that one was made of."""
    if of is not None and session.one("summary_to_delete", conversation=conversation["seq"], id=of) is None:
        return False
    row = session.one("living_on_path", seq=message)
    return row is not None and row["living"] == living


def summaries_of(
    session: Session, conversation: int, question: int | None, epoch: str | None
) -> list[Summary]:
    """Those of the path to a question that windows may show, and in any case the one that an epoch above shows."""
    rows = session.all("summaries_on_path", conversation=conversation, question=question, limit=NEWEST)
    shown = session.one("summary_shown", epoch=epoch) if epoch is not None else None
    if shown is not None and all(row["seq"] != shown["seq"] for row in rows):
        rows = [*rows, shown]
    return [summary_of(row) for row in rows]


def drop_summaries(session: Session, rows: Sequence[Row]) -> None:
    """Remove summaries (`seq`); epochs that showed them know that there was one."""
    for some in portions(rows):
        summaries = [row["seq"] for row in some]
        session.run("forget_summary", summaries=summaries)
        session.run("remove_summaries", summaries=summaries)


def summary_of(row: Row) -> Summary:
    return Summary(
        id=row["id"],
        conversation=row["conversation"],
        message=row["message"],
        stop=row["stop"],
        version=row["version"],
        text=row["text"],
        model=row["model"],
        is_off=bool(row["is_off"]),
        is_stale=bool(row["is_stale"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
