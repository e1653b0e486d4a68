"""Having one model answer: what its engine is asked, and what its failures mean."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineError,
    EngineRefused,
    PalaverError,
    UnsupportedParameter,
)
from palaver.core.turn import Accepted, EngineEvent, Progress
from palaver.engines.base import Model
from palaver.running.beginning import Beginning, Told
from palaver.running.fitted import Fitted
from palaver.running.fitting import Fitting
from palaver.running.needs import Asked, check_can_continue, check_messages, options_for, suited
from palaver.running.rounds import Rounds

PASSING = frozenset({408, 429})
"""Of the statuses below 500 with which a server refuses, those that do not speak of the request."""
REQUEST_REFUSED = frozenset({400, 404, 422, 500, 501})
"""With these servers refuse what a model cannot do."""
REFUSALS = 3
"""How often a window is chosen again that its engine refused as too long."""


class Answering:
    """Has models answer one turn. `beginning` is what its windows are chosen of; `on_fitted` is told of each window
    before it is used."""

    def __init__(
        self, asked: Asked, beginning: Beginning, fitting: Fitting, on_fitted: Callable[[Fitted], None]
    ) -> None:
        self._asked = asked
        self._beginning = beginning
        self._fitting = fitting
        self._on_fitted = on_fitted

    async def answer(self, model: Model, *, in_place_of_another: bool) -> AsyncGenerator[EngineEvent, None]:
        """The events of a model's reply, with the model's own defaults. A window that its engine refuses as too long
        is chosen again, by what that said, unless it is to hold all that was sent.

        Raises what `Engine.generate` raises, StoreError, ContextLengthExceeded, and UnsupportedParameter for what a
        model `in_place_of_another` cannot be asked.
        """
        asked = suited(self._asked, model) if in_place_of_another else self._asked
        check_can_continue(asked, model)
        options = options_for(asked, model)
        told: Told | None = None
        refusal: EngineRefused | UnsupportedParameter | None = None
        while True:
            fitted = await self._fitting.fit(asked, self._beginning, model, options, told)
            if in_place_of_another:
                check_messages(fitted.window.messages, model)
            self._on_fitted(fitted)
            has_begun = False
            try:
                generating = self._generating(model, fitted)
                async with contextlib.aclosing(generating) as events:
                    async for event in events:
                        has_begun = has_begun or not isinstance(event, Accepted | Progress)
                        yield event
                return
            except (EngineRefused, UnsupportedParameter) as error:
                if refusal is not None and not has_begun:
                    self._fitting.offer_recall(model, offers=True)  # it was something else
                if has_begun or refusal is not None or not _may_be_the_tool(fitted, error):
                    raise
                # There are models that call no tools, and servers that say so only now.
                refusal = error
                self._fitting.offer_recall(model, offers=False)
            except ContextLengthExceeded as error:
                times = told.times + 1 if told else 1
                if times > REFUSALS or fitted.receipt.mode == "strict":
                    raise
                told = Told(error.prompt_tokens, error.context_size, fitted.steps, times)

    def _generating(self, model: Model, fitted: Fitted) -> AsyncGenerator[EngineEvent, None]:
        recalling = self._fitting.recalling
        if recalling is None or not fitted.receipt.offers_recall:
            return model.engine.generate(fitted.window, fitted.options)
        # A reply that is gone on with ends the prompt: there is no place for calls behind it.
        may_recall = not fitted.receipt.continues
        return Rounds(model.engine, recalling, fitted, self._on_fitted, may_recall=may_recall).answer()


def _may_be_the_tool(fitted: Fitted, error: EngineRefused | UnsupportedParameter) -> bool:
    """Whether it may be the tool for recall that was refused."""
    is_request = isinstance(error, UnsupportedParameter) or error.status in REQUEST_REFUSED
    return fitted.receipt.offers_recall and is_request


def may_pass(error: PalaverError) -> bool:
    """Whether another model may answer what this one failed to: not where the request itself was refused."""
    if isinstance(error, EngineRefused):
        return error.status in PASSING or error.status >= 500
    return isinstance(error, EngineError)
