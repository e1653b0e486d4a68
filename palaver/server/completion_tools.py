"""The tools of a request: as the body has them, and as `core` does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from palaver.core.calls import is_of_tools
from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import Message
from palaver.core.parameters import NamedTool, Tool, ToolChoice
from palaver.core.schema_bounds import check_schema

MOST_TOOLS = 128
"""As OpenAI has it."""
LARGEST_TOOLS = 512 * 1024
"""The schemas of all tools together, in bytes of JSON."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class FunctionTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may call. `name` has 1 to 64 letters, digits, ``_``, ``-`` and ``.``; `parameters` is
    the JSON schema of its arguments, an object's."""

    name: Annotated[str, Meta(extra_json_schema={"pattern": f"^{NAME.pattern}$"})]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolParam(msgspec.Struct, frozen=True):
    function: FunctionTool
    type: Literal["function"] = "function"


class FunctionName(msgspec.Struct, frozen=True):
    name: str


class ToolChoiceParam(msgspec.Struct, frozen=True):
    function: FunctionName
    type: Literal["function"] = "function"


Tools = Annotated[list[ToolParam], Meta(max_length=MOST_TOOLS)]
Functions = Annotated[list[FunctionTool], Meta(max_length=MOST_TOOLS)]
NO_CHOICE = (None, "auto", "none")
"""Choices that need no tools to choose from."""


class AskedTools(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of tools. With `is_legacy` it says so as `functions` and `function_call`."""

    tools: list[Tool] = []
    choice: ToolChoice | None = None
    is_legacy: bool = False

    @property
    def names(self) -> tuple[str, str]:
        """What the fields are called in the request."""
        return ("functions", "function_call") if self.is_legacy else ("tools", "tool_choice")


def asked_tools(
    tools: list[ToolParam] | None,
    choice: str | ToolChoiceParam | None,
    functions: list[FunctionTool] | None,
    function_call: str | FunctionName | None,
) -> AskedTools:
    """Raises InvalidRequest for tools and choices that cannot be."""
    if functions:
        if tools:
            raise InvalidRequest(
                "Send `tools` or, in the older form, `functions`, not both.", param="functions"
            )
        if choice not in NO_CHOICE:
            raise InvalidRequest("With `functions` goes `function_call`.", param="tool_choice")
        found = read_tools([(f"functions[{i}]", function) for i, function in enumerate(functions)])
        return AskedTools(tools=found, choice=chosen(function_call, found, "function_call"), is_legacy=True)
    if function_call not in NO_CHOICE:
        raise InvalidRequest(
            "`function_call` goes with `functions`; with `tools` goes `tool_choice`.", param="function_call"
        )
    found = read_tools([(f"tools[{i}].function", tool.function) for i, tool in enumerate(tools or ())])
    return AskedTools(tools=found, choice=chosen(choice, found, "tool_choice"))


def read_tools(described: Sequence[tuple[str, FunctionTool]]) -> list[Tool]:
    """Functions, each with its place in the body. Raises InvalidRequest."""
    found: dict[str, Tool] = {}
    size = 0
    for place, function in described:
        name = function.name
        if not NAME.fullmatch(name):
            raise InvalidRequest(
                f"`{place}.name` must have 1 to 64 letters, digits, `_`, `-` and `.`.", param=f"{place}.name"
            )
        if name in found:
            raise InvalidRequest(
                f"`{place}.name`: there is another tool named {name}.", param=f"{place}.name"
            )
        if function.parameters:
            size += _check_arguments(function.parameters, f"{place}.parameters")
        if size > LARGEST_TOOLS:
            raise InvalidRequest(
                f"With `{place}` the schemas of all tools have more than {LARGEST_TOOLS} bytes.",
                param=f"{place}.parameters",
            )
        found[name] = Tool(
            name=name,
            description=function.description,
            parameters=function.parameters or None,
            strict=function.strict,
        )
    return list(found.values())


def _check_arguments(schema: dict[str, Any], param: str) -> int:
    """Check the schema of a tool's arguments; its size in bytes."""
    check_schema(schema, param)
    if schema.get("type", "object") != "object":
        raise InvalidRequest(f"`{param}.type` must be object: arguments have names.", param=f"{param}.type")
    return len(msgspec.json.encode(schema))


def chosen(
    choice: str | ToolChoiceParam | FunctionName | None, tools: Sequence[Tool], param: str
) -> ToolChoice | None:
    """The choice as a word, as the bare name of a tool, or in one of the two forms of an object."""
    match choice:
        case ToolChoiceParam():
            return NamedTool(known_tool(choice.function.name, tools, f"{param}.function.name"))
        case FunctionName():
            return NamedTool(known_tool(choice.name, tools, f"{param}.name"))
        case None:
            return None
        case "auto":
            return "auto" if tools else None
        case "none":
            return "none" if tools else None
        case "required":
            if not tools:
                raise InvalidRequest(f"`{param}` is required, but there are no tools.", param=param)
            return "required"
    return NamedTool(known_tool(choice, tools, param))


def known_tool(name: str, tools: Sequence[Tool], param: str) -> str:
    """The name of a tool that there is. Raises InvalidRequest for one that there is not."""
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(f"`{param}`: there is no tool named {name[:100]!r} in the request.", param=param)
    return name


def check_tool_messages(messages: Sequence[Message], capabilities: frozenset[str], model: str) -> None:
    """Raises UnsupportedParameter for calls and results that the model's engine takes none of."""
    if "tools" in capabilities:
        return
    for i, message in enumerate(messages):
        if is_of_tools(message):
            raise UnsupportedParameter(
                f"The model {model} takes no tool calls and results.", param=f"messages[{i}]"
            )
