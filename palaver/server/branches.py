"""``/v1/conversations/{conversation}/…``: a conversation as the tree it is. Extensions under OpenAI's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

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
from palaver.stores.base import Segment, Store

Role = Literal["system", "developer", "user", "assistant", "tool"]


class HeadRequest(msgspec.Struct, frozen=True):
    message: Annotated[str, Meta(description="The id of the message that becomes the head.")]
    newest: Annotated[
        bool, Meta(description="Have the leaf become the head that came last of those below the message.")
    ] = False


class ForkRequest(msgspec.Struct, frozen=True, kw_only=True):
    message: Annotated[
        str | None, Meta(description="The id of the last message to copy; without it, the head.")
    ] = None
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)] | None,
        Meta(description="A name for the copy, which the end user has no conversation of yet."),
    ] = None


class MapSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A run of messages, from `first` to `last`, of which only the last may have several right below it.

    `parent` is the message above it, null where the conversation begins. `messages` counts also what is deleted.
    `role` is that of its first message; `text` are the first words of the first user message in it, or else of the
    first one. The latest message came at `updated_at`. `on_path` says whether the path to the head goes through it,
    or ends in it.
    """

    first: str
    last: str
    parent: str | None
    messages: int
    role: Role
    text: str
    created_at: int
    updated_at: int
    on_path: bool


class MapBody(msgspec.Struct, frozen=True, kw_only=True):
    """The tree of a conversation, its segments in the order in which they began."""

    object: Literal["map"] = "map"
    head: str | None
    segments: list[MapSegment]


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
                method="GET",
                path="/conversations/{conversation}/map",
                handler=self.map,
                summary="The form of a conversation's tree",
                description="All of it at once, with messages that follow one upon the other drawn together into "
                "segments. One begins where the conversation does, and below a message that has several below it.",
                query=ConversationQuery,
                reply=MapBody,
                **common,
            ),
            Operation(
                method="POST",
                path="/conversations/{conversation}/head",
                handler=self.set_head,
                scope="write",
                summary="Choose a branch",
                description="The message becomes the head: `/items` shows the path to it, and the next turn goes on "
                "there. Any message will do, also one in the middle; `newest` follows its branch to the end. Nothing "
                "is deleted.",
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

    async def map(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        found = await self._store.map(exchange_of(request).owner, conversation.id)
        return json_response(MapBody(head=found.head, segments=[_segment(each) for each in found.segments]))

    async def set_head(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _head)
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        moved = await self._store.set_head(
            exchange_of(request).owner, conversation.id, asked.message, newest=asked.newest
        )
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


def _segment(segment: Segment) -> MapSegment:
    return MapSegment(
        first=segment.first,
        last=segment.last,
        parent=segment.parent,
        messages=segment.messages,
        role=cast(Role, "tool" if segment.role == "function" else segment.role),
        text=segment.text,
        created_at=segment.created_at // 1000,
        updated_at=segment.updated_at // 1000,
        on_path=segment.is_on_path,
    )
