"""Checks that what a store holds is what it must be: every key and every invariant, derived again.

It reads in one transaction, in portions, so that a store of any size is checked in little memory while others
write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from palaver.core.message import FORMS, Message, canonical, next_key, root_key
from palaver.core.tree import EXCHANGE, exchange_key
from palaver.core.turn import TurnState
from palaver.stores import checking
from palaver.stores.check_attachments import check_attachments, references
from palaver.stores.check_summaries import check_summaries, of_epoch
from palaver.stores.checking import Finding, Portion, each
from palaver.stores.database import Row, Session
from palaver.stores.recalls import check_recalls
from palaver.stores.rows import instructions_of, message_of, receipt_of, settings_of, tools_of
from palaver.stores.vectors import check_vectors

EXCHANGES = (4, EXCHANGE)
"""How far up to look for the user message of a reply: nearly always near."""
STATES = frozenset(state.value for state in TurnState)
TITLED_BY = ("model", "user")


def check(session: Session) -> Iterator[Portion]:
    """Look at every row. Raises what the database raises where it cannot be read at all."""
    yield from each(session, "check_conversations", "conversations", _conversation)
    yield from each(session, "check_messages", "messages", lambda row: _message(session, row))
    yield from each(session, "check_turns", "turns", _turn)
    yield from each(session, "check_choices", "choices", _choice)
    yield from each(session, "check_attempts", "attempts", _attempt)
    yield from each(session, "check_instructions", "instructions", _instructions)
    yield from each(session, "check_toolsets", "toolsets", _toolset)
    yield from each(session, "check_epochs", "epochs", _epoch)
    yield from each(session, "check_counts", "message_counts", _count)
    yield from _logs(session)
    yield from check_attachments(session)
    yield from check_recalls(session)
    yield from check_summaries(session)
    yield from check_vectors(session)


def _logs(session: Session) -> Iterator[Portion]:
    turn = batch = -1
    while rows := session.all("check_logs", turn=turn, batch=batch, limit=checking.PORTION):
        turn, batch = rows[-1]["turn"], rows[-1]["batch"]
        orphans = [
            Finding("turn_log", f"{row['turn']}/{row['batch']}", "its turn is missing") for row in rows
        ]
        yield Portion("turn_log", len(rows), orphans)


def _conversation(row: Row) -> Iterator[str]:
    if row["end_user"] is not None and row["end_user_owner"] != row["owner"]:
        yield "its end user is another owner's"
    if row["head"] is not None and row["head_conversation"] != row["seq"]:
        yield "its head is a message of another conversation, or missing"
    try:
        settings_of(row["window_settings"])
    except msgspec.DecodeError:
        yield "how its windows are chosen cannot be decoded"
    if row["titled_by"] is not None and (row["title"] is None or row["titled_by"] not in TITLED_BY):
        yield "it is not said who made its title"
    if row["title_from"] is None:
        return
    if row["titled_by"] == "user":
        yield "its title is the user's, and would be deleted with a message"
    if row["title_conversation"] != row["seq"]:
        yield "its title was made of a message of another conversation, or one that is missing"
    elif row["title_deleted_at"] is not None and row["title"] is not None:
        yield "its title was made of a message that is deleted"


def _message(session: Session, row: Row) -> Iterator[str]:
    if row["secret"] is None:
        yield "its conversation or its owner is missing"
    yield from _place(row)
    if row["turn"] is not None and not row["is_its_turns"]:
        yield "the turn that is said to have generated it has another reply, or is missing"
    try:
        message = message_of(row)
    except msgspec.DecodeError:
        yield "what it says cannot be decoded"
        return
    yield from references(session, row, message)
    if message.role != row["role"]:
        yield f"its role is {row['role']}, and what it says is of the role {message.role}"
    if row["deleted_at"] is not None:
        yield from _tombstone(row, message)
    elif row["secret"] is not None:
        yield from _keys(session, row, message)


def _place(row: Row) -> Iterator[str]:
    if row["parent"] is None:
        if row["depth"] != 0:
            yield f"it is a first message, but its depth is {row['depth']}"
    elif row["parent_depth"] is None:
        yield "its parent is missing"
    else:
        if row["parent_conversation"] != row["conversation"]:
            yield "its parent is in another conversation"
        if row["depth"] != row["parent_depth"] + 1:
            yield f"its depth is {row['depth']}, and that of its parent {row['parent_depth']}"
    if row["turn"] is not None and row["turn_conversation"] != row["conversation"]:
        yield "its turn is in another conversation, or missing"


def _tombstone(row: Row, message: Message) -> Iterator[str]:
    if message != Message(message.role) or row["key"] or row["tail"] is not None:
        yield "it is deleted, but something of it is still there"


def _keys(session: Session, row: Row, message: Message) -> Iterator[str]:
    """A message below one that is deleted has a key that starts at random, and a reply whose exchange holds
    one has no second hash that could be derived."""
    root = _root(row["secret"], row["end_user"])
    if row["parent"] is None or (row["parent_key"] is not None and row["parent_deleted_at"] is None):
        above = root if row["parent"] is None else row["parent_key"]
        if all(row["key"] != next_key(above, canonical(message, form)) for form in FORMS):
            yield "its key is not that of what it says and of the message before it"
    if row["turn"] is None:
        if row["tail"] is not None:
            yield "it has a second hash, which only generated replies have"
        return
    exchange = _exchange(session, row["parent"])
    if exchange is None:
        return
    messages = [*exchange, message]
    if all(row["tail"] != _tail(root, messages, form) for form in FORMS):
        yield "its second hash is not that of the exchange that it ends"


def _tail(root: bytes, messages: Sequence[Message], form: int) -> bytes | None:
    return exchange_key(root, messages, [canonical(each, form) for each in messages], len(messages) - 1)


@lru_cache(maxsize=1024)
def _root(secret: bytes, end_user: str | None) -> bytes:
    return root_key(secret, end_user)


def _exchange(session: Session, parent: int | None) -> Sequence[Message] | None:
    """The messages from the nearest user message to a reply's parent; None where one of them is deleted."""
    for count in EXCHANGES:
        rows = session.all("check_exchange", seq=parent, count=count)
        nearest = next((n for n, row in enumerate(rows) if row["role"] == "user"), None)
        part = rows if nearest is None else rows[: nearest + 1]
        if any(row["deleted_at"] is not None for row in part):
            return None
        if nearest is not None or len(rows) < count:
            break
    try:
        return [message_of(row) for row in reversed(part)]
    except msgspec.DecodeError:
        return None  # told where that message is looked at


