"""What ``/v1/completions`` answers with: OpenAI's form, and Together's for Together's SDKs.

The two exclude each other where SDKs check replies strictly: the word in `object` differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from palaver.core import ids
from palaver.core.reply import Reply
from palaver.core.turn import ContentDelta, Delta, FinishReason, TokenLogprob
from palaver.live import LiveReply, Outcome
from palaver.server.completion_logprobs import ShownToken, shown_logprobs, token_pieces, tops_by_token
from palaver.server.completion_reply import CompletionUsage, PromptText, usage_of
from palaver.server.completion_stream import DONE
from palaver.server.errors import error_event
from palaver.server.sse import Encoder

PREFIX = "cmpl-"
ShownReason = Literal["stop", "length", "content_filter"]

_encode = msgspec.json.Encoder().encode


class TextLogprobs(msgspec.Struct, frozen=True, kw_only=True):
    """Log probabilities, an entry a token.

    In OpenAI's form `text_offset` is where a token begins in the reply's text, in characters, and `top_logprobs` a
    list: the likeliest tokens in each place, null where none were asked for. In Together's it has room for the first
    place only; `content` then has those of all.
    """

    tokens: list[str] | UnsetType
    token_logprobs: list[float] | UnsetType
    token_ids: list[int] | UnsetType = UNSET
    top_logprobs: list[dict[str, float]] | dict[str, float] | UnsetType | None = UNSET
    text_offset: list[int] | UnsetType = UNSET
    content: list[ShownToken] | UnsetType = UNSET


class TextChoice(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: ShownReason | None
    seed: int | UnsetType | None = UNSET


class TextCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that were gone on with. Together's SDKs, known by `Together/` in the User-Agent, get an `object` of
    ``text.completion``, a `prompt` (the prompts, with `echo`), and log probabilities in Together's shape."""

    id: str
    object: Literal["text_completion", "text.completion"]
    created: int
    model: str
    prompt: list[PromptText] | UnsetType = UNSET
    choices: list[TextChoice]
    usage: CompletionUsage | None


class TextForm(Protocol):
    """One of the two forms."""

    def whole(self, live: LiveReply, outcome: Outcome) -> TextCompletion: ...

    def stream(self, live: LiveReply) -> Encoder: ...


def text_id(turn: str) -> str:
    """The id of a text completion, which nothing can be asked by: it is not kept."""
    return PREFIX + turn.removeprefix(ids.TURN)


class OpenAIForm:
    """With `has_logprobs` the replies have some even where there is no text."""

    def __init__(self, *, has_logprobs: bool) -> None:
        self._has_logprobs = has_logprobs

    def whole(self, live: LiveReply, outcome: Outcome) -> TextCompletion:
        choices = [
            TextChoice(
                index=i,
                text=reply.content,
                logprobs=_openai_logprobs(reply.logprobs, 0) if self._has_logprobs else None,
                finish_reason=_reason(reply.finish_reason),
            )
            for i, reply in enumerate(_replies(live, outcome))
        ]
        return _completion(live, outcome, "text_completion", choices)

    def stream(self, live: LiveReply) -> Encoder:
        return _OpenAIChunks(live)


class TogetherForm:
    """`prompts` are those that the replies begin with; `seed` is what the request gave."""

    def __init__(self, *, has_logprobs: bool, prompts: Sequence[str], seed: int | None) -> None:
        self._has_logprobs = has_logprobs
        self._prompts = prompts
        self._seed = seed

    def whole(self, live: LiveReply, outcome: Outcome) -> TextCompletion:
        choices = [
            TextChoice(
                index=i,
                text=reply.content,
                logprobs=_together_logprobs(reply.logprobs) if self._has_logprobs else None,
                finish_reason=_reason(reply.finish_reason),
                seed=self._seed,
            )
            for i, reply in enumerate(_replies(live, outcome))
        ]
        echoed = [PromptText(prompt) for prompt in self._prompts]
        return _completion(live, outcome, "text.completion", choices, echoed)

    def stream(self, live: LiveReply) -> Encoder:
        return _TogetherChunks(live, self._seed)


class _OpenAIChunks(Encoder):
    """A chunk for each piece, and at the end one for each choice with the reason why it ended; usage is in the
    last of these, so that every chunk has a choice."""

    def __init__(self, live: LiveReply) -> None:
        self._live = live
        self._at: dict[int, int] = {}

    def events(self, news: Sequence[Delta]) -> bytes:
        return b"".join([self._event(delta) for delta in news if isinstance(delta, ContentDelta)])

    def _event(self, delta: ContentDelta) -> bytes:
        at = self._at.get(delta.choice, 0)
        self._at[delta.choice] = at + len(delta.text)
        logprobs = _openai_logprobs(delta.logprobs, at) if delta.logprobs else None
        return self._chunk(
            TextChoice(index=delta.choice, text=delta.text, logprobs=logprobs, finish_reason=None)
        )

    async def end(self, outcome: Outcome) -> bytes:
        if outcome.error is not None:
            return error_event(outcome.error)
        reasons = [reply.finish_reason for reply in _replies(self._live, outcome)]
        chunks = [
            self._chunk(
                TextChoice(index=i, text="", finish_reason=_reason(reason)),
                usage_of(outcome.usage) if i == len(reasons) - 1 else None,
            )
            for i, reason in enumerate(reasons)
        ]
        return b"".join(chunks) + DONE

    def _chunk(self, choice: TextChoice, usage: CompletionUsage | None = None) -> bytes:
        chunk = TextCompletion(
            id=text_id(self._live.turn),
            object="text_completion",
            created=self._live.created,
            model=self._live.model,
            choices=[choice],
            usage=usage,
        )
        return b"data: " + _encode(chunk) + b"\n\n"


