"""A chunk of a streamed completion as it stands on the wire, with its counts and log probabilities evened out."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from palaver.core.turn import Prefilled, TokenLogprob, TopLogprob, Usage

LEAST_LOGPROB = -9999.0


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None  # text; an object from some


class CallDelta(msgspec.Struct):
    index: float | None = None  # Together's types say float
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None  # OpenAI, in place of the content
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallDelta] | None = None
    token_id: Any = None  # Together
    function_call: Function | None = None


class Choice(msgspec.Struct):
    index: float = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None  # an object; Together sends a number, and the alternatives beside it
    top_logprobs: Any = None
    text: str | None = None  # of a text completion; Together sends it in chats, too


class Chunk(msgspec.Struct):
    """Counts are looked at apart (`usage_of`): a reply is not lost over what is no count."""

    choices: list[Choice] | None = None
    model: Any = None
    usage: Any = None
    timings: Any = None
    prompt_progress: Any = None  # llama.cpp, where it was asked for
    error: Any = None
    object: Any = None  # "error" where the chunk itself is one: SGLang, older vLLM
    detail: Any = None  # FastAPI's errors

    @property
    def is_error(self) -> bool:
        return (
            self.error is not None or self.object == "error" or (not self.choices and self.detail is not None)
        )


def usage_of(usage: Any, timings: Any) -> tuple[Usage | None, bool]:
    """What the reply cost: by the usage, else by llama.cpp's timings; and whether the usage held numbers that can
    be none (negative, text, fractions).

    Servers that leave cached tokens out of `prompt_tokens` are known by more cached tokens than prompt: they are
    added there.
    """
    told, timed = _fields(usage), _fields(timings)
    cached = [
        told.get("cached_tokens"),
        _fields(told.get("prompt_tokens_details")).get("cached_tokens"),
        timed.get("cache_n"),
    ]
    thought = [
        _fields(told.get("completion_tokens_details")).get("reasoning_tokens"),
        told.get("reasoning_tokens") or None,  # SGLang says 0 where it does not count them
    ]
    counted = [told.get("prompt_tokens"), told.get("completion_tokens"), *cached, *thought]
    is_broken = any(value is not None and _count(value) is None for value in counted)
    prompt, said, reused = _count(told.get("prompt_tokens")), _first(counted[1:2]), _first(cached)
    if prompt is None:
        read, said = _count(timed.get("prompt_n")), _count(timed.get("predicted_n"))
        if read is None or said is None:
            return None, is_broken
        prompt = read + (reused or 0)
    elif reused is not None and reused > prompt:
        prompt += reused
    return Usage(prompt, said or 0, reused, _first(thought)), is_broken


def generated_by(timings: Any) -> int | None:
    """How many tokens of the reply there were, by llama.cpp's timings."""
    return _count(_fields(timings).get("predicted_n"))


def prefilled_by(progress: Any) -> Prefilled | None:
    """How far a prompt is read, by llama.cpp's progress; None for what is none."""
    done, of = (_count(_fields(progress).get(name)) for name in ("processed", "total"))
    return None if done is None or not of else Prefilled(min(done, of), of)


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: list[Any]) -> int | None:
    return next((count for value in values if (count := _count(value)) is not None), None)


def _count(value: Any) -> int | None:
    """A count of tokens, or None for what can be none."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def logprobs_of(choice: Choice) -> list[TokenLogprob]:
    """The log probabilities in a chunk, in any of the shapes that are about: OpenAI's, Together's, that of text
    completions. What is none of them counts for nothing."""
    given = choice.logprobs
    try:
        if isinstance(given, dict) and given.get("content"):
            return [_openai_token(token) for token in given["content"]]
        if isinstance(given, dict) and given.get("tokens"):
            return _listed_tokens(given)
        if isinstance(given, float | int) and not isinstance(given, bool):
            delta = choice.delta
            text = (delta.content if delta else None) or choice.text or ""
            id = _id(delta.token_id) if delta else None
            return [TokenLogprob(text, _logprob(given), id=id, top=_alternatives(choice.top_logprobs))]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return []
    return []


def _openai_token(token: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(
        str(token["token"]),
        _logprob(token["logprob"]),
        _bytes(token.get("bytes")),
        _id(token.get("id")),
        [
            TopLogprob(
                str(top["token"]), _logprob(top["logprob"]), _bytes(top.get("bytes")), _id(top.get("id"))
            )
            for top in token.get("top_logprobs") or ()
        ],
    )


def _listed_tokens(given: dict[str, Any]) -> list[TokenLogprob]:
    tokens = given["tokens"]
    numbers = given.get("token_logprobs") or [0.0] * len(tokens)
    ids = given.get("token_ids") or [None] * len(tokens)
    tops = given.get("top_logprobs") or [None] * len(tokens)
    if isinstance(tops, dict):
        tops = [tops] * len(tokens)
    return [
        TokenLogprob(str(token), _logprob(number or 0.0), id=_id(id), top=_alternatives(top))
        for token, number, id, top in zip(tokens, numbers, ids, tops, strict=False)
    ]


def _alternatives(top: Any) -> list[TopLogprob]:
    return [TopLogprob(str(token), _logprob(number)) for token, number in (top or {}).items()]


def _logprob(value: Any) -> float:
    """Within what JSON can tell on: of a token that cannot be, -9999, as OpenAI has it. Raises ValueError."""
    number = float(value)
    if math.isnan(number):
        raise ValueError(value)
    return min(max(number, LEAST_LOGPROB), 0.0)


def _bytes(value: Any) -> list[int] | None:
    is_bytes = isinstance(value, list) and all(type(each) is int and 0 <= each < 256 for each in value)
    return value if is_bytes else None


def _id(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
