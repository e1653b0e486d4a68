"""What a model server's refusal means: its status and body, mapped to palaver's errors. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    InvalidRequest,
    PalaverError,
    UnsupportedParameter,
)
from palaver.engines.chat_stream import MESSAGE_LIMIT, ErrorFrame, error_message

PROMPT, SIZE, MAX = r"(?P<prompt>\d+)", r"(?P<size>\d+)", r"(?P<max>\d+)"
TOO_LONG = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # llama-server
        rf"request \({PROMPT} tokens\) exceeds the available context size \({SIZE} tokens\)",
        # Together, SGLang, palaver
        rf"input \({PROMPT} tokens\) is longer than the model's context length \({SIZE} tokens\)",
        rf"must be <= {SIZE}\. Given: {PROMPT} `inputs` tokens and {MAX} `max_new_tokens`",
        rf"maximum context length of {SIZE} tokens\..*"
        rf"\b{PROMPT} tokens from the input messages and {MAX} tokens for the completion",
        # OpenAI, and vLLM over the years
        rf"context length is {SIZE} tokens\..*"
        rf"\({PROMPT} in (?:the messages|your prompt)[,;] {MAX} (?:in|for) the completion\)",
        rf"context length is {SIZE} tokens\..* your messages resulted in {PROMPT} tokens",
        rf"context length is {SIZE} tokens\b.* requested (?P<max>[1-9]\d*) output tokens and "
        rf".*?contains (?:at least )?{PROMPT} input tokens",
        rf"is too large: {MAX}\..* context length is {SIZE} tokens and your request has "
        rf"{PROMPT} input tokens",
        rf"context length is {SIZE} tokens\b.* (?:contains|has) (?:at least )?{PROMPT} input tokens"
        rf"(?: plus {MAX} 'max_tokens')?",
        rf"passed {PROMPT} input tokens.* context length is only {SIZE} tokens",
        rf"\(length {PROMPT}\) is longer than the maximum model length of {SIZE}",
        rf"input length \({PROMPT} tokens\) exceeds the maximum allowed length \({SIZE} tokens\)",
        rf"configured limit of {SIZE} tokens\..* resulted in {PROMPT} tokens",
        # LM Studio
        rf"n_keep:? \(?{PROMPT}\)? ?>= n_ctx:? \(?{SIZE}\)?",
        rf"keep the first {PROMPT} tokens\b.* context length of only {SIZE} tokens",
        # llama-server, of a text to make a vector of
        rf"input \({PROMPT} tokens\) is too large to process\..* batch size: {SIZE}\)",
        # Others behind the same API: Anthropic, Mistral, xAI, Google
        rf"prompt is too long: {PROMPT} tokens > {SIZE} maximum",
        rf"prompt contains {PROMPT} tokens.* model with {SIZE} maximum context length",
        rf"maximum prompt length is {SIZE} but the request contains {PROMPT} tokens",
        rf"input token count \({PROMPT}\) exceeds the maximum number of tokens allowed \({SIZE}\)",
    )
]
"""How servers say that a prompt is too long. Each pattern reads both numbers; `max` where it matters too.

vLLM stops counting at its limit ("at least 4097"): that number is the least the prompt can be.
"""
ABOUT_LENGTH = re.compile(
    r"context_length_exceeded|exceed_context_size|context[ _](?:length|size|window)|tokens to keep|n_keep"
    r"|maximum (?:model|prompt) length|prompt (?:is )?too long|too many tokens|max_new_tokens",
    re.IGNORECASE,
)
TOO_MANY_WANTED = re.compile(
    r"max_(?:completion_)?tokens ?= ?\d+ cannot be greater than|max_completion_tokens is too large",
    re.IGNORECASE,
)
"""How vLLM and SGLang refuse a `max_tokens` that no prompt would leave room for."""
NO_PROJECTOR = re.compile(r"(?:image|audio|video) input is not supported")
"""How llama-server says, with status 500, that its model sees or hears nothing."""
NOT_TAKEN = {
    "stream_options": re.compile(r"stream_options"),
    "max_tokens": re.compile(r"max_completion_tokens\W+instead"),
}
"""Parameters that some servers refuse although all send them, and how the refusal is known."""


WAITING = re.compile(r"[0-9]+(?:\.[0-9]+)?")
LONGEST_PARAM = 200
"""Characters of a field's name that are passed on; what is longer is none."""
LONGEST_WAIT = 3600
"""As many seconds as a client is told to wait at most, whatever the server says; at least one."""


class _Facts(msgspec.Struct):
    """What an error may hold besides its message: llama-server's numbers of an over-long prompt, a status, the name of
    a field."""

    n_prompt_tokens: int | None = None
    n_ctx: int | None = None
    code: Any = None
    param: Any = None


class _Body(msgspec.Struct):
    error: _Facts | str


