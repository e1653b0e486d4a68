"""Stored messages as a client of chat completions sends them back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TEXT = ("input_text", "output_text")
IMAGES = "message.input_image.image_url"
"""What is to be included in the items, so that their pictures can be sent back."""


def resent(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a path, from the items that the API shows, the oldest first.

    Questions at the end that nobody answered are left out: whoever goes on asks anew. So is what was deleted.
    """
    answered = len(items)
    while answered and items[answered - 1]["role"] == "user":
        answered -= 1
    return [_message(item) for item in items[:answered] if not item["deleted"]]


def text_of(item: Mapping[str, Any]) -> str:
    """The text of an item; parts that are no text are named in brackets."""
    return "".join(
        part["text"] if part["type"] in TEXT else part.get("refusal") or f"[{part['type']}]"
        for part in item["content"]
    )


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    parts = item["content"]
    message: dict[str, Any] = {"role": item["role"]}
    if all(part["type"] in TEXT for part in parts) and len(parts) <= 1:
        message["content"] = parts[0]["text"] if parts else ""
    else:
        message["content"] = [_part(part) for part in parts]
    return message | {name: item[name] for name in ("name", "tool_calls", "tool_call_id") if name in item}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind in TEXT:
        return {"type": "text", "text": part["text"]}
    if kind == "input_image":
        detail = {} if part.get("detail") in (None, "auto") else {"detail": part["detail"]}
        return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in part.items() if name != "type"}}
    return dict(part)
