"""``/v1/conversations``: what is kept, in the shapes of OpenAI's Conversations.

That API has no list of conversations; ours is an extension under the same words. Wherever it takes a
conversation's id, its name is taken too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from palaver.core import ids
from palaver.core.message import FilePart, ImagePart, Message, RefusalPart, TextPart, ToolCall
from palaver.core.turn import TurnState
from palaver.server.body import decode_fields
from palaver.server.completion_request import end_user_of
from palaver.server.exchange import exchange_of
from palaver.server.route import Operation, json_response, path_value
from palaver.stores.base import Conversation, Item, Store

Limit = Annotated[int, Meta(ge=1, le=100, description="How many at most.")]
After = Annotated[str | None, Meta(description="The id of the last one of the page before.")]
User = Annotated[str | None, Meta(description="The end user; also the header `palaver-user`.")]
Order = Annotated[Literal["asc", "desc"], Meta(description="From the first message on, or from the last.")]
Tasks = Annotated[
    bool, Meta(description="Also requests that nothing has continued, such as an app's for a title.")
]
USER_HEADERS = {"palaver-user": "As `user` in the query, which goes first."}


class ConversationsQuery(msgspec.Struct, frozen=True):
    after: After = None
    limit: Limit = 20
    user: User = None
    name: Annotated[str | None, Meta(description="Only those of this name.")] = None
    include_tasks: Tasks = False


class ConversationQuery(msgspec.Struct, frozen=True):
    user: User = None


class ItemsQuery(msgspec.Struct, frozen=True):
    after: After = None
    limit: Limit = 20
    order: Order = "desc"
    user: User = None


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. Times are in seconds since 1970; `messages` counts those on the path to its head.

    `is_task` is true while nothing has continued its one question.
    """

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    updated_at: int
    metadata: dict[str, str]
    name: str | None
    title: str | None
    user: str | None
    source: str | None
    messages: int
    is_task: bool


class ConversationPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ConversationBody]
    first_id: str
    last_id: str
    has_more: bool


class ItemBody(msgspec.Struct, frozen=True, kw_only=True):
    """A message. `content` has OpenAI's parts: ``input_text``, ``output_text``, ``refusal``, ``input_image``,
    ``input_file``; parts that it has no type for are as they were sent.

    `parent` is the message before it. `turn` and `model` say what generated it; they are null for what a
    client sent.
    """

    id: str
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant", "tool"]
    status: Literal["completed", "incomplete", "in_progress"]
    content: list[dict[str, Any]]
    parent: str | None
    turn: str | None
    model: str | None
    created_at: int
    name: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class ItemPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ItemBody]
    first_id: str
    last_id: str
    has_more: bool


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
                reply=ConversationBody,
            ),
            Operation(
                method="GET",
                path="/conversations/{conversation}/items",
                handler=self.items,
                summary="The messages of a conversation",
                description="Those on the path to its head, the last first unless `order` says otherwise.",
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
            after=query.after,
            limit=query.limit + 1,
        )
        data = [_shown(conversation) for conversation in found[: query.limit]]
        page = ConversationPage(
            data=data, first_id=_first(data), last_id=_last(data), has_more=len(found) > query.limit
        )
        return json_response(page)

    async def retrieve(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ConversationQuery)
        return json_response(_shown(await self._find(request, query.user)))

    async def items(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ItemsQuery, {"order": ("asc", "desc")})
        conversation = await self._find(request, query.user)
        found = await self._store.items(
            exchange_of(request).owner,
            conversation.id,
            after=query.after,
            limit=query.limit + 1,
            order=query.order,
        )
        data = [_item(item) for item in found[: query.limit]]
        page = ItemPage(
            data=data, first_id=_first(data), last_id=_last(data), has_more=len(found) > query.limit
        )
        return json_response(page)

    async def _find(self, request: Request, user: str | None) -> Conversation:
        return await self._store.conversation(
            exchange_of(request).owner,
            path_value(request, "conversation"),
            user or end_user_of(request.headers),
        )


def _first(data: list[ConversationBody] | list[ItemBody]) -> str:
    return data[0].id if data else ""


def _last(data: list[ConversationBody] | list[ItemBody]) -> str:
    return data[-1].id if data else ""


def _shown(conversation: Conversation) -> ConversationBody:
    return ConversationBody(
        id=conversation.id,
        created_at=conversation.created_at // 1000,
        updated_at=conversation.updated_at // 1000,
        metadata=conversation.metadata,
        name=conversation.name,
        title=conversation.title,
        user=conversation.end_user,
        source=conversation.source,
        messages=conversation.messages,
        is_task=conversation.one_shot,
    )


def _item(item: Item) -> ItemBody:
    message = item.message
    return ItemBody(
        id=item.id,
        role="tool" if message.role == "function" else message.role,
        status="completed" if item.state in (None, TurnState.COMPLETED) else "incomplete",
        content=_content(message),
        parent=item.parent,
        turn=ids.as_chat_completion(item.turn) if item.turn else None,
        model=item.model,
        created_at=item.created_at // 1000,
        name=message.name or UNSET,
        reasoning=message.reasoning or message.reasoning_content or UNSET,
        tool_calls=message.tool_calls or UNSET,
        tool_call_id=message.tool_call_id or UNSET,
    )


def _content(message: Message) -> list[dict[str, Any]]:
    if message.content is None:
        return []
    parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content
    return [_part(part, message.role == "assistant") for part in parts]


def _part(part: object, is_reply: bool) -> dict[str, Any]:
    match part:
        case TextPart(text=text) if is_reply:
            return {"type": "output_text", "text": text, "annotations": []}
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case RefusalPart(refusal=refusal):
            return {"type": "refusal", "refusal": refusal}
        case ImagePart(image_url=image):
            return {"type": "input_image", "image_url": image.url, "detail": image.detail or "auto"}
        case FilePart(file=file):
            return {"type": "input_file", **msgspec.to_builtins(file)}
    other: dict[str, Any] = msgspec.to_builtins(part)
    return other
