"""Adding models and forgetting them: from the list, the hub, a file, or what other programs have put here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from palaver.config import Config
from palaver.core.errors import ConfigError, HubError
from palaver.engines.catalog.added import AddedFile, AddedModel, AddedModels
from palaver.engines.catalog.checksum import sha256_of
from palaver.engines.catalog.curated import CURATED, Curated, curated
from palaver.engines.catalog.local import FoundFile, find_file, parts_of
from palaver.engines.catalog.need import Fit, Need, fit_of, need_by_header, need_by_size, room_for_models
from palaver.engines.catalog.quants import Variant, chosen, variants
from palaver.engines.catalog.references import HubName, check_name, hub_name, usable_name
from palaver.engines.llama.gguf import inspect
from palaver.wiring.models import llama_settings

if TYPE_CHECKING:
    from palaver.engines.catalog.hub import Hub, HubRepo

__all__ = ["AddedModel", "Offer", "Plan", "added", "carry_out", "forget", "offers", "own_files", "plan"]

OWN_NAMES = frozenset({"pocket", "scripted"})
NO_HUB = "Models from the hub need one more package: pip install 'palaver[hub]'"

Progress = Callable[[str, int, int], None]
"""Told what is done (``fetching`` or ``checking``), how many bytes of it are, and of how many."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the list, as this machine sees it. Sizes are in bytes."""

    name: str
    size: int
    need: Need
    fit: Fit
    licence: str
    about: str
    is_added: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What adding a model would do. Sizes are in bytes; `to_fetch` is 0 where all of it is here."""

    name: str
    source: str
    licence: str
    about: str
    size: int
    to_fetch: int
    need: Need
    fit: Fit
    ours: bool
    get: Callable[[Progress], list[AddedFile]]


def offers(config: Config) -> list[Offer]:
    """The list of models to begin with, the smallest chat model first."""
    room, names = room_for_models(config.memory), {model.name for model in AddedModels(config.folder).all()}
    needs = [need_by_size(each.size, each.cache, config.slots, config.context) for each in CURATED]
    return [
        Offer(
            name=each.name,
            size=each.size,
            need=need,
            fit=fit_of(need, room),
            licence=each.licence,
            about=each.about,
            is_added=each.name in names,
        )
        for each, need in zip(CURATED, needs, strict=True)
    ]


def plan(config: Config, wanted: str, name: str | None = None) -> Plan:
    """What it takes to add `wanted`: a path, a model that `find_files` finds, one of the list, or of the hub.

    `name` is what it is to be called. Asks the hub where it must; changes nothing. Raises ConfigError, HubError.
    """
    path = Path(wanted).expanduser()
    if path.is_file():
        return _of_file(config, path, name)
    found = find_file(wanted)
    if found is not None:
        return _of_found(config, found, name)
    listed = curated(wanted)
    on_hub = listed.hub_name if listed else hub_name(wanted)
    if on_hub is None and path.suffix.lower() == ".gguf":
        return _of_file(config, path, name)  # which says that there is none
    if on_hub is None:
        raise ConfigError(
            f"There is no model {wanted!r} to add. Give one of `palaver models add`, one of `palaver models find`, a "
            "path to a GGUF file, or hf:OWNER/REPO.",
            setting="name",
        )
    return _of_hub(config, on_hub, listed, name)


def carry_out(config: Config, planned: Plan, progress: Progress) -> AddedModel:
    """Add it: fetch what is not here, check it, and write it down. Raises ConfigError, HubError."""
    model = AddedModel(
        name=planned.name,
        files=planned.get(progress),
        source=planned.source,
        licence=planned.licence,
        about=planned.about,
        added_at=time.time(),
        ours=planned.ours,
    )
    inspect(model.path)
    AddedModels(config.folder).add(model)
    return model


def added(config: Config, name: str) -> AddedModel:
    """The added model of this name. Raises ConfigError where there is none."""
    model = AddedModels(config.folder).named(name)
    if model is None:
        raise ConfigError(
            f"No model {name!r} was added; `palaver models` lists what there is.", setting="name"
        )
    return model


def own_files(config: Config, model: AddedModel) -> list[Path]:
    """The files that may be deleted with a model: fetched for it, there, and in no other added model."""
    if not model.ours:
        return []
    others = [each for each in AddedModels(config.folder).all() if each.name != model.name]
    kept = {Path(file.path).resolve() for other in others for file in other.files}
    paths = [Path(file.path) for file in model.files]
    return [path for path in paths if path.is_file() and path.resolve() not in kept]


def forget(config: Config, name: str, *, delete: bool) -> AddedModel:
    """Take a model off the record; with `delete` its files go too, if they are palaver's to delete and no other added
    model's.

    Raises ConfigError where there is none of that name, or a file cannot be deleted.
    """
    model = added(config, name)
    files = own_files(config, model) if delete else []
    AddedModels(config.folder).remove(name)
    for path in files:
        try:
            path.resolve().unlink(missing_ok=True)  # the hub's cache holds links to where the bytes are
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{model.name} is forgotten, but {path} cannot be deleted ({error.strerror}).", setting="name"
            ) from error
    return model


def _of_file(config: Config, path: Path, name: str | None) -> Plan:
    path = path.absolute()
    need = need_by_header(inspect(path), llama_settings(config, path, path.stem))
    files = parts_of(path)
    size = sum(file.stat().st_size for file in files)

    def get(progress: Progress) -> list[AddedFile]:
        return _hashed(files, size, progress)

    called = _called(config, name, usable_name(path.name), str(path))
    return _planned(config, called, str(path), need, size=size, get=get)


def _of_found(config: Config, found: FoundFile, name: str | None) -> Plan:
    if found.problem:
        raise ConfigError(f"{found.name} cannot be used: {found.problem}", setting="name")

    def get(progress: Progress) -> list[AddedFile]:
        if found.sha256:
            return [AddedFile(str(found.files[0]), found.size, found.sha256)]
        return _hashed(found.files, found.size, progress)

    source = hub_name(found.name) if found.where == "hub" else None
    last = source.choice.rpartition("/")[2] if source else found.name.replace("/", "-")
    if found.where == "lmstudio":
        last = found.files[0].name
    where = str(source) if source else f"{found.where}:{found.name}"
    need = need_by_header(inspect(found.files[0]), llama_settings(config, found.files[0], last))
    called = _called(config, name, usable_name(last), where)
    return _planned(config, called, where, need, size=found.size, get=get)


def _of_hub(config: Config, wanted: HubName, listed: Curated | None, name: str | None) -> Plan:
    hub = _hub()
    repo = hub.look(wanted)
    variant = chosen(variants(repo.files), wanted.choice, wanted.repo)
    source = str(HubName(wanted.repo, variant.name, wanted.revision))
    called = listed.name if listed else usable_name(variant.name.rpartition("/")[2])
    return _planned(
        config,
        _called(config, name, called, source),
        source,
        need_by_size(variant.size, listed.cache if listed else None, config.slots, config.context),
        size=variant.size,
        get=lambda progress: _fetched(hub, repo, variant, progress),
        to_fetch=hub.remaining(repo, variant.files),
        licence=repo.licence or (listed.licence if listed else ""),
        about=listed.about if listed else "",
        ours=True,
    )


def _planned(
    config: Config,
    name: str,
    source: str,
    need: Need,
    *,
    size: int,
    get: Callable[[Progress], list[AddedFile]],
    to_fetch: int = 0,
    licence: str = "",
    about: str = "",
    ours: bool = False,
) -> Plan:
    return Plan(
        name=name,
        source=source,
        licence=licence,
        about=about,
        size=size,
        to_fetch=to_fetch,
        need=need,
        fit=fit_of(need, room_for_models(config.memory)),
        ours=ours,
        get=get,
    )


def _called(config: Config, given: str | None, usual: str, source: str) -> str:
    """What it is to be called. A model may be added again: what comes from the same place takes its place."""
    name = given or usual
    others = {model.name for model in AddedModels(config.folder).all() if model.source != source}
    check_name(name, frozenset(others | OWN_NAMES | set(config.alias)))
    return name


def _hub() -> Hub:
    try:
        from palaver.engines.catalog.hub import Hub  # noqa: PLC0415  # an extra, and slow to load
    except ImportError as error:
        raise HubError(NO_HUB) from error
    return Hub()


def _fetched(hub: Hub, repo: HubRepo, variant: Variant, progress: Progress) -> list[AddedFile]:
    """All files of a model, one after the other; progress is told over all of them."""
    hub.check_room(repo, variant.files)
    files: list[AddedFile] = []
    for file in variant.files:
        before = sum(each.size for each in files)

        def told(what: str, done: int, _: int, before: int = before) -> None:
            progress(what, before + done, variant.size)

        files.append(AddedFile(str(hub.fetch(repo, file, told)), file.size, file.sha256))
    return files


def _hashed(files: Sequence[Path], size: int, progress: Progress) -> list[AddedFile]:
    found: list[AddedFile] = []
    for path in files:

        def told(done: int, _: int, before: int = sum(each.size for each in found)) -> None:
            progress("checking", before + done, size)

        try:
            found.append(AddedFile(str(path), path.stat().st_size, sha256_of(path, told)))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}).", setting="name") from error
    return found
