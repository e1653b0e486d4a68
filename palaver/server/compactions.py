"""``/v1/responses/compact``: one item that stands for a conversation up to some place.

What is sealed in it is no text but a reference to the message that it leads to. Whoever sends it goes on below that
message, and the window shows the model the newest part of what stands above, word for word (an extract), as it does in
every conversation; with summaries on, the reference names one, which the window shows before that. So nothing is lost
by it, and what is deleted is gone from there, too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from hashlib import blake2b
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core import ids
from palaver.core.errors import InvalidRequest, TurnRunning
from palaver.core.message import Message
from palaver.core.turn import Usage
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model
from palaver.server.body import decode, read_body
from palaver.server.conversation_items import with_stored
from palaver.server.exchange import Caller, exchange_of
from palaver.server.input_items import Compaction, InputItems
from palaver.server.item_schemas import ItemJson
from palaver.server.items import CompactionItem, MessageItem, shown_items
from palaver.server.names import end_user_of
from palaver.server.response_previous import place_of
from palaver.server.response_request import check_number, sent_items
from palaver.server.response_shapes import InputDetails, OutputDetails, ResponseUsage
from palaver.server.route import Operation, json_response
from palaver.server.settings import ServerSettings
from palaver.server.sse import unless_gone
from palaver.stores.base import Store

COMPACTION = "cmp_"
TAG_BYTES = 16
PURPOSE = b"palaver-compaction-1"


class CompactedItem(CompactionItem, frozen=True, kw_only=True, tag="compaction", tag_field="type"):
    """`kind` says what it stands for: an ``extract``, the newest part of the conversation as it was said, or that with
    a ``summary`` of what stands before."""

    kind: Literal["extract", "summary"] = "extract"


class CompactRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compact: a response with all before it, items, or both. `instructions` say nothing here."""

    model: str
    input: str | list[ItemJson] | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class CompactionBody(msgspec.Struct, frozen=True, kw_only=True):
    """The user's messages, and one item that stands for all of it. `usage` is what was spent on a summary: nothing,
    where no model was asked."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[MessageItem | CompactedItem]
    usage: ResponseUsage


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_request = msgspec.json.Decoder(CompactRequest)


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a conversation (ids): what a compaction stands for is the path to it. `summary` is the id of one
    that windows are to show of the beginning of that."""

    conversation: str
    message: str
    summary: str = ""


class Compactions:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._store = chat.store
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/responses/compact",
                handler=self.compact,
                scope="chat",
                is_limited=True,
                summary="Make one item of a conversation",
                description="Answers with the user's messages and a `compaction` item, sealed, that stands for all "
                "that was sent and what `previous_response_id` names. Sent as `input`, with what is new after it, the "
                "response goes on there; what stands before the item is part of it. Its `kind` is `extract`: the "
                "model is shown the newest part of the conversation, word for word, as in every conversation; or, "
                "where `summaries` are on and a model may be asked, `summary`: one stands before that. `input` "
                "is kept: below that response, as a branch, or as a conversation of its own. Where nothing is recorded "
                "that is a 400.",
                body=CompactRequest,
                reply=CompactionBody,
            )
        ]

    async def compact(self, request: Request) -> Response:
        body = await read_body(request, self._settings.max_body_bytes)
        fields, asked = decode(body, _fields), decode(body, _request)
        exchange = exchange_of(request)
        model = await self._chat.catalog.find(asked.model)
        await exchange.identify_again()  # an upstream may have taken its time to say what it has
        found = sent_items(asked.input, fields)
        check_number(found, self._settings)
        if not found.entries and asked.previous_response_id is None:
            raise InvalidRequest("Input required: `input` is missing or empty.", param="input")
        if self._chat.settings.record == "none":
            raise InvalidRequest(
                "This server records nothing, so there is nothing to refer to.", param="input"
            )
        end_user = end_user_of(request.headers, asked)
        owner = exchange.owner
        found, place = await after_compaction(self._store, owner, found, end_user)
        if asked.previous_response_id is not None:
            place = await self._previous(owner, asked.previous_response_id, end_user, place)
        items, messages = await with_stored(self._store, owner, found, self._settings, end_user)
        with items.naming():
            place = await self._kept(owner, end_user, place, messages)
        summed_up = await unless_gone(request.receive, self._summed_up(exchange.caller, place, model))
        place, usage = summed_up
        if exchange.meter is not None:
            exchange.meter.charge(usage.total_tokens)
        output: list[MessageItem | CompactedItem] = [
            shown
            for step in await self._store.path(owner, place.message, attachments=False)
            if step.message.role == "user" and not step.deleted
            for shown in shown_items(step.id, step.message)
            if isinstance(shown, MessageItem)
        ]
        sealed = await _sealed(self._store, owner, place)
        kind: Literal["extract", "summary"] = "summary" if place.summary else "extract"
        output.append(CompactedItem(id=_new_id(COMPACTION), encrypted_content=sealed, kind=kind))
        spent = ResponseUsage(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputDetails(cached_tokens=0),
            output_tokens=usage.completion_tokens,
            output_tokens_details=OutputDetails(reasoning_tokens=0),
            total_tokens=usage.total_tokens,
        )
        shown_body = CompactionBody(
            id=_new_id(ids.RESPONSE), created_at=int(time.time()), output=output, usage=spent
        )
        return json_response(shown_body)

    async def _summed_up(self, caller: Caller, place: Place, model: Model) -> tuple[Place, Usage]:
        """The same place with a summary, where there is to be one, and what that cost."""
        conversation = await self._store.conversation(caller.owner, place.conversation)
        inner = conversation.window or WindowSettings()
        inner = inner.over((caller.api_key.window if caller.api_key else None) or WindowSettings())
        if not inner.over(model.window.over(self._chat.settings.window)).summaries:
            return place, Usage(0, 0)
        made = await self._chat.summaries.now.compact(
            caller.owner, place.conversation, place.message, model.name
        )
        if made is None:
            return place, Usage(0, 0)
        summary, usage = made
        return msgspec.structs.replace(place, summary=summary.id), usage

    async def _previous(
        self, owner: str, response: str, end_user: str | None, compacted: Place | None
    ) -> Place:
        """The place that a response leads to. Raises InvalidRequest, TurnRunning."""
        if compacted is not None:
            raise two_places()
        turn, end = await place_of(self._store, owner, response, end_user)
        if turn.conversation is None:
            raise TurnRunning
        return Place(turn.conversation, end)

    async def _kept(
        self, owner: str, end_user: str | None, place: Place | None, messages: list[Message]
    ) -> Place:
        """The place that stands for these messages below another one; they are stored for that."""
        if place is None:
            made = await self._store.create_conversation(owner, messages, end_user=end_user)
            assert made.head is not None
            return Place(made.id, made.head)
        if not messages:
            return place
        added = await self._store.add_items(owner, place.conversation, messages, below=place.message)
        return Place(place.conversation, added[-1].id)


