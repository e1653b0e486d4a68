"""``/v1/responses``: ask, look up, listen again, cancel, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat, ChatRequest
from palaver.core import ids
from palaver.core.errors import TurnNotFound, TurnRunning
from palaver.core.turn import TurnState
from palaver.deletion import Deletion
from palaver.engines.base import Model
from palaver.live import LiveReply, replayed
from palaver.server.exchange import exchange_of
from palaver.server.headers import SOURCE_HEADERS
from palaver.server.item_pages import IncludeQuery, item_query
from palaver.server.receipts import context_of
from palaver.server.response_body import ResponseRequest
from palaver.server.response_events import Context, ResponseEvents, output_of
from palaver.server.response_input import Asking
from palaver.server.response_request import naming
from palaver.server.response_shapes import ResponseBody, as_it_stands, begun, begun_of
from palaver.server.route import Operation, json_response, turn_of
from palaver.server.settings import ServerSettings
from palaver.server.sse import EventStream, unless_gone
from palaver.server.stream_shapes import RESPONSE_EVENTS
from palaver.stores.base import TurnRecord

HEADERS = {
    **SOURCE_HEADERS,
    "palaver-conversation": "As `conversation` in the body, which goes first. Beside `previous_response_id` it says "
    "nothing.",
    "X-OpenWebUI-Chat-Id": "Names the conversation where nothing else does. `input` is its whole history then, as Open "
    "WebUI sends it, and is threaded there.",
    "palaver-user": "Who is speaking; see `user` in the body.",
    "X-OpenWebUI-User-Id": "Who is speaking; see `user` in the body.",
    "Idempotency-Key": "Requests with the same key are answered once, within 24 hours; one with another body is a 400.",
    "x-stainless-retry-count": "How often the client has sent these very bytes before; see chat completions.",
    "palaver-on-leave": "What becomes of the response when its reader leaves: `finish` (default) lets it go on to its "
    "end; `grace` is as in chat completions. One that is not stored is stopped when nobody asks again within a minute.",
}


class ResponseQuery(IncludeQuery, frozen=True, kw_only=True):
    stream: Annotated[bool, Meta(description="Have the events instead, as they came and as they come.")] = (
        False
    )
    starting_after: Annotated[
        Annotated[int, Meta(ge=0, le=2**53)] | None,
        Meta(description="With `stream`, only events whose `sequence_number` is greater."),
    ] = None
    include_obfuscation: Annotated[
        bool, Meta(description="Accepted without effect: nothing is obfuscated.")
    ] = False


class ResponseDeleted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class Responses:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings
        self._asking = Asking(chat, settings)
        self._deletion = Deletion(chat)

    def operations(self) -> list[Operation]:
        one: dict[str, Any] = {"scope": "chat", "reply": ResponseBody}
        return [
            Operation(
                method="POST",
                path="/responses",
                handler=self.create,
                is_limited=True,
                summary="Answer, and keep it",
                description=DESCRIPTION,
                headers=HEADERS,
                body=ResponseRequest,
                streams=RESPONSE_EVENTS,
                **one,
            ),
            Operation(
                method="GET",
                path="/responses/{id}",
                handler=self.retrieve,
                summary="A stored response",
                description="Of any door: the `id` is any form of a turn's id. One that runs has what was said so far. "
                "With `stream` its events come again with the same numbers, whenever it is asked for: after they came "
                "live, and as long as the response is kept. A deleted one: 404.",
                query=ResponseQuery,
                streams=RESPONSE_EVENTS,
                **one,
            ),
            Operation(
                method="POST",
                path="/responses/{id}/cancel",
                handler=self.cancel,
                summary="Stop a running response",
                description="Its text so far is kept. Answers when that is stored; one that has ended stays as it is. "
                "Any response can be stopped, also one that is not in the background.",
                **one,
            ),
            Operation(
                method="DELETE",
                path="/responses/{id}",
                handler=self.delete,
                scope="write",
                summary="Delete a response",
                description="Its output, and its input unless something else answers that: the messages are gone from "
                "their conversation, too. One that runs is stopped first.",
                reply=ResponseDeleted,
            ),
        ]

    async def create(self, request: Request) -> Response:
        asked, wanted, model = await self._asking.read(request)
        exchange, body = exchange_of(request), asked.body
        with naming(asked.items, body.previous_response_id):
            live = await self._chat.say(wanted)
            exchange.admitted(live, ids.as_response(live.turn))
            response = _begun(wanted, model, live)
            context = context_of(self._chat, exchange.owner, live) if body.context else None
            if body.stream:
                stream = ResponseEvents(response, live, context)
                named = (asked.items, body.previous_response_id)
                return _Stream(live, stream, self._settings, named, at_once=bool(body.background))
            if body.background:
                shown = msgspec.structs.replace(response, model=live.model)
                if live.outcome is not None:  # the request repeats another, which was answered meanwhile
                    shown = as_it_stands(response, live, output_of(response, live))
                return json_response(shown)
            with live.reader():
                shown = await unless_gone(request.receive, _whole(response, live, context))
                return json_response(shown)

    async def retrieve(self, request: Request) -> Response:
        query = item_query(request, ResponseQuery)
        response, live, waits = await self._found(request)
        if query.stream:
            after = -1 if query.starting_after is None else query.starting_after
            return EventStream(
                live, ResponseEvents(response, live, after=after), self._settings, at_once=True
            )
        return json_response(as_it_stands(response, live, output_of(response, live), waits=waits))

    async def cancel(self, request: Request) -> Response:
        owner, turn = exchange_of(request).owner, turn_of(request)
        live = self._chat.live(owner, turn)
        if live is not None and live.conversation is None:
            raise TurnNotFound("This response is not stored: closing its connection stops it, after a while.")
        await self._chat.cancel(owner, turn)
        response, live, _ = await self._found(request)
        return json_response(as_it_stands(response, live, output_of(response, live)))

    async def delete(self, request: Request) -> Response:
        turn = turn_of(request)
        await self._deletion.turn(exchange_of(request).owner, turn)
        return json_response(ResponseDeleted(id=ids.as_response(turn)))

    async def _found(self, request: Request) -> tuple[ResponseBody, LiveReply, bool]:
        """A response as it began, its reply, live or as it was heard, and whether it waits for others in its
        conversation. Raises TurnNotFound."""
        record, live = await found_turn(self._chat, exchange_of(request).owner, turn_of(request))
        return begun_of(record), live, record.state is TurnState.QUEUED


async def found_turn(chat: Chat, owner: str, turn: str) -> tuple[TurnRecord, LiveReply]:
    """A stored turn, and its reply, live or as it was heard. Raises TurnNotFound, also for one whose reply is deleted,
    and TurnRunning for one that another process works on."""
    live = chat.live(owner, turn)
    record = await chat.store.turn(owner, turn)
    if record.reply is not None and record.reply.deleted:
        raise TurnNotFound("The output of this response was deleted.", code="message_deleted")
    if live is None or record.state.ended:
        if not record.state.ended:
            raise TurnRunning
        live = replayed(record)
    live.hold()  # also one that came by another door: what is heard here can be gone on from, whatever happens
    return record, live


class _Stream(EventStream):
    """The events of a new response, whose errors name what was sent by the names of this API."""

    def __init__(
        self,
        live: LiveReply,
        events: ResponseEvents,
        settings: ServerSettings,
        named: tuple[Any, str | None],
        *,
        at_once: bool,
    ) -> None:
        super().__init__(live, events, settings, at_once=at_once)
        self._naming = named

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with naming(*self._naming):
            await super().__call__(scope, receive, send)


async def _whole(response: ResponseBody, live: LiveReply, context: Context | None) -> ResponseBody:
    outcome = await live.ended()
    if outcome.error is not None and outcome.state is not TurnState.CANCELLED:
        raise outcome.error
    shown = as_it_stands(response, live, output_of(response, live))
    receipt = await context() if context else None
    return shown if receipt is None else msgspec.structs.replace(shown, context=receipt)


def _begun(wanted: ChatRequest, model: Model, live: LiveReply) -> ResponseBody:
    return begun(
        live.turn,
        live.created,
        live.conversation,
        wanted.asked,
        parameters=wanted.parameters.over(model.defaults),
        tools=wanted.tools,
        instructions=wanted.instructions[0].text if wanted.instructions else None,
        metadata=wanted.metadata or {},
    )


DESCRIPTION = """\
OpenAI's Responses. The response goes on in a conversation: after `previous_response_id`, at the head of \
`conversation`, or where the history that `input` holds was left off; else it begins one. A conversation that chat \
completions have begun is continued all the same, and the other way round.

A stream is OpenAI's events, each with its `sequence_number`; what has been heard is logged, so that \
`GET /v1/responses/{id}?stream=true&starting_after=N` has the rest, also after palaver or the client was gone. A \
response that is stopped ends with `response.incomplete` and the status cancelled: this API has no event for that.

Where `input` holds the results of tools their calls stand before them, here or in the conversation. Pictures and \
files are data: URLs or base64, or the `file_id` that palaver gave them. There are functions, no built-in tools.

What the model's engine cannot do is refused with 400 (`unsupported_parameter`), which names the field, and so is what \
chat completions have another name for (`max_tokens`, `response_format`, …). Accepted without effect: \
`access_programs`, `background_options`, `image`, and `prompt_cache_options`, `prompt_cache_retention`, \
`service_tier`, which upstreams are told. `moderation` is told to upstreams, and refused by other engines. Parameters \
that nobody knows are handed on to upstreams, and ignored by other engines."""