def _turn(row: Row) -> Iterator[str]:
    if row["state"] not in STATES:
        yield f"it has an unknown state: {row['state']}"
        return
    yield from _progress(row, TurnState(row["state"]))
    if row["conversation"] is not None and row["conversation_owner"] != row["owner"]:
        yield "its conversation is another owner's, or missing"
    if row["end_user"] is not None and row["end_user_owner"] != row["owner"]:
        yield "its end user is another owner's, or missing"
    for name in ("instructions", "carried"):
        if row[name] is not None and row[f"{name}_owner"] != row["owner"]:
            yield "its instructions are another owner's, or missing"
    if row["tools"] is not None and row["tools_owner"] != row["owner"]:
        yield "its tools are another owner's, or missing"
    yield from _shown(row)
    for name in ("parent", "question", "reply", "head_before", "continues"):
        if row[name] is not None and row[f"{name}_conversation"] != row["conversation"]:
            yield f"its {name} is a message of another conversation, or missing"
    if row["reply"] is not None and row["reply_turn"] != row["seq"]:
        yield "its reply is said to be another turn's"
    if row["reply"] is not None and row["reply_parent"] != row["question"]:
        yield "its reply does not stand below its question"


def _shown(row: Row) -> Iterator[str]:
    """What it showed its model: its receipt names its epoch, which one that failed without text has not."""
    if row["epoch"] is not None and row["epoch_conversation"] != row["conversation"]:
        yield "its epoch is another conversation's, or missing"
        return
    try:
        receipt = receipt_of(row["receipt"])
    except msgspec.DecodeError:
        yield "its receipt cannot be decoded"
        return
    has_none = row["epoch"] is None and row["state"] == TurnState.FAILED and row["reply"] is None
    if not has_none and (receipt.epoch if receipt else None) != row["epoch_id"]:
        yield "its receipt is that of another epoch"


def _progress(row: Row, state: TurnState) -> Iterator[str]:
    """What goes with a state: who works on it, what it waits with, what it has said."""
    if (row["lease"] is None) is not state.ended:
        yield f"it is {state}, " + ("but somebody works on it" if state.ended else "and nobody works on it")
    if (row["ended_at"] is None) is state.ended:
        yield f"it is {state}, " + ("but never ended" if state.ended else "and has ended")
    if (row["input"] is not None) is not (state is TurnState.QUEUED):
        yield f"it is {state}, and " + (
            "keeps what it asked twice" if row["input"] else "what it asks is gone"
        )
    if not state.ended and row["reply"] is not None:
        yield f"it is {state}, and has its reply"
    if row["batches"] and state is not TurnState.RUNNING:
        yield f"it is {state}, but the text of its running is still there"


def _choice(row: Row) -> Iterator[str]:
    """A further reply of a turn stands where the first one does: below the question, and as the turn's own."""
    if row["turn_id"] is None:
        yield "its turn is missing"
        return
    if row["choice"] < 1:
        yield f"its number is {row['choice']}, and the first reply stands with the turn"
    if row["ended_at"] is None:
        yield "its turn has not ended"
    if row["reply"] is None:
        return
    if row["reply_turn"] != row["turn"]:
        yield "its reply is said to be another turn's, or missing"
    elif row["reply_parent"] != row["question"]:
        yield "its reply does not stand below its turn's question"


def _attempt(row: Row) -> Iterator[str]:
    if row["turn_owner"] != row["owner"]:
        yield "its turn is another owner's, or missing"


def _epoch(row: Row) -> Iterator[str]:
    if row["conversation_id"] is None:
        yield "its conversation is missing"
    if not row["turns"]:
        yield "no turn has this epoch"
    start, gap = row["start"], (row["gap_from"], row["gap_to"])
    if start < 0 or (gap != (None, None) and (None in gap or not start < gap[0] < gap[1])):
        yield "what it shows is no part of a path"
    yield from of_epoch(row)


def _count(row: Row) -> Iterator[str]:
    if row["deleted_at"] is not None or row["role"] is None:
        yield "it says how long a message is that is deleted or missing"
    if row["tokenizer_name"] is None:
        yield "what counted it is missing"


def _instructions(row: Row) -> Iterator[str]:
    yield from _content(row, instructions_of)


def _toolset(row: Row) -> Iterator[str]:
    yield from _content(row, tools_of)
    if not row["is_used"]:
        yield "no turn has these tools"


def _content(row: Row, decode: Callable[[str], object]) -> Iterator[str]:
    """What is stored once by content."""
    if row["hash"] != blake2b(row["body"].encode(), digest_size=16).digest():
        yield "their hash is not that of what they say"
    try:
        decode(row["body"])
    except msgspec.DecodeError:
        yield "what they say cannot be decoded"
