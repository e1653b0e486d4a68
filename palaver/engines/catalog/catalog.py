"""Which models there are: those configured here, aliases, and what upstreams list.

A request's model is a name, never a path or an address. `Names` says what a name stands for, without asking
anybody; `ModelCatalog` holds the engines and asks upstreams for their lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import structlog

from palaver.core.errors import EngineError, ModelNotFound, PalaverError
from palaver.core.parameters import Sampling
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Engine, KvCache, Model
from palaver.engines.catalog.names import Names
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.models import ListedModel

NAMES_TOLD = 20
"""At most so many names stand in the error for a model that there is not."""
NAME_LIMIT = 200
"""Characters of an unknown name that are repeated in its error."""
LIST_SECONDS = 2.0
"""How long an upstream may take to list its models; one that takes longer lists none."""
LIST_AGE = 60.0
"""How old, in seconds, a list may be that a name is looked up in, and how long a failure to list holds."""
RECHECK_AGE = 5.0
"""How old a list may be to say that a model is not there."""

log = structlog.get_logger(__name__)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model that runs here, as it is configured.

    `served_as` is the engine's own name of it, `name` itself where it is empty. `context_size` is what lists
    tell while the engine cannot say. `window` is how its windows are chosen, where that is said for it. `unkept` and
    `loading` are what `Model` says of them, `loading` at any time.
    """

    name: str
    engine: Engine
    served_as: str = ""
    description: str = ""
    defaults: Sampling = Sampling()
    context_size: int | None = None
    kind: Literal["chat", "embedding"] = "chat"
    window: WindowSettings = WindowSettings()
    unkept: str | None = None
    loading: Callable[[], float | None] = lambda: None


class ModelCatalog:
    """The models of one palaver. See `palaver.engines.base.Catalog`.

    `models` run here; lists keep their order. `aliases` maps further names to theirs; ``*`` is the catch-all.
    A model of an upstream is named ``UPSTREAM/model``; that it is not in the upstream's list is an error
    where there is a list, and the upstream's to say where there is none. `fallbacks` maps names to those that
    answer in their place, `windows` to how windows for them are chosen, in place of what their `ModelSpec` says.

    Raises ConfigError, see `Names`.
    """

    def __init__(
        self,
        models: Sequence[ModelSpec],
        aliases: Mapping[str, str] | None = None,
        upstreams: Sequence[UpstreamEngine] = (),
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        windows: Mapping[str, WindowSettings] | None = None,
    ) -> None:
        names = [spec.name for spec in models]
        self._names = Names(names, aliases or {}, [each.name for each in upstreams], fallbacks)
        self._windows = self._names.by_target(windows or {}, "window_of")
        self._here = {spec.name: _Here(spec, self._window(spec.name, spec.window)) for spec in models}
        self._upstreams = {engine.name: _Listing(engine) for engine in upstreams}

    async def find(self, name: str) -> Model:
        """The model of this name or alias. Starts nothing, and asks no model. Raises ModelNotFound."""
        target = self._names.target(name)
        if target is None:
            raise _unknown(name, await self._all_names())
        upstream = self._names.upstream(target)
        if upstream is not None:
            model = await self._passed_on(target, self._upstreams[upstream])
        else:
            model = self._here[target].model(self._names.aliases(target), None)
        fallbacks = tuple(self._unasked(other) for other in self._names.fallbacks(target))
        return msgspec.structs.replace(model, fallbacks=fallbacks)

    async def verify(self, name: str) -> None:
        """Make sure that a name stands for a model that is there: an upstream is asked for it now.

        Raises ModelNotFound, and EngineError where the upstream cannot say.
        """
        target = self._names.target(name)
        upstream = self._names.upstream(target) if target else None
        if target is None or upstream is None:
            return
        engine = self._upstreams[upstream].engine
        listed = await engine.models()
        if not any(_is_named(each.id, target.partition("/")[2]) for each in listed):
            raise _unknown(target, [f"{engine.name}/{each.id}" for each in listed])

    async def models(self) -> list[Model]:
        """All models that can be named now, with their aliases. Starts none."""
        here = [
            here.model(self._names.aliases(name), await here.context_size())
            for name, here in self._here.items()
        ]
        there = [
            self._upstream_model(name, engine, listed)
            for name, engine, listed in await self._listed(max_age=0.0)
        ]
        return here + there

    async def kv_caches(self) -> dict[str, KvCache]:
        """What engines hold of prompts, each asked once."""
        engines = self._engines()
        asking = (engine.kv_cache() for _, engine in engines)
        caches: dict[str, KvCache] = {}
        found = await asyncio.gather(*asking, return_exceptions=True)
        for (name, _), told in zip(engines, found, strict=True):
            if isinstance(told, EngineError):
                log.warning("an engine does not say what it holds", model=name, error=type(told).__name__)
            elif isinstance(told, BaseException):
                raise told
            elif told is not None:
                caches[name] = told
        return caches

    async def forget(
        self, owner: str | None = None, conversation: str | None = None, *, model: str | None = None
    ) -> int:
        """Have engines erase what they computed, each asked once. Raises ModelNotFound, EngineError."""
        every = [each for _, each in self._engines()] if model is None else [(await self.find(model)).engine]
        erasing = (engine.forget(owner, conversation) for engine in every)
        told = await asyncio.gather(*erasing, return_exceptions=True)
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure
        return sum(count for count in told if isinstance(count, int))

    async def close(self) -> None:
        """Close every engine, each once; one that fails to does not keep the others open."""
        closing = (engine.close() for _, engine in self._engines())
        for failure in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(failure, Exception):
                log.warning("an engine did not close", error=type(failure).__name__)

    def _engines(self) -> list[tuple[str, Engine]]:
        """Every engine once, with the name of its first model, or of its upstream."""
        first: dict[int, tuple[str, Engine]] = {}
        for name, here in self._here.items():
            first.setdefault(id(here.spec.engine), (name, here.spec.engine))
        return [*first.values(), *((name, listing.engine) for name, listing in self._upstreams.items())]

    def _unasked(self, target: str) -> Model:
        """A model that may not be needed: its upstream is not asked whether it has it."""
        upstream = self._names.upstream(target)
        if upstream is None:
            return self._here[target].model(self._names.aliases(target), None)
        listing, asked = self._upstreams[upstream], target.partition("/")[2]
        return self._upstream_model(target, listing.engine, listing.entry(asked))

    async def _passed_on(self, target: str, listing: _Listing) -> Model:
        asked = target.partition("/")[2]
        if not await listing.has(asked):
            raise _unknown(target, [f"{listing.engine.name}/{model.id}" for model in listing.last or ()])
        return self._upstream_model(target, listing.engine, listing.entry(asked))

    def _upstream_model(self, name: str, engine: UpstreamEngine, listed: ListedModel) -> Model:
        return Model(
            name=name,
            served_as=listed.id,
            engine=engine,
            kind=listed.kind,
            aliases=self._names.aliases(name),
            context_size=listed.context_size,
            window=self._window(name, WindowSettings()),
        )

    def _window(self, name: str, otherwise: WindowSettings) -> WindowSettings:
        return self._windows.get(name, WindowSettings()).over(otherwise)

    async def _listed(self, max_age: float) -> list[tuple[str, UpstreamEngine, ListedModel]]:
        """What all upstreams list, each model with its full name. They are asked at the same time."""
        listings = self._upstreams.values()
        lists = await asyncio.gather(*(listing.models(max_age) for listing in listings))
        return [
            (f"{listing.engine.name}/{model.id}", listing.engine, model)
            for listing, models in zip(listings, lists, strict=True)
            for model in models or ()
        ]

    async def _all_names(self) -> list[str]:
        here = [each for name in self._here for each in (name, *self._names.aliases(name))]
        return here + [name for name, _, _ in await self._listed(LIST_AGE)]


