"""constraints.txt locks everything that pyproject.toml asks for, and only with names and versions."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.files import ROOT

UNLOCKED = {"bench-store"}
"""Extras of what palaver is only compared with: what others ask for must not hold ours back."""
LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+]+)")


def locked() -> dict[str, str]:
    """The versions in constraints.txt by normalised name; fails where a line is anything else."""
    versions: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, f"not a name and a version: {line}"
            versions[canonicalize_name(match["name"])] = match["version"]
    return versions


def test_every_requirement_is_locked_at_a_version_it_allows() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"].items()
    asked = [
        *pyproject["project"]["dependencies"],
        *(line for extra, lines in extras if extra not in UNLOCKED for line in lines),
    ]
    asked += pyproject["build-system"]["requires"]
    versions = locked()
    for requirement in map(Requirement, asked):
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"run 'make lock': {requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), (
            f"run 'make lock': {requirement} is locked at {version}"
        )
