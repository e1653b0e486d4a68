"""``/v1/conversations``: what is kept, in the shapes of OpenAI's Conversations.

That API has no list of conversations; ours is an extension under the same words. Wherever it takes a
conversation's id, its name is taken too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.server.body import decode_fields
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationDetail,
    ConversationPage,
    ConversationQuery,
    ItemPage,
    PageQuery,
    conversation_detail,
    conversation_page,
    find,
    item_page,
)
from palaver.server.exchange import exchange_of
from palaver.server.names import end_user_of
from palaver.server.route import Operation, json_response
from palaver.stores.base import Store

Order = Annotated[Literal["asc", "desc"], Meta(description="From the first message on, or from the last.")]
Tasks = Annotated[
    bool, Meta(description="Also requests that nothing has continued, such as an app's for a title.")
]


class ConversationsQuery(PageQuery, frozen=True):
    name: Annotated[str | None, Meta(description="Only those of this name.")] = None
    include_tasks: Tasks = False
    include_temporary: Annotated[bool, Meta(description="Also those that go by themselves.")] = False


class ItemsQuery(PageQuery, frozen=True):
    order: Order = "desc"
    to: Annotated[
        str | None, Meta(description="The message that the path leads to; without it, the head.")
    ] = None


class Conversations:
    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/conversations",
                handler=self.list,
                summary="Conversations, last updated first",
                query=ConversationsQuery,
                headers=USER_HEADERS,
                reply=ConversationPage,
            ),
            Operation(
                method="GET",
                path="/conversations/{conversation}",
                handler=self.retrieve,
                summary="One conversation, by id or by name",
                description="Where an end user is named, those of others are not found; a name is looked up among "
                "those of the end user.",
                query=ConversationQuery,
                headers=USER_HEADERS,
                reply=ConversationDetail,
            ),
            Operation(
                method="GET",
                path="/conversations/{conversation}/items",
                handler=self.items,
                summary="The messages of a conversation",
                description="Those on the path to its head, or to another message (`to`), the last first unless "
                "`order` says otherwise. `/tree` has all of them.",
                query=ItemsQuery,
                headers=USER_HEADERS,
                reply=ItemPage,
            ),
        ]

    async def list(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationsQuery)
        found = await self._store.conversations(
            exchange_of(request).owner,
            end_user=query.user or end_user_of(request.headers),
            name=query.name,
            one_shots=query.include_tasks,
            temporary=query.include_temporary,
            after=query.after,
            limit=query.limit + 1,
        )
        return json_response(conversation_page(found, query.limit))

    async def retrieve(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationQuery)
        found = await find(self._store, request, query.user)
        instructions = await self._store.last_instructions(exchange_of(request).owner, found.id)
        return json_response(conversation_detail(found, instructions))

    async def items(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ItemsQuery, {"order": ("asc", "desc")})
        conversation = await find(self._store, request, query.user)
        found = await self._store.items(
            exchange_of(request).owner,
            conversation.id,
            to=query.to,
            after=query.after,
            limit=query.limit + 1,
            order=query.order,
        )
        return json_response(item_page(found, query.limit))
