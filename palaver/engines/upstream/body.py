"""The body of a chat completion request, as any OpenAI-compatible server takes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from palaver.core.message import Message
from palaver.engines.base import Options

_encode = msgspec.json.Encoder().encode


def chat_body(messages: Sequence[Message], options: Options, without: frozenset[str] = frozenset()) -> bytes:
    """A streamed request for a reply to these messages.

    The messages go as they are, in their own roles. Parameters palaver does not know (`options.extra`) go
    along, but never in the place of one it does. `without` names what this server was found not to take:
    ``stream_options``, or ``max_tokens`` where it wants `max_completion_tokens` (OpenAI's newer models).
    """
    sampling: dict[str, Any] = msgspec.to_builtins(options.sampling)
    if "max_tokens" in without and "max_tokens" in sampling:
        sampling["max_completion_tokens"] = sampling.pop("max_tokens")
    body = {
        **options.extra,
        **sampling,
        "model": options.model,
        "messages": [_sendable(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if options.reasoning is False:
        body["reasoning"] = {"enabled": False}
    if "stream_options" in without:
        del body["stream_options"]
    return _encode(body)


def _sendable(message: Message) -> Message:
    """A message without content or calls needs the field all the same: servers refuse one without it."""
    if message.content is None and not message.tool_calls and message.function_call is None:
        return msgspec.structs.replace(message, content="")
    return message
