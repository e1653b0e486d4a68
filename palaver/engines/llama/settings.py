"""What an operator may choose about the engine, and what follows from it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from palaver.core.errors import ConfigError

DEFAULT_TRAINED = 8192
"""Tokens that a model is taken to be trained for whose file does not say."""
CONTEXT_STEP = 256
"""llama.cpp rounds a slot's context up to a multiple of this."""
MAX_SLOTS = 256
MAX_THREADS = 512
MAX_BATCH = 8192
START_SECONDS = 120.0
SLOWEST_READ = 30_000_000
"""Bytes a second."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class LlamaSettings(msgspec.Struct, frozen=True):
    """One model and how it is run.

    `path` is its GGUF file, `name` what it is called in replies. `slots` is how many replies are generated
    at once. `context` is the context of one slot in tokens; None is as much as fits the memory, see
    `footprint.fitting_context`. `threads` is how many compute; None is one for every core this process may use.
    `batch` is how many tokens of a prompt are computed before running replies get their next token. Timeouts are in
    seconds: `stall_timeout` is how long the worker may say nothing before it is given up, `start_timeout` how long it
    may take to load the model; None is two minutes, and more for a large file (`loading_seconds`). `pooling` is
    set by the engine for a model that makes vectors of texts, see `Gguf`; its `batch` is the longest text.
    `titles` says whether it is worth asking for titles of conversations.
    """

    path: Path
    name: str
    slots: int = 2
    context: int | None = None
    threads: int | None = None
    batch: int = 256
    stall_timeout: float = 300.0
    start_timeout: float | None = None
    pooling: int = 0
    titles: bool = True

    def check(self) -> None:
        """Raises ConfigError for a value that cannot be used; its `setting` is the field's name."""
        for field, highest in (("slots", MAX_SLOTS), ("threads", MAX_THREADS), ("batch", MAX_BATCH)):
            value = getattr(self, field)
            if value is not None and not 1 <= value <= highest:
                raise ConfigError(f"{field} must be from 1 to {highest}, not {value}.", setting=field)
        if self.context is not None and self.context < 1:
            raise ConfigError(f"context must be at least 1 token, not {self.context}.", setting="context")
        if not _is_text(str(self.path)):
            raise ConfigError(f"The path {str(self.path)!r} is not text in UTF-8.", setting="model")
        for field in ("stall_timeout", "start_timeout"):
            value = getattr(self, field)
            if value is not None and not value > 0:
                raise ConfigError(f"{field} must be more than 0 seconds, not {value}.", setting=field)


def loading_seconds(size: int) -> float:
    """How long a file of so many bytes may take to load, at the most: from a slow disk, over a busy network."""
    return START_SECONDS + size / SLOWEST_READ


def _is_text(path: str) -> bool:
    """Whether a path can be told to the worker: Python holds bytes of a name that are not UTF-8 as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def cores() -> int:
    """How many cores this process may use: its affinity, and a container's share of the CPU."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except (OSError, ValueError):
        return allowed  # no control groups of this kind here, so no share to look at
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
