"""What a response is to go on from: the response, conversation or compaction that it names, and items that it names
instead of sending them."""

from __future__ import annotations

from itertools import takewhile

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from palaver.chat import Chat, ChatRequest
from palaver.core import ids
from palaver.core.errors import InvalidRequest
from palaver.core.message import INSTRUCTING, Message
from palaver.core.tree import Instruction
from palaver.core.window import besides, composed
from palaver.engines.base import Model
from palaver.server.body import read_body
from palaver.server.compactions import Place, after_compaction, two_places
from palaver.server.exchange import Caller, exchange_of
from palaver.server.files import with_own_files
from palaver.server.input_references import resolve
from palaver.server.names import end_user_of
from palaver.server.response_previous import place_of
from palaver.server.response_request import AskedResponse, naming, read_response, response_chat_request
from palaver.server.response_shapes import lasting
from palaver.server.settings import ServerSettings


class Asking:
    """Makes requests for `chat` of bodies, with what is stored."""

    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._catalog = chat.catalog
        self._store = chat.store
        self._settings = settings

    async def read(self, request: Request) -> tuple[AskedResponse, ChatRequest, Model]:
        """The body of a request, with its items as far as they are new, the request that it makes, and its model.

        Raises InvalidRequest, also for a response to go on from that is not there, UnsupportedParameter, TurnRunning,
        BodyTooLarge, ClientGone, NotAuthenticated and ModelNotFound.
        """
        asked = read_response(await read_body(request, self._settings.max_body_bytes), self._settings)
        exchange = exchange_of(request)
        model = await self._catalog.find(asked.body.model)
        await exchange.identify_again()  # an upstream may have taken its time to say what it has
        asked, wanted = await self._wanted(asked, request.headers, exchange.caller, model)
        return asked, wanted, model

    async def _wanted(
        self, asked: AskedResponse, headers: Headers, caller: Caller, model: Model
    ) -> tuple[AskedResponse, ChatRequest]:
        """The body with its items as far as they are new, and the request that it makes."""
        owner, body = caller.owner, asked.body
        end_user, parent = end_user_of(headers, body), None
        if body.previous_response_id is not None:
            _, parent = await place_of(self._store, owner, body.previous_response_id, end_user)
        asked, place = await self._after_compaction(owner, asked, end_user)
        parent = parent or (place.message if place is not None else None)
        most = self._settings.max_body_bytes
        items = await resolve(self._store, owner, asked.items, most, end_user)
        asked = msgspec.structs.replace(asked, items=items)
        with naming(items, body.previous_response_id):
            messages = await with_own_files(self._store, owner, items.messages(), most)
            if parent is not None and body.store is False:
                whole = await self._unstored(owner, parent, body.previous_response_id, messages)
                asked = _without_place(asked, len(whole) - len(messages))
                messages, parent = whole, None
        with naming(asked.items, body.previous_response_id):
            wanted = response_chat_request(asked, messages, parent, headers, caller, model, self._settings)
        if place is not None:
            wanted = msgspec.structs.replace(wanted, compacted=place.summary)
        return asked, wanted

    async def _after_compaction(
        self, owner: str, asked: AskedResponse, end_user: str | None
    ) -> tuple[AskedResponse, Place | None]:
        """The same with what came after the last compaction in its input, and the place that this stands for."""
        rest, place = await after_compaction(self._store, owner, asked.items, end_user)
        if place is None:
            return asked, None
        if asked.body.previous_response_id is not None or asked.body.conversation is not None:
            raise two_places()
        if not rest.entries:
            raise InvalidRequest(
                "Input required: nothing comes after the compaction in `input`.", param="input"
            )
        return msgspec.structs.replace(asked, items=rest), place

    async def _unstored(
        self, owner: str, parent: str, previous: str | None, messages: list[Message]
    ) -> list[Message]:
        """The whole history of a response that goes on from a stored one and is not to be stored itself. Raises
        InvalidRequest where there is nothing new to answer."""
        steps = [step for step in await self._store.path(owner, parent, 0) if not step.deleted]
        if not messages and (not steps or steps[-1].message.role == "assistant"):
            raise InvalidRequest(
                "Input required: what is not stored goes on with no reply that was cut off.", param="input"
            )
        kept: list[Instruction] = []
        found = await self._store.messages(owner, [parent]) if previous is None else []
        turn = ids.turn_id(previous) if previous is not None else found[0].turn if found else None
        if turn is not None:
            kept = lasting(await self._store.turn(owner, turn))
        opening = takewhile(lambda step: step.message.role in INSTRUCTING, steps)
        return [*composed(besides(opening, kept), steps), *messages]


def _without_place(asked: AskedResponse, above: int) -> AskedResponse:
    """The same where what it goes on from, so many messages, is part of the request: they are shown as far as they fit,
    as where it hangs below them."""
    body = asked.body
    above_is = "input" if body.previous_response_id is None else "previous_response_id"
    is_said = body.truncation or (body.window and (body.window.mode or body.window.truncation))
    return msgspec.structs.replace(
        asked,
        body=body if is_said else msgspec.structs.replace(body, truncation="auto"),
        items=msgspec.structs.replace(asked.items, above=above, above_is=above_is),
    )
