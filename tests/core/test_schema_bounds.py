"""The bounds of a JSON schema: each at its edge, with the place that is over it."""

from __future__ import annotations

from typing import Any

import pytest

from palaver.core.errors import InvalidRequest
from palaver.core.schema_bounds import (
    DEEPEST_SCHEMA,
    LARGEST_COUNT,
    LARGEST_SCHEMA,
    LONGEST_PATTERN,
    MOST_PROPERTIES,
    MOST_VALUES,
    check_grammar,
    check_pattern,
    check_schema,
)


def nested(levels: int) -> dict[str, Any]:
    """A schema of so many levels."""
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return {"not": schema} if levels else {}


def of_size(size: int) -> dict[str, Any]:
    return {"description": "x" * (size - len('{"description":""}'))}


FINE: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"a": True, "b": {"type": "string"}}, "additionalProperties": False},
    {"$defs": {"a": {"enum": [1, "x", None]}}, "$ref": "#/$defs/a"},
    {"type": "array", "items": {"type": "string"}, "prefixItems": [{}], "maxItems": LARGEST_COUNT},
    {"items": [{}, True]},
    {"properties": {"enum": {"type": "string"}, "pattern": {"type": "integer"}, "items": {}, "$ref": {}}},
    {"enum": list(range(MOST_VALUES))},
    {"properties": {str(i): {} for i in range(MOST_PROPERTIES)}},
    {"pattern": "x" * LONGEST_PATTERN},
    {"pattern": r"^a{2,5}b{3,}c{4}[{5,2}]\{5,2}\\[[{5,2}\]{5,2}]$"},
    {"minLength": 2, "maxLength": 2, "minItems": 0, "maxItems": 0, "minProperties": "x", "maxProperties": 1},
    {
        "const": {"enum": list(range(MOST_VALUES + 1))},
        "default": {"properties": 5},
        "examples": [{"enum": 5}],
    },
    {"nobody": {"knows": ["this", {"keyword": 1}]}},
    nested(DEEPEST_SCHEMA),
    of_size(LARGEST_SCHEMA),
]


@pytest.mark.parametrize("schema", FINE, ids=lambda schema: str(schema)[:60])
def test_what_is_within_all_bounds(schema: dict[str, Any]) -> None:
    check_schema(schema, "it")


OVER: list[tuple[dict[str, Any], str]] = [
    ({"enum": list(range(3000))}, "it.enum"),
    ({"enum": "abc"}, "it.enum"),
    (
        {"anyOf": [{"enum": list(range(MOST_VALUES))}, {"items": {"enum": [1]}}]},
        "it.anyOf[1].items.enum",
    ),
    ({"$defs": {"a": {"enum": list(range(MOST_VALUES + 1))}}}, "it.$defs.a.enum"),
    ({"properties": {str(i): {} for i in range(MOST_PROPERTIES + 1)}}, "it.properties"),
    (
        {"properties": {"a": {"properties": {str(i): {} for i in range(MOST_PROPERTIES)}}}},
        "it.properties.a.properties",
    ),
    ({"properties": []}, "it.properties"),
    ({"properties": {"a": 5}}, "it.properties.a"),
    ({"anyOf": {}}, "it.anyOf"),
    ({"not": "x"}, "it.not"),
    ({"items": 5}, "it.items"),
    ({"properties": {"a": {"pattern": "x" * (LONGEST_PATTERN + 1)}}}, "it.properties.a.pattern"),
    ({"patternProperties": {"x" * (LONGEST_PATTERN + 1): {}}}, "it.patternProperties"),
    ({"items": {"minLength": LARGEST_COUNT + 1}}, "it.items.minLength"),
    ({"maxItems": 1e300}, "it.maxItems"),
    ({"items": {"$ref": "https://example.org/schema.json"}}, "it.items.$ref"),
    ({"minLength": 5, "maxLength": 2}, "it.minLength"),
    ({"items": {"minItems": 1, "maxItems": 0}}, "it.items.minItems"),
    ({"minProperties": 3, "maxProperties": 2.5}, "it.minProperties"),
    ({"minContains": 3, "maxContains": 1}, "it.minContains"),
    ({"pattern": "^a{5,2}$"}, "it.pattern"),
    ({"patternProperties": {"a{10,9}": {}}}, "it.patternProperties"),
    (nested(DEEPEST_SCHEMA + 1), "it"),
    (of_size(LARGEST_SCHEMA + 1), "it"),
]


@pytest.mark.parametrize(("schema", "param"), OVER, ids=lambda value: str(value)[:60])
def test_what_is_over_a_bound_is_named(schema: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        check_schema(schema, "it")
    assert wrong.value.param == param
    assert f"`{param}" in wrong.value.message


def test_a_pattern_of_its_own() -> None:
    check_pattern("x" * LONGEST_PATTERN, "pattern")
    with pytest.raises(InvalidRequest) as wrong:
        check_pattern("x" * (LONGEST_PATTERN + 1), "pattern")
    assert wrong.value.param == "pattern"


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "a"{2,5} [b]{3,} ("c" "d"){4}',
        r'root ::= "{5,2}" [{5,2}] "\"{5,2}" [\]{5,2}] # x{5,2}',
        "root ::= [a#]{2,2}",
        'start: "a"{2,5}',
    ],
)
def test_repetitions_of_a_grammar(grammar: str) -> None:
    check_grammar(grammar, "it")


@pytest.mark.parametrize(
    "grammar", ['root ::= "a"{5,2}', 'root ::= [#] "#" (x){ 5 , 2 }', "# x\nroot ::= x{9,8}"]
)
def test_a_repetition_that_nothing_fits(grammar: str) -> None:
    with pytest.raises(InvalidRequest, match="no text fits the repetition") as wrong:
        check_grammar(grammar, "it")
    assert wrong.value.param == "it"
