"""``/v1/search``: messages and conversations by the words in them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core.searching import Query, read_query
from palaver.server.body import decode_fields
from palaver.server.conversation_shapes import USER_HEADERS, find
from palaver.server.exchange import exchange_of
from palaver.server.names import end_user_of
from palaver.server.route import Operation, json_response
from palaver.server.search_pages import (
    Cursor,
    Ranked,
    by_relevance,
    by_time,
    digest,
    page_up_to,
    read_cursor,
    rest,
)
from palaver.server.search_shapes import (
    CHOICES,
    ConversationSearchQuery,
    HitConversation,
    SearchHit,
    SearchPage,
    SearchQuery,
    Sort,
    Where,
    read_time,
    search_page,
    without_marks,
)
from palaver.stores.base import ConversationName, Match, Scope

MOST_TITLES = 100
"""As many titles are ranked for a query that goes by relevance."""
AT_ONCE = 200
"""As many of the newest are read at a time."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A search, read. `head` is the message to which the path leads that all hits are to be on: empty where the
    conversation has none, None where any path will do. `of` is what its cursors belong to."""

    owner: str
    query: Query
    scope: Scope
    where: Where
    sort: Sort
    limit: int
    head: str | None = None
    of: str = ""
    cursor: Cursor | None = None

    @property
    def with_titles(self) -> bool:
        return self.where != "messages" and self.scope.role is None


class Searching:
    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._store = chat.store

    def operations(self) -> list[Operation]:
        common: dict[str, Any] = {"method": "GET", "reply": SearchPage, "headers": USER_HEADERS}
        return [
            Operation(
                path="/search",
                handler=self.search,
                summary="Search messages and titles",
                description="Everything that is kept of the owner, or of the end user who is named. Messages have all "
                "phrases of the query and, the more the better, its words. Requests that nothing has continued and "
                "temporary conversations are left out unless they are asked for.",
                query=SearchQuery,
                **common,
            ),
            Operation(
                path="/conversations/{conversation}/search",
                handler=self.search_conversation,
                summary="Search the messages of a conversation",
                description="Those of all branches, or with `path=head` those on the path to its head.",
                query=ConversationSearchQuery,
                **common,
            ),
        ]

    async def search(self, request: Request) -> Response:
        asked = decode_fields(request.query_params, SearchQuery, CHOICES)
        owner, end_user = exchange_of(request).owner, asked.user or end_user_of(request.headers)
        query = read_query(asked.q)
        conversation = None
        if asked.conversation is not None:
            conversation = (await self._store.conversation(owner, asked.conversation, end_user)).id
        scope = Scope(
            end_user=end_user,
            conversation=conversation,
            role=asked.role,
            since=read_time(asked.since, "since"),
            before=read_time(asked.before, "before"),
            source=asked.source,
            tasks=asked.include_tasks,
            temporary=asked.include_temporary,
        )
        read = Asked(
            owner=owner, query=query, scope=scope, where=asked.where, sort=asked.sort, limit=asked.limit
        )
        return await self._answer(read, asked.q, asked.after)

    async def search_conversation(self, request: Request) -> Response:
        asked = decode_fields(request.query_params, ConversationSearchQuery, CHOICES)
        query = read_query(asked.q)
        conversation = await find(self._store, request, asked.user)
        scope = Scope(
            conversation=conversation.id,
            role=asked.role,
            since=read_time(asked.since, "since"),
            before=read_time(asked.before, "before"),
        )
        read = Asked(
            owner=exchange_of(request).owner,
            query=query,
            scope=scope,
            where="messages",
            sort=asked.sort,
            limit=asked.limit,
            head=(conversation.head or "") if asked.path == "head" else None,
        )
        return await self._answer(read, asked.q, asked.after)

    async def _answer(self, asked: Asked, text: str, after: str | None) -> Response:
        # Not the head itself: it moves on while somebody reads.
        of = digest(asked.owner, text, asked.scope, asked.where, asked.sort, asked.head is None)
        cursor = read_cursor(after, of)
        scope = msgspec.structs.replace(asked.scope, until=cursor.until if cursor else None)
        asked = msgspec.structs.replace(asked, of=of, cursor=cursor, scope=scope)
        if asked.sort == "newest":
            until, ranked = await self._newest(asked)
        else:
            until, ranked = await self._best(asked)
        hits = await self._shown(asked, until, ranked[: asked.limit])
        return json_response(search_page(hits, has_more=len(ranked) > asked.limit))

    async def _best(self, asked: Asked) -> tuple[int, Sequence[Ranked]]:
        until, found = asked.scope.until or 0, list[Match]()
        if asked.where != "titles":
            matches = await self._chat.between.finding.find(asked.owner, asked.query, asked.scope)
            until, found = matches.until, await self._on_path(asked, matches.found)
        titles = []
        if asked.with_titles:
            titles = await self._store.search_titles(asked.owner, asked.query, asked.scope, limit=MOST_TITLES)
        ranked = by_relevance(found, titles, asked.query)
        return until, rest(ranked, asked.cursor)

    async def _newest(self, asked: Asked) -> tuple[int, Sequence[Ranked]]:
        until, found = asked.scope.until or 0, list[Match]()
        below = asked.cursor.below if asked.cursor else None
        more = asked.where != "titles"
        while more and len(found) <= asked.limit:
            matches = await self._store.latest(
                asked.owner, asked.query, asked.scope, below=below, limit=AT_ONCE
            )
            # What is kept meanwhile is left out of the rest as well.
            asked = msgspec.structs.replace(
                asked, scope=msgspec.structs.replace(asked.scope, until=matches.until)
            )
            until, more = matches.until, len(matches.found) == AT_ONCE
            below = matches.found[-1].number if matches.found else below
            found += await self._on_path(asked, matches.found)
        # Of messages as of titles one more than a page has is known, or all: so the order is right as far as it goes.
        titles = []
        if asked.with_titles:
            after = asked.cursor.titled if asked.cursor else None
            titles = await self._store.latest_titles(
                asked.owner, asked.query, asked.scope, below=after, limit=asked.limit + 1
            )
        return until, list(itertools.islice(by_time(found, titles, asked.cursor), asked.limit + 1))

    async def _on_path(self, asked: Asked, found: list[Match]) -> list[Match]:
        if asked.head is None or not found:
            return found
        if not asked.head:
            return []
        there = await self._store.on_path(asked.owner, asked.head, [match.message for match in found])
        return [match for match in found if match.message in there]

    async def _shown(self, asked: Asked, until: int, ranked: Sequence[Ranked]) -> list[SearchHit]:
        """Hits as they are told; those that have gone meanwhile are not."""
        messages = [each.hit.message for each in ranked if isinstance(each.hit, Match)]
        excerpts = await self._store.excerpts(asked.owner, asked.query, messages) if messages else {}
        names = await self._store.conversation_names(asked.owner, [each.hit.conversation for each in ranked])
        hits = []
        for place, each in enumerate(ranked):
            hit, of = each.hit, names.get(each.hit.conversation)
            marked = excerpts.get(hit.message) if isinstance(hit, Match) else hit.title
            if marked is not None and of is not None:
                id = Cursor(
                    of=asked.of,
                    until=until,
                    position=each.position,
                    below=each.below,
                    titled=each.titled,
                    page=page_up_to(ranked, place) if asked.sort == "relevance" else "",
                    began=ranked[0].position,
                )
                hits.append(_hit(id.encoded(), each, marked, of))
        return hits


def _hit(id: str, ranked: Ranked, marked: str, of: ConversationName) -> SearchHit:
    hit = ranked.hit
    match = hit if isinstance(hit, Match) else None
    text, marks = without_marks(marked)
    return SearchHit(
        id=id,
        type="message" if match else "title",
        conversation=HitConversation(of.id, of.name, of.title, of.source, of.end_user),
        message=match.message if match else None,
        role=match.role if match else None,
        created_at=(hit.created_at if isinstance(hit, Match) else hit.updated_at) // 1000,
        score=round(ranked.score, 6),
        text=text,
        marks=marks,
    )
