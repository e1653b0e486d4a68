"""What turns recalled: which messages were quoted, and which characters of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from palaver.core.message import ToolCall
from palaver.core.recall import Note, Quote, Quoted, Recall
from palaver.stores.checking import Portion, each
from palaver.stores.database import Row, Session
from palaver.stores.rows import message_of, portions, to_json

RECALLED_BY = ("tool", "setting", "user")


def keep_recalls(session: Session, turn: int, recalls: Sequence[Recall]) -> None:
    """Put on record what a turn recalled, in the place of what it had before.

    What quotes a message that is gone by now is not kept, nor what was looked for: the turn below sees that it is
    missing.
    """
    drop_recalls_of(session, [turn])
    for place, recall in enumerate(recalls):
        row = session.one(
            "add_recall",
            turn=turn,
            place=place,
            by=recall.by,
            call=to_json(recall.call) if recall.call is not None else None,
            answer=recall.answer or None,
            said=recall.said,
        )
        assert row is not None
        quoted = sum(
            session.run(
                "add_quote",
                recall=row["seq"],
                place=number,
                turn=turn,
                message=quote.message,
                start=quote.start,
                stop=quote.stop,
            )
            for number, quote in enumerate(recall.quotes)
        )
        if quoted < len(recall.quotes):
            _drop(session, [row["seq"]])


def notes_of(session: Session, epoch: str, conversation: int, path: Collection[str]) -> list[Note]:
    """What was recalled in an epoch (its id) by the turns whose replies are on a path, with what was quoted."""
    rows = [row for row in session.all("recalls_of_epoch", epoch=epoch) if row["reply"] in path]
    return _notes(session, rows, conversation)


def notes_of_reply(session: Session, reply: int, conversation: int) -> list[Note]:
    """What was recalled for a reply (its number)."""
    return _notes(session, session.all("recalls_of_reply", reply=reply), conversation)


def _notes(session: Session, rows: Sequence[Row], conversation: int) -> list[Note]:
    """The notes of these rows; of a turn they come in the order in which it recalled."""
    said: dict[int, int] = {}
    notes: dict[int, Note] = {}
    for row in rows:
        if row["seq"] in notes:
            continue
        at = said.get(row["turn"], 0)
        said[row["turn"]] = at + row["said"]
        notes[row["seq"]] = Note(
            depth=row["depth"],
            by=row["recalled_by"],
            quoted=[_quoted(each, conversation) for each in session.all("quotes_of", recall=row["seq"])],
            call=msgspec.json.decode(row["call"], type=ToolCall) if row["call"] else None,
            answer=row["answer"] or "",
            said=message_of(row).text[at : at + row["said"]],
        )
    return list(notes.values())


def _quoted(row: Row, conversation: int) -> Quoted:
    return Quoted(
        quote=Quote(row["id"], row["start"], row["stop"]),
        role="tool" if row["role"] == "function" else row["role"],
        text=message_of(row).text[row["start"] : row["stop"]],
        created_at=row["created_at"],
        conversation=row["conversation_id"] if row["conversation"] != conversation else None,
    )


def drop_recalls_of(session: Session, turns: Sequence[int]) -> None:
    """Forget what these turns recalled."""
    for some in portions(turns):
        _drop(session, [row["seq"] for row in session.all("recalls_of_turns", turns=list(some))])


def drop_recalls_quoting(session: Session, messages: list[int]) -> set[tuple[str, str]]:
    """Forget whatever quoted one of these messages, all of it: what was looked for may tell what was found. Returns
    where that was: owners and conversations (ids)."""
    rows = session.all("recalls_quoting", messages=messages)
    _drop(session, [row["seq"] for row in rows])
    return {(row["owner"], row["conversation"]) for row in rows if row["conversation"] is not None}


def _drop(session: Session, recalls: Sequence[int]) -> None:
    for some in portions(recalls):
        session.run("remove_quotes", recalls=list(some))
        session.run("remove_recalls", recalls=list(some))


def check_recalls(session: Session) -> Iterator[Portion]:
    """Look at everything that was recalled."""
    yield from each(session, "check_recalls", "recalls", lambda row: _recall(session, row))


def _recall(session: Session, row: Row) -> Iterator[str]:
    if row["turn_conversation"] is None:
        yield "its turn is missing, or in no conversation"
    if row["recalled_by"] not in RECALLED_BY:
        yield f"it is not known who recalled it: {row['recalled_by']}"
    if (row["call"] is not None) is not (row["recalled_by"] == "tool"):
        yield "a model's call goes with it exactly where a model recalled it"
    for quote in session.all("check_quotes_of", recall=row["seq"]):
        if quote["owner"] != row["owner"]:
            yield "it quotes another owner's message, or one that is missing"
        elif quote["deleted_at"] is not None:
            yield "it quotes a message that is deleted"
        elif not 0 <= quote["start"] < quote["stop"] <= len(message_of(quote).text):
            yield "it quotes what is no part of a message"
