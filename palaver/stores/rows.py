"""From rows to values and back: the JSON columns and the shapes that the contract names."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from palaver.core import ids
from palaver.core.message import Message
from palaver.core.tree import Instruction, Node
from palaver.core.turn import ContentDelta, Delta, ReasoningDelta, Sampling, TurnState, Usage
from palaver.stores.base import Conversation, Item, TurnRecord
from palaver.stores.database import Row

_message = msgspec.json.Decoder(Message)
_instructions = msgspec.json.Decoder(list[Instruction])
_deltas = msgspec.json.Decoder(list[ContentDelta | ReasoningDelta])


class StoredError(msgspec.Struct, frozen=True):
    code: str | None
    message: str | None


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    return prefix + ids.id_body(now(), secrets.token_bytes(ids.RANDOM_BYTES))


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def message_of(row: Row) -> Message:
    return _message.decode(row["body"])


def instructions_of(body: str | None) -> list[Instruction]:
    return _instructions.decode(body) if body else []


def deltas_of(body: str) -> list[Delta]:
    return list(_deltas.decode(body))


def state_of(text: str) -> TurnState:
    """Raises msgspec.DecodeError for what is no state, as for anything else in a row that cannot be read."""
    return msgspec.convert(text, TurnState)


def node_of(row: Row) -> Node:
    return Node(row["seq"], row["conversation"], row["depth"], row["key"], bool(row["is_head"]))


def item_of(row: Row) -> Item:
    return Item(
        id=row["id"],
        parent=row["parent"],
        depth=row["depth"],
        message=message_of(row),
        turn=row["turn"],
        state=state_of(row["state"]) if row["state"] else None,
        model=row["model"],
        created_at=row["created_at"],
        finish_reason=row["finish_reason"],
        deleted=row["deleted_at"] is not None,
    )


def conversation_of(row: Row) -> Conversation:
    return Conversation(
        id=row["id"],
        name=row["name"],
        title=row["title"],
        end_user=row["end_user"],
        source=row["source"],
        one_shot=bool(row["one_shot"]),
        head=row["head"],
        messages=row["messages"],
        metadata=msgspec.json.decode(row["metadata"] or "{}"),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
    )


def turn_of(row: Row, reply: Item | None) -> TurnRecord:
    error = msgspec.json.decode(row["error"], type=StoredError) if row["error"] else StoredError(None, None)
    return TurnRecord(
        id=row["id"],
        conversation=row["conversation"],
        state=state_of(row["state"]),
        door=row["door"],
        requested_model=row["requested_model"],
        model=row["model"],
        sampling=msgspec.json.decode(row["parameters"] or "{}", type=Sampling),
        metadata=msgspec.json.decode(row["metadata"] or "{}"),
        instructions=instructions_of(row["instructions"]),
        question=row["question"],
        reply=reply,
        gap=None if row["gap_from"] is None else (row["gap_from"], row["gap_to"]),
        finish_reason=row["finish_reason"],
        usage=_usage_of(row),
        error_code=error.code,
        error_message=error.message,
        deltas=msgspec.json.decode(row["deltas"] or "[]"),
        created_at=row["created_at"],
        first_token_at=row["first_token_at"],
        ended_at=row["ended_at"],
    )


def _usage_of(row: Row) -> Usage | None:
    if row["prompt_tokens"] is None:
        return None
    return Usage(
        row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"], row["reasoning_tokens"]
    )
