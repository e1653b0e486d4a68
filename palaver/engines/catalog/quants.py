"""Which of a repository's files is meant. Pure.

A repository holds the same model several times, quantised to different sizes, some of them split over several
files, and besides it projectors and other parts, which are no models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from palaver.core.errors import ConfigError
from palaver.engines.catalog.references import SPLIT, HubName

USUAL = (
    "Q4_K_M",
    "UD-Q4_K_M",
    "UD-Q4_K_XL",
    "MXFP4",
    "Q4_K_S",
    "Q4_0",
    "IQ4_XS",
    "Q5_K_M",
    "Q6_K",
    "Q8_0",
    "F16",
    "BF16",
)
"""What is taken where nobody chooses, the first that there is: four bits are a good trade for most."""
QUANT = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:I?Q[1-8]_[A-Z0-9]+(?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|BF16|FP?16|F32))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
NO_MODEL = re.compile(r"(?:^|[/._-])(?:mmproj|imatrix|lora|adapter)(?:[._-]|$)", re.IGNORECASE)
CHOICES_TOLD = 20


class HubFile(msgspec.Struct, frozen=True):
    """A file of a repository: its path there, its size in bytes, and its SHA-256 where the hub says it."""

    path: str
    size: int
    sha256: str = ""


class Variant(msgspec.Struct, frozen=True):
    """One whole model in a repository. `name` is its first file's, `quant` in capitals, empty where none shows."""

    name: str
    quant: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """All its files together, in bytes."""
        return sum(file.size for file in self.files)


def variants(files: Iterable[HubFile]) -> list[Variant]:
    """The whole models among files, the smallest first. One with a part missing is none."""
    groups: dict[tuple[str, int], dict[int, HubFile]] = {}
    for file in files:
        if not file.path.lower().endswith(".gguf") or NO_MODEL.search(file.path):
            continue
        part = SPLIT.fullmatch(file.path)
        key = (part["stem"], int(part["count"])) if part else (file.path, 1)
        groups.setdefault(key, {})[int(part["number"]) if part else 1] = file
    found = [
        Variant(parts[1].path, _quant(stem), tuple(parts[number] for number in sorted(parts)))
        for (stem, count), parts in groups.items()
        if sorted(parts) == list(range(1, count + 1))
    ]
    return sorted(found, key=lambda each: (each.size, each.name))


def chosen(found: Sequence[Variant], choice: str, repo: str) -> Variant:
    """The one that `choice` names: a file's path or name, or a quantisation; where it is empty, the usual one.

    Raises ConfigError (setting ``model``) that says what there is.
    """
    if not found:
        raise ConfigError(
            f"{repo} holds no GGUF model; look for a repository with GGUF files.", setting="model"
        )
    if not choice:
        for quant in USUAL:
            usual = [each for each in found if each.quant == quant]
            if usual:
                return usual[0]
        if len(found) == 1:
            return found[0]
        raise ConfigError(f"{repo} holds several models; name one: {_told(found)}.", setting="model")
    wanted = choice.lower()
    for match in (
        [each for each in found if any(file.path == choice for file in each.files)],
        [
            each
            for each in found
            if any(file.path.rpartition("/")[2].lower() == wanted for file in each.files)
        ],
        [each for each in found if each.quant.lower() == wanted],
        [each for each in found if each.quant.lower().removeprefix("ud-") == wanted],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            raise ConfigError(f"{repo} has several {choice}; name a file: {_told(match)}.", setting="model")
    raise ConfigError(f"{repo} has no {choice}; there are: {_told(found)}.", setting="model")


def is_meant(asked: HubName, source: HubName) -> bool:
    """Whether a name means the file that a model came from: `source` names a file, `asked` perhaps a quantisation."""
    choice, file = asked.choice.lower(), source.choice
    quant = _quant(file).lower()
    names = ("", file.lower(), file.rpartition("/")[2].lower(), quant, quant.removeprefix("ud-"))
    return asked.repo == source.repo and asked.revision == source.revision and choice in names


def _quant(stem: str) -> str:
    """The last that looks like one: the file's name says more than its folder's."""
    found = QUANT.findall(stem.removesuffix(".gguf").removesuffix(".GGUF"))
    return found[-1].upper() if found else ""


def _told(found: Sequence[Variant]) -> str:
    quants = [each.quant for each in found]
    unique = [each.quant if each.quant and quants.count(each.quant) == 1 else each.name for each in found]
    more = f" and {len(unique) - CHOICES_TOLD} more" if len(unique) > CHOICES_TOLD else ""
    return ", ".join(unique[:CHOICES_TOLD]) + more
