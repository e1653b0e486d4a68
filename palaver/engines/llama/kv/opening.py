"""What is found at the start: the snapshots on disk, and a folder into which workers save."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from palaver.engines.llama.folder import CommonFolder, PrivateFolder
from palaver.engines.llama.kv import snapshot_file
from palaver.engines.llama.kv.eviction import Snapshot
from palaver.engines.llama.kv.snapshot_file import SUFFIX, UNFINISHED, Refused

IN_MEMORY = Path("/dev/shm")
"""Linux's folder in memory."""


class Opened(NamedTuple):
    """What is on disk, of all models; which models' files were refused, and why; and where workers save."""

    found: list[Snapshot]
    refused: list[tuple[str, str]]
    staging: PrivateFolder | CommonFolder


def opened(
    folder: Path | None, memory_quota: int, staging: Path | None = None, *, deep: bool = False
) -> Opened:
    """`staging` is where workers save, None for a folder of our own. `deep` looks for snapshots one folder further
    down, too. Raises OSError."""
    found: list[Snapshot] = []
    refused: list[tuple[str, str]] = []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found, refused = _found(folder, deep=deep)
    if staging is not None:
        return Opened(found, refused, CommonFolder(staging))
    return Opened(found, refused, PrivateFolder.made_in(_base(folder, memory_quota)))


def _base(folder: Path | None, memory_quota: int) -> Path:
    """Where workers save: in memory where that has room for all it may hold. A container's may be tiny."""
    if memory_quota and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > memory_quota:
        return IN_MEMORY
    return folder or Path(tempfile.gettempdir())


def emptied(folder: Path) -> None:
    """Remove all snapshots from a folder, and from those in it: none are to be kept."""
    for suffix in (SUFFIX, UNFINISHED):
        for file in _files(folder, suffix, deep=True):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _files(folder: Path, suffix: str, *, deep: bool) -> list[Path]:
    return [*folder.glob(f"*/*{suffix}"), *(folder.glob(f"*/*/*{suffix}") if deep else ())]


def _found(folder: Path, *, deep: bool) -> tuple[list[Snapshot], list[tuple[str, str]]]:
    """What is on disk; and what is refused there. That is removed, and what a process left unfinished that was
    killed."""
    for file in _files(folder, UNFINISHED, deep=deep):
        with suppress(OSError):
            file.unlink(missing_ok=True)
    found, refused = [], []
    for file in _files(folder, SUFFIX, deep=deep):
        model = unquote(file.parent.name)
        try:
            info = file.stat()
            snapshot = Snapshot(model, snapshot_file.read_head(file), info.st_size, info.st_mtime)
        except Refused as error:
            refused.append((model, error.why))
            with suppress(OSError):
                file.unlink(missing_ok=True)
        except OSError:
            continue  # somebody has just removed it
        else:
            snapshot.disk = file
            found.append(snapshot)
    return found, refused
