"""Windows: what they are chosen from, and what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from palaver.core.epoch import Epoch
from palaver.core.errors import InvalidRequest, LeaseLost, MessageNotFound
from palaver.core.message import Message, root_key
from palaver.core.path import Step
from palaver.core.recall import Recall
from palaver.core.receipt import Receipt
from palaver.core.tree import History, rekeyed
from palaver.core.turn import TurnState
from palaver.core.window_settings import WindowSettings
from palaver.stores import paths, places, writing
from palaver.stores.base import Admission, Conversation, EpochRecord, Prompt
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.epochs import above_of, drop_other_epoch, epoch_number, epoch_of
from palaver.stores.openings import opening_below
from palaver.stores.places import Place
from palaver.stores.reading import LAST, find_conversation
from palaver.stores.recalls import keep_recalls, notes_of, notes_of_reply
from palaver.stores.rows import (
    conversation_of,
    gap_of,
    instructions_of,
    portions,
    settings_of,
    to_json,
)
from palaver.stores.summaries import summaries_of

NEAR = 256
"""As many messages are read of a path where nothing says how far up its window reaches."""
NOBODY = -1
"""No row has this number."""


class SqlWindows(Verbs):
    """See `palaver.stores.base.windows.Windows`."""

    async def path(self, owner: str, message: str, since: int = 0, *, attachments: bool = True) -> list[Step]:
        def work(session: Session) -> list[Step]:
            row = _owned(session, owner, message)
            return paths.steps(session, row["seq"], since, attachments=attachments)

        return await self._database.read(work)

    async def opening(self, owner: str, message: str) -> list[Step]:
        def work(session: Session) -> list[Step]:
            row = _owned(session, owner, message)
            return paths.first_steps(session, row["conversation"], row["seq"], attachments=False)

        return await self._database.read(work)

    async def foresee(self, admission: Admission) -> Prompt:
        return await self._database.read(lambda s: _foreseen(s, admission))

    async def counts(self, owner: str, tokenizer: str, messages: Sequence[str]) -> dict[str, int]:
        def work(session: Session) -> dict[str, int]:
            return {
                row["id"]: row["tokens"]
                for some in portions(messages)
                for row in session.all("counts_of", owner=owner, tokenizer=tokenizer, messages=list(some))
            }

        return await self._database.read(work)

    async def keep_counts(self, owner: str, tokenizer: str, counts: Mapping[str, int]) -> None:
        def work(session: Session) -> None:
            session.run("add_tokenizer", name=tokenizer)
            row = session.one("tokenizer", name=tokenizer)
            assert row is not None
            for message, tokens in counts.items():
                session.run("keep_count", owner=owner, message=message, tokenizer=row["seq"], tokens=tokens)

        await self._database.write(work, durable=False)

    async def epochs(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 20
    ) -> list[EpochRecord]:
        def work(session: Session) -> list[EpochRecord]:
            seq = find_conversation(session, owner, conversation)["seq"]
            cursor = session.one("epoch_cursor", conversation=seq, id=after) if after is not None else None
            if after is not None and cursor is None:
                raise InvalidRequest(f"No epoch of this conversation has the id {after}.", param="after")
            before = cursor["seq"] if cursor else LAST
            rows = session.all("epochs_before", conversation=seq, seq=before, limit=limit)
            return [
                EpochRecord(epoch=epoch_of(row), turns=row["turns"], first_turn=row["first_turn"])
                for row in rows
            ]

        return await self._database.read(work)

    async def set_window(
        self, owner: str, conversation: str, settings: WindowSettings | None
    ) -> Conversation:
        def work(session: Session) -> Conversation:
            found = find_conversation(session, owner, conversation)
            said = to_json(settings) if settings not in (None, WindowSettings()) else None
            session.run("set_window_settings", seq=found["seq"], settings=said)
            return conversation_of(find_conversation(session, owner, conversation))

        return await self._database.write(work)

    async def note_window(
        self, turn: str, lease: str, epoch: Epoch, receipt: Receipt, recalls: Sequence[Recall] = ()
    ) -> None:
        def work(session: Session) -> None:
            held = session.one("held_turn", id=turn, lease=lease)
            if held is None:
                raise LeaseLost(f"The turn {turn} is not running under this process any more.")
            noted = epoch_number(session, held, epoch)
            session.run("note_window", turn=held["seq"], epoch=noted, receipt=to_json(receipt))
            drop_other_epoch(session, held, noted)
            keep_recalls(session, held["seq"], recalls)

        await self._database.write(work, durable=False)


def _owned(session: Session, owner: str, message: str) -> Row:
    row = session.one("owned_message", owner=owner, id=message)
    if row is None:
        raise MessageNotFound(f"There is no message {message}.", param="message")
    return row


def prompt(session: Session, turn: str, lease: str) -> Prompt:
    """What a running turn answers."""
    held = session.one("held_turn", id=turn, lease=lease)
    if held is None or held["state"] != TurnState.RUNNING:
        raise LeaseLost(f"The turn {turn} is not running under this process any more.")
    return _prompt(
        session,
        held["conversation"],
        held["question"],
        turn=held["seq"],
        instructions=held["instructions"],
        tools=held["tools"],
        instructions_body=held["instructions_body"],
        gap=gap_of(held),
        continues=held["continues"],
    )


def _prompt(
    session: Session,
    conversation: int,
    question: int | None,
    *,
    turn: int | None = None,
    instructions: int | None,
    tools: int | None,
    instructions_body: str | None,
    gap: tuple[int, int] | None,
    continues: int | None,
) -> Prompt:
    row = session.one("turn_above", seq=question) if question is not None else None
    above = above_of(row, instructions, tools) if row is not None else None
    end = session.one("node", seq=question) if question is not None else None
    since = above.epoch.span.start if above else max(0, end["depth"] + 1 - NEAR) if end else 0
    beside = session.one("turn_beside", question=question, turn=turn) if question is not None else None
    settings = session.one("window_settings_of", seq=conversation)
    steps = paths.steps(session, question, since) if question is not None else []
    return Prompt(
        steps=steps,
        gap=gap,
        instructions=instructions_of(instructions_body),
        opening=paths.first_steps(session, conversation, question),
        continues=paths.step(session, continues) if continues is not None else None,
        above=above,
        beside=above_of(beside, instructions, tools) if beside else None,
        window=settings_of(settings["window_settings"]) if settings else None,
        summaries=summaries_of(session, conversation, question, above.epoch.id if above else None),
        notes=notes_of(session, above.epoch.id, conversation, {step.id for step in steps}) if above else [],
        continued=notes_of_reply(session, continues, conversation) if continues is not None else [],
        conversation=end["conversation"] if end else None,
    )


def _foreseen(session: Session, admission: Admission) -> Prompt:
    """Where an admission would hang and what it would show, found without writing anything."""
    row = session.one("owner", name=admission.owner)
    owner, secret = (row["seq"], row["secret"]) if row is not None else (NOBODY, b"")
    end_user = None
    if admission.end_user is not None:
        row = session.one("end_user", owner=owner, name=admission.end_user)
        end_user = row["seq"] if row is not None else NOBODY
    place, history = _place(session, owner, secret, end_user, admission)
    conversation = session.one("conversation_with_id", id=place.conversation)
    own = history.instructions
    if conversation is None:
        added = _added(history.messages, 0)
        first = opening_below(session, NOBODY, None, added)
        return Prompt(steps=added, instructions=[*admission.passing, *own], opening=first)
    number, kept = _known(session, "instructions_of_hash", owner, own), own
    if not own and place.exact:
        number = writing.instructions_above(session, conversation["seq"], place.last)
        row = session.one("instructions_body", seq=number) if number is not None else None
        kept = instructions_of(row["body"] if row else None)
    if admission.passing:
        kept = [*admission.passing, *kept]
        number = _known(session, "instructions_of_hash", owner, kept)
    body = to_json(kept) if kept else None
    stored = _prompt(
        session,
        conversation["seq"],
        place.parent.id if place.parent else None,
        instructions=number,
        tools=_known(session, "toolset_of_hash", owner, admission.tools),
        instructions_body=body,
        gap=place.gap,
        continues=place.continues["seq"] if place.continues is not None else None,
    )
    added = _added(history.messages[place.matched :], place.parent.depth + 1 if place.parent else 0)
    return msgspec.structs.replace(
        stored,
        steps=[*stored.steps, *added],
        opening=[*stored.opening, *opening_below(session, conversation["seq"], place.parent, added)],
        beside=None if added else stored.beside,
    )


def _place(
    session: Session, owner: int, secret: bytes, end_user: int | None, admission: Admission
) -> tuple[Place, History]:
    """As where a turn is admitted (`stores.admission`). A conversation that is to be made has an id that none has."""
    history = admission.history
    named, is_new = places.conversation_named(session, owner, end_user, admission.conversation)
    ref = "" if is_new else named["id"] if named else None
    if admission.parent is not None:
        return places.below(session, owner, end_user, admission, ref), history
    if admission.at_head and ref is not None:
        return places.at_head(session, ref, history), history
    root = root_key(secret, named["end_user_name"] if named else admission.end_user)
    history = history if history.root == root else rekeyed(history, root)
    return places.by_content(session, owner, history, ref), history


def _added(messages: Sequence[Message], depth: int) -> list[Step]:
    return [Step(depth + i, message) for i, message in enumerate(messages)]


def _known(session: Session, find: str, owner: int, values: Sequence[object]) -> int | None:
    """The number of what is stored once by content; that of no row where it is not yet, None for no values."""
    if not values:
        return None
    row = session.one(find, owner=owner, hash=writing.content_hash(values))
    return row["seq"] if row else NOBODY
