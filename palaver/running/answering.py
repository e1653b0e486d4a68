"""Having one model answer: what its engine is asked, and what its failures mean."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from palaver.core.errors import EngineError, EngineRefused, PalaverError
from palaver.core.turn import EngineEvent
from palaver.engines.base import Model, Options
from palaver.running.fitting import fit
from palaver.running.needs import Asked, check_can_continue

PASSING = frozenset({408, 429})
"""Of the statuses below 500 with which a server refuses, those that do not speak of the request."""


async def answer(model: Model, asked: Asked) -> AsyncGenerator[EngineEvent, None]:
    """The events of a model's reply, with the model's own defaults, if it fits the model's context.

    Raises what `Engine.generate` raises, and UnsupportedParameter for a reply that it cannot go on with.
    """
    check_can_continue(asked, model)
    options = Options(
        model=model.served_as,
        parameters=asked.parameters.over(model.defaults),
        prefill=asked.continues is not None,
        extra=asked.extra if "extra" in model.engine.capabilities else {},
    )
    options = await fit(asked.window, model, options, lower_max_tokens=asked.lower_max_tokens)
    async with contextlib.aclosing(model.engine.generate(asked.window, options)) as events:
        async for event in events:
            yield event


def may_pass(error: PalaverError) -> bool:
    """Whether another model may answer what this one failed to: not where the request itself was refused."""
    if isinstance(error, EngineRefused):
        return error.status in PASSING or error.status >= 500
    return isinstance(error, EngineError)
