"""Requests as the worker reads them: built from a list of allowed fields, nothing passed through.

What is in a message is data. A chat template marks the messages with control tokens, and the worker would
take the same strings for control tokens inside a message as well, so that a user could write words of the
assistant or instructions of the system. They are broken up here by an invisible character; what is stored
stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palaver.core.calls import is_of_tools
from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import RESULTS, Message, RefusalPart, TextPart
from palaver.core.parameters import Sampling
from palaver.engines.llama.tools import Escape, tool_calls, tool_result

BREAK = "\u200b"
"""A zero-width space: no control token has one, and readers do not see it."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles of messages that are no results of tools, and as what they are rendered."""
FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
    "max_tokens": "max_tokens",
    "logit_bias": "logit_bias",
}
"""Our names of the parameters, and the worker's."""
PREFILL = {"continue_final_message": True, "add_generation_prompt": False}
"""Has the worker go on with the last message. Left to itself it takes that for a whole one, as clients mean it."""
INT32_MAX = 2**31 - 1
RANDOM_SEED = 2**32 - 1
"""The worker takes this seed for "any"."""


def escaper(control_tokens: frozenset[str]) -> Escape:
    """A function that breaks up every control token in a text."""
    by_start: dict[str, list[str]] = {}
    for token in control_tokens:
        by_start.setdefault(token[0], []).append(token)
    lengths = {start: sorted({len(token) for token in tokens}) for start, tokens in by_start.items()}

    def escape(text: str) -> str:
        if not any(start in text for start in lengths):
            return text  # as nearly always
        pieces: list[str] = []
        done = 0
        for at in sorted(at for start in lengths for at in _places(text, start)):
            if any(text[at : at + length] in control_tokens for length in lengths[text[at]]):
                pieces += (text[done : at + 1], BREAK)
                done = at + 1
        pieces.append(text[done:])
        return "".join(pieces)

    return escape


def _places(text: str, start: str) -> list[int]:
    found = []
    at = text.find(start)
    while at >= 0:
        found.append(at)
        at = text.find(start, at + 1)
    return found


def chat_messages(
    messages: Sequence[Message], escape: Escape, *, tools: bool = False
) -> list[dict[str, Any]]:
    """The messages for the worker; with `tools` also calls and their results.

    Raises UnsupportedParameter, which names the message, for what the model cannot be shown: media, and tools where
    its template has none.
    """
    called: dict[str, str] = {}
    return [_message(number, message, escape, called, tools) for number, message in enumerate(messages)]


def _message(
    number: int, message: Message, escape: Escape, called: dict[str, str], tools: bool
) -> dict[str, Any]:
    """`called` are the names of the functions that were called, by the calls' ids."""
    if not tools and is_of_tools(message):
        raise UnsupportedParameter(
            f"This model has no tools: `messages[{number}]` is part of a tool call.",
            param=f"messages[{number}]",
        )
    text = escape(_text(number, message))
    if message.role in RESULTS:
        return tool_result(message, text, escape, called)
    rendered: dict[str, Any] = {"role": ROLES[message.role], "content": text}
    if message.role != "assistant":
        return rendered
    if thought := message.reasoning_content or message.reasoning:
        rendered["reasoning_content"] = escape(thought)
    if calls := tool_calls(message, escape, called):
        rendered["tool_calls"] = calls
    return rendered


def _text(number: int, message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    pieces = []
    for at, part in enumerate(message.content or ()):
        if isinstance(part, TextPart):
            pieces.append(part.text)
        elif isinstance(part, RefusalPart):
            pieces.append(part.refusal)
        else:
            place = f"messages[{number}].content[{at}]"
            raise UnsupportedParameter(f"This model reads text only: `{place}` is media.", param=place)
    return "".join(pieces)


def sampling_fields(sampling: Sampling, vocabulary: int) -> dict[str, Any]:
    """The parameters that were asked for, under the worker's names and within what its integers hold.

    `vocabulary` is how many tokens the model has, 0 where that is not known. Raises InvalidRequest for a bias on a
    token that it has not: the worker would pass over that in silence.
    """
    fields: dict[str, Any] = {}
    for ours, theirs in FIELDS.items():
        value = getattr(sampling, ours)
        if value is not None:
            fields[theirs] = value
    if "seed" in fields:
        fields["seed"] = min(fields["seed"] % 2**32, RANDOM_SEED - 1)
    for name in ("top_k", "max_tokens"):
        if name in fields:
            fields[name] = min(fields[name], INT32_MAX)
    if "stop" in fields:
        fields["stop"] = [stop for stop in fields["stop"] if stop]  # an empty one would end the reply at once
    if bias := fields.get("logit_bias"):
        fields["logit_bias"] = [[_token(number, vocabulary), by] for number, by in bias.items()]
    return fields


def _token(number: str, vocabulary: int) -> int:
    if not (number.isascii() and number.isdigit()):
        raise InvalidRequest(
            f"`logit_bias` names the token {number!r}, which is no number.", param="logit_bias"
        )
    if vocabulary and int(number) >= vocabulary:
        raise InvalidRequest(
            f"`logit_bias` names the token {number}; this model has {vocabulary}, numbered from 0.",
            param="logit_bias",
        )
    return int(number)
