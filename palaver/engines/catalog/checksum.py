"""The checksum of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

PIECE = 1 << 20
"""Bytes read and hashed at a time."""


def sha256_of(path: Path, progress: Callable[[int, int], None]) -> str:
    """The SHA-256 of a file, in hexadecimal. `progress` hears how many bytes are read, and of how many.

    Raises OSError.
    """
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            done += len(piece)
            progress(done, total)
    return digest.hexdigest()
