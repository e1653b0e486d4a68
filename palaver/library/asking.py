"""What requests are made of: the body of chat completions, parts of paths, queries. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from palaver.core.errors import InvalidRequest

NO_NAMES = ("", ".", "..")
"""What a path cannot have as a part: it would lead elsewhere."""


def completion(
    model: str, messages: Sequence[Mapping[str, Any]], given: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of chat completions: `parameters` as they are, and of what else is `given` all but None.

    Raises InvalidRequest for a conversation that cannot be named so, and for `stream`.
    """
    if "stream" in parameters:
        raise InvalidRequest("`stream` cannot be set: every reply is streamed.", param="stream")
    if given.get("conversation") is not None:
        named(given["conversation"], "conversation")
    said = {name: value for name, value in given.items() if value is not None}
    return {"model": model, "messages": list(messages), **parameters, **said}


def path(ref: str) -> str:
    """The path of a conversation. Raises InvalidRequest for what cannot name one."""
    return f"/v1/conversations/{part(ref, 'conversation')}"


def part(value: str, param: str) -> str:
    """A part of a path. Raises InvalidRequest for what cannot be one."""
    return quote(named(value, param), safe="")


def named(value: str, param: str) -> str:
    """A name or an id. Raises InvalidRequest for what cannot be one."""
    if value in NO_NAMES:
        raise InvalidRequest(f"`{param}` cannot be {value!r}: nothing has that name.", param=param)
    return value


def query(asked: Mapping[str, Any]) -> dict[str, str]:
    """A query as text, without what is None."""
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in asked.items() if v is not None}
