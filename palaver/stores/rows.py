"""From rows to values and back: the JSON columns and the shapes that the contract names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from palaver.core import ids
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Tool
from palaver.core.path import Span, Step
from palaver.core.receipt import Receipt
from palaver.core.reply import Length
from palaver.core.tree import Instruction, Node
from palaver.core.turn import Delta, TokenLogprob, TurnState, Usage
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import Conversation, Item, OtherReply, Tried, TurnRecord
from palaver.stores.database import Row

_message = msgspec.json.Decoder(Message)
_instructions = msgspec.json.Decoder(list[Instruction])
_tools = msgspec.json.Decoder(list[Tool])
_deltas = msgspec.json.Decoder(list[Delta])
_lengths = msgspec.json.Decoder(list[Length])
_receipt = msgspec.json.Decoder(Receipt)
_logprobs = msgspec.json.Decoder(list[TokenLogprob])


AT_ONCE = 500
"""As many rows as one statement names."""

T = TypeVar("T")


class _Waiting(msgspec.Struct, frozen=True):
    instructions: list[Instruction]
    passing: list[Instruction] = []


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


def portions(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The same, some at a time: as many as one statement names."""
    for at in range(0, len(rows), AT_ONCE):
        yield rows[at : at + AT_ONCE]


def message_of(row: Row) -> Message:
    return _message.decode(row["body"])


def instructions_of(body: str | None) -> list[Instruction]:
    return _instructions.decode(body) if body else []


def tools_of(body: str | None) -> list[Tool]:
    return _tools.decode(body) if body else []


def deltas_of(body: str) -> list[Delta]:
    return _deltas.decode(body)


def lengths_of(body: str | None) -> list[Length]:
    return _lengths.decode(body or "[]")


def logprobs_of(body: str | None) -> list[TokenLogprob]:
    return _logprobs.decode(body or "[]")


def other_reply_of(row: Row, item: Item | None) -> OtherReply:
    return OtherReply(
        item=item,
        finish_reason=row["finish_reason"],
        deltas=lengths_of(row["deltas"]),
        logprobs=logprobs_of(row["logprobs"]),
    )


def settings_of(body: str | None) -> WindowSettings | None:
    return msgspec.json.decode(body, type=WindowSettings) if body else None


def receipt_of(body: str | None) -> Receipt | None:
    return _receipt.decode(body) if body else None


def step_of(row: Row) -> Step:
    return Step(row["depth"], message_of(row), row["id"], row["deleted_at"] is not None)


def gap_of(row: Row) -> tuple[int, int] | None:
    return None if row["gap_from"] is None else (row["gap_from"], row["gap_to"])


def span_of(row: Row) -> Span:
    return Span(row["start"], gap_of(row))


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
        titled_by=row["titled_by"] or ("words" if row["title"] is not None else None),
        end_user=row["end_user"],
        source=row["source"],
        one_shot=bool(row["one_shot"]),
        head=row["head"],
        messages=row["messages"],
        metadata=msgspec.json.decode(row["metadata"] or "{}"),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
        window=settings_of(row["window_settings"]),
        pinned=bool(row["pinned"]),
        archived=bool(row["archived"]),
    )


def turn_of(row: Row, reply: Item | None, others: list[OtherReply]) -> TurnRecord:
    error = msgspec.json.decode(row["error"], type=StoredError) if row["error"] else StoredError(None, None)
    return TurnRecord(
        id=row["id"],
        conversation=row["conversation"],
        state=state_of(row["state"]),
        door=row["door"],
        requested_model=row["requested_model"],
        model=row["model"],
        parameters=msgspec.json.decode(row["parameters"] or "{}", type=Parameters),
        tools=tools_of(row["tools"]),
        metadata=msgspec.json.decode(row["metadata"] or "{}"),
        instructions=_waiting_with(row["input"]) or instructions_of(row["instructions"]),
        question=row["question"],
        reply=reply,
        gap=gap_of(row),
        finish_reason=row["finish_reason"],
        usage=usage_of(row),
        error_code=error.code,
        error_message=error.message,
        deltas=lengths_of(row["deltas"]),
        logprobs=logprobs_of(row["logprobs"]),
        others=others,
        served_as=row["served_as"],
        tried=msgspec.json.decode(row["tried"] or "[]", type=list[Tried]),
        warnings=msgspec.json.decode(row["warnings"] or "[]", type=list[str]),
        receipt=receipt_of(row["receipt"]),
        created_at=row["created_at"],
        first_token_at=row["first_token_at"],
        ended_at=row["ended_at"],
        inputs=row["inputs"],
        asked=msgspec.json.decode(row["asked"] or "{}"),
    )


def _waiting_with(input: str | None) -> list[Instruction]:
    """The instructions that a turn waits with; what it takes over besides is known when it begins."""
    waits = msgspec.json.decode(input, type=_Waiting) if input else _Waiting([])
    return [*waits.passing, *waits.instructions]


def usage_of(row: Row) -> Usage | None:
    if row["prompt_tokens"] is None:
        return None
    return Usage(
        row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"], row["reasoning_tokens"]
    )
