"""Deletion that reaches every copy."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence

from palaver.core.errors import (
    ConversationNotFound,
    MessageNotFound,
    StoreError,
    SummaryNotFound,
    TurnNotFound,
)
from palaver.stores.attempts import KEPT_MS, KEPT_WITH_KEY_MS
from palaver.stores.base import Conversation, Deleted
from palaver.stores.database import Database, Row, Session, Verbs
from palaver.stores.erasing import (
    drop_open_turns,
    drop_turns,
    entomb,
    erase_conversation,
    erase_messages,
    lift_head,
    plus,
    remove_tombstones,
    tidy,
)
from palaver.stores.reading import find_conversation
from palaver.stores.rows import conversation_of, now
from palaver.stores.summaries import drop_summaries

PORTION = 20
"""As many conversations go in one transaction: others write between."""


class SqlDeletion(Verbs):
    """See `palaver.stores.base.Deletion`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._scrubbing = asyncio.Lock()
        self._failed: StoreError | None = None

    async def delete_message(self, owner: str, message: str) -> Deleted:
        def work(session: Session) -> Deleted:
            row = session.one("message_to_delete", owner=owner, id=message)
            if row is None or row["deleted_at"] is not None:
                raise MessageNotFound(f"There is no message {message}.", param="message")
            done = plus(_delete(session, row), tidy(session, row["conversation"]))
            return _recorded(session, "message", row, done, message)

        return await self._gone(work)

    async def delete_branch(self, owner: str, message: str) -> Deleted:
        def work(session: Session) -> Deleted:
            row = session.one("message_to_delete", owner=owner, id=message)
            if row is None:
                raise MessageNotFound(f"There is no message {message}.", param="message")
            below = session.all("all_below", seq=row["seq"])
            turns = drop_open_turns(session, row["conversation"], {each["seq"] for each in below})
            done = plus(Deleted(turns=turns), _cut_off(session, row, below))
            return _recorded(session, "branch", row, plus(done, tidy(session, row["conversation"])), message)

        return await self._gone(work)

    async def delete_turn(self, owner: str, turn: str) -> Deleted:
        def work(session: Session) -> Deleted:
            row = session.one("turn_to_delete", owner=owner, id=turn)
            if row is None:
                raise TurnNotFound(f"No turn has the id {turn}.")
            done = _delete_replies(session, row)
            done = plus(done, _delete_question(session, row))
            if row["conversation"] is not None:
                done = plus(done, tidy(session, row["conversation"]))
            return _recorded(session, "turn", row, done, turn)

        return await self._gone(work)

    async def delete_summary(self, owner: str, conversation: str, summary: str) -> None:
        def work(session: Session) -> Deleted:
            found = find_conversation(session, owner, conversation)
            row = session.one("summary_to_delete", conversation=found["seq"], id=summary)
            if row is None:
                raise SummaryNotFound(f"This conversation has no summary {summary}.", param="summary")
            drop_summaries(session, [row, *session.all("summaries_made_of", seq=row["seq"])])
            return _recorded(session, "summary", row, Deleted(), summary)

        await self._gone(work)

    async def delete_conversation(self, owner: str, conversation: str) -> Deleted:
        def work(session: Session) -> Deleted:
            row = session.one("conversation_to_delete", owner=owner, id=conversation)
            if row is None:
                raise ConversationNotFound(f"There is no conversation {conversation}.", param="conversation")
            return _recorded(session, "conversation", row, erase_conversation(session, row), conversation)

        return await self._gone(work)

    async def delete_end_user(self, owner: str, end_user: str) -> Deleted:
        def portion(session: Session) -> tuple[Deleted, bool]:
            row = session.one("end_user_to_delete", owner=owner, end_user=end_user)
            if row is None:
                return Deleted(), True
            rows = session.all("conversations_of_end_user", end_user=row["seq"], limit=PORTION)
            done = _erase_all(session, rows)
            if len(rows) < PORTION:
                session.run("remove_end_user", end_user=row["seq"])
            return _recorded(session, "end_user", row, done), len(rows) < PORTION

        done = await self._in_portions(portion)
        self._roots.pop((owner, end_user), None)
        await self._scrub()
        return done

    async def delete_owner(self, owner: str) -> Deleted:
        def portion(session: Session) -> tuple[Deleted, bool]:
            found = session.one("owner", name=owner)
            if found is None:
                return Deleted(), True
            rows = session.all("conversations_of_owner", owner=found["seq"], limit=PORTION)
            done = _erase_all(session, rows)
            if len(rows) < PORTION:
                for query in OF_AN_OWNER:
                    session.run(query, owner=found["seq"])
            return _recorded(session, "owner", {"owner": found["seq"]}, done), len(rows) < PORTION

        done = await self._in_portions(portion)
        for known in [known for known in self._roots if known[0] == owner]:
            del self._roots[known]
        await self._scrub()
        return done

    async def conversations_of(self, owner: str, end_user: str) -> set[str]:
        rows = await self._database.read(
            lambda s: s.all("conversation_ids_of_end_user", owner=owner, end_user=end_user)
        )
        return {row["id"] for row in rows}

    async def aged(
        self, before: int, *, owner: str | None = None, limit: int = 100
    ) -> tuple[int, list[Conversation]]:
        def work(session: Session) -> tuple[int, list[Conversation]]:
            found = session.one("count_aged", before=before, owner=owner)
            rows = session.all("aged_conversations", before=before, owner=owner, limit=limit)
            return found["conversations"] if found else 0, [conversation_of(row) for row in rows]

        return await self._database.read(work)

    async def delete_aged(self, before: int, *, owner: str | None = None) -> Deleted:
        def portion(session: Session) -> tuple[Deleted, bool]:
            rows = [
                {"seq": row["seq"], "end_user": row["end_user_seq"]}
                for row in session.all("aged_conversations", before=before, owner=owner, limit=PORTION)
            ]
            whose = session.one("owner", name=owner) if owner is not None else None
            done = _erase_all(session, rows)
            return _recorded(session, "age", {"owner": whose["seq"] if whose else None}, done), len(
                rows
            ) < PORTION

        done = await self._in_portions(portion)
        await self._scrub()
        return done

    async def delete_expired(self, now: int) -> Deleted:
        def portion(session: Session) -> tuple[Deleted, bool]:
            session.run("remove_old_attempts", before=now - KEPT_MS, before_with_key=now - KEPT_WITH_KEY_MS)
            rows = session.all("expired_conversations", now=now, limit=PORTION)
            done = _erase_all(session, rows)
            return _recorded(session, "expiry", {"owner": None}, done), len(rows) < PORTION

        done = await self._in_portions(portion)
        await self._scrub()
        return done

    async def next_expiry(self) -> int | None:
        row = await self._database.read(lambda s: s.one("next_expiry"))
        return None if row is None else row["expires_at"]

    async def overdue(self, now: int) -> list[tuple[str, str]]:
        rows = await self._database.read(lambda s: s.all("overdue_conversations", now=now))
        return [(row["owner"], row["id"]) for row in rows]

    async def _gone(self, work: Callable[[Session], Deleted]) -> Deleted:
        done = await self._database.write(work)
        await self._scrub()
        return done

    async def _in_portions(self, portion: Callable[[Session], tuple[Deleted, bool]]) -> Deleted:
        """Run transactions until one says that it was the last."""
        done, is_last = Deleted(), False
        while not is_last:
            some, is_last = await self._database.write(portion)
            done = plus(done, some)
        return done

    async def _scrub(self) -> None:
        """Wipe the files of what was deleted: now, and earlier where that could not be done.

        Of many deletions at once, the second to come here wipes for all the others. Where a try fails, it fails for
        all who waited behind it: each of them would wait as long in vain. Raises StoreUnavailable. What was deleted
        stays deleted; the next deletion tries to wipe it again.
        """
        before = self._failed
        async with self._scrubbing:
            failed = self._failed
            if failed is not None and failed is not before:
                raise copy.copy(failed)
            try:
                await self._scrub_all()
            except StoreError as error:
                self._failed = copy.copy(error)  # without the frames that it came through
                raise

    async def _scrub_all(self) -> None:
        row = await self._database.read(lambda s: s.one("latest_unscrubbed"))
        if row is None or row["seq"] is None:
            return
        latest = row["seq"]
        await self._database.scrub()
        await self._database.write(lambda s: s.run("note_scrubbed", seq=latest, now=now()))


