"""``/v1/chat/completions``: ask and cancel; `stored_completions` has what is done with them later."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core import ids
from palaver.core.turn import TurnState
from palaver.live import LiveReply, replayed
from palaver.server.body import read_body
from palaver.server.completion_body import CompletionRequest
from palaver.server.completion_reply import Completion, ReplyForm, completion
from palaver.server.completion_request import chat_request, read_request
from palaver.server.completion_stream import Chunks, Context
from palaver.server.exchange import exchange_of
from palaver.server.files import with_files
from palaver.server.headers import SOURCE_HEADERS
from palaver.server.parameters import ELSEWHERE, INTERNALS, ONLY, TEMPLATE_INTERNALS, WITHOUT_EFFECT
from palaver.server.receipts import context_of
from palaver.server.route import Operation, json_response, turn_of
from palaver.server.settings import ServerSettings
from palaver.server.sse import EventStream, unless_gone
from palaver.server.stream_shapes import COMPLETION_EVENTS

HEADERS = {
    "palaver-conversation": "As `conversation` in the body, which goes first.",
    "X-OpenWebUI-Chat-Id": "As `palaver-conversation`, which goes first. With it, a single user message that is "
    "neither streamed nor with tools is a task of the app's own, such as a title: it is kept beside the chat.",
    "palaver-user": "Who is speaking; see `user` in the body.",
    "X-OpenWebUI-User-Id": "Who is speaking; see `user` in the body.",
    "Idempotency-Key": "Requests with the same key are answered once, within 24 hours; one with another body is "
    "a 400.",
    "x-stainless-retry-count": "How often the client has sent these very bytes before. A repetition joins the "
    "turn that answers them, or gets its reply; what failed is tried again.",
    **SOURCE_HEADERS,
    "palaver-on-leave": "What becomes of the reply when its reader leaves: `grace` (default) lets it go on, "
    "but after a while only as long as no other turn waits for its place; `finish` lets it go on to its end.",
}


class CompletionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the turn stands. `conversation` is null where it is not stored. `message` is the id that its reply has, or
    will have; null where there is none, and will be none."""

    id: str
    object: Literal["chat.completion.status"] = "chat.completion.status"
    status: TurnState
    conversation: str | None
    message: str | None


class Completions:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/chat/completions",
                handler=self.create,
                scope="chat",
                is_limited=True,
                summary="Answer a history",
                description=_description(),
                headers=HEADERS,
                body=CompletionRequest,
                reply=Completion | CompletionStatus,
                streams=COMPLETION_EVENTS,
            ),
            Operation(
                method="POST",
                path="/chat/completions/{id}/cancel",
                handler=self.cancel,
                scope="chat",
                summary="Stop a running reply",
                description="Its text so far is kept. Answers when that is stored. A turn that has ended "
                "stays as it is.",
                reply=CompletionStatus,
            ),
        ]

    async def create(self, request: Request) -> Response:
        asked = read_request(await read_body(request, self._settings.max_body_bytes), self._settings)
        exchange = exchange_of(request)
        model = await self._chat.catalog.find(asked.body.model)
        await exchange.identify_again()  # an upstream may have taken its time to say what it has
        asked = await with_files(asked, self._chat.store, exchange.owner, model, self._settings)
        wanted = chat_request(asked, request.headers, exchange.caller, model, self._settings)
        live = await self._chat.say(wanted)
        exchange.admitted(live)
        if asked.body.background:
            return json_response(_status(live))
        form = asked.form(request.headers)
        context = context_of(self._chat, exchange.owner, live) if asked.body.context else None
        if asked.body.stream:
            return EventStream(live, Chunks(live, form, context), self._settings)
        with live.reader():
            return json_response(await unless_gone(request.receive, _whole(live, form, context)))

    async def cancel(self, request: Request) -> Response:
        owner, turn = exchange_of(request).owner, turn_of(request)
        live = self._chat.live(owner, turn)
        await self._chat.cancel(owner, turn)
        if live is None or live.outcome is None:  # else it may be all there is of it: it need not be stored
            live = replayed(await self._chat.store.turn(owner, turn))
        return json_response(_status(live))


def _status(live: LiveReply) -> CompletionStatus:
    state = TurnState.RUNNING
    if live.outcome is not None:
        state = live.outcome.state
    elif (waiting := live.waiting) is not None and waiting.what == "queue":
        state = TurnState.QUEUED
    is_nothing = live.conversation is None or (state.ended and live.replies()[0].is_empty)
    return CompletionStatus(
        id=ids.as_chat_completion(live.turn),
        status=state,
        conversation=live.conversation,
        message=None if is_nothing else live.message,
    )


async def _whole(live: LiveReply, form: ReplyForm, context: Context | None) -> Completion:
    outcome = await live.ended()
    if outcome.error is not None:
        raise outcome.error
    shown = await context() if context else None
    return completion(live, outcome, form, shown)


def _description() -> str:
    ignored = "; ".join(f"`{name}` ({why})" for name, why in WITHOUT_EFFECT.items())
    refused = ", ".join(f"`{name}`" for name in ONLY)
    elsewhere = ", ".join(f"`{name}`" for name in ELSEWHERE)
    internals = ", ".join(f"`{name}`" for name in INTERNALS)
    applying = ", ".join(f"`{name}`" for name in TEMPLATE_INTERNALS)
    return f"""\
Together's and OpenAI's chat completions. The reply's headers name the turn (`palaver-turn`) and its \
conversation (`palaver-conversation`: an id, or `none` where the turn is not stored). The reply's `model` \
names what answered.

A stream is `data: {{chunk}}` lines up to `data: [DONE]`; usage is in the last chunk that has a `finish_reason`. \
An error in mid-reply is `data: {{"error": {{…}}}}`, and the stream ends there. Comments keep a silent \
stream alive.

Who stops reading does not stop the reply; see `palaver-on-leave` and cancel. With `background` the answer says at \
once how the turn stands, and it goes on without a reader.

What the model's engine cannot do is refused with 400 (`unsupported_parameter`), which names the field: sampling \
parameters, tools, forms, reasoning, log probabilities, content that is not text. Values that change nothing pass.

Attachments are `data:` URLs or base64, up to the server's limit; of a file, also the `file_id` that palaver gave it. \
Remote addresses are refused, except from hosts that the server allows, and for models whose own server fetches them.

Accepted without effect, and handed on to upstreams: {ignored}.

Refused unless they ask for nothing (null, `modalities` of text): {refused}. All but `audio` and `modalities` are \
handed on to upstreams, and so are {elsewhere}; other engines refuse these in favour of `response_format`.

Refused for every model, because they steer the inside of an engine: {internals}; in `chat_template_kwargs`: \
{applying}.

Parameters that nobody knows are handed on to upstreams, and ignored by other engines."""
