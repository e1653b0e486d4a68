"""The models of a palaver: what its settings and the record of added models name, with an engine for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.core.parameters import Sampling
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.catalog.added import AddedModel, AddedModels
from palaver.engines.catalog.curated import curated
from palaver.engines.catalog.gone import GoneEngine
from palaver.engines.catalog.local import in_hub_cache
from palaver.engines.catalog.quants import is_meant
from palaver.engines.catalog.references import hub_name, usable_name
from palaver.engines.llama import (
    LlamaEngine,
    LlamaSettings,
    ModelMemory,
    RemoteEngine,
    RemoteSettings,
    Snapshots,
)
from palaver.engines.llama.kv.opening import emptied
from palaver.engines.pocket import POCKET
from palaver.engines.scripted import ScriptedEngine
from palaver.wiring.embeddings import check_embedding, embedding_file
from palaver.wiring.upstreams import key_variable, upstreams_of
from palaver.wiring.windows import windows_of

LLAMA_SERVER = "llama-server"
"""What the model of `llama_server` is called."""
POCKET_DEFAULTS = Sampling(temperature=0.0, max_tokens=80)
POCKET_ROOM = 1_000_000_000
"""Bytes; with its context the bundled model takes a tenth of that."""
POCKET_DESCRIPTION = "Built-in demo model of 4 MB: remembers what it is told and knows a few cities."

log = structlog.get_logger(__name__)


class Shared(NamedTuple):
    """What the models on this machine share."""

    memory: ModelMemory
    snapshots: Snapshots | None


class Kept(NamedTuple):
    """Where the KV caches of conversations are kept, beside the store: only for the one process that owns that. Those
    of a llama-server are kept apart: it writes into a folder of its own."""

    own: Snapshots
    llama_server: Snapshots | None

    async def open(self, config: Config) -> None:
        """Where none are to be kept on disk, remove what is there from when they were."""
        if not config.kv_disk:
            await asyncio.to_thread(emptied, config.kv_folder)

    async def close(self) -> None:
        await self.own.close()
        if self.llama_server is not None:
            await self.llama_server.close()


def snapshots_of(config: Config) -> Kept:
    """Nothing is made yet."""
    has_server = bool(config.llama_server and config.llama_server_kv)
    own = Snapshots(
        config.kv_folder,
        memory_quota=config.kv_memory,
        disk_quota=config.kv_disk,
        deep=not has_server,  # what a server left is shown and deleted with the others
    )
    if not has_server:
        return Kept(own, None)
    remote = Snapshots(
        config.kv_folder / LLAMA_SERVER,
        memory_quota=config.kv_memory,
        disk_quota=config.kv_disk,
        staging=Path(config.llama_server_kv).expanduser(),
    )
    return Kept(own, remote)


def catalog_of(config: Config, kept: Kept | None = None) -> tuple[ModelCatalog, str]:
    """The models that may be named, and the name of the one that answers where none is. Raises ConfigError."""
    added = AddedModels(config.folder).all()
    snapshots = kept.own if kept is not None else None
    shared = Shared(ModelMemory(config.memory or None), snapshots)
    own, default = _default(config, added, shared)
    here = {spec.name: spec for spec in own}
    for model in added:
        if model.name not in here:
            here[model.name] = _added(config, model, shared)
        elif not any(spec.name == model.name and _is_file_of(spec, model) for spec in own):
            log.warning("an added model is hidden by another of its name", model=model.name)
    if config.llama_server:
        here[LLAMA_SERVER] = _llama_server(config, kept.llama_server if kept is not None else None)
    here.setdefault("pocket", _pocket(config, snapshots))
    if (path := embedding_file(config)) is not None:
        here.setdefault(usable_name(path.name), _gguf(config, path, usable_name(path.name), shared))
    fallbacks = {name: others.split("+") for name, others in config.fallback.items()}
    catalog = ModelCatalog(
        models=list(here.values()),
        aliases=config.alias,
        upstreams=upstreams_of(config),
        fallbacks=fallbacks,
        windows=windows_of(config),
    )
    _check_named(config, here)
    check_embedding(config, here)
    return catalog, default


def _check_named(config: Config, here: Mapping[str, ModelSpec]) -> None:
    """Raises ConfigError where `title_model` or `summary_model` names no model, or one that makes no titles."""
    for setting, said in (("title_model", config.title_model), ("summary_model", config.summary_model)):
        name = said
        while name in config.alias:
            name = config.alias[name]
        if not name or name.partition("/")[0] in config.upstream:
            continue
        if name not in here:
            raise ConfigError(f"{setting}: there is no model {said!r}", setting=setting)
        engine = here[name].engine
        makes_titles = "titles" in engine.capabilities or isinstance(engine, GoneEngine)
        if setting == "title_model" and not makes_titles:
            raise ConfigError(f"title_model: {said} makes no titles", setting=setting)


def _default(config: Config, added: list[AddedModel], shared: Shared) -> tuple[list[ModelSpec], str]:
    """What `model` names: a model of its own where it is none of the others, and the name of it."""
    name = config.model
    if config.llama_server and name in ("pocket", LLAMA_SERVER):
        return (
            [],
            LLAMA_SERVER,
        )  # it goes before the bundled model, which is the default only for want of others
    if name == "pocket" or name in config.alias or name.partition("/")[0] in config.upstream:
        return [], name
    if name == "scripted" or name.startswith("scripted:"):
        return [_scripted(name.partition(":")[2])], "scripted"
    for model in added:
        if name in (model.name, model.source):
            return [], model.name
    hub = hub_name(name)
    if hub is not None:
        for model in added:
            source = hub_name(model.source)
            if source is not None and is_meant(hub, source):
                return [], model.name
        cached = in_hub_cache(hub)
        if cached is None:
            raise _not_here(name)
        spec = _gguf(config, cached, usable_name(cached.name), shared)
        return [spec], spec.name
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf" or path.is_file():
        spec = _gguf(config, path, usable_name(path.name), shared)
        return [spec], spec.name
    if curated(name) is not None:
        raise _not_here(name)
    raise ConfigError(
        f"model: there is no model {name!r}; give `pocket`, `scripted`, a model of `palaver models`, a path to a GGUF "
        "file, or UPSTREAM/model with an --upstream of that name",
        setting="model",
    )


def _not_here(name: str) -> ConfigError:
    return ConfigError(
        f"model: {name} is not on this machine yet; `palaver models add {name}` fetches it", setting="model"
    )


def _is_file_of(spec: ModelSpec, model: AddedModel) -> bool:
    return (
        isinstance(spec.engine, LlamaEngine) and spec.engine.settings.path.resolve() == model.path.resolve()
    )


def _scripted(script: str) -> ModelSpec:
    engine = ScriptedEngine(Path(script).expanduser() if script else None)
    return ModelSpec(
        name="scripted",
        engine=engine,
        description="Answers without a model.",
        loading=lambda: engine.loading,
    )


def _added(config: Config, model: AddedModel, shared: Shared) -> ModelSpec:
    """An added model. One whose file has gone or changed is there all the same, and says so to whoever asks it."""
    try:
        spec = _gguf(config, model.path, model.name, shared)
    except ConfigError as error:
        log.warning("an added model cannot be used", model=model.name, reason=error.message)
        reason = "its file is not there any more." if model.missing() else _reason(error, model)
        gone = GoneEngine(model.name, reason, error.setting)
        return ModelSpec(name=model.name, engine=gone, description=gone.why)
    described = model.about or spec.description
    return msgspec.structs.replace(
        spec, description=described + (f" ({model.licence})" if model.licence else "")
    )


def _reason(error: ConfigError, model: AddedModel) -> str:
    """Why a model cannot be used, for whoever knows which is meant, and need not know where its files are."""
    said = error.message.replace(f"{model.path.parent}{os.sep}", "").removeprefix("The model file ")
    own = f"The model {model.name} "
    return "it " + said.removeprefix(own) if said.startswith(own) else said


def _gguf(config: Config, path: Path, name: str, shared: Shared) -> ModelSpec:
    engine = LlamaEngine(llama_settings(config, path, name), shared.memory, shared.snapshots)
    return ModelSpec(
        name=name,
        engine=engine,
        kind="embedding" if engine.embeds else "chat",
        description=f"GGUF file {path.name}",
        unkept=engine.gguf.unkept,
        loading=lambda: engine.loading,
    )


def _llama_server(config: Config, snapshots: Snapshots | None) -> ModelSpec:
    key = os.environ.get(key_variable(LLAMA_SERVER)) or None
    saves = Path(config.llama_server_kv).expanduser() if config.llama_server_kv else None
    engine = RemoteEngine(RemoteSettings(url=config.llama_server, key=key, saves=saves), snapshots)
    return ModelSpec(name=LLAMA_SERVER, engine=engine, description="What your own llama-server runs")


def _pocket(config: Config, snapshots: Snapshots | None) -> ModelSpec:
    settings = llama_settings(config, POCKET, "pocket")
    # With room of its own: it is so small that it need not make room for anybody.
    settings = msgspec.structs.replace(settings, context=None, threads=1)
    engine = LlamaEngine(settings, ModelMemory(POCKET_ROOM), snapshots)
    return ModelSpec(
        name="pocket",
        engine=engine,
        description=POCKET_DESCRIPTION,
        defaults=POCKET_DEFAULTS,
        unkept=engine.gguf.unkept,
        loading=lambda: engine.loading,
    )


def llama_settings(config: Config, path: Path, name: str) -> LlamaSettings:
    """How a GGUF file is run."""
    return LlamaSettings(
        path=path,
        name=name,
        slots=config.slots,
        context=config.context or None,
        threads=config.threads or None,
        titles=path.resolve() != POCKET.resolve(),  # a demo has nothing to say there
    )
