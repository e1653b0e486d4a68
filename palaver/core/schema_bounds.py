"""How much a JSON schema may ask of an engine: bounds on its size, depth and counts.

An engine turns a schema into a grammar in one go, and every other reply waits for that: an enumeration of 3,000
values stops llama.cpp's worker for four seconds, and a string of at least 5 and at most 2 characters has llama-server
take all memory that there is. What a client may send is bounded before an engine sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest

LARGEST_SCHEMA = 64 * 1024
"""In bytes of JSON."""
DEEPEST_SCHEMA = 32
"""In levels of JSON: an object with a list of strings has two."""
MOST_VALUES = 1000
"""Values of all `enum` together."""
MOST_PROPERTIES = 2000
"""Names of all `properties` together."""
LONGEST_PATTERN = 1024
"""Of each regular expression, in characters."""
LARGEST_COUNT = 100_000
"""Of `minItems`, `maxLength` and the like. An engine may have to write out a grammar's rule so often."""

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
_SINGLE = (
    "items",
    "additionalItems",
    "unevaluatedItems",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
)
_COUNTS = (
    ("minItems", "maxItems"),
    ("minLength", "maxLength"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
)
_LITERAL = re.compile(r"\\.?|\[(?:\\.?|[^\]\\])*(?:\]|\Z)", re.DOTALL)
"""What of a pattern is an escaped character or a set of characters: braces in it are no repetition. One that is not
closed goes to the end, so that none is looked at twice."""
_TERMINAL = re.compile(r'"(?:\\.?|[^"\\])*(?:"|\Z)|\[(?:\\.?|[^\]\\])*(?:\]|\Z)|\#[^\n]*', re.DOTALL)
"""The same of a grammar: a text, a set of characters, a comment."""
_REPETITION = re.compile(r"\{\s*(\d{1,20})\s*,\s*(\d{1,20})\s*\}")


def check_schema(schema: Mapping[str, Any], param: str) -> None:
    """Check a schema that a request holds at `param`. Raises InvalidRequest, which names the place in it.

    What a keyword means is the engine's affair, and those that are not known are let through.
    """
    _check_depth(schema, param)
    size = len(msgspec.json.encode(schema))
    if size > LARGEST_SCHEMA:
        raise InvalidRequest(
            f"The schema `{param}` has {size} bytes; this server takes at most {LARGEST_SCHEMA}.", param=param
        )
    _Totals().check(schema, param)


def check_pattern(pattern: str, param: str) -> None:
    """Check a regular expression's length, and that nothing in it is repeated at least more often than at most. Raises
    InvalidRequest."""
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidRequest(
            f"`{param}` has {len(pattern)} characters; a pattern may have {LONGEST_PATTERN}.", param=param
        )
    _check_repetitions(_LITERAL.sub("-", pattern), param)


def check_grammar(grammar: str, param: str) -> None:
    """Check that nothing in a grammar (GBNF) is repeated at least more often than at most. Raises InvalidRequest."""
    _check_repetitions(_TERMINAL.sub("-", grammar), param)


def _check_repetitions(text: str, param: str) -> None:
    for repetition in _REPETITION.finditer(text):
        if int(repetition[1]) > int(repetition[2]):
            raise InvalidRequest(f"`{param}`: no text fits the repetition {repetition[0]}.", param=param)


def _check_depth(schema: Any, param: str) -> None:
    level, depth = [schema], 0
    while level := [inner for value in level for inner in _inner(value)]:
        depth += 1
        if depth > DEEPEST_SCHEMA:
            raise InvalidRequest(
                f"The schema `{param}` is nested more than {DEEPEST_SCHEMA} levels deep.", param=param
            )


def _inner(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


class _Totals:
    """What is counted over a whole schema."""

    def __init__(self) -> None:
        self._values = 0
        self._properties = 0

    def check(self, schema: Any, path: str) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise InvalidRequest(f"`{path}` must be a JSON schema: an object, true or false.", param=path)
        self._check_own(schema, path)
        for keyword in _BY_NAME:
            named = schema.get(keyword)
            if named is not None and not isinstance(named, dict):
                raise InvalidRequest(f"`{path}.{keyword}` must be an object.", param=f"{path}.{keyword}")
            for name, inner in (named or {}).items():
                self.check(inner, f"{path}.{keyword}.{name}")
        for keyword in _LISTS:
            listed = schema.get(keyword)
            if isinstance(listed, list):
                for i, inner in enumerate(listed):
                    self.check(inner, f"{path}.{keyword}[{i}]")
            elif listed is not None and keyword not in _SINGLE:
                raise InvalidRequest(f"`{path}.{keyword}` must be an array.", param=f"{path}.{keyword}")
        for keyword in _SINGLE:
            if keyword in schema and not (keyword == "items" and isinstance(schema[keyword], list)):
                self.check(schema[keyword], f"{path}.{keyword}")

    def _check_own(self, schema: dict[str, Any], path: str) -> None:
        """What stands in the schema itself."""
        values = schema.get("enum")
        if values is not None and not isinstance(values, list):
            raise InvalidRequest(f"`{path}.enum` must be an array.", param=f"{path}.enum")
        self._values += len(values or ())
        if self._values > MOST_VALUES:
            raise InvalidRequest(
                f"With `{path}.enum` the schema lists more than {MOST_VALUES} values.", param=f"{path}.enum"
            )
        properties = schema.get("properties")
        self._properties += len(properties) if isinstance(properties, dict) else 0
        if self._properties > MOST_PROPERTIES:
            raise InvalidRequest(
                f"With `{path}.properties` the schema has more than {MOST_PROPERTIES} properties.",
                param=f"{path}.properties",
            )
        if isinstance(pattern := schema.get("pattern"), str):
            check_pattern(pattern, f"{path}.pattern")
        patterns = schema.get("patternProperties")
        for name in patterns if isinstance(patterns, dict) else ():
            check_pattern(name, f"{path}.patternProperties")
        _check_counts(schema, path)
        reference = schema.get("$ref")
        if isinstance(reference, str) and "://" in reference:
            raise InvalidRequest(
                f"`{path}.$ref` refers to another document; schemas are not fetched.", param=f"{path}.$ref"
            )


def _check_counts(schema: dict[str, Any], path: str) -> None:
    for least, most in _COUNTS:
        for keyword in (least, most):
            count = schema.get(keyword)
            if isinstance(count, int | float) and count > LARGEST_COUNT:
                raise InvalidRequest(
                    f"`{path}.{keyword}` is over {LARGEST_COUNT}, the most that this server takes.",
                    param=f"{path}.{keyword}",
                )
        low, high = schema.get(least), schema.get(most)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            raise InvalidRequest(
                f"`{path}.{least}` is over `{most}`: nothing fits the schema.", param=f"{path}.{least}"
            )
