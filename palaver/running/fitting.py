"""Whether prompt and reply fit the model's context."""

from __future__ import annotations

import msgspec

from palaver.core.errors import ContextLengthExceeded
from palaver.core.window import Window
from palaver.engines.base import Model, Options

TEMPLATE_TOKENS = 512
"""What a template may add to a prompt, in tokens; for the estimate that spares a count. An engine that gets too
long a prompt all the same refuses it with its own count."""


async def fit(window: Window, model: Model, options: Options, *, lower_max_tokens: bool) -> Options:
    """The options that fit the context. Raises ContextLengthExceeded with both numbers."""
    engine, name = model.engine, model.served_as
    if "count" not in engine.capabilities:
        return options  # it refuses what is too long in its own time and words
    size = model.context_size or await engine.context_size(name)
    wanted = options.parameters.max_tokens or 0
    if size is None or _at_most(window) + wanted <= size:
        return options
    count = await engine.count(window, options)
    if count is None or (count + wanted <= size and count < size):
        return options
    if count >= size:
        raise ContextLengthExceeded(prompt_tokens=count, context_size=size)
    if not lower_max_tokens:
        raise ContextLengthExceeded(
            prompt_tokens=count, context_size=size, max_tokens=wanted, param="max_tokens"
        )
    parameters = msgspec.structs.replace(options.parameters, max_tokens=size - count)
    return msgspec.structs.replace(options, parameters=parameters)


def _at_most(window: Window) -> int:
    """More tokens than the prompt can have: no tokenizer makes more than one of a byte, and a message's braces and
    field names here outweigh what templates put around it."""
    return TEMPLATE_TOKENS + len(msgspec.json.encode((window.messages, window.tools)))
