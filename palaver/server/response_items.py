"""What responses are asked (``/v1/responses/{id}/input_items``), and how long that is (``/input_tokens``)."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core import ids
from palaver.server.exchange import exchange_of
from palaver.server.files import with_attachments
from palaver.server.item_pages import ItemList, ItemPageQuery, item_list, item_query, no_cursor
from palaver.server.items import ShownItem, items_of, shown_items
from palaver.server.response_body import ResponseRequest
from palaver.server.response_input import Asking
from palaver.server.response_request import naming
from palaver.server.response_shapes import GIVEN, lasting
from palaver.server.route import Operation, json_response, turn_of
from palaver.server.settings import ServerSettings
from palaver.stores.base import Item, TurnRecord

GIVEN_PREFIX = "in_"
"""What the ids of input begin with that is no message of the tree: instructions that were sent as items."""


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """How long the prompt would be; an estimate where the model's engine cannot count."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class ResponseItems:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._asking = Asking(chat, settings)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/responses/{id}/input_items",
                handler=self.items,
                scope="chat",
                summary="What a response was asked",
                description="The items of its own `input`, the last first unless `order` says otherwise; what it went "
                "on from is not among them. Of a request that was answered again, its question.",
                query=ItemPageQuery,
                reply=ItemList,
            ),
            Operation(
                method="POST",
                path="/responses/input_tokens",
                handler=self.count,
                scope="chat",
                summary="How long a response's prompt would be",
                description="With the body of `POST /v1/responses`. No model is asked and nothing stored; what would "
                "be refused is refused here. It is what the window shows the model, not all that there is.",
                body=ResponseRequest,
                reply=InputTokens,
            ),
        ]

    async def items(self, request: Request) -> Response:
        query = item_query(request, ItemPageQuery)
        owner = exchange_of(request).owner
        turn = await self._chat.store.turn(owner, turn_of(request))
        sent = await self._chat.store.turn_input(owner, turn.id)
        items: list[tuple[ShownItem, Item | None]] = [(shown, None) for shown in _given(turn)]
        items += [(shown, item) for item in sent for shown in items_of(item)]
        if query.order == "desc":
            items.reverse()
        if query.after is not None:
            place = next((place for place, (shown, _) in enumerate(items) if shown.id == query.after), None)
            if place is None:
                raise no_cursor(query.after)
            items = items[place + 1 :]
        page = items[: query.limit + 1]
        of_page = {item.id: item for _, item in page if item is not None}  # only theirs is read
        whole = await with_attachments(self._chat.store, owner, list(of_page.values()), query.include)
        by_id = {shown.id: shown for item in whole for shown in items_of(item, query.include)}
        return json_response(item_list([by_id.get(shown.id, shown) for shown, _ in page], query.limit))

    async def count(self, request: Request) -> Response:
        asked, wanted, _ = await self._asking.read(request)
        with naming(asked.items, asked.body.previous_response_id):
            tokens = await self._chat.windows.length(wanted)
        return json_response(InputTokens(input_tokens=tokens))


def _given(turn: TurnRecord) -> list[ShownItem]:
    """The instructions among what was sent: they are no messages of the tree, and named by the turn."""
    given = lasting(turn)[: int(turn.asked.get(GIVEN, 0))]
    return [
        shown
        for place, instruction in enumerate(given)
        for shown in shown_items(
            ids.item_id(GIVEN_PREFIX, turn.id.removeprefix(ids.TURN), place), instruction.message
        )
    ]
