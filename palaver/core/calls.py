"""Whether the results of tools in a history answer calls that were made."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.core.errors import InvalidRequest
from palaver.core.message import RESULTS, Message


def is_of_tools(message: Message) -> bool:
    """Whether a message makes calls of tools, or is the result of one."""
    return bool(message.role in RESULTS or message.tool_calls or message.function_call)


def unasked_result(messages: Sequence[Message], start: int = 0) -> int | None:
    """The place of the first result, from `start` on, of a call that no message before it made; None without any.

    A tool's result names the id of its call; a function's, in the older form, the function.

    >>> from palaver.core.message import FunctionCall, Message, ToolCall
    >>> call = Message("assistant", tool_calls=[ToolCall(FunctionCall("now"), "call_1")])
    >>> unasked_result([call, Message("tool", "noon", tool_call_id="call_1")])
    >>> unasked_result([call, Message("tool", "noon", tool_call_id="call_2")])
    1
    """
    if not any(message.role in RESULTS for message in messages[start:]):
        return None
    ids: set[str | None] = set()
    names: set[str | None] = set()
    for place, message in enumerate(messages):
        if message.role == "assistant":
            for call in message.tool_calls or ():
                ids.add(call.id)
                names.add(call.function.name)
            if message.function_call is not None:
                names.add(message.function_call.name)
        elif place >= start and (
            (message.role == "tool" and message.tool_call_id not in ids)
            or (message.role == "function" and message.name not in names)
        ):
            return place
    return None


def check_results(messages: Sequence[Message], start: int = 0, sent_before: int = 0) -> None:
    """Raises InvalidRequest where a result, from `start` on, answers no call.

    `messages` may hold what is stored before what was sent: that begins at `start`, and the request had
    `sent_before` messages more before it.
    """
    place = unasked_result(messages, start)
    if place is None:
        return
    message = messages[place]
    field, of = ("tool_call_id", "with the id") if message.role == "tool" else ("name", "of the function")
    param = f"messages[{place - start + sent_before}].{field}"
    named = str(getattr(message, field))[:100]
    raise InvalidRequest(f"`{param}`: no message before it has a call {of} {named!r}.", param=param)
