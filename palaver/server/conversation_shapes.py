"""Conversations and their messages as the API shows them, and how lists of them are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request

from palaver.core import ids
from palaver.core.message import Message, ToolCall
from palaver.core.tree import Instruction
from palaver.core.turn import FinishReason, TurnState
from palaver.core.window_settings import WindowSettings
from palaver.server.completion_body import MetadataKey, MetadataValue
from palaver.server.exchange import exchange_of
from palaver.server.items import content_parts
from palaver.server.names import end_user_of
from palaver.server.paging import page_of
from palaver.server.route import path_value
from palaver.stores.base import Conversation, Item, OpenTurn, Store, TitledBy

Limit = Annotated[int, Meta(ge=1, le=100, description="How many at most.")]
After = Annotated[str | None, Meta(description="The id of the last one of the page before.")]
User = Annotated[str | None, Meta(description="The end user; also the header `palaver-user`.")]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]
USER_HEADERS = {"palaver-user": "As `user` in the query, which goes first."}


class ConversationQuery(msgspec.Struct, frozen=True):
    user: User = None


class PageQuery(msgspec.Struct, frozen=True):
    after: After = None
    limit: Limit = 20
    user: User = None


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. Times are in seconds since 1970. `head` is the id of the message that it goes on after,
    `messages` counts those on the path to it.

    `titled_by` says who made its title: the first words of a question, a model, or the user. `is_task` is true while
    nothing has continued its one question. `expires_at` is when a temporary one goes, or one that is to be deleted;
    null for one that is kept. Lists leave out what is `archived`. `window` is how its windows are chosen, where that
    was said for it.
    """

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    updated_at: int
    metadata: dict[str, str]
    name: str | None
    title: str | None
    titled_by: TitledBy | None
    user: str | None
    source: str | None
    head: str | None
    messages: int
    is_task: bool
    pinned: bool
    archived: bool
    expires_at: int | None
    window: WindowSettings | None


class RunningTurn(msgspec.Struct, frozen=True):
    """A turn that has not ended. `question` is the message it answers, null for one that waits."""

    id: str
    status: TurnState
    question: str | None


class ConversationDetail(ConversationBody, frozen=True, kw_only=True):
    """A conversation with the `instructions` of its latest turn: the system and developer messages that came
    before the first question, which are no messages of the conversation. `running` are its turns that have not ended,
    the oldest first."""

    instructions: list[Message]
    running: list[RunningTurn]


class ConversationPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ConversationBody]
    first_id: str
    last_id: str
    has_more: bool


class MessageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a turn: of its prompt, of that those that were not computed again, of its replies, of those its
    thinking. Null is what the engine does not say."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    reasoning_tokens: int | None


class MessageTiming(msgspec.Struct, frozen=True, kw_only=True):
    """When a turn began, in seconds since 1970, and how many milliseconds after that its first token came
    (`first_token_ms`) and its end (`total_ms`). `thinking_ms` is how long it thought before its first text; null where
    it did not, or where no text came. What nobody knows is null."""

    started_at: int
    first_token_ms: int | None
    thinking_ms: int | None
    total_ms: int | None


class MessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """A message. `content` has OpenAI's parts: ``input_text``, ``output_text``, ``refusal``, ``input_image``,
    ``input_file``; parts that it has no type for are as they were sent.

    `parent` is the message before it, `place` says how many stand before it. `turn` and `model` say what generated it,
    `turn_state` and `finish_reason` how that ended: a reply is ``incomplete`` where something cut it off, and
    ``cancelled`` where somebody stopped it. They are null for what a client sent. A `deleted` one has no content any
    more: what stands below it holds its place.

    The last ones are there where `include` asks for them. `siblings` are the ids of the messages that stand beside it
    with a role like its own, itself among them, the oldest first. `usage` and `timing` are those of the turn that
    generated it, null where none did or they are not known. `html` is the text of an assistant's message as safe HTML.
    """

    id: str
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant", "tool"]
    status: Literal["completed", "incomplete", "in_progress"]
    content: list[dict[str, Any]]
    parent: str | None
    place: int
    turn: str | None
    model: str | None
    turn_state: TurnState | None
    finish_reason: FinishReason | None
    deleted: bool
    created_at: int
    name: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    siblings: list[str] | UnsetType = UNSET
    usage: MessageUsage | UnsetType | None = UNSET
    timing: MessageTiming | UnsetType | None = UNSET
    html: str | UnsetType = UNSET


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[MessageBody]
    first_id: str
    last_id: str
    has_more: bool


async def find(store: Store, request: Request, user: str | None) -> Conversation:
    """The conversation that the path names, by id or by name. Raises ConversationNotFound."""
    return await store.conversation(
        exchange_of(request).owner, path_value(request, "conversation"), user or end_user_of(request.headers)
    )


def conversation_page(found: Sequence[Conversation], limit: int) -> ConversationPage:
    """A page of at most `limit`, of what was found when one more was asked for."""
    return page_of(ConversationPage, found, limit, conversation_body)


def message_page(found: Sequence[Item], limit: int, include: Collection[str] = ()) -> MessagePage:
    """A page of at most `limit`, of what was found when one more was asked for."""
    return page_of(MessagePage, found, limit, lambda item: _item(item, include))


def conversation_body(conversation: Conversation) -> ConversationBody:
    expires = conversation.expires_at
    return ConversationBody(
        id=conversation.id,
        created_at=conversation.created_at // 1000,
        updated_at=conversation.updated_at // 1000,
        metadata=conversation.metadata,
        name=conversation.name,
        title=conversation.title,
        titled_by=conversation.titled_by,
        user=conversation.end_user,
        source=conversation.source,
        head=conversation.head,
        messages=conversation.messages,
        is_task=conversation.one_shot,
        pinned=conversation.pinned,
        archived=conversation.archived,
        expires_at=None if expires is None else expires // 1000,
        window=conversation.window,
    )


def conversation_detail(
    conversation: Conversation, instructions: Sequence[Instruction], turns: Sequence[OpenTurn]
) -> ConversationDetail:
    body = conversation_body(conversation)
    return ConversationDetail(
        **msgspec.structs.asdict(body),
        instructions=[instruction.message for instruction in instructions],
        running=[RunningTurn(ids.as_chat_completion(turn.id), turn.state, turn.question) for turn in turns],
    )


def _item(item: Item, include: Collection[str]) -> MessageBody:
    message = item.message
    return MessageBody(
        id=item.id,
        role="tool" if message.role == "function" else message.role,
        status="completed" if item.state in (None, TurnState.COMPLETED) else "incomplete",
        content=content_parts(message, include),
        parent=item.parent,
        place=item.depth,
        turn=ids.as_chat_completion(item.turn) if item.turn else None,
        model=item.model,
        turn_state=item.state,
        finish_reason=item.finish_reason,
        deleted=item.deleted,
        created_at=item.created_at // 1000,
        name=message.name or UNSET,
        reasoning=message.reasoning or message.reasoning_content or UNSET,
        tool_calls=message.tool_calls or UNSET,
        tool_call_id=message.tool_call_id or UNSET,
    )
