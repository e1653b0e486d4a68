"""What model servers tell about their models: lists and context sizes, in the shapes that are about. Pure."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

CHAT_TYPES = frozenset({"chat", "language", "code", "llm", "vlm"})
"""The kinds of model that can answer a chat, where a list says the kind (Together, LM Studio)."""
EMBEDDING_TYPES = frozenset({"embedding", "embeddings"})
EMBEDS = re.compile(
    r"(?:^|[-_/.:])(?:text-)?embed(?:ding|dings|qa)?(?:[-_/.:]|$)|^all-minilm|(?:^|/)bge-", re.I
)
"""Names of models that make embeddings; most lists say nothing else of it."""
NO_TEXT = re.compile(r"^(?:dall-e|gpt-image|sora|tts-|whisper|omni-moderation|text-moderation)", re.I)
"""Names, in OpenAI's list, of models that do neither."""
OLLAMA_DEFAULT = 4096
"""The context that Ollama gives a model nobody set one for, on most machines; it does not tell that before the
model is loaded."""


class ListedModel(msgspec.Struct, frozen=True):
    """A model of a server's list. `context_size` is in tokens, None where the list does not say."""

    id: str
    context_size: int | None = None
    kind: Literal["chat", "embedding"] = "chat"


class _Entry(msgspec.Struct):
    id: str
    type: Any = None
    parent: Any = None  # vLLM: of an adapter
    meta: Any = None  # llama-server
    context_length: Any = None  # Together, OpenRouter, palaver
    max_model_len: Any = None  # vLLM, SGLang
    context_window: Any = None  # Groq
    max_context_length: Any = None  # Mistral, LM Studio

    def context_size(self) -> int | None:
        loaded = self.meta.get("n_ctx") if isinstance(self.meta, dict) else None
        sizes = (
            loaded,
            self.context_length,
            self.max_model_len,
            self.context_window,
            self.max_context_length,
        )
        return next((size for size in sizes if _is_size(size)), None)

    @property
    def kind(self) -> Literal["chat", "embedding"] | None:
        if isinstance(self.type, str):
            if self.type in EMBEDDING_TYPES:
                return "embedding"
            return "chat" if self.type in CHAT_TYPES else None
        if EMBEDS.search(self.id):
            return "embedding"
        return None if NO_TEXT.search(self.id) else "chat"


class _List(msgspec.Struct):
    data: list[_Entry] | None


def listed_models(body: bytes) -> list[ListedModel] | None:
    """The models for chats and embeddings of OpenAI's ``{"data": […]}`` or Together's bare array; None if it is
    neither."""
    found = _decoded(body, list[_Entry] | _List)
    if found is None:
        return None
    entries: list[_Entry] = found if isinstance(found, list) else found.data or []
    sizes = {entry.id: entry.context_size() for entry in entries}
    return [
        ListedModel(entry.id, sizes[entry.id] or sizes.get(str(entry.parent)), entry.kind)
        for entry in entries
        if entry.kind is not None
    ]


def props_context(body: bytes) -> int | None:
    """The context of one slot, by llama-server's ``GET /props``."""
    settings = _fields(_any(body)).get("default_generation_settings")
    return _size(_fields(settings).get("n_ctx"))


def is_router(body: bytes) -> bool:
    """Whether a llama-server that answers so to ``GET /props`` serves many models, each with a context of its own."""
    return bool(_fields(_any(body)).get("role") == "router")


def running_context(body: bytes, model: str) -> int | None:
    """The context of a model that is loaded, by Ollama's ``GET /api/ps``."""
    for entry in _list(_fields(_any(body)).get("models")):
        if is_ollamas(model, entry.get("name")) or is_ollamas(model, entry.get("model")):
            return _size(entry.get("context_length"))
    return None


def shown_context(body: bytes, model: str = "") -> int | None:
    """The context by Ollama's ``POST /api/show`` of a model that is not loaded.

    What the model was set to, else the default of most servers, never more than it was trained for. Models that
    run in its cloud have all they were trained for.
    """
    shown = _fields(_any(body))
    if "model_info" not in shown and "parameters" not in shown:
        return None
    info = _fields(shown.get("model_info"))
    family = info.get("general.architecture")
    trained = _size(info.get(f"{family}.context_length")) or next(
        (size for name, size in info.items() if name.endswith(".context_length") and _is_size(size)), None
    )
    was_set = re.search(r"^num_ctx\s+(\d{1,9})\s*$", str(shown.get("parameters") or ""), re.MULTILINE)
    if was_set is None and model.endswith(("-cloud", ":cloud")):
        return trained
    size = int(was_set[1]) if was_set else OLLAMA_DEFAULT
    return min(size, trained) if trained else size


def input_limit(body: bytes) -> int | None:
    """The longest prompt that SGLang has memory for, by its ``GET /server_info``."""
    info = _fields(_any(body))
    states = [_fields(state) for state in info.get("internal_states") or () if isinstance(state, dict)]
    sizes = [_size(each.get("max_req_input_len")) for each in (info, *states)]
    return next((size for size in sizes if size), None)


def loaded_context(body: bytes, model: str) -> int | None:
    """The context of a model that is loaded in LM Studio, by its ``GET /api/v1/models`` or ``/api/v0/models``."""
    answer = _fields(_any(body))
    for entry in _list(answer.get("models")):
        for instance in _list(entry.get("loaded_instances")):
            if model in (instance.get("id"), entry.get("key")):
                return _size(_fields(instance.get("config")).get("context_length"))
    for entry in _list(answer.get("data")):
        if entry.get("id") == model and entry.get("state") == "loaded":
            return _size(entry.get("loaded_context_length"))
    return None


def is_ollamas(asked: str, listed: object) -> bool:
    """Whether Ollama means this model of its own by a name: it adds a tag where there is none."""
    return isinstance(listed, str) and listed in (asked, f"{asked}:latest")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(value: Any) -> int | None:
    return value if _is_size(value) else None


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _any(body: bytes) -> Any:
    return _decoded(body, Any)


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