def refusal(
    server: str, status: int, body: bytes, secret: str | None = None, retry_after: int | None = None
) -> PalaverError:
    """The error for an answer that is not a reply.

    `server` is the upstream's name in the configuration. `secret` is palaver's key there: where the server
    repeats it, it is blotted out. `retry_after` is in seconds. Never raises.
    """
    words = _words(body, secret)
    if status >= 400 and (too_long := _too_long(body, words)) is not None:
        return too_long
    if 400 <= status < 500:
        if TOO_MANY_WANTED.search(words):
            return InvalidRequest(words, param="max_tokens")
        if status in (401, 403) and not ABOUT_LENGTH.search(words):
            # Its words on a 401 may show parts of the key; on a 403 they are worth passing on.
            return EngineRefused(
                f"The model server {server} refused palaver's key for it"
                + (f": {words}" if words and status == 403 else "."),
                status=502,
            )
        if status in (403, 413, 422) and ABOUT_LENGTH.search(words):
            status = 400
        return EngineRefused(
            words or f"The model server {server} answered {status}.",
            status=status,
            param=_param(body, secret),
            retry_after=retry_after,
        )
    if status in (501, 505):
        return EngineRefused(words or f"The model server {server} answered {status}.", status=status)
    if status >= 500 and NO_PROJECTOR.match(words):
        return UnsupportedParameter(words, param="messages")
    if status >= 500:
        return EngineUnavailable(
            f"The model server {server} answered {status}" + (f": {words}" if words else "."),
            retry_after=retry_after,
        )
    return EngineRefused(
        f"The model server {server} answered {status}: its base URL is not where the API is.", status=502
    )


def broken_off(server: str, error: EngineBroke, secret: str | None = None) -> PalaverError:
    """What it means that a stream broke off before the reply began. Servers that queue answer 200 first, and tell
    in the stream that they are busy, or that the prompt is too long."""
    if not isinstance(error, ErrorFrame):
        return EngineUnavailable(f"The model server {server} gave no reply: {error.message}")
    code = _facts(error.body).code
    if isinstance(code, int) and 400 <= code < 600:
        return refusal(server, code, error.body, secret)
    words = _words(error.body, secret)
    too_long = _too_long(error.body, words)
    if too_long is None and ABOUT_LENGTH.search(words):
        return EngineRefused(words, status=400)
    return too_long or EngineUnavailable(f"The model server {server} gave no reply: {words or error.message}")


def come_again(headers: Mapping[str, str]) -> int | None:
    """After how many seconds the server wants to be asked again; None where it does not say.

    `Retry-After` may be a number, or a date: that is compared with the server's own clock, its header `Date`.

    >>> come_again({"Retry-After": "20"})
    20
    """
    given = headers.get("Retry-After", "").strip()
    if WAITING.fullmatch(given):
        wait = float(given)
    else:
        try:
            wait = _moment(given) - _moment(headers.get("Date", ""))
        except (ValueError, OverflowError):
            return None
    return math.ceil(min(max(wait, 1), LONGEST_WAIT))


def _moment(date: str) -> float:
    """Raises ValueError and OverflowError."""
    found = parsedate_to_datetime(date)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def has_no_route(status: int, body: bytes) -> bool:
    """Whether a server answers so to a route that it does not have: not where it knows no such model."""
    return status in (404, 405, 501) and "model" not in _words(body, None).lower()


def without_secret(words: str, secret: str | None) -> str:
    return words.replace(secret, "…") if secret else words


def not_taken(status: int, body: bytes) -> str | None:
    """Which parameter of `NOT_TAKEN` this answer refuses the request for; None where it is not for one."""
    if status not in (400, 422):
        return None
    words = _words(body, None)
    return next((name for name, pattern in NOT_TAKEN.items() if pattern.search(words)), None)


def _too_long(body: bytes, words: str) -> ContextLengthExceeded | None:
    facts = _facts(body)
    if facts.n_prompt_tokens is not None and facts.n_ctx is not None:
        return ContextLengthExceeded(prompt_tokens=facts.n_prompt_tokens, context_size=facts.n_ctx)
    for pattern in TOO_LONG:
        match = pattern.search(words)
        if match is not None:
            found = {name: int(number) for name, number in match.groupdict().items() if number}
            if found["prompt"] + found.get("max", 0) < found["size"]:
                return None  # numbers that say something else than we read
            return ContextLengthExceeded(
                prompt_tokens=found["prompt"], context_size=found["size"], max_tokens=found.get("max")
            )
    return None


def _facts(body: bytes) -> _Facts:
    """Of an error body, also where it is text within another (Ollama)."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
        if isinstance(error, str):
            error = msgspec.json.decode(error, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Facts()
    return error if isinstance(error, _Facts) else _Facts()


def _param(body: bytes, secret: str | None) -> str | None:
    """The field that an error body names; None where it names none."""
    param = _facts(body).param
    if not isinstance(param, str) or not 0 < len(param) <= LONGEST_PARAM:
        return None
    return without_secret(param, secret)


def _words(body: bytes, secret: str | None) -> str:
    """The server's own words: of an error body, else of a short plain text; no pages."""
    words = error_message(body)
    if words is None:
        text = body.decode(errors="replace").strip()
        words = "" if text.startswith(("<", "{", "[")) or len(text) > MESSAGE_LIMIT else text
    return without_secret(words, secret)
