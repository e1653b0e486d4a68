"""Tools, calls and results as the worker's chat templates want them.

All of it is data, like the text of a message: no name, description, argument or result may hold a control token.
Arguments go out as JSON objects. Models write other things as well, and clients send back what models wrote:
what is no object stands in one, so that templates that look into it do not fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.message import DEEPEST, FunctionCall, Message
from palaver.core.parameters import Tool

NOT_JSON = "text"
"""The name under which arguments stand that are no JSON object."""
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The schema of a tool that says nothing of its arguments: it takes none."""

Escape = Callable[[str], str]


def tool_fields(tools: Sequence[Tool], escape: Escape) -> list[dict[str, Any]]:
    """The tools for the worker. Raises InvalidRequest for a name with a control token in it."""
    return [_tool(number, tool, escape) for number, tool in enumerate(tools)]


def _tool(number: int, tool: Tool, escape: Escape) -> dict[str, Any]:
    if escape(tool.name) != tool.name:
        param = f"tools[{number}].function.name"
        raise InvalidRequest(f"`{param}` holds a control token of this model.", param=param)
    function = {"name": tool.name, "parameters": escaped(tool.parameters or NO_ARGUMENTS, escape)}
    if tool.description:
        function["description"] = escape(tool.description)
    return {"type": "function", "function": function}


def tool_calls(message: Message, escape: Escape, called: dict[str, str]) -> list[dict[str, Any]]:
    """The calls in an assistant's message; their names are noted in `called`."""
    calls = [(call.id, call.function) for call in message.tool_calls or ()]
    if message.function_call:  # the form before tools
        calls.append((message.function_call.name, message.function_call))
    for id, function in calls:
        called[id] = function.name
    return [
        {"id": escape(id), "type": "function", "function": _call(function, escape)} for id, function in calls
    ]


def _call(call: FunctionCall, escape: Escape) -> dict[str, Any]:
    arguments = msgspec.json.encode(_arguments(call.arguments, escape)).decode()
    return {"name": escape(call.name), "arguments": arguments}


def _arguments(text: str, escape: Escape) -> dict[str, Any]:
    try:
        arguments = escaped(msgspec.json.decode(text or "{}"), escape)
    except (msgspec.DecodeError, RecursionError, ValueError):
        arguments = None  # no JSON, or JSON that nests too deeply
    return arguments if isinstance(arguments, dict) else {NOT_JSON: escape(text)}


def tool_result(message: Message, text: str, escape: Escape, called: dict[str, str]) -> dict[str, Any]:
    """What a tool answered; some templates want the tool's name with it."""
    id = message.tool_call_id or message.name or ""
    rendered = {"role": "tool", "tool_call_id": escape(id), "content": text}
    if name := message.name or called.get(id):
        rendered["name"] = escape(name)
    return rendered


def escaped(value: Any, escape: Escape, depth: int = 0) -> Any:
    """JSON with every text in it escaped. Raises RecursionError where it nests deeper than anything is stored."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(key): escaped(inner, escape, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [escaped(inner, escape, depth + 1) for inner in value]
    return value