def _new_id(prefix: str) -> str:
    return prefix + ids.id_body(time.time_ns() // 1_000_000, secrets.token_bytes(ids.RANDOM_BYTES))


async def after_compaction(
    store: Store, owner: str, items: InputItems, end_user: str | None
) -> tuple[InputItems, Place | None]:
    """The items that come after the last compaction among these, and the place that this stands for.

    Raises InvalidRequest for a compaction that is not this owner's, or of which nothing is left.
    """
    found = [place for place, entry in enumerate(items.entries) if isinstance(entry, Compaction)]
    if not found:
        return items, None
    entry, at = items.entries[found[-1]], f"{items.param}[{items.places[found[-1]]}]"
    assert isinstance(entry, Compaction)
    place = await _opened(store, owner, entry.encrypted_content, f"{at}.encrypted_content", end_user)
    rest = slice(found[-1] + 1, None)
    return msgspec.structs.replace(items, entries=items.entries[rest], places=items.places[rest]), place


def two_places() -> InvalidRequest:
    """The error for a request that has a compaction and names a place besides."""
    return InvalidRequest(
        "The compaction in `input` says where this goes on: leave `previous_response_id` and `conversation` out.",
        param="input",
    )


async def _sealed(store: Store, owner: str, place: Place) -> str:
    said = msgspec.json.encode(place)
    tag = await _tag(store, owner, said)
    return base64.urlsafe_b64encode(tag + said).decode()


async def _tag(store: Store, owner: str, said: bytes) -> bytes:
    """What only this owner's store can make of it."""
    key = await store.root_key(owner, None)
    return blake2b(PURPOSE + said, key=key, digest_size=TAG_BYTES).digest()


async def _opened(store: Store, owner: str, sealed: str, param: str, end_user: str | None) -> Place:
    """What was sealed. Raises InvalidRequest for what this owner's store has not sealed, and where the message is not
    there any more or, where an `end_user` is named, not theirs."""
    try:
        raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
        said = raw[TAG_BYTES:]
        place = msgspec.json.decode(said, type=Place)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidRequest(f"`{param}` was not made by this server.", param=param) from None
    if not hmac.compare_digest(raw[:TAG_BYTES], await _tag(store, owner, said)):
        raise InvalidRequest(f"`{param}` was not made by this server for this owner.", param=param)
    found = await store.messages(owner, [place.message], end_user=end_user)
    if not found or found[0].deleted:
        raise InvalidRequest(f"`{param}`: what it stands for is not there any more.", param=param)
    return place
