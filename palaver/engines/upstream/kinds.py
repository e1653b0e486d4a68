"""Which kind of server is at an address: told by its own words, never by a status.

LM Studio answers every path with 200, SGLang has Ollama's list of models, llama-server's list looks like Ollama's
too; so the list of models is asked for first, and what it says of its owner counts.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Literal, get_args

import msgspec
import structlog
from yarl import URL

from palaver.core.errors import EngineTimeout, EngineUnavailable
from palaver.engines.upstream.asking import Answer, ask, now
from palaver.engines.upstream.http import UpstreamServer

Kind = Literal["together", "openai", "vllm", "sglang", "llama-server", "ollama", "lmstudio", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of server whose ways are known. ``other`` is any that speaks OpenAI's chat API."""

DETECT_SECONDS = 2.0
"""A turn waits at most so long to learn what kind of server it goes to."""
KNOWN_SECONDS = 3600.0
"""How long a kind is taken as known, where the server does not fail; another may listen there by then."""
UNKNOWN_SECONDS = 60.0
"""How long a server is not asked again that said nothing, or nothing that is known."""

HOSTS: dict[str, Kind] = {
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.openai.com": "openai",
}
OWNERS: dict[str, Kind] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama-server",
    "organization_owner": "lmstudio",
}
"""What `owned_by` says in the list of models. ``openai`` says nothing: many gateways write that."""
QUESTIONS = ("/api/version", "/api/v1/models", "/api/v0/models", "/props", "/model_info", "/version")
"""Asked in this order where the list of models does not tell."""
VERSIONS: dict[Kind, str] = {"vllm": "/version", "ollama": "/api/version"}

log = structlog.get_logger(__name__)


class Detected(msgspec.Struct, frozen=True):
    """A server's kind, and its version where that matters and is told: (0, 33, 0).

    `shows_tools` is False where llama-server's model has a template that knows no tools: it then leaves them out of
    the prompt without a word.
    """

    kind: Kind = "other"
    version: tuple[int, ...] | None = None
    shows_tools: bool = True


def kind_of_host(url: str) -> Kind | None:
    """The kind of the server at this address, where the host alone tells."""
    return HOSTS.get(URL(url).host or "")


def kind_of_list(answer: Answer) -> Kind | None:
    """What the answer to ``GET /v1/models`` tells."""
    if answer.server.lower().startswith("llama.cpp"):
        return "llama-server"  # it says so with every answer, also with 401 and 503
    body = _decoded(answer)
    if isinstance(body, list):
        return "together"
    models = _fields(body).get("data") or _fields(body).get("models")
    first = _fields(models[0]) if isinstance(models, list) and models else {}
    owner = first.get("owned_by")
    if owner == "library" and ":" in str(first.get("id")):
        return "ollama"
    if owner == "organization_owner" and "created" in first:
        return None
    return OWNERS.get(owner) if isinstance(owner, str) else None


def kind_of_answer(path: str, answer: Answer, listed: Answer) -> Kind | None:
    """What the answer to one of `QUESTIONS` tells, beside the list of models."""
    body = _fields(_decoded(answer))
    if "error" in body or answer.status != 200:
        return None
    match path:
        case "/api/version" if isinstance(body.get("version"), str) and _names_have_tags(listed):
            return "ollama"
        case "/api/v1/models" if isinstance(body.get("models"), list):
            return "lmstudio" if all("key" in _fields(model) for model in body["models"]) else None
        case "/api/v0/models" if isinstance(body.get("data"), list) and body["data"]:
            return "lmstudio" if "compatibility_type" in _fields(body["data"][0]) else None
        case "/props" if "default_generation_settings" in body:
            return "llama-server"
        case "/model_info" if "model_path" in body:
            return "sglang"
        case "/version" if isinstance(body.get("version"), str) and listed.status in (401, 403):
            return "vllm"  # with a key of its own it still tells this
    return None


def version_of(answer: Answer) -> tuple[int, ...] | None:
    """The version of an answer ``{"version": "0.33.0"}``.

    >>> version_of(Answer(200, b'{"version": "0.12.3-rc1"}'))
    (0, 12, 3)
    """
    found = re.match(r"v?(\d+(?:\.\d+)*)", str(_fields(_decoded(answer)).get("version", "")))
    return tuple(int(number) for number in found[1].split(".")) if found and len(found[1]) < 40 else None


def shows_tools(answer: Answer) -> bool:
    """By llama-server's answer to ``GET /props``; True where it does not say."""
    capable = _fields(_fields(_decoded(answer)).get("chat_template_caps"))
    return capable.get("supports_tools") is not False or capable.get("supports_tool_calls") is not False


class KindFinder:
    """Finds out the kind of one server, and keeps it. `kind` is that which was configured, None to find out."""

    def __init__(self, server: UpstreamServer, kind: Kind | None) -> None:
        self._server = server
        self._is_fixed = kind is not None or kind_of_host(server.root) is not None
        self._found = Detected(kind or kind_of_host(server.root) or "other")
        self._until = float("inf") if self._is_fixed else 0.0
        self._asking = asyncio.Lock()

    @property
    def last(self) -> Detected:
        """What is known now, without asking."""
        return self._found

    async def find(self) -> Detected:
        """The server's kind; ``other`` where it cannot be told in `DETECT_SECONDS`. Raises nothing of its own."""
        if now() < self._until:
            return self._found
        try:
            async with asyncio.timeout(DETECT_SECONDS), self._asking:
                if now() >= self._until:
                    await self._ask(now() + DETECT_SECONDS)
        except EngineUnavailable:
            pass  # whoever asks hears of that from the server itself; what was known stays
        except (TimeoutError, EngineTimeout):
            self._until = now() + UNKNOWN_SECONDS
            log.warning("an upstream does not say what it is", upstream=self._server.name)
        return self._found

    def doubt(self) -> None:
        """The server failed: another may come up in its place, so that it is asked again."""
        if not self._is_fixed:
            self._until = 0.0

    async def _ask(self, deadline: float) -> None:
        listed = await ask(self._server, f"{self._server.api}/models", deadline)
        kind = await self._kind(listed, deadline)
        version = None
        if kind in VERSIONS:
            version = version_of(await ask(self._server, self._server.root + VERSIONS[kind], deadline))
        shown = True
        if kind == "llama-server":
            shown = shows_tools(await ask(self._server, f"{self._server.root}/props", deadline))
        found = Detected(kind or "other", version, shown)
        if found != self._found:
            log.info(
                "an upstream was recognised", upstream=self._server.name, kind=found.kind, version=version
            )
        self._found = found
        self._until = now() + (KNOWN_SECONDS if kind or listed.status == 200 else UNKNOWN_SECONDS)

    async def _kind(self, listed: Answer, deadline: float) -> Kind | None:
        kind = kind_of_list(listed)
        for path in QUESTIONS:
            if kind is not None:
                break
            kind = kind_of_answer(path, await ask(self._server, self._server.root + path, deadline), listed)
        return kind


def _names_have_tags(listed: Answer) -> bool:
    """Whether all names of a list are Ollama's (``name:tag``); others answer to its routes too."""
    models = _fields(_decoded(listed)).get("data")
    return not isinstance(models, list) or all(":" in str(_fields(model).get("id")) for model in models)


def _decoded(answer: Answer) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