OF_AN_OWNER = (
    "remove_attachments_of",
    "remove_instructions_of",
    "remove_toolsets_of",
    "remove_end_users_of",
    "remove_api_keys_of",
    "remove_owner",
)


def _delete(session: Session, message: Row) -> Deleted:
    """Remove a leaf; make an inner message a tombstone."""
    conversation = message["conversation"]
    below = {each["seq"] for each in session.all("all_below", seq=message["seq"])}
    done = Deleted(turns=drop_open_turns(session, conversation, below))
    if len(below) == 1:
        return plus(done, _cut_off(session, message, [message]))
    gone = entomb(session, message)
    lift_head(session, conversation, set())
    return plus(done, gone)


def _delete_replies(session: Session, turn: Row) -> Deleted:
    """Of a turn its replies, and where it has none, the turn."""
    replies = session.all("replies_of_turn", turn=turn["seq"])
    if not replies:
        return Deleted(turns=drop_turns(session, [turn]))
    done = Deleted()
    for reply in replies:
        if reply["deleted_at"] is None:
            done = plus(done, _delete(session, reply))
    return done


def _delete_question(session: Session, turn: Row) -> Deleted:
    """What was asked in a turn, from the last message up, as far as nothing hangs below it."""
    done, seq = Deleted(), turn["question"]
    while seq is not None:
        row = session.one("message_in_the_way", seq=seq)
        if row is None or row["deleted_at"] is not None or session.one("has_answer", parent=seq):
            break
        done = plus(done, _delete(session, row))
        seq = row["parent"] if turn["parent"] not in (row["parent"], seq) else None
    return done


def _cut_off(session: Session, top: Row, rows: Sequence[Row]) -> Deleted:
    """Remove a message with all below it (`rows`, the latest first), and tombstones that end there now."""
    lift_head(session, top["conversation"], {row["seq"] for row in rows})
    done = erase_messages(session, top["conversation"], rows)
    turns = remove_tombstones(session, top["conversation"], top["parent"])
    return plus(done, Deleted(turns=turns))


def _erase_all(session: Session, conversations: Sequence[Row]) -> Deleted:
    done = Deleted()
    for row in conversations:
        done = plus(done, erase_conversation(session, row))
    return done


def _recorded(session: Session, what: str, row: Row, done: Deleted, id: str | None = None) -> Deleted:
    """Put a deletion on record, unless it deleted nothing."""
    if done != Deleted() or id is not None:
        session.run(
            "record_deletion",
            owner=row["owner"],
            what=what,
            id=id,
            conversations=done.conversations,
            messages=done.messages,
            turns=done.turns,
            now=now(),
        )
    return done
