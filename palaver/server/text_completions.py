"""``/v1/completions``: go on with texts as they stand. They are no conversations: nothing of them is kept."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.live import LiveReply
from palaver.server.body import read_body
from palaver.server.exchange import exchange_of
from palaver.server.headers import is_together
from palaver.server.route import Operation, json_response
from palaver.server.settings import ServerSettings
from palaver.server.sse import EventStream, unless_gone
from palaver.server.stream_shapes import TEXT_EVENTS
from palaver.server.text_body import AskedText, TextCompletionRequest, read_text_request, text_request
from palaver.server.text_reply import OpenAIForm, TextCompletion, TextForm, TogetherForm, text_id

DESCRIPTION = """\
Together's and OpenAI's text completions: the model goes on with a text, or with the numbers of its tokens, as they \
stand, without any template. They are no conversations: they are never stored (`palaver-conversation: none`), cannot \
be looked up, and stop when their reader leaves.

Together's SDKs, known by `Together/` in the User-Agent, get Together's form; all others get OpenAI's. In a stream, \
usage is in the last chunk that has a `finish_reason`. An error in mid-reply is `data: {"error": {…}}`, and the \
stream ends there.

Refused with 400 (`unsupported_parameter`): a `model` that completes no texts, sampling parameters that its engine \
does not have, `best_of` other than `n`, `echo` with `logprobs` or token numbers. Other parameters are handed to \
engines that take unknown ones, and ignored by the others."""


class TextCompletions:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._chat = chat
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/completions",
                handler=self.create,
                scope="chat",
                is_limited=True,
                summary="Go on with a text",
                description=DESCRIPTION,
                body=TextCompletionRequest,
                reply=TextCompletion,
                streams=TEXT_EVENTS,
            )
        ]

    async def create(self, request: Request) -> Response:
        asked = read_text_request(await read_body(request, self._settings.max_body_bytes), self._settings)
        exchange = exchange_of(request)
        model = await self._chat.completing.model(asked.body.model, "completions")
        await exchange.identify_again()  # an upstream may have taken its time to say what it has
        live = self._chat.completing.complete(model, text_request(asked, exchange.owner, model))
        exchange.admitted(live)
        exchange.turn = text_id(live.turn)
        form = _form(asked, request)
        if asked.body.stream:
            return EventStream(live, form.stream(live), self._settings)
        with live.reader():
            return json_response(await unless_gone(request.receive, _whole(live, form)))


def _form(asked: AskedText, request: Request) -> TextForm:
    has_logprobs = asked.body.logprobs is not None
    if not is_together(request.headers):
        return OpenAIForm(has_logprobs=has_logprobs)
    echoed = [prompt for prompt in asked.prompts if isinstance(prompt, str)] if asked.body.echo else []
    return TogetherForm(has_logprobs=has_logprobs, prompts=echoed, seed=asked.body.seed)


async def _whole(live: LiveReply, form: TextForm) -> TextCompletion:
    outcome = await live.ended()
    if outcome.error is not None:
        raise outcome.error
    return form.whole(live, outcome)
