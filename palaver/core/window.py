"""The window: what the model sees of a path.

The stateless door shows the model exactly what the client sent: instructions in their places, then the
messages, minus what the client left out. (Where a window grows over the model's context, the request is
refused with both numbers; see `palaver.chat`.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from palaver.core.message import Message
from palaver.core.parameters import Tool
from palaver.core.tree import Instruction


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt for an engine, with whose it is, so that an engine can place and isolate it.

    `conversation` and `turn` are ids; `conversation` is None for a turn that is not stored. `tools` are what the
    model may call.
    """

    owner: str
    conversation: str | None
    turn: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


def woven(instructions: Sequence[Instruction], messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages with the instructions back where the client had put them."""
    result: list[Message] = []
    waiting = list(instructions)
    for i, message in enumerate(messages):
        while waiting and waiting[0].at <= i:
            result.append(waiting.pop(0).message)
        result.append(message)
    result.extend(instruction.message for instruction in waiting)
    return tuple(result)


def rendered(stored: Message, sent: Message | None) -> Message:
    """The form of a message that the model sees: as stored, but with the reasoning the client sent."""
    if sent is None:
        return stored
    return Message(
        role=stored.role,
        content=stored.content,
        name=stored.name,
        tool_calls=stored.tool_calls,
        tool_call_id=stored.tool_call_id,
        function_call=stored.function_call,
        reasoning=sent.reasoning,
        reasoning_content=sent.reasoning_content,
    )
