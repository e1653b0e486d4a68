"""The tools of a response: as its body has them, and as `core` does."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.parameters import NamedTool, Tool, ToolChoice
from palaver.server.body import explained
from palaver.server.completion_tools import (
    MOST_TOOLS,
    AskedTools,
    FunctionTool,
    chosen,
    known_tool,
    read_tools,
)

BUILT_IN = frozenset(
    (
        *("apply_patch", "code_interpreter", "computer", "computer_use_preview", "custom", "file_search"),
        *("image_generation", "local_shell", "mcp", "namespace", "programmatic_tool_calling", "shell"),
        *("tool_search", "web_search", "web_search_preview"),
    )
)
"""Tools that run at OpenAI, or are no functions."""
WORDS = ("auto", "none", "required")


def response_tools(tools: list[dict[str, Any]] | None, choice: str | dict[str, Any] | None) -> AskedTools:
    """Raises InvalidRequest for tools and choices that cannot be, UnsupportedParameter for those of other servers."""
    if tools is not None and len(tools) > MOST_TOOLS:
        raise InvalidRequest(f"`tools` has {len(tools)} tools; at most {MOST_TOOLS} may be.", param="tools")
    found = read_tools(
        [(f"tools[{i}]", _function(tool, f"tools[{i}]")) for i, tool in enumerate(tools or ())]
    )
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = _allowed(choice, found)
        return AskedTools(tools=allowed, choice=_word(_mode(choice), allowed, "tool_choice.mode"))
    return AskedTools(tools=found, choice=_choice(choice, found))


def _function(tool: dict[str, Any], at: str) -> FunctionTool:
    kind = tool.get("type")
    if kind != "function":
        _check_type(kind, at, "function")
    try:
        return msgspec.convert(tool, FunctionTool)
    except msgspec.ValidationError as error:
        raise explained(error, {}, at) from None


def _check_type(kind: object, at: str, *known: str) -> None:
    """Raises what fits a type that is not among the known ones."""
    param = f"{at}.type"
    if not isinstance(kind, str):
        raise InvalidRequest(f"Input required: `{param}` is missing or no string.", param=param)
    if kind in BUILT_IN:
        raise UnsupportedParameter(
            f"`{param}`: there is no tool of type {kind} here: give functions.", param=param
        )
    if kind not in known:
        raise InvalidRequest(f"`{param}` must be {' or '.join(known)}; not {kind[:100]!r}.", param=param)


def _choice(choice: str | dict[str, Any] | None, tools: list[Tool]) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return _word(choice, tools, "tool_choice")
    _check_type(choice.get("type"), "tool_choice", "function", "allowed_tools")
    name = choice.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest("Input required: `tool_choice.name` is missing.", param="tool_choice.name")
    return NamedTool(known_tool(name, tools, "tool_choice.name"))


def _word(word: str, tools: list[Tool], param: str) -> ToolChoice | None:
    if word not in WORDS:
        raise InvalidRequest(f"`{param}` must be one of {', '.join(WORDS)}, or an object.", param=param)
    return chosen(word, tools, param)


def _mode(choice: dict[str, Any]) -> str:
    mode = choice.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise InvalidRequest("`tool_choice.mode` must be one of auto, required.", param="tool_choice.mode")
    return str(mode)


def _allowed(choice: dict[str, Any], tools: list[Tool]) -> list[Tool]:
    """Those of the tools that may be called this time."""
    asked = choice.get("tools")
    if not isinstance(asked, list):
        raise InvalidRequest("`tool_choice.tools` must be an array.", param="tool_choice.tools")
    names = set()
    for i, tool in enumerate(asked):
        at = f"tool_choice.tools[{i}]"
        named = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(named, str):
            raise InvalidRequest(f"Input required: `{at}.name` is missing.", param=f"{at}.name")
        names.add(known_tool(named, tools, f"{at}.name"))
    return [tool for tool in tools if tool.name in names]
