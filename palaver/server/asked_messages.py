"""What a stored turn was asked with: its instructions and the path to its question, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from palaver.core.errors import InvalidRequest
from palaver.core.message import FunctionCall, Message, Role, TextPart, ToolCall
from palaver.core.tree import Instruction
from palaver.server.conversation_shapes import After, Limit
from palaver.server.files import whole_items
from palaver.stores.base import Order, Store, TurnRecord

ORDERS = {"order": ("asc", "desc")}
"""What `order` may be."""
Direction = Annotated[Order, Meta(description="`asc`: the first one first; `desc`: the last one.")]


class AskedQuery(msgspec.Struct, frozen=True):
    after: After = None
    limit: Limit = 20
    order: Direction = "asc"


class AskedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a turn was asked with. `content` is its text; null where there is none, or where it has several
    parts: these are `content_parts`, as they were sent. `role` is whose it is."""

    id: str
    role: Role
    content: str | None
    content_parts: list[dict[str, Any]] | None
    name: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET


class AskedPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[AskedMessage]
    first_id: str
    last_id: str
    has_more: bool


class AskedMessages:
    """What a turn was asked with, read page by page. Messages are numbered in their order, deleted ones too, so that
    each keeps its id: that of the reply (`shown`) and its number."""

    def __init__(self, store: Store, owner: str, turn: TurnRecord, shown: str) -> None:
        self._store = store
        self._owner = owner
        self._turn = turn
        self._shown = shown

    async def page(self, query: AskedQuery) -> list[AskedMessage]:
        """One more than the query wants, where there is one. Raises InvalidRequest for its cursor."""
        places = await self._places()
        numbers = list(range(len(places))) if query.order == "asc" else list(reversed(range(len(places))))
        if query.after is not None:
            numbers = numbers[numbers.index(self._number(query.after, len(places))) + 1 :]
        page: list[AskedMessage] = []
        while numbers and len(page) <= query.limit:
            some, numbers = numbers[: query.limit + 1], numbers[query.limit + 1 :]
            page += await self._read(places, some)
        return page[: query.limit + 1]

    def _number(self, cursor: str, count: int) -> int:
        shown, _, number = cursor.rpartition("-")
        # Only as it is written in an id: `int` takes other digits, and leading zeros.
        if shown != self._shown or number not in map(str, range(count)):
            raise no_cursor(cursor)
        return int(number)

    async def _places(self) -> list[Instruction | int]:
        """All of it: instructions, and of messages their depths on the path."""
        turn, end = self._turn, -1
        if turn.conversation is not None and turn.question is not None:
            asked = await self._store.items(self._owner, turn.conversation, to=turn.question, limit=1)
            end = asked[0].depth
        left_out = range(*turn.gap) if turn.gap else range(0)
        return list(_merged(turn.instructions, [depth for depth in range(end + 1) if depth not in left_out]))

    async def _read(self, places: Sequence[Instruction | int], numbers: Sequence[int]) -> list[AskedMessage]:
        depths = sorted(place for number in numbers if isinstance(place := places[number], int))
        messages: dict[int, Message] = {}
        for start, stop in _runs(depths):
            assert self._turn.conversation is not None
            items = await self._store.items(
                self._owner,
                self._turn.conversation,
                to=self._turn.question,
                since=start,
                limit=stop - start,
                order="asc",
            )
            whole = await whole_items(self._store, self._owner, items)
            messages |= {item.depth: item.message for item in whole if not item.deleted}
        found: list[AskedMessage] = []
        for number in numbers:
            place = places[number]
            message = messages.get(place) if isinstance(place, int) else place.message
            if message is not None:
                found.append(_shown(f"{self._shown}-{number}", message))
        return found


def _merged(instructions: Sequence[Instruction], depths: Sequence[int]) -> Iterator[Instruction | int]:
    """Instructions in their places among the messages of a path, as in a window (`core.window.composed`)."""
    waiting = list(instructions)
    for depth in depths:
        while waiting and waiting[0].at <= depth:
            yield waiting.pop(0)
        yield depth
    yield from waiting


def _runs(depths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """These numbers, in their order, as runs without a gap: from, up to."""
    start = 0
    for i, depth in enumerate(depths):
        if i + 1 == len(depths) or depths[i + 1] != depth + 1:
            yield depths[start], depth + 1
            start = i + 1


def _shown(id: str, message: Message) -> AskedMessage:
    content, parts = message.content, None
    if isinstance(content, list):
        is_text = len(content) == 1 and isinstance(content[0], TextPart)
        parts = None if is_text else [msgspec.to_builtins(part) for part in content]
        content = message.text if is_text else None
    return AskedMessage(
        id=id,
        role=message.role,
        content=content,
        content_parts=parts,
        name=message.name or UNSET,
        tool_calls=message.tool_calls or UNSET,
        tool_call_id=message.tool_call_id or UNSET,
        function_call=message.function_call or UNSET,
        reasoning=message.reasoning or message.reasoning_content or UNSET,
    )


def no_cursor(cursor: str) -> InvalidRequest:
    """The error for a cursor of another list."""
    return InvalidRequest(f"Nothing in this list has the id {cursor[:64]}.", param="after")
