"""``/v1/conversations/{conversation}/items``: what a conversation holds, as OpenAI's items."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core import ids
from palaver.core.errors import InvalidRequest, MessageNotFound
from palaver.core.message import Message
from palaver.server.attachments import check_contents
from palaver.server.body import decode, read_body
from palaver.server.conversation_shapes import USER_HEADERS, User, find
from palaver.server.exchange import exchange_of
from palaver.server.files import with_attachments, with_own_files
from palaver.server.input_items import InputItems, read_items
from palaver.server.input_references import resolve
from palaver.server.item_pages import (
    IncludeQuery,
    ItemList,
    ItemPageQuery,
    Path,
    item_list,
    item_query,
)
from palaver.server.item_schemas import RawItem
from palaver.server.items import ShownItem, items_of, shown_as
from palaver.server.route import Operation, json_response, path_value
from palaver.server.settings import ServerSettings
from palaver.stores.base import Item, Store

MOST = 20
ITEMS = "items"
MEDIA = frozenset({"image_url", "video_url", "audio_url", "input_audio", "file"})
"""Whichever model will be asked, it may take these. What lies elsewhere it may not fetch."""
WHAT = "At most 20: messages, reasoning, function calls and their outputs, and references to items that are stored."


class ItemsQuery(ItemPageQuery, frozen=True):
    user: User = None
    to: Annotated[
        str | None,
        Meta(description="The message, or an item of it, that the path leads to; without it, the head."),
    ] = None


class ItemQuery(IncludeQuery, frozen=True):
    user: User = None


class ItemsRequest(msgspec.Struct, frozen=True):
    items: Annotated[list[RawItem], Meta(min_length=1, max_length=MOST, description=WHAT)]


_items = msgspec.json.Decoder(ItemsRequest)


class ConversationItems:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._store = chat.store
        self._settings = settings

    def operations(self) -> list[Operation]:
        path = "/conversations/{conversation}/items"
        common: dict[str, Any] = {"headers": USER_HEADERS}
        return [
            Operation(
                method="GET",
                path=path,
                handler=self.list,
                summary="The items of a conversation",
                description="Those on the path to its head, or to another message (`to`), the last first unless "
                "`order` says otherwise. A reply is several items: its reasoning, its text, each of its calls. "
                "`/messages` has the same as the messages that they are.",
                query=ItemsQuery,
                reply=ItemList,
                **common,
            ),
            Operation(
                method="POST",
                path=path,
                handler=self.create,
                scope="write",
                summary="Add items to a conversation",
                description="They hang below its head, and the last of them is the head then; no model answers. "
                "Answers with the items as they are kept: reasoning, text and calls that follow each other are one "
                "message. The output of a function needs its call before it. While a turn runs in the conversation, "
                "or waits, it is a 409.",
                query=ItemQuery,
                body=ItemsRequest,
                reply=ItemList,
                **common,
            ),
            Operation(
                method="GET",
                path=path + "/{item}",
                handler=self.retrieve,
                summary="One item",
                description="Of any branch of the conversation.",
                query=ItemQuery,
                reply=ShownItem,
                **common,
            ),
        ]

    async def list(self, request: Request) -> Response:
        query = item_query(request, ItemsQuery)
        owner = exchange_of(request).owner
        conversation = await find(self._store, request, query.user)
        to = None if query.to is None else ids.message_of_item(query.to) or query.to

        async def read(after: str | None, limit: int) -> list[Item]:
            return await self._store.items(
                owner, conversation.id, to=to, after=after, limit=limit, order=query.order
            )

        async def at(message: str) -> Item:
            return await self._store.message(owner, conversation.id, message)

        return json_response(await Path(self._store, owner, read, at).page(query))

    async def create(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _items)
        query = item_query(request, ItemQuery)
        owner = exchange_of(request).owner
        check_recorded(self._chat)
        found = read_items(asked.items, ITEMS)
        conversation = await find(self._store, request, query.user)
        found, messages = await with_stored(self._store, owner, found, self._settings, conversation.end_user)
        if not messages:
            raise InvalidRequest("Input required: `items` say nothing that could be kept.", param=ITEMS)
        with found.naming():
            added = await self._store.add_items(owner, conversation.id, messages)
        shown = await with_attachments(self._store, owner, added, query.include)
        return json_response(item_list([each for item in shown for each in items_of(item, query.include)]))

    async def retrieve(self, request: Request) -> Response:
        query = item_query(request, ItemQuery)
        owner = exchange_of(request).owner
        conversation = await find(self._store, request, query.user)
        given = path_value(request, "item")
        found = await item_in(self._store, owner, conversation.id, given)
        for item in await with_attachments(self._store, owner, [found], query.include):
            for shown in items_of(item, query.include):
                if shown.id == shown_as(found, given):
                    return json_response(shown)
        raise no_item(given)


async def item_in(store: Store, owner: str, conversation: str, item: str) -> Item:
    """The message that an item of a conversation is, or is a part of. Raises MessageNotFound."""
    message = ids.message_of_item(item)
    found = await store.message(owner, conversation, message) if message is not None else None
    if found is None or (item != message and shown_as(found, item) is None):
        raise no_item(item)
    return found


def no_item(item: str) -> MessageNotFound:
    return MessageNotFound(f"This conversation has no item {item[:100]}.", param="item")


def check_recorded(chat: Chat) -> None:
    """Raises InvalidRequest where nothing is kept, whoever asks for it."""
    if chat.settings.record == "none":
        raise InvalidRequest("This server records nothing.", param=ITEMS)


async def with_stored(
    store: Store, owner: str, items: InputItems, settings: ServerSettings, end_user: str | None
) -> tuple[InputItems, list[Message]]:
    """The items with what they refer to, and the messages that are to be kept.

    Raises InvalidRequest, and UnsupportedParameter for what can be kept nowhere.
    """
    resolved = await resolve(store, owner, items, settings.max_body_bytes, end_user)
    with resolved.naming():
        messages = await with_own_files(store, owner, resolved.messages(), settings.max_body_bytes)
        sent = [
            message if isinstance(entry, Message) else Message("user")  # that was looked at when it came
            for message, entry in zip(messages, items.entries, strict=True)
        ]
        check_contents(sent, MEDIA, "", settings)
    return resolved, messages
