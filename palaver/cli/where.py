"""`palaver where`: which files and which process all this is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import size as readable
from palaver.config import Config


@takes(*WHERE)
def where(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
    file: Path,
) -> None:
    """Say where everything is kept.

    That is the data directory, the store, what models have computed of it, the configuration file, and the process that
    owns the store now.
    """
    from palaver import wiring

    found = found_at(config, file, wiring.find_owner(config))
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else "\n".join(lines(found)))


class OwnerLike(Protocol):
    @property
    def address(self) -> str: ...
    @property
    def pid(self) -> int: ...


def found_at(config: Config, file: Path, owner: OwnerLike | None) -> dict[str, Any]:
    """What there is, as JSON has it. `store_bytes` is null where there is no store yet."""
    return {
        "data_dir": str(config.folder),
        "store": str(config.store_path),
        "store_bytes": _size(config.store_path),
        "kv_cache": str(config.kv_folder),
        "kv_cache_bytes": _size_of_all(config.kv_folder),
        "config": str(file),
        "config_exists": file.exists(),
        "owner": {"address": owner.address, "process": owner.pid} if owner else None,
    }


def lines(found: dict[str, Any]) -> list[str]:
    owner, size = found["owner"], found["store_bytes"]
    read = "in force" if found["config_exists"] else "not there: defaults count"
    return [
        f"data      {found['data_dir']}",
        f"store     {found['store']} ({'not there yet' if size is None else readable(size)})",
        f"kv cache  {found['kv_cache']} ({readable(found['kv_cache_bytes'])})",
        f"config    {found['config']} ({read})",
        f"owner     {'process {process}, {address}'.format(**owner) if owner else 'nobody'}",
    ]


def _size_of_all(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size(store: Path) -> int | None:
    """The store with what is written but not yet merged into it; None where there is no store."""
    files = [path for path in (store, store.with_name(store.name + "-wal")) if path.exists()]
    return sum(path.stat().st_size for path in files) if store.exists() else None