class _TogetherChunks(Encoder):
    """A chunk for each token. Where the engine does not tell a token's number, it is 0, and likewise a log
    probability that was not asked for: Together's SDKs require both."""

    def __init__(self, live: LiveReply, seed: int | None) -> None:
        self._live = live
        self._seed = seed

    def events(self, news: Sequence[Delta]) -> bytes:
        return b"".join([self._event(delta) for delta in news if isinstance(delta, ContentDelta)])

    def _event(self, delta: ContentDelta) -> bytes:
        if not delta.logprobs:
            return self._chunk(delta.choice, delta.text)
        return b"".join(
            self._chunk(delta.choice, text, token) for text, token in token_pieces(delta.text, delta.logprobs)
        )

    async def end(self, outcome: Outcome) -> bytes:
        if outcome.error is not None:
            return error_event(outcome.error)
        reasons = [reply.finish_reason for reply in _replies(self._live, outcome)]
        chunks = [
            self._chunk(
                i,
                "",
                reason=_reason(reason),
                usage=usage_of(outcome.usage) if i == len(reasons) - 1 else None,
            )
            for i, reason in enumerate(reasons)
        ]
        return b"".join(chunks) + DONE

    def _chunk(
        self,
        index: int,
        text: str,
        token: TokenLogprob | None = None,
        *,
        reason: ShownReason | None = None,
        usage: CompletionUsage | None = None,
    ) -> bytes:
        number, logprobs = 0, [0.0]
        choice: dict[str, Any] = {
            "index": index,
            "text": text,
            "delta": {"role": "assistant", "content": text},
        }
        if token is not None:
            number, logprobs = token.id or 0, shown_logprobs([token], "together").token_logprobs or logprobs
            if token.top:
                choice["top_logprobs"] = tops_by_token(token)
        chunk = {
            "id": text_id(self._live.turn),
            "object": "completion.chunk",
            "created": self._live.created,
            "model": self._live.model,
            "token": {"id": number, "text": text, "logprob": logprobs[0], "special": False},
            "choices": [{**choice, "finish_reason": reason}],
            "finish_reason": reason,
            "seed": self._seed,
            "usage": usage,
        }
        return b"data: " + _encode(chunk) + b"\n\n"


def _replies(live: LiveReply, outcome: Outcome) -> list[Reply]:
    """All replies, by the number of their choice, those without text too."""
    found = live.replies()
    reasons = [outcome.finish_reason, *outcome.others]
    return [
        msgspec.structs.replace(found[i] if i < len(found) else Reply(), finish_reason=reason)
        for i, reason in enumerate(reasons)
    ]


def _completion(
    live: LiveReply,
    outcome: Outcome,
    object: Literal["text_completion", "text.completion"],
    choices: list[TextChoice],
    prompt: list[PromptText] | UnsetType = UNSET,
) -> TextCompletion:
    return TextCompletion(
        id=text_id(live.turn),
        object=object,
        created=live.created,
        model=live.model,
        prompt=prompt,
        choices=choices,
        usage=usage_of(outcome.usage),
    )


def _openai_logprobs(tokens: Sequence[TokenLogprob], start: int) -> TextLogprobs:
    """Those of a piece of a reply that begins at character `start`."""
    offsets = list(accumulate((len(token.token) for token in tokens), initial=start))
    return TextLogprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=shown_logprobs(tokens, "together").token_logprobs,
        top_logprobs=[tops_by_token(token) for token in tokens] if any(t.top for t in tokens) else None,
        text_offset=offsets[:-1],
    )


def _together_logprobs(tokens: Sequence[TokenLogprob]) -> TextLogprobs:
    shown = shown_logprobs(tokens, "together")
    return TextLogprobs(
        tokens=shown.tokens,
        token_logprobs=shown.token_logprobs,
        token_ids=shown.token_ids,
        top_logprobs=shown.top_logprobs,
        content=shown.content,
    )


def _reason(reason: FinishReason | None) -> ShownReason:
    """Without a template there are no tools to call; a reply that was stopped ended like any other."""
    return "stop" if reason is None or reason == "tool_calls" else reason
