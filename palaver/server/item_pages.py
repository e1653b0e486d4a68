"""Lists of items: which page is asked for, and what stands on it.

A message may be several items, so that a page may begin and end in the middle of one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta
from starlette.requests import Request

from palaver.core import ids
from palaver.core.errors import InvalidRequest, MessageNotFound
from palaver.server.body import Choices, decode_fields
from palaver.server.conversation_shapes import Limit
from palaver.server.files import with_attachments
from palaver.server.items import IMAGES, ShownItem, items_of, shown_as
from palaver.server.paging import page_of
from palaver.server.response_body import Includable
from palaver.stores.base import Item, Order, Store

T = TypeVar("T")
Include = Annotated[
    list[Includable],
    Meta(
        description=f"May come several times, also as `include[]`. `{IMAGES}` has pictures shown with their bytes; the "
        "others say nothing here."
    ),
]
AfterItem = Annotated[str | None, Meta(description="The id of the last item of the page before.")]
Direction = Annotated[Order, Meta(description="From the first message on, or from the last.")]
CHOICES = {"order": get_args(Order), "include[]": get_args(Includable)}
SEVERAL = ("include", "include[]")


class IncludeQuery(msgspec.Struct, frozen=True):
    include: Include = []


class ItemPageQuery(msgspec.Struct, frozen=True):
    after: AfterItem = None
    limit: Limit = 20
    order: Direction = "desc"
    include: Include = []


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items."""

    object: Literal["list"] = "list"
    data: list[ShownItem]
    first_id: str
    last_id: str
    has_more: bool


def item_query(request: Request, kind: type[T], choices: Choices | None = None) -> T:
    """The values of a query with an `include`. Raises InvalidRequest."""
    pairs = request.query_params.multi_items()
    values: dict[str, str | list[str]] = {name: value for name, value in pairs if name not in SEVERAL}
    if included := [value for name, value in pairs if name in SEVERAL]:
        values["include"] = included
    return decode_fields(values, kind, choices or CHOICES)


def item_list(items: Sequence[ShownItem], limit: int | None = None) -> ItemList:
    """A page of at most `limit`, of what was found when one more was asked for; None has all."""
    return page_of(ItemList, items, len(items) if limit is None else limit, lambda item: item)


class Path:
    """Messages of an owner that are listed as items. `read` has the messages after one (its id), so many at most, in
    the order that is asked for; `at` has one of them. They raise what they raise in the store."""

    def __init__(
        self,
        store: Store,
        owner: str,
        read: Callable[[str | None, int], Awaitable[list[Item]]],
        at: Callable[[str], Awaitable[Item]],
    ) -> None:
        self._store = store
        self._owner = owner
        self._read = read
        self._at = at

    async def page(self, query: ItemPageQuery) -> ItemList:
        """The page that is asked for. Raises InvalidRequest (param ``after``) for an item that is not on it."""
        found: list[ShownItem] = []
        after = None
        if query.after is not None:
            after, found = await self._rest(query.after, query)
        while True:
            messages = await self._messages(query.after, after, query.limit + 1)
            found += await self._shown(messages, query)
            if len(found) > query.limit or len(messages) <= query.limit:
                return item_list(found, query.limit)
            after = messages[-1].id

    async def _rest(self, cursor: str, query: ItemPageQuery) -> tuple[str, list[ShownItem]]:
        """The message that an item is a part of, and the items of that which come after it.

        A message that was deleted since has none any more, and the list goes on after it.
        """
        message = ids.message_of_item(cursor)
        if message is None:
            raise no_cursor(cursor)
        try:
            item = await self._at(message)
        except MessageNotFound:
            raise no_cursor(cursor) from None
        items, last = await self._shown([item], query), shown_as(item, cursor)
        place = next((n for n, shown in enumerate(items) if shown.id == last), None)
        if place is None and not item.deleted:
            raise no_cursor(cursor)
        return message, [] if place is None else items[place + 1 :]

    async def _messages(self, cursor: str | None, after: str | None, limit: int) -> list[Item]:
        try:
            return await self._read(after, limit)
        except InvalidRequest as error:
            if error.param != "after" or cursor is None:
                raise
            raise no_cursor(cursor) from None

    async def _shown(self, messages: Sequence[Item], query: ItemPageQuery) -> list[ShownItem]:
        found: list[ShownItem] = []
        for item in await with_attachments(self._store, self._owner, messages, query.include):
            items = items_of(item, query.include)
            found += items if query.order == "asc" else reversed(items)
        return found


def no_cursor(cursor: str) -> InvalidRequest:
    """Nothing of what is listed has this id."""
    return InvalidRequest(f"No item of this list has the id {cursor[:100]}.", param="after")
