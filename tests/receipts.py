"""Comparing receipts of one turn that were read at different times."""

from __future__ import annotations

from typing import Any


def is_that_of(context: dict[str, Any], receipt: dict[str, Any]) -> bool:
    """Whether a context in a reply is the receipt as it is later: what is new may be counted only then."""
    early, late = context["messages"], receipt["messages"]
    for message, same in zip(early, late, strict=True):
        assert message["tokens"] in (None, same["tokens"])
    return context == receipt | {
        "messages": [each | {"tokens": message["tokens"]} for message, each in zip(early, late, strict=True)]
    }
