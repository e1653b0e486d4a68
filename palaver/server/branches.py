"""``/v1/conversations/{conversation}/…``: a conversation as the tree it is. Extensions under OpenAI's words."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.server.body import decode, decode_fields, read_body
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationBody,
    ConversationQuery,
    MessagePage,
    PageQuery,
    conversation_body,
    find,
    message_page,
)
from palaver.server.exchange import exchange_of
from palaver.server.headers import NAME_LENGTH
from palaver.server.names import new_name
from palaver.server.route import Operation, json_response
from palaver.server.settings import ServerSettings
from palaver.stores.base import Store


class HeadRequest(msgspec.Struct, frozen=True):
    message: Annotated[str, Meta(description="The id of the message that becomes the head.")]


class ForkRequest(msgspec.Struct, frozen=True, kw_only=True):
    message: Annotated[
        str | None, Meta(description="The id of the last message to copy; without it, the head.")
    ] = None
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)] | None,
        Meta(description="A name for the copy, which the end user has no conversation of yet."),
    ] = None


_head = msgspec.json.Decoder(HeadRequest)
_fork = msgspec.json.Decoder(ForkRequest)


class Branches:
    def __init__(self, store: Store, settings: ServerSettings) -> None:
        self._store = store
        self._settings = settings

    def operations(self) -> list[Operation]:
        common: dict[str, Any] = {"headers": USER_HEADERS}
        return [
            Operation(
                method="GET",
                path="/conversations/{conversation}/tree",
                handler=self.tree,
                summary="All messages of a conversation",
                description="Those of all branches, in the order in which they came; each names its `parent`. What "
                "was asked again, edited or continued stands beside what was there before.",
                query=PageQuery,
                reply=MessagePage,
                **common,
            ),
            Operation(
                method="GET",
                path="/conversations/{conversation}/leaves",
                handler=self.leaves,
                summary="The ends of a conversation's branches",
                description="The latest first. `/messages` with `to` has the branch that leads to one of them.",
                query=PageQuery,
                reply=MessagePage,
                **common,
            ),
            Operation(
                method="POST",
                path="/conversations/{conversation}/head",
                handler=self.set_head,
                scope="write",
                summary="Choose a branch",
                description="The message becomes the head: `/items` shows the path to it, and the next turn goes on "
                "there. Any message will do, also one in the middle. Nothing is deleted.",
                query=ConversationQuery,
                body=HeadRequest,
                reply=ConversationBody,
                **common,
            ),
            Operation(
                method="POST",
                path="/conversations/{conversation}/fork",
                handler=self.fork,
                scope="write",
                summary="Copy a branch into a conversation of its own",
                description="The copy has messages with ids of their own, so that either conversation can be deleted "
                "and the other stays. Deleted messages are left out. A history that a client resends goes on in the "
                "original, unless it names the copy. A copy of a temporary conversation is temporary.",
                query=ConversationQuery,
                body=ForkRequest,
                reply=ConversationBody,
                **common,
            ),
        ]

    async def tree(self, request: Request) -> Response:
        query = decode_fields(request.query_params, PageQuery)
        conversation = await find(self._store, request, query.user)
        found = await self._store.tree(
            exchange_of(request).owner, conversation.id, after=query.after, limit=query.limit + 1
        )
        return json_response(message_page(found, query.limit))

    async def leaves(self, request: Request) -> Response:
        query = decode_fields(request.query_params, PageQuery)
        conversation = await find(self._store, request, query.user)
        found = await self._store.leaves(
            exchange_of(request).owner, conversation.id, after=query.after, limit=query.limit + 1
        )
        return json_response(message_page(found, query.limit))

    async def set_head(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _head)
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        moved = await self._store.set_head(exchange_of(request).owner, conversation.id, asked.message)
        return json_response(conversation_body(moved))

    async def fork(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _fork)
        if asked.name is not None:
            new_name(asked.name)
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        fork = await self._store.fork(
            exchange_of(request).owner, conversation.id, asked.message, name=asked.name
        )
        return json_response(conversation_body(fork))
