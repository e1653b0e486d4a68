"""``/v1/conversations/{conversation}/messages``: a path, with what is shown beside the text of its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.core.errors import InvalidRequest
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    MessagePage,
    MessageTiming,
    MessageUsage,
    PageQuery,
    find,
    message_page,
)
from palaver.server.exchange import exchange_of
from palaver.server.files import with_attachments
from palaver.server.item_pages import Direction, item_query
from palaver.server.items import IMAGES
from palaver.server.response_body import Includable
from palaver.server.route import Operation, json_response
from palaver.server.search_shapes import WHEN, Time, read_time
from palaver.stores.base import Item, Order, Store, TurnFigures

Beside = Literal["siblings", "usage", "timing", "html"]
IncludableHere = Literal[Includable, Beside]
CHOICES = {"order": get_args(Order), "include[]": get_args(IncludableHere)}


class MessagesQuery(PageQuery, frozen=True):
    order: Direction = "desc"
    to: Annotated[
        str | None, Meta(description="The message that the path leads to; without it, the head.")
    ] = None
    at: Annotated[
        Time | None,
        Meta(
            description=f"Begin with the first message that was kept then or later; needs `order=asc`. {WHEN}."
        ),
    ] = None
    include: Annotated[
        list[IncludableHere],
        Meta(
            description=f"May come several times, also as `include[]`. `{IMAGES}` has pictures shown with their bytes; "
            "`siblings`, `usage`, `timing` and `html` add the fields of these names. The others say nothing here."
        ),
    ] = msgspec.field(default_factory=list)


class Messages:
    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/conversations/{conversation}/messages",
                handler=self.page,
                summary="The messages of a conversation",
                description="Those on the path to its head, or to another message (`to`), the last first unless "
                "`order` says otherwise. `/tree` has all of them; `/items` has the same in OpenAI's form.",
                query=MessagesQuery,
                reply=MessagePage,
                headers=USER_HEADERS,
            ),
        ]

    async def page(self, request: Request) -> Response:
        query, owner = item_query(request, MessagesQuery, CHOICES), exchange_of(request).owner
        at = read_time(query.at, "at")
        if at is not None and query.order != "asc":
            raise InvalidRequest("`at` needs `order=asc`.", param="at")
        conversation = await find(self._store, request, query.user)
        found = await self._store.items(
            owner,
            conversation.id,
            to=query.to,
            after=query.after,
            at=at,
            limit=query.limit + 1,
            order=query.order,
        )
        found = await with_attachments(self._store, owner, found, query.include)
        page = message_page(found, query.limit, query.include)
        more = await self._beside(owner, found[: query.limit], query.include)
        data = [msgspec.structs.replace(body, **more[body.id]) for body in page.data] if more else page.data
        return json_response(msgspec.structs.replace(page, data=data))

    async def _beside(
        self, owner: str, items: Sequence[Item], include: Collection[str]
    ) -> dict[str, dict[str, Any]]:
        """By the id of each message the fields that are asked for beside its text; empty where none are."""
        more: dict[str, dict[str, Any]] = {item.id: {} for item in items}
        if "siblings" in include:
            siblings = await self._store.siblings(owner, list(more))
            for id, fields in more.items():  # one that was deleted just now stands alone
                fields["siblings"] = siblings.get(id, [id])
        if "usage" in include or "timing" in include:
            figures = await self._store.figures(owner, [item.turn for item in items if item.turn])
            for item in items:
                of_turn = figures.get(item.turn or "")
                more[item.id] |= {"usage": _usage(of_turn)} if "usage" in include else {}
                more[item.id] |= (
                    {"timing": timing_of(of_turn, thought=_thought(item))} if "timing" in include else {}
                )
        if "html" in include:
            html = await asyncio.to_thread(_html_of, items)
            for id, fields in more.items():
                fields["html"] = html.get(id, UNSET)
        return more if any(more.values()) else {}


def _html_of(items: Sequence[Item]) -> dict[str, str]:
    from palaver.web.rendering import render  # noqa: PLC0415  # what renders takes time to load, and memory

    return {
        item.id: render(item.message.text)
        for item in items
        if item.message.role == "assistant" and not item.deleted
    }


def _usage(figures: TurnFigures | None) -> MessageUsage | None:
    usage = figures.usage if figures else None
    if usage is None:
        return None
    return MessageUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def timing_of(figures: TurnFigures | None, *, thought: bool) -> MessageTiming | None:
    """When the turn of a reply began, and how long after that what came; None where nobody knows."""
    if figures is None or figures.started_at is None:
        return None
    return MessageTiming(
        started_at=figures.started_at // 1000,
        first_token_ms=_between(figures.started_at, figures.first_token_at),
        thinking_ms=_between(figures.first_token_at, figures.first_text_at) if thought else None,
        total_ms=_between(figures.started_at, figures.ended_at),
    )


def _between(start: int | None, end: int | None) -> int | None:
    """Clocks may be set back meanwhile: no time is below zero."""
    return None if start is None or end is None else max(0, end - start)


def _thought(item: Item) -> bool:
    return bool(item.message.reasoning or item.message.reasoning_content)
