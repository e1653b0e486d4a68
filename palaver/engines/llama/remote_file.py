"""The file of a model that a llama-server runs, where this machine has it too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from palaver.core.errors import ConfigError
from palaver.engines.llama.architectures import MEDIA
from palaver.engines.llama.gguf import Gguf, inspect

UNSAID = "its server does not say whether it reads more than text"
UNREADABLE = "its file cannot be read from here"


async def file_of(path: str, modalities: Any, counts: tuple[int, int, int]) -> tuple[Gguf | None, str]:
    """What the file of a server's model says of it, None where it cannot be had; and why the model's KV cache cannot be
    kept (see `Gguf.unkept`), empty where it can.

    `path` is where the server has the model's file, `modalities` says what it reads besides text. `counts` are its
    numbers of tokens in the vocabulary, of tokens in a context and of those that stand for a token, 0 where the server
    does not say: another file may lie at the same place here.
    """
    if not isinstance(modalities, dict):
        return None, UNSAID
    if any(modalities.values()):
        return None, MEDIA
    file = Path(path)
    if not file.is_absolute():
        return None, UNREADABLE
    try:
        found = await asyncio.to_thread(inspect, file)
    except (ConfigError, ValueError):  # of a path that no file can have
        return None, UNREADABLE
    here = (found.vocabulary, found.context_length, found.width)
    is_another = any(told not in (0, own) for told, own in zip(counts, here, strict=True))
    return (None, UNREADABLE) if is_another else (found, found.unkept)
