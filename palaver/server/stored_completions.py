"""``/v1/chat/completions`` once they are stored: list, read, note, and what they were asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core import ids
from palaver.core.errors import InvalidRequest, TurnNotFound, TurnRunning
from palaver.server.asked_messages import ORDERS, AskedMessages, AskedPage, AskedQuery, Direction, no_cursor
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.completion_reply import Completion, stored_completion
from palaver.server.completion_request import DOOR
from palaver.server.conversation_shapes import After, Limit, Metadata
from palaver.server.exchange import exchange_of
from palaver.server.paging import page_of
from palaver.server.route import Operation, json_response, turn_of
from palaver.server.settings import ServerSettings
from palaver.stores.base import TurnRecord

METADATA = "metadata"


class CompletionsQuery(msgspec.Struct, frozen=True):
    model: Annotated[str | None, Meta(description="Only those that it answered, or was asked for.")] = None
    metadata: Annotated[
        Metadata,
        Meta(description="Only those with all of these notes: `metadata[KEY]=VALUE`, several times."),
    ] = {}
    after: After = None
    limit: Limit = 20
    order: Direction = "asc"


class CompletionUpdate(msgspec.Struct, frozen=True):
    metadata: Annotated[
        Metadata | None,
        Meta(description="The notes kept with the turn, in place of those before; null for none."),
    ]


class CompletionPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Completion]
    first_id: str
    last_id: str
    has_more: bool


_update = msgspec.json.Decoder(CompletionUpdate)


class StoredCompletions:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings

    def operations(self) -> list[Operation]:
        one = "/chat/completions/{id}"
        return [
            Operation(
                method="GET",
                path="/chat/completions",
                handler=self.list,
                summary="Stored replies",
                description="Of chat completions, those that are kept: all that the server records, not only those "
                "that were asked for with `store`, and single requests of an app's own, too. Those that run or failed, "
                "that said nothing before they were stopped, and those that were deleted are not among them.",
                query=CompletionsQuery,
                reply=CompletionPage,
            ),
            Operation(
                method="GET",
                path=one,
                handler=self.retrieve,
                scope="chat",
                summary="A stored reply",
                description="The `id` is any form of a turn's id (`chatcmpl-…`, `turn_…`). While the turn is "
                "running: 409 with `Retry-After`. A reply that was deleted: 404.",
                reply=Completion,
            ),
            Operation(
                method="POST",
                path=one,
                handler=self.update,
                scope="write",
                summary="Note something with a stored reply",
                description="Answers with the reply as it is then.",
                body=CompletionUpdate,
                reply=Completion,
            ),
            Operation(
                method="GET",
                path=f"{one}/messages",
                handler=self.messages,
                summary="What a stored reply was asked with",
                description="The messages of the turn, the first one first: its instructions, and the path to its "
                "question without what the client had left out. Those that were deleted are not among them. Each says "
                "whose it is; OpenAI's own types know no role but `assistant` here.",
                query=AskedQuery,
                reply=AskedPage,
            ),
        ]

    async def list(self, request: Request) -> Response:
        query = decode_fields(_with_metadata(request.query_params.multi_items()), CompletionsQuery, ORDERS)
        after = None if query.after is None else ids.turn_id(query.after)
        if query.after is not None and after is None:
            raise no_cursor(query.after)
        found = await self._chat.store.turns(
            exchange_of(request).owner,
            door=DOOR,
            model=query.model,
            metadata=query.metadata,
            after=after,
            limit=query.limit + 1,
            order=query.order,
        )
        return json_response(page_of(CompletionPage, found, query.limit, stored_completion))

    async def retrieve(self, request: Request) -> Response:
        _, shown = await self._ended(request)
        return json_response(shown)

    async def update(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _update)
        turn, _ = await self._ended(request)
        changed = await self._chat.store.update_turn(
            exchange_of(request).owner, turn.id, asked.metadata or {}
        )
        return json_response(stored_completion(changed))

    async def messages(self, request: Request) -> Response:
        query = decode_fields(request.query_params, AskedQuery, ORDERS)
        turn, shown = await self._ended(request)
        asked = AskedMessages(self._chat.store, exchange_of(request).owner, turn, shown.id)
        found = await asked.page(query)
        return json_response(page_of(AskedPage, found, query.limit, lambda message: message))

    async def _ended(self, request: Request) -> tuple[TurnRecord, Completion]:
        """The turn that the path names, and its reply. Raises TurnNotFound, also where that was deleted, and
        TurnRunning."""
        owner, turn = exchange_of(request).owner, turn_of(request)
        if self._chat.live(owner, turn) is not None:
            raise TurnRunning
        record = await self._chat.store.turn(owner, turn)
        if not record.state.ended:
            raise TurnRunning
        shown = stored_completion(record)
        if record.reply is not None and record.reply.deleted and not shown.choices:
            raise TurnNotFound("The reply of this turn was deleted.", code="message_deleted")
        return record, shown


def _with_metadata(query: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    """A query with ``metadata[KEY]=VALUE`` put together. Raises InvalidRequest for a key that is not closed."""
    values: dict[str, Any] = {}
    for name, value in query:
        if not name.startswith(f"{METADATA}["):
            values[name] = value
        elif name.endswith("]"):
            found = values.setdefault(METADATA, {})
            if isinstance(found, dict):
                found[name[len(METADATA) + 1 : -1]] = value
        else:
            raise InvalidRequest(f"`{name[:64]}` is to be `metadata[KEY]`.", param=METADATA)
    return values
