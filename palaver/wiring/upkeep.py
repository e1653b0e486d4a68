"""Looking after a store, beside the process that owns it or without one."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from palaver.config import Config
from palaver.stores import sqlite_index, sqlite_upkeep
from palaver.stores.checking import Finding
from palaver.stores.sqlite_index import Rebuilt
from palaver.stores.sqlite_upkeep import Copied, Report

__all__ = [
    "Copied",
    "Finding",
    "Rebuilt",
    "Report",
    "backup",
    "check",
    "default_backup",
    "rebuild_index",
    "restore",
]


def check(config: Config) -> Report:
    """See `stores.sqlite_upkeep.check`."""
    return sqlite_upkeep.check(config.store_path)


def rebuild_index(config: Config) -> Rebuilt:
    """See `stores.sqlite_index.rebuild_index`."""
    return sqlite_index.rebuild_index(config.store_path)


def default_backup(config: Config) -> Path:
    """Where a backup goes whose file nobody names: a new file in the data directory."""
    return config.folder / "backups" / time.strftime("palaver-%Y-%m-%d-%H%M%S.db")


def backup(config: Config, target: Path | None, *, force: bool = False) -> Copied:
    """See `stores.sqlite_upkeep.backup`. Only the folder of a backup whose file nobody names is made."""
    return sqlite_upkeep.backup(
        config.store_path, target or default_backup(config), force=force, make_folder=target is None
    )


def restore(config: Config, source: Path, *, force: bool = False) -> Copied:
    """See `stores.sqlite_upkeep.restore`. What models have computed of the store that was there goes with it."""
    return sqlite_upkeep.restore(
        config.store_path,
        source,
        force=force,
        also=lambda: shutil.rmtree(config.kv_folder, ignore_errors=True),
    )
