"""What models see: receipts of turns, before and after they are asked; epochs, and how windows are chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, get_args

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.chat.windows import Shown
from palaver.core.errors import StoreError, TurnNotFound
from palaver.core.window_settings import Exceeding, Mode, Truncation, WindowSettings
from palaver.live import LiveReply
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.completion_body import CompletionRequest
from palaver.server.completion_request import chat_request, read_request
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationBody,
    ConversationQuery,
    PageQuery,
    conversation_body,
    find,
)
from palaver.server.exchange import exchange_of
from palaver.server.files import with_files
from palaver.server.receipt_shapes import EpochPage, ReceiptBody, epoch_page, receipt_body
from palaver.server.route import Operation, json_response, turn_of
from palaver.server.settings import ServerSettings

CHOICES = {
    "mode": get_args(Mode),
    "truncation": get_args(Truncation),
    "context_length_exceeded_behavior": get_args(Exceeding),
}

log = structlog.get_logger(__name__)
_settings = msgspec.json.Decoder(WindowSettings)


class Receipts:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [*self._of_turns(), *self._of_conversations()]

    def _of_turns(self) -> list[Operation]:
        after: dict[str, Any] = {
            "method": "GET",
            "handler": self.retrieve,
            "scope": "chat",
            "summary": "What the model saw in a turn",
            "description": "The receipt of a stored turn: which messages were in its prompt, which not, and why. It "
            "is there as soon as the prompt is, and names what was deleted since without quoting it. The `id` is any "
            "form of a turn's id.",
            "reply": ReceiptBody,
        }
        return [
            Operation(path="/chat/completions/{id}/receipt", **after),
            Operation(path="/responses/{id}/receipt", **after),
            Operation(
                method="POST",
                path="/chat/completions/dry_run",
                handler=self.foresee,
                scope="chat",
                summary="What the model would see",
                description="The receipt that a request would have, with the body of chat completions. No model is "
                "asked, nothing is stored, and no other request is joined. What would be refused is refused here.",
                body=CompletionRequest,
                reply=ReceiptBody,
            ),
        ]

    def _of_conversations(self) -> list[Operation]:
        common: dict[str, Any] = {"headers": USER_HEADERS}
        return [
            Operation(
                method="GET",
                path="/conversations/{conversation}/epochs",
                handler=self.epochs,
                summary="The epochs of a conversation",
                description="The latest first: stretches of turns whose prompts each begin with the one before, so "
                "that the model need not read them again. Each says why it began.",
                query=PageQuery,
                reply=EpochPage,
                **common,
            ),
            Operation(
                method="POST",
                path="/conversations/{conversation}/window",
                handler=self.set_window,
                scope="write",
                summary="Say how a conversation's windows are chosen",
                description="These settings go before those of API key, model and server; what a request says itself "
                "goes before them. An empty object takes them back.",
                query=ConversationQuery,
                body=WindowSettings,
                reply=ConversationBody,
                **common,
            ),
        ]

    async def retrieve(self, request: Request) -> Response:
        owner, turn = exchange_of(request).owner, turn_of(request)
        shown = await self._chat.windows.receipt(owner, turn, self._chat.live(owner, turn))
        return json_response(receipt_body(shown))

    async def foresee(self, request: Request) -> Response:
        asked = read_request(await read_body(request, self._settings.max_body_bytes), self._settings)
        exchange = exchange_of(request)
        model = await self._chat.catalog.find(asked.body.model)
        await exchange.identify_again()
        asked = await with_files(asked, self._chat.store, exchange.owner, model, self._settings)
        wanted = chat_request(asked, request.headers, exchange.caller, model, self._settings)
        return json_response(receipt_body(await self._chat.windows.foresee(wanted)))

    async def epochs(self, request: Request) -> Response:
        query = decode_fields(request.query_params, PageQuery)
        conversation = await find(self._chat.store, request, query.user)
        found = await self._chat.store.epochs(
            exchange_of(request).owner, conversation.id, after=query.after, limit=query.limit + 1
        )
        return json_response(epoch_page(found, query.limit))

    async def set_window(self, request: Request) -> Response:
        asked = decode(await read_body(request, self._settings.max_body_bytes), _settings, CHOICES)
        query = decode_fields(request.query_params, ConversationQuery)
        conversation = await find(self._chat.store, request, query.user)
        changed = await self._chat.store.set_window(exchange_of(request).owner, conversation.id, asked)
        return json_response(conversation_body(changed))


def context_of(chat: Chat, owner: str, live: LiveReply) -> Callable[[], Awaitable[ReceiptBody | None]]:
    """Says, once a turn has ended, what its reply's `context` is: its receipt."""

    async def context() -> ReceiptBody | None:
        if live.receipt is None:
            return None
        if live.conversation is not None:
            try:
                return receipt_body(await chat.windows.receipt(owner, live.turn))
            except (StoreError, TurnNotFound) as error:  # the reply itself is whole and stored
                log.warning("a receipt could not be read", turn=live.turn, error=type(error).__name__)
                return None
        return receipt_body(
            Shown(receipt=live.receipt, turn=live.turn, conversation=None, steps=[], tokens={})
        )

    return context
