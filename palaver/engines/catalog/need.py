"""How much memory a model needs, and whether this machine has it."""

from __future__ import annotations

from typing import Literal

import msgspec

from palaver.engines.llama.footprint import LEAST_AUTOMATIC, footprint, padded
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.machine import machine_memory
from palaver.engines.llama.memory import SHARE
from palaver.engines.llama.settings import LlamaSettings

USUAL_CONTEXT = 8192
"""Tokens of context for each reply that a need is told with, where nothing is set."""
USUAL_CACHE = 131_072
"""Bytes that a token of context takes where nobody says: as in many models of 3 to 9 billion parameters."""
SMALL = 5000
"""Of a small model a token takes about this part of its size, as in those of the list."""
WORKING = 300_000_000
"""Bytes that llama.cpp takes besides the weights and the context."""

Fit = Literal["fits", "tight", "too large"]


class Need(msgspec.Struct, frozen=True):
    """Bytes of memory that a model needs: with the shortest context that is of use, and with the usual one."""

    least: int
    usual: int


def need_by_size(size: int, cache: int | None, slots: int, context: int) -> Need:
    """About what a model needs that is not here yet, and whose files have `size` bytes.

    `cache` is what one token of context takes in bytes, None where it is not known. `slots` replies at once have
    `context` tokens each, 0 for the usual.
    """
    guessed = min(USUAL_CACHE, size // SMALL) if cache is None else cache
    fixed = size + WORKING
    return Need(
        fixed + slots * (context or LEAST_AUTOMATIC) * guessed,
        fixed + slots * (context or USUAL_CONTEXT) * guessed,
    )


def need_by_header(gguf: Gguf, settings: LlamaSettings) -> Need:
    """What a model needs that is here."""
    trained = gguf.context_length
    least, usual = (
        padded(settings.context or context, trained) for context in (LEAST_AUTOMATIC, USUAL_CONTEXT)
    )
    return Need(footprint(gguf, settings, least).total, footprint(gguf, settings, usual).total)


def room_for_models(limit: int) -> int:
    """How many bytes models may take: the limit that is set, or where it is 0 as much as is free on an idle machine."""
    return limit or int(machine_memory().total * SHARE)


def fit_of(need: Need, room: int) -> Fit:
    """Whether a model fits; ``tight`` means with less than the usual context."""
    if need.usual <= room:
        return "fits"
    return "tight" if need.least <= room else "too large"
