"""The rows that a deletion reaches: messages with all that refers to them, turns, conversations."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.stores import attachments
from palaver.stores.base import Deleted
from palaver.stores.database import Row, Session
from palaver.stores.places import living_from
from palaver.stores.recalls import drop_recalls_of, drop_recalls_quoting
from palaver.stores.rows import now, portions, receipt_of, to_json
from palaver.stores.summaries import drop_summaries

ONCE = "instructions"
"""Under this name doors keep with a turn (`Admission.asked`) that it had instructions for itself only."""


def plus(one: Deleted, other: Deleted) -> Deleted:
    return Deleted(
        conversations=one.conversations + other.conversations,
        messages=one.messages + other.messages,
        turns=one.turns + other.turns,
        quoted_in=one.quoted_in | other.quoted_in,
    )


def erase_conversation(session: Session, row: Row) -> Deleted:
    """Remove a conversation (`seq`, `end_user`) and all that belongs to it; its end user too, if it was the last."""
    conversation = row["seq"]
    session.run("put_head", conversation=conversation, head=None)
    messages = session.all("all_in_conversation", conversation=conversation)
    done = erase_messages(session, conversation, messages)
    turns = drop_turns(session, session.all("turns_in_conversation", conversation=conversation))
    removed = session.one("remove_conversation", conversation=conversation)
    if removed is not None and removed["instructions"] is not None:
        session.run("remove_instructions", instructions=[removed["instructions"]])
    if row["end_user"] is not None:
        session.run("remove_idle_end_user", end_user=row["end_user"])
    return plus(done, Deleted(conversations=1, turns=turns))


def erase_messages(session: Session, conversation: int, rows: Sequence[Row]) -> Deleted:
    """Remove messages (`seq`, `deleted_at`) of a conversation, with their turns and all that refers to them.

    They come the latest first, and nothing hangs below them but what is among them. The head is the caller's.
    """
    turns = 0
    quoted_in: set[tuple[str, str]] = set()
    for some in portions(rows):
        messages = [row["seq"] for row in some]
        quoted_in |= drop_recalls_quoting(session, messages)
        session.run("forget_title", conversation=conversation, messages=messages)
        drop_summaries(session, session.all("summaries_of_messages", messages=messages))
        session.run("forget_continued", conversation=conversation, messages=messages)
        session.run("forget_head_before", messages=messages)
        session.run("forget_parent", messages=messages)
        theirs = session.all("turns_of_messages", messages=messages)
        for query in (
            "forget_question",
            "forget_reply",
            "forget_choice",
            "remove_counts",
            "remove_vectors",
        ):
            session.run(query, messages=messages)
        attachments.drop(session, messages)
        session.run("remove_messages", messages=messages)
        turns += _drop_unanswered(session, theirs)
    messages_gone = sum(row["deleted_at"] is None for row in rows)
    return Deleted(messages=messages_gone, turns=turns, quoted_in=frozenset(quoted_in))


def _drop_unanswered(session: Session, rows: Sequence[Row]) -> int:
    """Remove those of these turns that have no reply any more; the number of them.

    A turn of several replies stays while one of them does, and keeps nothing of the others but their numbers.
    """
    stay = {
        row["seq"]
        for some in portions(rows)
        for row in session.all("turns_with_replies", turns=[each["seq"] for each in some])
    }
    _empty_turns(session, [row for row in rows if row["seq"] in stay])
    return drop_turns(session, [row for row in rows if row["seq"] not in stay])


def drop_turns(session: Session, rows: Sequence[Row]) -> int:
    """Remove turns (`seq`, `instructions`, `carried`, `tools`, `epoch`) without a reply, with all that is theirs alone.

    One that runs is gone for whoever works on it: its next write finds no lease. Returns how many they were.
    """
    for some in portions(rows):
        turns = [row["seq"] for row in some]
        drop_recalls_of(session, turns)
        for query in ("remove_logs", "remove_attempts", "remove_choices", "remove_turns"):
            session.run(query, turns=turns)
        theirs = {row[name] for row in some for name in ("instructions", "carried")} - {None}
        session.run("remove_instructions", instructions=list(theirs))
        session.run("remove_toolsets", toolsets=list({row["tools"] for row in some} - {None}))
        session.run("remove_epochs", epochs=list({row["epoch"] for row in some} - {None}))
    return len(rows)


def _empty_turns(session: Session, rows: Sequence[Row]) -> None:
    """Leave of turns (`seq`, `parameters`, `asked`, `instructions`, `carried`, `tools`, `receipt`) nothing that quotes,
    or was sent along with, what is deleted.

    Of what was asked for only numbers and switches stay, and what turns below take over: all else holds words. Nor is
    their answer given again to a request that is repeated.
    """
    for row in rows:
        session.run(
            "empty_turn",
            turn=row["seq"],
            parameters=_without_words(row["parameters"]),
            asked=_switches_of(row["asked"], without=ONCE if row["instructions"] != row["carried"] else ""),
            receipt=_without_warnings(row["receipt"]),
        )
    for some in portions(rows):
        drop_recalls_of(session, [row["seq"] for row in some])
        session.run("remove_attempts", turns=[row["seq"] for row in some])
        session.run("remove_toolsets", toolsets=list({row["tools"] for row in some} - {None}))
        session.run("remove_instructions", instructions=list({row["instructions"] for row in some} - {None}))


def _without_words(parameters: str | None) -> str:
    asked = msgspec.json.decode(parameters or "{}", type=Parameters)
    words = {
        name: None
        for name, value in msgspec.structs.asdict(asked).items()
        if not isinstance(value, int | float | None)
    }
    return to_json(msgspec.structs.replace(asked, **words))


def _switches_of(asked: str | None, without: str) -> str | None:
    told: dict[str, object] = msgspec.json.decode(asked or "{}")
    kept = {name: value for name, value in told.items() if isinstance(value, int | float) and name != without}
    return to_json(kept) if kept else None


def _without_warnings(receipt: str | None) -> str | None:
    told = receipt_of(receipt)
    return to_json(msgspec.structs.replace(told, warnings=[])) if told is not None else None


def drop_open_turns(session: Session, conversation: int, messages: set[int]) -> int:
    """End what works on an answer to these messages, or goes on with them, as if it had never been asked.

    So does everything that waits in the conversation: what it will say stands there as it was sent, and may quote
    them. Returns how many they were.
    """
    concerned = [
        row["seq"]
        for row in session.all("open_turns_in", conversation=conversation)
        if row["state"] == "queued" or row["question"] in messages or row["continues"] in messages
    ]
    every = session.all("turns_in_conversation", conversation=conversation) if concerned else []
    return drop_turns(session, [row for row in every if row["seq"] in concerned])


def entomb(session: Session, message: Row) -> Deleted:
    """Leave of a message (`seq`, `role`, `conversation`) its place in the tree, and nothing of what it said."""
    seq, conversation = message["seq"], message["conversation"]
    body = to_json(Message(message["role"]))
    session.run("make_tombstone", seq=seq, body=body, key=b"", now=now())
    session.run("remove_counts", messages=[seq])
    session.run("remove_vectors", messages=[seq])
    attachments.drop(session, [seq])
    replies = [row["seq"] for row in session.all("replies_with_this_in_their_tail", seq=seq)]
    for some in portions(replies):
        session.run("forget_tails", messages=some)
    session.run("forget_title", conversation=conversation, messages=[seq])
    drop_summaries(session, session.all("summaries_over", conversation=conversation, message=seq))
    session.run("forget_continued", conversation=conversation, messages=[seq])
    session.run("forget_form_of_reply", seq=seq)
    session.run("forget_form_of_choice", seq=seq)
    quoted_in = drop_recalls_quoting(session, [seq])
    _empty_turns(session, session.all("turns_of_messages", messages=[seq]))
    return Deleted(messages=1, quoted_in=frozenset(quoted_in))


def remove_tombstones(session: Session, conversation: int, seq: int | None) -> int:
    """Remove a message, and those above it, as far as they are tombstones with nothing below them.

    The head is on none of them. Returns how many turns went with them.
    """
    turns = 0
    while seq is not None:
        place = session.one("place_above", seq=seq)
        if place is None or place["deleted_at"] is None or session.one("has_answer", parent=seq):
            break
        turns += erase_messages(session, conversation, [place]).turns
        seq = place["parent"]
    return turns


def lift_head(session: Session, conversation: int, gone: set[int]) -> None:
    """Let the head fall off messages that are to go, and off tombstones: to the nearest one above that stays."""
    row = session.one("head_of", seq=conversation)
    if row is None:
        return
    head = living_from(session, row["head"], gone)
    if head != row["head"]:
        session.run("put_head", conversation=conversation, head=head)


def tidy(session: Session, conversation: int) -> Deleted:
    """After messages went: a head where there is none, the latest message; and where no message is left, the
    conversation goes, unless it has a name, or was made by itself."""
    row = session.one("conversation_left", conversation=conversation)
    assert row is not None
    if row["newest"] is None:
        was_made = row["name"] is not None or row["metadata"] is not None
        return Deleted() if was_made else erase_conversation(session, row)
    if row["head"] is None:
        session.run("put_head", conversation=conversation, head=row["newest"])
    return Deleted()
