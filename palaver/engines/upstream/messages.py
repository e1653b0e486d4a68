"""A history as a kind of server takes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from palaver.core.message import FunctionCall, Message, Part, RefusalPart, TextPart
from palaver.engines.upstream.dialects import Dialect


def messages_for(dialect: Dialect, messages: Sequence[Message]) -> list[Message]:
    """These messages, in their order, in the roles, parts and names that the server knows.

    Raises UnsupportedParameter for content that it cannot take.
    """
    return [_message(dialect, message) for message in messages]


def _message(dialect: Dialect, message: Message) -> Message:
    changed: dict[str, Any] = {}
    if message.role == "developer" and not dialect.developer:
        changed["role"] = "system"
    if isinstance(message.content, list):
        changed["content"] = _content(dialect, message.content)
    elif message.content is None and not message.tool_calls and message.function_call is None:
        changed["content"] = ""  # servers refuse a message without the field
    if dialect.reasoning is not None and (message.reasoning or message.reasoning_content):
        thought = message.reasoning or message.reasoning_content
        changed |= {"reasoning": None, "reasoning_content": None}
        if dialect.reasoning:
            changed[dialect.reasoning] = thought
    if message.tool_calls and dialect.json_arguments:
        changed["tool_calls"] = [
            msgspec.structs.replace(call, function=_parseable(call.function)) for call in message.tool_calls
        ]
    return msgspec.structs.replace(message, **changed) if changed else message


def _content(dialect: Dialect, parts: list[Part]) -> str | list[Part]:
    """Text alone goes as text: Ollama makes a message of each part, and templates may know no parts."""
    if dialect.parts is not None:
        for part in parts:
            kind = _kind(part)
            if kind not in dialect.parts and kind != "refusal":
                raise dialect.refuse("messages", f"content of the type `{kind}`")
    if dialect.parts is None or "refusal" not in dialect.parts:
        parts = [TextPart(part.refusal) if isinstance(part, RefusalPart) else part for part in parts]
    if dialect.json_arguments and all(isinstance(part, TextPart) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, TextPart))
    return parts


def _kind(part: Part) -> str:
    return str(type(part).__struct_config__.tag)


def _parseable(call: FunctionCall) -> FunctionCall:
    """A call whose arguments are a JSON object: servers refuse a history with any other. A model may have written
    none, or a broken one; that is shown as text then."""
    try:
        if isinstance(msgspec.json.decode(call.arguments or "{}"), dict):
            return FunctionCall(call.name, call.arguments or "{}")
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass  # what it is instead is shown below
    return FunctionCall(call.name, msgspec.json.encode({"text": call.arguments}).decode())
