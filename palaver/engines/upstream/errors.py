"""What a model server's refusal means: its status and body, mapped to palaver's errors. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineRefused,
    EngineUnavailable,
    PalaverError,
)
from palaver.engines.chat_stream import MESSAGE_LIMIT, error_message

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
    r"context_length_exceeded|exceed_context_size|context[ _](?:length|size|window)"
    r"|maximum (?:model|prompt) length|prompt (?:is )?too long|too many tokens|max_new_tokens",
    re.IGNORECASE,
)
NOT_TAKEN = {
    "stream_options": re.compile(r"stream_options"),
    "max_tokens": re.compile(r"max_completion_tokens\W+instead"),
}
"""Parameters that some servers refuse although all send them, and how the refusal is known."""


WAITING = re.compile(r"[0-9]+(?:\.[0-9]+)?")
LONGEST_WAIT = 3600
"""As many seconds as a client is told to wait at most, whatever the server says; at least one."""


class _Facts(msgspec.Struct):
    """What llama-server adds to the error of an over-long prompt."""

    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Body(msgspec.Struct):
    error: _Facts


def refusal(
    server: str, status: int, body: bytes, secret: str | None = None, retry_after: int | None = None
) -> PalaverError:
    """The error for an answer that is not a reply.

    `server` is the upstream's name in the configuration. `secret` is palaver's key there: where the server
    repeats it, it is blotted out. `retry_after` is in seconds. Never raises.
    """
    words = _words(body, secret)
    if 400 <= status < 500:
        too_long = _too_long(body, words)
        if too_long is not None:
            return too_long
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
            words or f"The model server {server} answered {status}.", status=status, retry_after=retry_after
        )
    if status >= 500:
        return EngineUnavailable(
            f"The model server {server} answered {status}" + (f": {words}" if words else "."),
            retry_after=retry_after,
        )
    return EngineRefused(
        f"The model server {server} answered {status}: its base URL is not where the API is.", status=502
    )


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


def not_taken(status: int, body: bytes) -> str | None:
    """Which parameter of `NOT_TAKEN` this answer refuses the request for; None where it is not for one."""
    if status not in (400, 422):
        return None
    words = _words(body, None)
    return next((name for name, pattern in NOT_TAKEN.items() if pattern.search(words)), None)


def _too_long(body: bytes, words: str) -> ContextLengthExceeded | None:
    try:
        facts = msgspec.json.decode(body, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        facts = _Facts()
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


def _words(body: bytes, secret: str | None) -> str:
    """The server's own words: of an error body, else of a short plain text; no pages."""
    words = error_message(body)
    if words is None:
        text = body.decode(errors="replace").strip()
        words = "" if text.startswith(("<", "{", "[")) or len(text) > MESSAGE_LIMIT else text
    return words.replace(secret, "…") if secret else words
