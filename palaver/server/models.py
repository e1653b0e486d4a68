"""``/v1/models``: what can be named."""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from palaver.core.errors import EngineError
from palaver.engines.base import Catalog, Model
from palaver.server.headers import is_together
from palaver.server.route import Operation, json_response, path_value


class ModelCache(msgspec.Struct, frozen=True, kw_only=True):
    """Whether what a model computes of its conversations can be saved and shared between them; else the `reason`, in
    words that go on "because"."""

    kept: bool
    reason: str | UnsetType = UNSET


INPUTS = {
    "image_url": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "file",
}
"""What an engine takes besides text, by the kind of content."""


class ModelBody(msgspec.Struct, frozen=True, kw_only=True):
    """A model. `created` is 0: it is not known. What is not known of the rest is left out.

    `kv_cache` is there for models that answer and run here. `loading` is there while it is being loaded: how much of it
    is, from 0 to 1. `input_modalities` are kinds of content that messages to it may have: ``text``, and perhaps
    ``image``, ``audio``, ``video``, ``file``. `reasoning` says whether a request may ask it to think. Of an upstream's
    model both say what such servers can do at most; what this one does not take is refused when it is asked.
    """

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "palaver"
    type: Literal["chat", "embedding"]
    display_name: str
    organization: str = "palaver"
    context_length: int | UnsetType = UNSET
    description: str | UnsetType = UNSET
    aliases: list[str]
    input_modalities: list[str]
    reasoning: bool
    kv_cache: ModelCache | UnsetType = UNSET
    loading: float | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ModelBody]


class Models:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/models",
                handler=self.list,
                scope="chat",
                summary="All models",
                description="OpenAI's list. Together's SDKs, known by `Together/` in the User-Agent, get the "
                "bare array that they expect.",
                reply=ModelList,
            ),
            Operation(
                method="GET",
                path="/models/{id:path}",
                handler=self.retrieve,
                scope="chat",
                summary="One model, by its name or an alias",
                reply=ModelBody,
            ),
        ]

    async def list(self, request: Request) -> Response:
        found = [_shown(model) for model in await self._catalog.models()]
        # The two shapes exclude each other: each SDK fails on the other's.
        if is_together(request.headers):
            return json_response(found)
        return json_response(ModelList(data=found))

    async def retrieve(self, request: Request) -> Response:
        model = await self._catalog.find(path_value(request, "id"))
        with contextlib.suppress(EngineError):  # then its context is not known now
            size = await model.engine.context_size(model.served_as)
            model = msgspec.structs.replace(model, context_size=size)
        return json_response(_shown(model))


def _shown(model: Model) -> ModelBody:
    can = model.engine.capabilities
    return ModelBody(
        id=model.name,
        type=model.kind,
        display_name=model.name,
        context_length=UNSET if model.context_size is None else model.context_size,
        description=model.description or UNSET,
        aliases=list(model.aliases),
        input_modalities=["text", *dict.fromkeys(INPUTS[each] for each in INPUTS if each in can)],
        reasoning="reasoning" in can,
        kv_cache=_cache(model),
        loading=UNSET if model.loading is None else model.loading,
    )


def _cache(model: Model) -> ModelCache | UnsetType:
    """Whether its KV cache is kept; unset where nobody here could keep one."""
    if model.kind != "chat" or model.unkept is None:
        return UNSET
    return ModelCache(kept=not model.unkept, reason=model.unkept or UNSET)
