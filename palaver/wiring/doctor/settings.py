"""The settings in force: which there are, and where they come from. Secrets never, names of others hardly."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palaver.config import PREFIX, SECRET, Config
from palaver.wiring.doctor.discretion import place
from palaver.wiring.doctor.findings import Finding, note, ok

COUNTED = ("allowed_host", "cors_origin", "media_host")
"""Lists of names: how many there are is enough."""
ADDRESSES = ("llama_server",)


def examine(config: Config, file: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The file, the variables, and every setting that is not its default."""
    read = "is read" if file.exists() else "is not there: defaults count"
    yield ok("config", f"{file} {read}{_in_file(file)}")
    named = sorted(name for name in environment if name.startswith(PREFIX))
    known = {PREFIX + name.upper() for name in Config.__struct_fields__} | {PREFIX + "CONFIG"}
    if named:
        yield ok(
            "config",
            f"from the environment: {', '.join(name for name in named if name in known) or 'nothing'}",
        )
    strange = [name for name in named if name not in known]
    if strange:
        yield note(
            "config", f"no settings: {', '.join(strange)}", "Look whether they are spelt as in the reference."
        )
    default = Config()
    changed = [
        f"{name} = {_shown(name, value)}"
        for name in Config.__struct_fields__
        if (value := getattr(config, name)) != getattr(default, name)
    ]
    yield ok("config", "; ".join(changed) or "every setting is its default")


def _in_file(file: Path) -> str:
    """The names that stand in the file; it was read before, so it can be."""
    try:
        names = sorted(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    return f": {', '.join(names)}" if names else " and is empty"


def _shown(name: str, value: Any) -> str:
    if name in SECRET:
        return f"set ({len(value)})"
    if name in COUNTED:
        return f"{len(value)} set"
    if name == "upstream":
        return ", ".join(f"{each} ({place(url)})" for each, url in value.items())
    if name in ADDRESSES:
        return place(value)
    if name == "host":
        return value if value in ("0.0.0.0", "::") or _is_plain(value) else "set"
    if isinstance(value, dict):
        return ", ".join(f"{key} → {target}" for key, target in value.items())
    return str(value)


def _is_plain(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")
