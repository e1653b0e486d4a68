"""Deleting: messages, replies, conversations, end users, owners, and what is older than it should be."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.core import ids
from palaver.core.errors import ConversationNotFound
from palaver.deletion import Deletion
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.conversation_items import item_in
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationBody,
    ConversationQuery,
    conversation_body,
    find,
)
from palaver.server.exchange import exchange_of
from palaver.server.route import Operation, json_response, path_value, turn_of
from palaver.server.settings import ServerSettings
from palaver.stores.base import Deleted, Store

DAY_MS = 24 * 60 * 60 * 1000
SHOWN = 100


class ItemDeletionQuery(ConversationQuery, frozen=True):
    branch: Annotated[bool, Meta(description="Also all that hangs below it.")] = False


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


class CompletionDeleted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: Literal[True] = True


class UserDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """All of an end user is gone: how many conversations, messages and turns there were."""

    id: str
    object: Literal["user.deleted"] = "user.deleted"
    deleted: Literal[True] = True
    conversations: int
    messages: int
    turns: int


class OwnerDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """All of an owner is gone, API keys too: how many conversations, messages and turns there were."""

    id: str
    object: Literal["owner.deleted"] = "owner.deleted"
    deleted: Literal[True] = True
    conversations: int
    messages: int
    turns: int


class RetentionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be deleted by its age, or would be."""

    older_than_days: Annotated[
        float, Meta(gt=0, le=36_500, description="Conversations whose last turn is longer ago, in days.")
    ]
    dry_run: Annotated[bool, Meta(description="Say what would be deleted, and delete nothing.")] = True
    owner: Annotated[str | None, Meta(description="Only those of this owner; without it, of all.")] = None


class RetentionBody(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted by its age or, in a dry run, would be: `messages` and `turns` are null there.

    `data` has the oldest conversations, at most a hundred.
    """

    object: Literal["retention"] = "retention"
    dry_run: bool
    conversations: int
    messages: int | None
    turns: int | None
    data: list[ConversationBody]


_retention = msgspec.json.Decoder(RetentionRequest)


class Deletions:
    def __init__(self, deletion: Deletion, store: Store, settings: ServerSettings) -> None:
        self._deletion = deletion
        self._store = store
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [*self._of_conversations(), *self._of_everything()]

    def _of_conversations(self) -> list[Operation]:
        return [
            Operation(
                method="DELETE",
                path="/conversations/{conversation}",
                handler=self.conversation,
                scope="write",
                summary="Delete a conversation",
                description="With all its messages and turns, unlike OpenAI, who keeps the items; turns that run are "
                "stopped. When it answers, nothing of it is left in the store's files.",
                query=ConversationQuery,
                headers=USER_HEADERS,
                reply=ConversationDeleted,
            ),
            Operation(
                method="DELETE",
                path="/conversations/{conversation}/items/{item}",
                handler=self.item,
                scope="write",
                summary="Delete an item",
                description="With the whole message that it is a part of: the reasoning of a reply goes with its text "
                "and its calls. One that nothing follows is removed, with the turn that generated it, and the head "
                "falls back. One in the middle leaves an empty place, so that what follows still hangs together; "
                "models are not shown it. Turns of the conversation that run are stopped. A conversation "
                "that nobody named or made by itself goes with its last message. Answers with the conversation as it "
                "is then.",
                query=ItemDeletionQuery,
                headers=USER_HEADERS,
                reply=ConversationBody,
            ),
            Operation(
                method="DELETE",
                path="/chat/completions/{id}",
                handler=self.completion,
                scope="write",
                summary="Delete a stored reply",
                description="And what was asked for it, unless something else answers that. A reply that runs is "
                "stopped first.",
                reply=CompletionDeleted,
            ),
        ]

    def _of_everything(self) -> list[Operation]:
        return [
            Operation(
                method="DELETE",
                path="/users/{user}",
                handler=self.user,
                scope="write",
                summary="Delete all of an end user",
                description="Every conversation that names this end user, and the name. Nothing, where there is none.",
                reply=UserDeleted,
            ),
            Operation(
                method="DELETE",
                path="/owners/{owner}",
                handler=self.owner,
                scope="admin",
                summary="Delete all of an owner",
                description="Every conversation and end user, and the API keys. Nothing, where there is none.",
                reply=OwnerDeleted,
            ),
            Operation(
                method="POST",
                path="/retention",
                handler=self.retention,
                scope="admin",
                summary="Delete what is older than it should be",
                description="Says what that would be unless `dry_run` is false. A conversation where a turn runs or "
                "waits stays. The setting `retain` does the same every hour.",
                body=RetentionRequest,
                reply=RetentionBody,
            ),
        ]

    async def conversation(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._store, request, query.user)
        await self._deletion.conversation(exchange_of(request).owner, conversation.id)
        return json_response(ConversationDeleted(id=conversation.id))

    async def item(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ItemDeletionQuery)
        owner = exchange_of(request).owner
        conversation = await find(self._store, request, query.user)
        item = path_value(request, "item")
        if not ids.is_id(item, ids.MESSAGE) and ids.message_of_item(item) is not None:
            item = (await item_in(self._store, owner, conversation.id, item)).id
        await self._deletion.message(owner, conversation.id, item, branch=query.branch)
        try:
            left = await self._store.conversation(owner, conversation.id)
        except ConversationNotFound:  # it went with its last message
            left = msgspec.structs.replace(conversation, head=None, messages=0, title=None, titled_by=None)
        return json_response(conversation_body(left))

    async def completion(self, request: Request) -> Response:
        turn = turn_of(request)
        await self._deletion.turn(exchange_of(request).owner, turn)
        return json_response(CompletionDeleted(id=ids.as_chat_completion(turn)))

    async def user(self, request: Request) -> Response:
        user = path_value(request, "user")
        done = await self._deletion.end_user(exchange_of(request).owner, user)
        return json_response(_all_deleted(UserDeleted, user, done))

    async def owner(self, request: Request) -> Response:
        owner = path_value(request, "owner")
        done = await self._deletion.owner(owner)
        return json_response(_all_deleted(OwnerDeleted, owner, done))

    async def retention(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _retention)
        before = int(time.time() * 1000 - asked.older_than_days * DAY_MS)
        count, shown = await self._deletion.preview_aged(before, asked.owner, show=SHOWN)
        done = None if asked.dry_run else await self._deletion.aged(before, asked.owner)
        body = RetentionBody(
            dry_run=asked.dry_run,
            conversations=done.conversations if done else count,
            messages=done.messages if done else None,
            turns=done.turns if done else None,
            data=[conversation_body(conversation) for conversation in shown],
        )
        return json_response(body)


def _all_deleted(
    kind: type[UserDeleted] | type[OwnerDeleted], id: str, done: Deleted
) -> UserDeleted | OwnerDeleted:
    return kind(id=id, conversations=done.conversations, messages=done.messages, turns=done.turns)
