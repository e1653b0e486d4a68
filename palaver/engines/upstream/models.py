"""What model servers tell about their models: lists and context sizes, in the shapes that are about. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

CHAT_TYPES = frozenset({"chat", "language", "code", "llm", "vlm"})
"""The kinds of model that can answer a chat, where a list says the kind (Together, LM Studio)."""


class ListedModel(msgspec.Struct, frozen=True):
    """A model of a server's list. `context_size` is in tokens, None where the list does not say."""

    id: str
    context_size: int | None = None


class _Entry(msgspec.Struct):
    id: str
    type: Any = None
    context_length: Any = None  # Together, OpenRouter, palaver
    max_model_len: Any = None  # vLLM, SGLang
    context_window: Any = None  # Groq
    max_context_length: Any = None  # Mistral, LM Studio

    def context_size(self) -> int | None:
        sizes = (self.context_length, self.max_model_len, self.context_window, self.max_context_length)
        return next((size for size in sizes if _is_size(size)), None)


class _List(msgspec.Struct):
    data: list[_Entry]


class _Settings(msgspec.Struct):
    n_ctx: int


class _Props(msgspec.Struct):
    default_generation_settings: _Settings


class _Shown(msgspec.Struct):
    parameters: str = ""
    model_info: dict[str, Any] = {}


def listed_models(body: bytes) -> list[ListedModel] | None:
    """The chat models of OpenAI's ``{"data": […]}`` or Together's bare array; None if it is neither."""
    found = _decoded(body, list[_Entry] | _List)
    if found is None:
        return None
    entries: list[_Entry] = found if isinstance(found, list) else found.data
    return [
        ListedModel(entry.id, entry.context_size())
        for entry in entries
        if not isinstance(entry.type, str) or entry.type in CHAT_TYPES
    ]


def props_context(body: bytes) -> int | None:
    """The context of one slot, by llama-server's ``GET /props``."""
    props = _decoded(body, _Props)
    size = props.default_generation_settings.n_ctx if props is not None else None
    return size if _is_size(size) else None


def shown_context(body: bytes) -> int | None:
    """The context by Ollama's ``POST /api/show``: what the model was set to, else what it was trained for.

    Ollama cuts prompts at a default of the server that it does not tell, where the model sets none.
    """
    shown = _decoded(body, _Shown)
    if shown is None:
        return None
    was_set = re.search(r"^num_ctx\s+(\d+)\s*$", shown.parameters, re.MULTILINE)
    if was_set is not None:
        return int(was_set[1])
    sizes = (size for name, size in shown.model_info.items() if name.endswith(".context_length"))
    return next((size for size in sizes if _is_size(size)), None)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
