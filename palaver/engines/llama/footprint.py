"""How much memory a model takes with a context, and which context fits. Pure.

    the weights            as large as the file
    the cache              2 bytes for each of the keys and values that a token has, for every token of all slots
    the working memory     some numbers for every token of a batch, as wide as the model and as its vocabulary
    the process            the same for all

Measured against workers of llama.cpp: the cache is exact, and all of it is taken at the start. For models that keep
less of tokens far back (sliding windows, state spaces) it is too much, so they get less context than would fit.
"""

from __future__ import annotations

import msgspec

from palaver.core.errors import ConfigError
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.settings import CONTEXT_STEP, DEFAULT_TRAINED, LlamaSettings

CACHE_BYTES = 2
"""Of one number of the cache: llama.cpp keeps them in 16 bits."""
TOKEN_BYTES = 16
"""What a snapshot has of a token besides its keys and values."""
WORKING_NUMBERS = 16
"""How many numbers of the model's width a token of a batch needs at a time, each in 4 bytes. Measured: 13 to 16."""
MASK_BYTES = 4
"""Of one token of a batch and one of the context: which of them sees which. Measured: 2.3 to 3.2."""
PROCESS = 48 * 2**20
"""The worker itself, after its first prompt: Python, llama.cpp, what it holds of the vocabulary."""
HIGHEST_AUTOMATIC = 32_768
"""The largest context of a slot that is chosen where none is set, in tokens: few conversations need more, and the
memory for it is taken at the start."""
LEAST_AUTOMATIC = 2048
"""The smallest that is chosen: with less a conversation can hardly be held."""


class Footprint(msgspec.Struct, frozen=True):
    """What a loaded model takes, in bytes."""

    weights: int
    cache: int
    working: int
    process: int = PROCESS

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.working + self.process


def footprint(gguf: Gguf, settings: LlamaSettings, slot_context: int) -> Footprint:
    """What a model takes with `slot_context` tokens for each slot."""
    tokens = slot_context * settings.slots
    batch = min(settings.batch, tokens)
    width = 4 * (WORKING_NUMBERS * gguf.width + gguf.vocabulary) + MASK_BYTES * slot_context
    return Footprint(
        weights=gguf.size,
        cache=tokens * gguf.cache_numbers * CACHE_BYTES,
        working=batch * width,
    )


def token_bytes(gguf: Gguf) -> int:
    """What a snapshot has of each token."""
    return gguf.cache_numbers * CACHE_BYTES + TOKEN_BYTES


def fitting_context(gguf: Gguf, settings: LlamaSettings, limit: int) -> int:
    """The context of one slot in tokens: what is set, else as much as fits into `limit` bytes.

    What is set is rounded up to a multiple of 256, and never more than the model was trained for. What is chosen is
    at most 32,768 and at least 2,048, or what the model was trained for where that is less.

    Raises ConfigError (setting ``memory`` or ``context``), with both numbers, where that does not fit.
    """
    trained = gguf.context_length
    if settings.context is not None:
        wanted = padded(settings.context, trained)
        if footprint(gguf, settings, wanted).total > limit:
            raise _too_much(gguf, settings, wanted, limit)
        return wanted
    highest = padded(HIGHEST_AUTOMATIC if trained else DEFAULT_TRAINED, trained)
    least = min(highest, LEAST_AUTOMATIC)
    found = _largest(gguf, settings, highest, limit)
    if found < least:
        raise _too_much(gguf, settings, least, limit)
    return found


def padded(context: int, trained: int) -> int:
    """A context as llama.cpp has it: a multiple of 256, or all that the model was trained for."""
    whole = -(-context // CONTEXT_STEP) * CONTEXT_STEP
    return min(whole, trained) if trained else whole


def _largest(gguf: Gguf, settings: LlamaSettings, highest: int, limit: int) -> int:
    """The largest context up to `highest` that fits; 0 where none does."""
    if footprint(gguf, settings, highest).total <= limit:
        return highest
    low, high = 0, highest // CONTEXT_STEP  # of these steps the first fits or is none, the last does not
    while high - low > 1:
        middle = (low + high) // 2
        if footprint(gguf, settings, middle * CONTEXT_STEP).total <= limit:
            low = middle
        else:
            high = middle
    return low * CONTEXT_STEP


def _too_much(gguf: Gguf, settings: LlamaSettings, context: int, limit: int) -> ConfigError:
    needed = footprint(gguf, settings, context).total
    slots = f"{settings.slots} slots" if settings.slots > 1 else "1 slot"
    said = (
        f"The model {settings.name} needs about {told(needed)} with a context of {context:,} tokens for each of "
        f"{slots}, and models may take {told(limit)} ({needed} and {limit} bytes)."
    )
    largest = _largest(gguf, settings, context, limit)
    if largest and settings.context is not None:
        return ConfigError(f"{said} The largest context that fits is {largest}.", setting="context")
    fewer = " or fewer slots" if settings.slots > 1 else ""
    return ConfigError(f"{said} Allow more with `memory`, or take a smaller model{fewer}.", setting="memory")


def told(size: int) -> str:
    """A number of bytes for people: ``1.2 GB``."""
    for unit, power in (("GB", 10**9), ("MB", 10**6)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size / 1000:.0f} kB"
