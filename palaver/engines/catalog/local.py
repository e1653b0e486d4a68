"""GGUF files that other programs have put on this machine: the hub's cache, Ollama's, LM Studio's and llama.cpp's.

Nothing is copied and nothing is written: a model that is added from here stays where it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from palaver.core.errors import ConfigError
from palaver.engines.catalog.quants import NO_MODEL, HubFile, chosen, is_meant, variants
from palaver.engines.catalog.references import PREFIX, SPLIT, HubName, hub_name
from palaver.engines.llama.gguf import inspect

Look = Callable[[Path], Iterator[tuple[str, Path]]]
"""Says the names and the first files of the models in a folder; none where it is not there."""
Place = Literal["hub", "ollama", "lmstudio", "llama.cpp"]
MODEL_LAYER = "application/vnd.ollama.image.model"
OLLAMA_HOST, OLLAMA_USER = "registry.ollama.ai", "library"


class FoundFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is on this machine.

    `name` is what it can be added by, and so is each of `also`: Ollama may know one file by several names. `files` are
    its parts, `size` all of them together in bytes; `sha256` is that of a file whose own name says it. `problem` says
    why it cannot be used, and is empty where it can.
    """

    name: str
    where: Place
    files: list[Path]
    size: int
    sha256: str = ""
    problem: str = ""
    also: tuple[str, ...] = ()


def find_files(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> list[FoundFile]:
    """All models in the folders of programs that keep GGUF files. Reads each one's header."""
    home = home or Path.home()
    found: dict[Path, FoundFile] = {}
    places: list[tuple[Place, list[Path], Look]] = [
        ("hub", [hub_cache(environment, home)], _hub),
        ("ollama", _ollama_folders(environment, home), _ollama),
        ("lmstudio", _lmstudio_folders(home), _lmstudio),
        ("llama.cpp", _llama_folders(environment, home), _llama),
    ]
    for place, folders, look in places:
        for folder in folders:
            for name, path in look(folder):
                real = path.resolve()
                known = found.get(real)
                if known is None:
                    found[real] = _looked_at(name, place, path)
                elif known.where == place:  # else one program links to what another keeps
                    found[real] = msgspec.structs.replace(known, also=(*known.also, name))
    return list(found.values())


def find_file(
    name: str, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> FoundFile | None:
    """The model that `find_files` finds under this name, which is then its `name`."""
    for each in find_files(environment, home):
        if name == each.name or name in each.also:
            return msgspec.structs.replace(each, name=name)
    return None


def in_hub_cache(
    asked: HubName, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> Path | None:
    """The file that a name on the hub means, where the hub's cache has it; of several the usual one."""
    found: dict[str, Path] = {}
    for name, path in _hub(hub_cache(environment, home or Path.home())):
        source = hub_name(name)
        if source is not None and is_meant(asked, source) and all(part.is_file() for part in parts_of(path)):
            found[source.choice] = path
    if not found:
        return None
    files = [HubFile(choice, 0) for choice in found if SPLIT.fullmatch(choice) is None]
    usual = chosen(variants(files), "", asked.repo).name if len(found) == len(files) > 1 else min(found)
    return found[usual]


def hub_cache(environment: Mapping[str, str], home: Path) -> Path:
    """The cache of the hub's own programs."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(variable):
            return Path(environment[variable]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser() / "hub"
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else home / ".cache") / "huggingface" / "hub"


def parts_of(path: Path) -> list[Path]:
    """The files of a model, by the name of its first: all parts of a split one."""
    split = SPLIT.fullmatch(path.name)
    if split is None:
        return [path]
    count = int(split["count"])
    return [
        path.with_name(f"{split['stem']}-{number:05}-of-{count:05}{split['end']}")
        for number in range(1, count + 1)
    ]


def _looked_at(name: str, place: Place, path: Path) -> FoundFile:
    files = parts_of(path)
    problem = ""
    try:
        inspect(path)
    except ConfigError as error:
        said = error.message.removeprefix("The model file ").replace(f"{path.parent}{os.sep}", "")
        problem = said.removeprefix(f"{path.name} ")
    size = sum(file.stat().st_size for file in files if file.is_file())
    blob = path.resolve().name.removeprefix("sha256-")
    sha256 = blob if len(blob) == 64 and place in ("hub", "ollama") and len(files) == 1 else ""
    return FoundFile(name=name, where=place, files=files, size=size, sha256=sha256, problem=problem)


def _models_below(folder: Path) -> Iterator[Path]:
    """GGUF files of models below a folder, of a split one the first part."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != ".gguf" or NO_MODEL.search(path.name) or not path.is_file():
            continue
        split = SPLIT.fullmatch(path.name)
        if split is None or int(split["number"]) == 1:
            yield path


def _hub(cache: Path) -> Iterator[tuple[str, Path]]:
    """Of each repository the commit that ``main`` was last, else the newest that is there."""
    for folder in sorted(cache.glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshots = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
        main = folder / "refs" / "main"
        current = folder / "snapshots" / main.read_text().strip() if main.is_file() else None
        if current not in snapshots:
            snapshots.sort(key=lambda path: path.stat().st_mtime)
            current = snapshots[-1] if snapshots else None
        if current is not None:
            for path in _models_below(current):
                yield f"{PREFIX}{repo}:{path.relative_to(current).as_posix()}", path


def _ollama_folders(environment: Mapping[str, str], home: Path) -> list[Path]:
    if environment.get("OLLAMA_MODELS"):
        return [Path(environment["OLLAMA_MODELS"]).expanduser()]
    service = [] if sys.platform == "win32" else [Path("/usr/share/ollama/.ollama/models")]
    return [home / ".ollama" / "models", *service]


class _Layer(msgspec.Struct):
    mediaType: str
    digest: str


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = []


def _ollama(folder: Path) -> Iterator[tuple[str, Path]]:
    """Ollama's models, by its names for them: ``llama3.2:3b``, ``someone/model:tag``, ``hf.co/owner/repo:quant``."""
    manifests = folder / "manifests"
    for path in sorted(manifests.glob("*/*/*/*")):
        host, user, model, tag = path.relative_to(manifests).parts
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue  # no manifest: the folder is Ollama's, and may hold what we do not know
        digests = [layer.digest for layer in manifest.layers if layer.mediaType == MODEL_LAYER]
        if len(digests) == 1 and digests[0].startswith("sha256:") and digests[0][7:].isalnum():
            owner = model if user == OLLAMA_USER and host == OLLAMA_HOST else f"{user}/{model}"
            name = owner if host == OLLAMA_HOST else f"{host}/{owner}"
            yield f"{name}:{tag}", folder / "blobs" / digests[0].replace(":", "-")


def _lmstudio_folders(home: Path) -> list[Path]:
    return [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]


def _lmstudio(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in _models_below(folder):
        yield path.relative_to(folder).as_posix(), path


def _llama_folders(environment: Mapping[str, str], home: Path) -> list[Path]:
    if environment.get("LLAMA_CACHE"):
        return [Path(environment["LLAMA_CACHE"]).expanduser()]
    if sys.platform == "darwin":
        return [home / "Library" / "Caches" / "llama.cpp"]
    cache = environment.get("XDG_CACHE_HOME") or environment.get("LOCALAPPDATA")
    return [(Path(cache) if cache else home / ".cache") / "llama.cpp"]


def _llama(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in _models_below(folder):
        yield path.name.removesuffix(path.suffix), path
