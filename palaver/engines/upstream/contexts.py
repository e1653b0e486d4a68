"""How long a context the models of a server have: asked where that server tells the real size, and kept a while."""

from __future__ import annotations

from typing import Any

import msgspec
from yarl import URL

from palaver.core.errors import EngineTimeout
from palaver.engines.upstream import models
from palaver.engines.upstream.asking import Answer, ask, now
from palaver.engines.upstream.http import UpstreamServer
from palaver.engines.upstream.kinds import Kind

ASKING_SECONDS = 5.0
"""How long all questions about one context may take together."""
KNOWN_SECONDS = 300.0
"""How long a context size is taken as known."""
UNKNOWN_SECONDS = 60.0
"""How long it is not asked for again where it could not be found, or only be supposed."""
MODELS_KNOWN = 1000
"""Of so many models the size is kept."""


class _Known(msgspec.Struct):
    size: int | None
    until: float
    is_supposed: bool = False


class Contexts:
    """The context sizes of one server's models."""

    def __init__(self, server: UpstreamServer) -> None:
        self._server = server
        self._known: dict[str, _Known] = {}

    async def size(self, model: str, kind: Kind) -> int | None:
        """The model's context in tokens; None where it cannot be known in time. Raises EngineUnavailable."""
        known = self._known.get(model)
        if known is None or known.until <= now():
            try:
                known = await self._find(model, kind)
            except EngineTimeout:  # what it answers slowly is not worth the turn
                known = _Known(None, 0.0)
            is_sure = known.size is not None and not known.is_supposed
            known.until = now() + (KNOWN_SECONDS if is_sure else UNKNOWN_SECONDS)
            if len(self._known) >= MODELS_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[model] = known
        return known.size

    def forget(self, model: str) -> None:
        """It may be another now: the model was loaded, or the server failed."""
        self._known.pop(model, None)

    def is_supposed(self, model: str) -> bool:
        """Whether the size is only what most servers give such a model."""
        known = self._known.get(model)
        return known is not None and known.is_supposed

    async def _find(self, model: str, kind: Kind) -> _Known:
        asking = _Asking(self._server, model, now() + ASKING_SECONDS)
        match kind:
            case "llama-server":
                return _Known(await asking.props() or await asking.listed(), 0.0)
            case "sglang":
                sizes = [size for size in (await asking.listed(), await asking.input_limit()) if size]
                return _Known(min(sizes, default=None), 0.0)
            case "ollama":
                running = await asking.running()
                return _Known(running or await asking.shown(), 0.0, is_supposed=running is None)
            case "lmstudio":
                return _Known(await asking.loaded(), 0.0)
            case "together" | "openai" | "vllm":
                return _Known(await asking.listed(), 0.0)
            case _:
                size = await asking.listed() or await asking.props()
                return _Known(size or await asking.shown(), 0.0)


class _Asking:
    """The questions about one model's context."""

    def __init__(self, server: UpstreamServer, model: str, deadline: float) -> None:
        self._server = server
        self._model = model
        self._deadline = deadline

    async def listed(self) -> int | None:
        answer = await self._ask(f"{self._server.api}/models")
        found = models.listed_models(answer.body) if answer.status == 200 else None
        return next((each.context_size for each in found or () if each.id == self._model), None)

    async def props(self) -> int | None:
        """A router of many models is asked for this one, and not to load it for that."""
        url = f"{self._server.root}/props"
        answer = await self._ask(url)
        if models.is_router(answer.body):
            answer = await self._ask(str(URL(url).with_query(model=self._model, autoload="false")))
        return models.props_context(answer.body)

    async def input_limit(self) -> int | None:
        return models.input_limit((await self._ask(f"{self._server.root}/server_info")).body)

    async def running(self) -> int | None:
        return models.running_context((await self._ask(f"{self._server.root}/api/ps")).body, self._model)

    async def shown(self) -> int | None:
        answer = await self._ask(f"{self._server.root}/api/show", {"model": self._model})
        return models.shown_context(answer.body, self._model) if answer.status == 200 else None

    async def loaded(self) -> int | None:
        for version in ("v1", "v0"):
            answer = await self._ask(f"{self._server.root}/api/{version}/models")
            size = models.loaded_context(answer.body, self._model)
            if size is not None:
                return size
        return None

    async def _ask(self, url: str, body: dict[str, Any] | None = None) -> Answer:
        return await ask(self._server, url, self._deadline, body)
