"""``/v1/conversations``: what is kept, in the shapes of OpenAI's Conversations.

That API has no list of conversations; ours is an extension under the same words. Wherever it takes a
conversation's id, its name is taken too.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core.errors import InvalidRequest
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.conversation_items import ITEMS, MOST, WHAT, check_recorded, with_stored
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationBody,
    ConversationDetail,
    ConversationPage,
    ConversationQuery,
    Metadata,
    PageQuery,
    conversation_body,
    conversation_detail,
    conversation_page,
    find,
)
from palaver.server.exchange import exchange_of
from palaver.server.headers import NAME_LENGTH, SOURCE_HEADERS, source_of
from palaver.server.input_items import read_items
from palaver.server.item_schemas import RawItem
from palaver.server.names import checked_name, end_user_of, new_name
from palaver.server.route import Operation, json_response
from palaver.server.settings import ServerSettings
from palaver.stores.base import Only

Tasks = Annotated[
    bool, Meta(description="Also requests that nothing has continued, such as an app's for a title.")
]
LONGEST_EXPIRY = 365 * 24 * 60 * 60
"""So many seconds ahead a conversation can be deleted."""
CHOICES = {"only": get_args(Only)}
Title = Annotated[str, Meta(max_length=NAME_LENGTH)]


class ConversationsQuery(PageQuery, frozen=True):
    name: Annotated[str | None, Meta(description="Only those of this name.")] = None
    include_tasks: Tasks = False
    include_temporary: Annotated[bool, Meta(description="Also those that go by themselves.")] = False
    include_archived: Annotated[bool, Meta(description="Also those that are archived.")] = False
    only: Annotated[
        Only | None,
        Meta(
            description="Only those of one sort, also where lists leave them out otherwise: `pinned`, `archived`, "
            "`tasks` (requests that nothing has continued), or `temporary`. Whatever it is, tasks are among them."
        ),
    ] = None


class ConversationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to be made. All but `items` and `metadata` is ours."""

    items: Annotated[
        Annotated[list[RawItem], Meta(max_length=MOST)] | None,
        Meta(description=f"What it begins with. {WHAT}"),
    ] = None
    metadata: Annotated[Metadata | None, Meta(description="Notes kept with it.")] = None
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)] | None,
        Meta(description="A name, which the end user has no conversation of yet."),
    ] = None
    title: Annotated[
        Title | None,
        Meta(description="What lists call it; without it, the first words of its first question."),
    ] = None
    user: Annotated[
        Annotated[str, Meta(max_length=NAME_LENGTH)] | None,
        Meta(description="The end user whose it is; also the header `palaver-user`."),
    ] = None
    temporary: Annotated[
        bool | None, Meta(description="Have it deleted some time after it was last used; lists leave it out.")
    ] = None


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a conversation: at least one."""

    metadata: Annotated[
        Metadata | UnsetType | None,
        Meta(description="Notes, in the place of those that were kept; null for none."),
    ] = UNSET
    title: Annotated[
        Title | None,
        Meta(
            description="What lists call it from now on, whatever is asked there; empty for the first words again."
        ),
    ] = None
    pinned: Annotated[bool | None, Meta(description="Whether it is pinned.")] = None
    archived: Annotated[bool | None, Meta(description="Whether lists leave it out.")] = None
    expires_in: Annotated[
        Annotated[int, Meta(ge=1, le=LONGEST_EXPIRY)] | UnsetType | None,
        Meta(
            description="Have it deleted so many seconds from now, whatever is said in it meanwhile; until then lists "
            "and searches leave it out, as they do temporary ones. Null: it is kept, also where it was temporary."
        ),
    ] = UNSET


WHAT_CHANGES = "`metadata`, `title`, `pinned`, `archived` or `expires_in`"

_create = msgspec.json.Decoder(ConversationRequest)
_update = msgspec.json.Decoder(ConversationUpdate)


class Conversations:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._store = chat.store
        self._settings = settings

    def operations(self) -> list[Operation]:
        common: dict[str, Any] = {"headers": USER_HEADERS}
        return [
            Operation(
                method="GET",
                path="/conversations",
                handler=self.list,
                summary="Conversations, last updated first",
                query=ConversationsQuery,
                reply=ConversationPage,
                **common,
            ),
            Operation(
                method="POST",
                path="/conversations",
                handler=self.create,
                scope="write",
                summary="Make a conversation",
                description="Turns go on in it by its id (`conversation`). It stays until it is deleted, also without "
                "items, unless it is `temporary`.",
                headers={"palaver-user": "As `user` in the body, which goes first.", **SOURCE_HEADERS},
                body=ConversationRequest,
                needs_body=False,
                reply=ConversationBody,
            ),
            *self._of_one(common),
        ]

    def _of_one(self, common: dict[str, Any]) -> list[Operation]:
        path = "/conversations/{conversation}"
        return [
            Operation(
                method="GET",
                path=path,
                handler=self.retrieve,
                summary="One conversation, by id or by name",
                description="Where an end user is named, those of others are not found; a name is looked up among "
                "those of the end user.",
                query=ConversationQuery,
                reply=ConversationDetail,
                **common,
            ),
            Operation(
                method="POST",
                path=path,
                handler=self.update,
                scope="write",
                summary="Change what is said of a conversation",
                description="It stays where it stands in lists. `expires_in` deletes it with some time to think again.",
                query=ConversationQuery,
                body=ConversationUpdate,
                reply=ConversationBody,
                **common,
            ),
        ]

    async def list(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationsQuery, CHOICES)
        found = await self._store.conversations(
            exchange_of(request).owner,
            end_user=query.user or end_user_of(request.headers),
            name=query.name,
            one_shots=query.include_tasks,
            temporary=query.include_temporary,
            archived=query.include_archived,
            only=query.only,
            after=query.after,
            limit=query.limit + 1,
        )
        return json_response(conversation_page(found, query.limit))

    async def create(self, request: Request) -> Response:
        body = await read_body(request, self._settings.max_body_bytes)
        asked = decode(body or b"{}", _create)
        check_recorded(self._chat)
        name = None if asked.name is None else new_name(asked.name)
        end_user = checked_name(asked.user, "user") if asked.user else end_user_of(request.headers)
        owner = exchange_of(request).owner
        found = read_items(asked.items or [], ITEMS)
        found, messages = await with_stored(self._store, owner, found, self._settings, end_user)
        with found.naming():
            made = await self._store.create_conversation(
                owner,
                messages,
                end_user=end_user,
                name=name,
                title=asked.title,
                metadata=asked.metadata,
                source=source_of(request.headers),
                temporary=int(self._chat.settings.keep_temporary) if asked.temporary else None,
            )
        return json_response(conversation_body(made))

    async def retrieve(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationQuery)
        found = await find(self._store, request, query.user)
        owner = exchange_of(request).owner
        instructions = await self._store.last_instructions(owner, found.id)
        turns = await self._store.open_turns(owner, found.id)
        return json_response(conversation_detail(found, instructions, turns))

    async def update(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _update)
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        if asked == ConversationUpdate():
            raise InvalidRequest(f"Input required: {WHAT_CHANGES}.", param="metadata")
        changed = await self._store.update_conversation(
            exchange_of(request).owner,
            conversation.id,
            metadata=None if asked.metadata is UNSET else asked.metadata or {},
            title=asked.title,
            pinned=asked.pinned,
            archived=asked.archived,
            expires_in=asked.expires_in,
        )
        return json_response(conversation_body(changed))
