"""Requests as the worker reads them: built from a list of allowed fields, nothing passed through.

What is in a message is data. A chat template marks the messages with control tokens, and the worker would
take the same strings for control tokens inside a message as well, so that a user could write words of the
assistant or instructions of the system. They are broken up here by an invisible character; what is stored
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from palaver.core.errors import EngineRefused
from palaver.core.message import Message, RefusalPart, TextPart
from palaver.core.turn import Sampling

BREAK = "\u200b"
"""A zero-width space: no control token has one, and readers do not see it."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles this engine can render, and as what."""
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
}
"""Our names of the parameters, and the worker's."""
PREFILL = {"continue_final_message": True, "add_generation_prompt": False}
"""Has the worker go on with the last message. Left to itself it takes that for a whole one, as clients mean it."""
INT32_MAX = 2**31 - 1
RANDOM_SEED = 2**32 - 1
"""The worker takes this seed for "any"."""

Escape = Callable[[str], str]


def escaper(control_tokens: frozenset[str]) -> Escape:
    """A function that breaks up every control token in a text."""
    by_start: dict[str, list[str]] = {}
    for token in control_tokens:
        by_start.setdefault(token[0], []).append(token)
    lengths = {start: sorted({len(token) for token in tokens}) for start, tokens in by_start.items()}

    def escape(text: str) -> str:
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


def chat_messages(messages: Sequence[Message], escape: Escape) -> list[dict[str, str]]:
    """The messages for the worker. Raises EngineRefused (400) for what it cannot render: media, tools."""
    return [_message(number, message, escape) for number, message in enumerate(messages)]


def _message(number: int, message: Message, escape: Escape) -> dict[str, str]:
    role = ROLES.get(message.role)
    if role is None or message.tool_calls or message.function_call:
        raise EngineRefused(
            f"This model has no tools: messages[{number}] is part of a tool call.", status=400
        )
    rendered = {"role": role, "content": escape(_text(number, message))}
    thought = message.reasoning_content or message.reasoning
    if thought and role == "assistant":
        rendered["reasoning_content"] = escape(thought)
    return rendered


def _text(number: int, message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    pieces = []
    for part in message.content or ():
        if isinstance(part, TextPart):
            pieces.append(part.text)
        elif isinstance(part, RefusalPart):
            pieces.append(part.refusal)
        else:
            raise EngineRefused(f"This model reads text only: messages[{number}] holds media.", status=400)
    return "".join(pieces)


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """The parameters that were asked for, under the worker's names and within what its integers hold."""
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
    return fields
