"""The least JSON that fits a schema: what the scripted engine says where a form is asked for and no script says
more. Always the same for the same schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from palaver.core.errors import UnsupportedParameter

DEEPEST = 64
REMARKS = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
    }
)
"""Words of a schema that demand nothing."""
LARGEST = 100_000
"""As many values and characters a schema may demand."""
SAMPLES: Mapping[str, str] = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.0",
    "ipv6": "2001:db8::",
    "uri": "https://example.com",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
"""A text of each format (JSON Schema's `format`) that cannot be empty."""


class _NoneFits(Exception):
    """There is no value, or none that can be found without a search."""


def least(schema: Any, param: str) -> Any:
    """The least value: required properties only, the first of `anyOf`, `oneOf` and `enum`, the lowest number, the
    shortest list and text. Local references are followed.

    Raises UnsupportedParameter, naming `param`, for a schema with a `pattern`, with references elsewhere, or that
    no value of finite size fits.
    """
    try:
        return _Least(schema).value(schema, 0)
    except (_NoneFits, OverflowError) as error:
        reason = str(error)
    raise UnsupportedParameter(f"The scripted engine makes no JSON for this schema: {reason}.", param=param)


class _Least:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = LARGEST
        self._within: list[str] = []
        """The references that are being followed: one that leads to itself has no least value."""

    def value(self, schema: Any, depth: int) -> Any:
        self._spend(1, depth)
        if schema is True:
            return None
        if not isinstance(schema, dict):
            raise _NoneFits("a part of it allows nothing, or is no schema")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            if not (isinstance(schema["enum"], list) and schema["enum"]):
                raise _NoneFits("an `enum` of it has no value")
            return schema["enum"][0]
        if "$ref" in schema:
            return self._followed(schema["$ref"], depth)
        if isinstance(schema.get("allOf"), list):
            return self._all(schema, depth)
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                return self._first(schema, word, depth)
        return self._typed(schema, depth)

    def _spend(self, size: int, depth: int) -> None:
        self._left -= size
        if depth > DEEPEST or self._left < 0:
            raise _NoneFits("what fits it is too deep or too large")

    def _followed(self, reference: Any, depth: int) -> Any:
        self._enter(reference)
        try:
            return self.value(self._referred(reference), depth + 1)
        finally:
            self._within.pop()

    def _enter(self, reference: Any) -> None:
        if reference in self._within:
            raise _NoneFits("what fits it has no end")
        self._within.append(reference)

    def _first(self, schema: dict[str, Any], word: str, depth: int) -> Any:
        """The first branch that has a value; what stands beside the branches holds for each of them."""
        beside = {key: value for key, value in schema.items() if key not in {word, *REMARKS}}
        reason = _NoneFits(f"an `{word}` of it has no branch")
        for branch in schema[word]:
            try:
                if beside and isinstance(branch, dict):
                    return self._all({"allOf": [beside, branch]}, depth)
                return self.value(branch, depth + 1)
            except _NoneFits as error:
                reason = error
        raise reason

    def _all(self, schema: dict[str, Any], depth: int) -> Any:
        before = len(self._within)
        try:
            return self.value(self._merged(schema, depth), depth + 1)
        finally:
            del self._within[before:]

    def _merged(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """A schema without `allOf`: its parts in one. Properties and what is required add up."""
        self._spend(1, depth)
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        merged: dict[str, Any] = {}
        for part in (rest, *schema["allOf"]):
            found = part
            while isinstance(found, dict) and "$ref" in found:
                self._enter(found["$ref"])
                found = self._referred(found["$ref"])
            if not isinstance(found, dict):
                continue
            if isinstance(found.get("allOf"), list):
                found = self._merged(found, depth + 1)
            properties = {**_dict(merged, "properties"), **_dict(found, "properties")}
            required = [*_list(merged, "required"), *_list(found, "required")]
            merged = {**merged, **found}
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = required
        return merged

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if kind is None:
            kind = _implied(schema)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema, depth)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
            case "null" | None:
                return None
        raise _NoneFits(f"there is no type {kind!r}")

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties, required = _dict(schema, "properties"), _list(schema, "required")
        wanted = {name for name in required if isinstance(name, str)}
        names = [name for name in properties if name in wanted] + sorted(wanted - properties.keys())
        others = schema.get("additionalProperties", True)
        return {name: self.value(properties.get(name, others), depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        count = _size(schema, "minItems")
        first = _list(schema, "prefixItems")[:count]
        items = [self.value(each, depth + 1) for each in first]
        rest = schema.get("items", True)
        return items + [self.value(rest, depth + 1) for _ in range(count - len(items))]

    def _string(self, schema: dict[str, Any], depth: int) -> str:
        if "pattern" in schema:
            raise _NoneFits("a text of it has a `pattern`")
        shortest = _size(schema, "minLength")
        self._spend(shortest, depth)
        return SAMPLES.get(str(schema.get("format")), "").ljust(shortest, "a")

    def _referred(self, reference: Any) -> Any:
        if not (isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))):
            raise _NoneFits(f"`$ref` of {str(reference)[:100]!r} is not within it")
        found = self._root
        for step in reference.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise _NoneFits(f"`$ref` of {reference[:100]!r} leads nowhere")
        return found


def _implied(schema: dict[str, Any]) -> str | None:
    """The type of a schema that names none, by the words that are for one type only."""
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return None


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = schema.get("multipleOf", 1 if whole else None)
    least: int | float = 0
    if _is_number(low):
        least = low
    elif _is_number(above):
        least = math.floor(above) + 1 if whole or step else above + 1
    elif _is_number(high) and high < 0:
        least = high
    elif _is_number(below) and below <= 0:
        least = below - 1
    if _is_number(step) and step > 0:
        up = low is not None or above is not None
        least = (math.ceil(least / step) if up else math.floor(least / step)) * step
    return int(least) if whole else least


def _size(schema: dict[str, Any], word: str) -> int:
    size = schema.get(word, 0)
    if not isinstance(size, int) or not 0 <= size <= LARGEST:
        raise _NoneFits(f"`{word}` of it is not between 0 and {LARGEST}")
    return size


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dict(schema: dict[str, Any], word: str) -> dict[str, Any]:
    found = schema.get(word)
    return found if isinstance(found, dict) else {}


def _list(schema: dict[str, Any], word: str) -> list[Any]:
    found = schema.get(word)
    return found if isinstance(found, list) else []
