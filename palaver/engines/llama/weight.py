"""How much work a tool's schema makes where llama.cpp writes it out as rules of its own.

It does so for tools that the model may call and need not, in the thread that computes everybody's tokens. What takes
it longer than some tenths of a second is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import Tool

HEAVIEST = 2000
"""Rules, roughly, that all schemas of a request may become."""

_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{(\d*)(,?)(\d*)\}|.", re.DOTALL)


def check_weight(tools: Sequence[Tool]) -> None:
    """Raises InvalidRequest that names the tool with which it becomes too much."""
    weight = 0
    for number, tool in enumerate(tools):
        weight += schema_weight(tool.parameters or {})
        if weight > HEAVIEST:
            param = f"tools[{number}].function.parameters"
            raise InvalidRequest(
                f"`{param}` makes the tools too much for this model's server to read (listed values, optional "
                f"properties, repetitions in patterns). It can be called by a `tool_choice` that names it.",
                param=param,
            )


def schema_weight(schema: Any) -> int:
    """The rules that a schema becomes: one for each value and bound, for optional properties one for each pair."""
    if isinstance(schema, list):
        return sum(schema_weight(inner) for inner in schema)
    if not isinstance(schema, dict):
        return 0
    weight = 1
    for keyword, inner in schema.items():
        if keyword == "enum" and isinstance(inner, list):
            weight += len(inner)
        elif keyword == "pattern" and isinstance(inner, str):
            weight += pattern_weight(inner)
        elif keyword in ("maxItems", "minItems", "maxLength", "minLength") and isinstance(inner, int):
            weight += abs(inner)
        elif keyword == "properties" and isinstance(inner, dict):
            optional = len(inner) - len(schema.get("required") or ())
            weight += max(optional, 0) ** 2 // 4 + sum(schema_weight(each) for each in inner.values())
        else:
            weight += schema_weight(inner)
    return weight


def pattern_weight(pattern: str) -> int:
    """How long a pattern is when its repetitions are written out: those within each other multiply.

    >>> pattern_weight("[a-f]{8}-x"), pattern_weight("(a{30}){30}")
    (10, 900)
    """
    sums, last = [0], [0]
    for piece in _PIECE.finditer(pattern):
        text = piece[0]
        if text == "(":
            sums.append(0)
            last.append(0)
        elif text == ")" and len(sums) > 1:
            group = sums.pop()
            last.pop()
            sums[-1] += group
            last[-1] = group
        elif piece[2] is not None and len(text) > 2:
            times = int(piece[3] or piece[1] or 1)
            sums[-1] += last[-1] * (times - 1)
        elif text not in "|*+?^$":
            sums[-1] += 1
            last[-1] = 1
    return sum(sums)
