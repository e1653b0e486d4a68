"""What the description of the API says of items and tools that are sent: bodies have them as plain JSON, which is read
later."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from palaver.server.completion_tools import FunctionTool
from palaver.server.input_shapes import SHAPES

SCHEMAS = "#/components/schemas/"
ITEM, TOOL = "InputItem", "ResponseTool"

ItemJson = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": SCHEMAS + ITEM})]
RawItem = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": SCHEMAS + ITEM})]
ToolJson = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": SCHEMAS + TOOL})]

SENT: tuple[type, ...] = (*SHAPES.values(), FunctionTool)
"""The types that they are read as."""
UNNAMED = ("message", "item_reference")
"""Items whose `type` clients may leave out."""


def item_schemas(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas of what bodies refer to, made of those of the types in `SENT`: these lack the `type`, by which they
    are told apart before they are read."""
    items = {
        shape.__name__: _typed(schemas[shape.__name__], kind, is_needed=kind not in UNNAMED)
        for kind, shape in SHAPES.items()
    }
    either = {
        "title": ITEM,
        "description": "One thing that was said, called or answered.",
        "anyOf": [{"$ref": SCHEMAS + name} for name in items],
    }
    tool = {**_typed(schemas[FunctionTool.__name__], "function", is_needed=True), "title": TOOL}
    return {**items, ITEM: either, TOOL: tool}


def _typed(schema: dict[str, Any], kind: str, *, is_needed: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"const": kind}
    if not is_needed:
        said = {"anyOf": [said, {"type": "null"}]}
    required = [*(["type"] if is_needed else []), *schema.get("required", [])]
    return {**schema, "properties": {"type": said, **schema["properties"]}, "required": required}