class _Here:
    """A configured model, and how its windows are chosen."""

    def __init__(self, spec: ModelSpec, window: WindowSettings) -> None:
        self.spec = spec
        self._window = window
        self._served_as = spec.served_as or spec.name

    def model(self, aliases: tuple[str, ...], context_size: int | None) -> Model:
        return Model(
            name=self.spec.name,
            served_as=self._served_as,
            engine=self.spec.engine,
            kind=self.spec.kind,
            description=self.spec.description,
            defaults=self.spec.defaults,
            loading=self.spec.loading(),
            progress=self.spec.loading,
            aliases=aliases,
            context_size=context_size,
            window=self._window,
            unkept=self.spec.unkept,
        )

    async def context_size(self) -> int | None:
        """For a list: what is configured, where the engine cannot say."""
        try:
            return await self.spec.engine.context_size(self._served_as)
        except EngineError:
            return self.spec.context_size


class _Listing:
    """An upstream with the last list of its models. `last` is None while none can be had."""

    def __init__(self, engine: UpstreamEngine) -> None:
        self.engine = engine
        self.last: list[ListedModel] | None = None
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def has(self, model: str) -> bool:
        """Whether it serves this model, as far as can be known: yes, where it does not say."""
        for age in (LIST_AGE, RECHECK_AGE):
            models = await self.models(age)
            if models is None or any(_is_named(listed.id, model) for listed in models):
                return True
        return False

    def entry(self, model: str) -> ListedModel:
        """What was last told of a model, under the name that was asked for."""
        found = (listed for listed in self.last or () if _is_named(listed.id, model))
        entry = next(found, ListedModel(model))
        return ListedModel(model, None, entry.kind)  # how long its context is, is asked for with the turn

    async def models(self, max_age: float) -> list[ListedModel] | None:
        """Its models by a list of at most this age in seconds; None where none can be had in time."""
        since = asyncio.get_running_loop().time()
        async with self._asking:
            if self._asked_at is None or self._asked_at < since - max_age:
                self.last = await self._ask()
                self._asked_at = asyncio.get_running_loop().time()
        return self.last

    async def _ask(self) -> list[ListedModel] | None:
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await self.engine.models()
        except (PalaverError, TimeoutError) as error:
            log.warning("an upstream lists no models", upstream=self.engine.name, error=type(error).__name__)
            return None


def _unknown(name: str, known: Sequence[str]) -> ModelNotFound:
    shown = name if len(name) <= NAME_LIMIT else name[:NAME_LIMIT] + "…"
    more = f" and {len(known) - NAMES_TOLD} more" if len(known) > NAMES_TOLD else ""
    there = f" There are: {', '.join(known[:NAMES_TOLD])}{more}." if known else ""
    return ModelNotFound(f"Unable to access model {shown}.{there}", param="model")


def _is_named(listed: str, asked: str) -> bool:
    """Whether a server that lists one name answers to the other: Ollama adds a tag, Google a folder."""
    return listed in (asked, f"{asked}:latest", f"models/{asked}")
