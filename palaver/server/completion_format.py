"""The form of a reply's text: `response_format` as the body has it, and as `core` does."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import Format
from palaver.core.schema_bounds import (
    LARGEST_SCHEMA,
    LONGEST_PATTERN,
    check_grammar,
    check_pattern,
    check_schema,
)

FORMATS = ("text", "json_object", "json_schema", "regex", "grammar")


class TextFormat(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, frozen=True, tag="json_object", tag_field="type"):
    """Any JSON object; with a `schema`, as Together once had it, one that fits that."""

    schema: dict[str, Any] | None = None


class JsonSchema(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema", tag_field="type"):
    """JSON that fits a schema: OpenAI's `json_schema`, or the bare `schema` that llama-server and Together's older
    examples have."""

    json_schema: JsonSchema | None = None
    schema: dict[str, Any] | None = None


class RegexFormat(msgspec.Struct, frozen=True, tag="regex", tag_field="type"):
    """Text that matches the pattern as a whole."""

    pattern: Annotated[str, Meta(min_length=1, max_length=LONGEST_PATTERN)]


class GrammarFormat(msgspec.Struct, frozen=True, tag="grammar", tag_field="type"):
    """Text of the language of a grammar, in the engine's own notation."""

    grammar: Annotated[str, Meta(min_length=1, max_length=LARGEST_SCHEMA)]


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | GrammarFormat


def asked_format(given: ResponseFormat | None) -> Format | None:
    """Raises InvalidRequest for a schema that is missing, broken or too large, and for what no text can fit."""
    match given:
        case None | TextFormat():
            return None
        case JsonObjectFormat():
            if given.schema is None:
                return Format(type="json_object")
            return Format(type="json_schema", schema=_checked(given.schema, "response_format.schema"))
        case JsonSchemaFormat():
            return _json_schema(given)
        case RegexFormat(pattern=pattern):
            check_pattern(pattern, "response_format.pattern")
            return Format(type="regex", pattern=pattern)
        case GrammarFormat(grammar=grammar):
            check_grammar(grammar, "response_format.grammar")
            return Format(type="grammar", grammar=grammar)


def _json_schema(given: JsonSchemaFormat) -> Format:
    described = given.json_schema
    if described is None:
        place = "response_format.json_schema" if given.schema is None else "response_format.schema"
        return Format(type="json_schema", schema=_checked(given.schema, place))
    return Format(
        type="json_schema",
        schema=_checked(described.schema, "response_format.json_schema.schema"),
        name=described.name,
        description=described.description,
        strict=described.strict,
    )


def _checked(schema: dict[str, Any] | None, param: str) -> dict[str, Any]:
    if schema is None:
        raise InvalidRequest(f"Input required: `{param}` is missing.", param=param)
    check_schema(schema, param)
    return schema
