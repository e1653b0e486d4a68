"""The model that makes vectors of messages and of what is looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from palaver.core.errors import (
    EngineBroke,
    EngineRefused,
    InvalidRequest,
    UnsupportedParameter,
)
from palaver.core.window import Window
from palaver.engines.base import Catalog, Model, Options
from palaver.finding.vectors import packed
from palaver.stores.base import Embedder, Store

CHARACTERS = 2000
"""As much of a text is read: what it is about mostly stands at its beginning."""
LENGTHS = (CHARACTERS, 1000, 400)
"""How long texts are where longer ones were too long for the model."""
TOO_LONG = (400, 413, 422)
"""What servers say of texts that a model does not take."""
MOST_CHANGES = 3
"""How often in one process a model's vectors may change their size: after that they are not worth computing."""

log = structlog.get_logger(__name__)


class Embedding:
    """Makes vectors with the model of this name, and keeps account of their size. `new_turn` makes an id of the kind
    that turns have."""

    def __init__(self, store: Store, catalog: Catalog, name: str, new_turn: Callable[[], str]) -> None:
        self._store = store
        self._catalog = catalog
        self._name = name
        self._new_turn = new_turn
        self.last: Embedder | None = None
        """What made vectors last, as far as this process knows."""
        self._model_name: str | None = None
        self._changes = 0

    async def embedder(self) -> Embedder | None:
        """What made vectors last; None where nothing has yet. Raises ModelNotFound, StoreError."""
        if self.last is None:
            if self._model_name is None:
                self._model_name = (await self._catalog.find(self._name)).name
            self.last = await self._store.last_embedder(self._model_name)
        return self.last

    async def vectors(
        self, owner: str, texts: Sequence[str], *, idle: bool = False
    ) -> tuple[Embedder | None, list[bytes | None]]:
        """The vectors of texts as they are kept, and what made them; None if nothing did. None stands for a text, too,
        of which the model makes no vector: one that is blank, or that it refuses however short. With `idle` nobody
        waits for them.

        Raises ModelNotFound, UnsupportedParameter, StoreError and what `Engine.embed` raises; EngineBroke where what
        came cannot be the vectors of these texts.
        """
        model = await self._catalog.find(self._name)
        self._model_name = model.name
        if "embeddings" not in model.engine.capabilities:
            raise UnsupportedParameter(f"The model {model.name} makes no embeddings.", param="model")
        places = [place for place, text in enumerate(texts) if text.strip()]
        asked = [texts[place] for place in places]
        made = await self._whole(model, owner, asked, idle) if asked else []
        if made is None:
            made = [await self._single(model, owner, text, idle) for text in asked]
        sizes = {len(vector) for vector in made if vector is not None}
        found: list[bytes | None] = [None] * len(texts)
        if not sizes:
            return None, found
        if len(sizes) > 1 or 0 in sizes:
            raise EngineBroke(f"The model {model.name} made vectors of several sizes, or of none.")
        embedder = await self._of_size(model.name, sizes.pop())
        for place, vector in zip(places, made, strict=True):
            found[place] = packed(vector) if vector is not None else None
        return embedder, found

    async def _whole(
        self, model: Model, owner: str, texts: list[str], idle: bool
    ) -> list[list[float] | None] | None:
        """The vectors of all texts, of each as much as the model takes; None where it takes not all, however short."""
        for most in LENGTHS:
            try:
                return list(await self._asked(model, owner, [text[:most] for text in texts], idle))
            except InvalidRequest:
                continue
            except EngineRefused as error:
                if error.status not in TOO_LONG:
                    raise
        return None

    async def _single(self, model: Model, owner: str, text: str, idle: bool) -> list[float] | None:
        try:
            return (await self._asked(model, owner, [text[: LENGTHS[-1]]], idle))[0]
        except (InvalidRequest, EngineRefused) as error:
            if isinstance(error, EngineRefused) and error.status not in TOO_LONG:
                raise
            return None

    async def _asked(self, model: Model, owner: str, texts: list[str], idle: bool) -> list[list[float]]:
        window = Window(owner=owner, conversation=None, turn=self._new_turn(), messages=())
        options = Options(model=model.served_as, idle=idle)
        vectors = (await model.engine.embed(texts, None, window, options)).vectors
        if len(vectors) != len(texts):
            raise EngineBroke(f"The model {model.name} made {len(vectors)} vectors of {len(texts)} texts.")
        return vectors

    async def _of_size(self, name: str, size: int) -> Embedder:
        last = self.last or await self._store.last_embedder(name)
        if last is None or last.size != size:
            if last is not None:
                self._changes += 1
                if self._changes > MOST_CHANGES:
                    raise EngineBroke(f"The vectors of {name} change their size: {size} after {last.size}.")
                log.warning("the embedding model's vectors have another size", now=size, before=last.size)
            last = await self._store.embedder(name, size)
        self.last = last
        return last
