"""Numbered SQL that brings a store from one version to the next. Migrations import no code."""

from __future__ import annotations

from importlib.resources import files

import msgspec


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str


def migrations(dialect: str) -> list[Migration]:
    """The migrations of a dialect (`sqlite`), in order. Raises ValueError where a number is missing."""
    found = []
    for file in sorted(files(__name__).joinpath(dialect).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the {dialect} migrations are not numbered 1, 2, 3 …")
    return found
