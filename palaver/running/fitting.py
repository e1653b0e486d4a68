"""Whether prompt and reply fit the model's context."""

from __future__ import annotations

import msgspec

from palaver.core.errors import ContextLengthExceeded
from palaver.core.turn import Sampling
from palaver.core.window import Window
from palaver.engines.base import Model

TEMPLATE_TOKENS = 512
"""What a template may add to a prompt, in tokens; for the estimate that spares a count. An engine that gets too
long a prompt all the same refuses it with its own count."""


async def fit(window: Window, model: Model, sampling: Sampling, *, lower_max_tokens: bool) -> Sampling:
    """The sampling that fits the context. Raises ContextLengthExceeded with both numbers."""
    engine, name = model.engine, model.served_as
    if "count" not in engine.capabilities:
        return sampling  # it refuses what is too long in its own time and words
    size = model.context_size or await engine.context_size(name)
    wanted = sampling.max_tokens or 0
    if size is None or _at_most(window) + wanted <= size:
        return sampling
    count = await engine.count(window, name)
    if count is None or (count + wanted <= size and count < size):
        return sampling
    if count >= size:
        raise ContextLengthExceeded(prompt_tokens=count, context_size=size)
    if not lower_max_tokens:
        raise ContextLengthExceeded(
            prompt_tokens=count, context_size=size, max_tokens=wanted, param="max_tokens"
        )
    return msgspec.structs.replace(sampling, max_tokens=size - count)


def _at_most(window: Window) -> int:
    """More tokens than the prompt can have: no tokenizer makes more than one of a byte, and a message's braces and
    field names here outweigh what templates put around it."""
    return TEMPLATE_TOKENS + len(msgspec.json.encode(window.messages))
