"""The replies to the texts of one request: what a model goes on with, of any number of prompts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineError,
    PalaverError,
    RequestError,
    TurnCancelled,
)
from palaver.core.parameters import Parameters
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Finish,
    FinishReason,
    Progress,
    ReasoningDelta,
    ToolCallDelta,
    TurnState,
    Usage,
)
from palaver.core.waiting import waiting_for
from palaver.core.window import Window
from palaver.engines.base import Model, Options
from palaver.live import LiveReply, Outcome
from palaver.running import may_pass
from palaver.running.needs import Asked, suited

LONGEST_UNASKED = 4096
"""The most deltas (about one a token) of a reply to a request that sets no `max_tokens`: a model that goes on with
a text need never come to an end."""

log = structlog.get_logger(__name__)


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts, or token numbers, to go on with, each `parameters.n` times; for `suffix` see `Engine.complete`.

    With `echo` each reply begins with its prompt.
    """

    owner: str
    prompts: Sequence[str | list[int]]
    suffix: str | None = None
    echo: bool = False
    parameters: Parameters = Parameters()
    extra: dict[str, Any] = {}


class Texts:
    """Writes the replies to all prompts of one request; what reads them is `live`."""

    def __init__(self, live: LiveReply, request: TextRequest) -> None:
        self._live = live
        self._request = request
        self._count = request.parameters.n
        self._window = Window(owner=request.owner, conversation=None, turn=live.turn, messages=())
        self._accepted = 0
        self._has_spoken = False

    async def run(self, model: Model) -> list[Finish]:
        """What becomes of each prompt, by the first model that can tell."""
        asked = Asked(window=self._window, parameters=self._request.parameters, extra=self._request.extra)
        failure: PalaverError | None = None
        for candidate in (model, *self._fallbacks(model)):
            try:
                fitting = asked if candidate is model else suited(asked, candidate)
                return await self._answer(candidate, fitting.parameters.over(candidate.defaults))
            except (EngineError, RequestError) as error:
                passes = may_pass(error)
                if self._has_spoken or not (failure or passes):
                    raise
                failure = error if passes else failure
                log.warning(
                    "a model failed before its first token", model=candidate.name, error=type(error).__name__
                )
        raise failure or EngineError  # never the latter: a first failure is raised, or is one that passes

    def _fallbacks(self, model: Model) -> list[Model]:
        """Those that go on with texts. Token numbers are of one model's vocabulary."""
        if not all(isinstance(prompt, str) for prompt in self._request.prompts):
            return []
        return [each for each in model.fallbacks if "completions" in each.engine.capabilities]

    def outcome(self, task: asyncio.Task[list[Finish]], stopped: PalaverError | None) -> Outcome:
        """How the task that runs it ended; `stopped` is why it was stopped, if it was."""
        if task.cancelled():
            is_cancelled = isinstance(stopped, TurnCancelled)
            return Outcome(
                state=TurnState.CANCELLED if is_cancelled else TurnState.INCOMPLETE,
                error=stopped or EngineError("The model gave up on the reply."),
            )
        failure = task.exception()
        if failure is None:
            return _ended(task.result(), self._count)
        if not isinstance(failure, EngineError | RequestError):
            log.error("an engine failed in an unforeseen way", turn=self._live.turn, exc_info=failure)
            failure = EngineError(f"The model failed to answer ({type(failure).__name__}).")
        return Outcome(state=TurnState.INCOMPLETE if self._has_spoken else TurnState.FAILED, error=failure)

    async def _answer(self, model: Model, parameters: Parameters) -> list[Finish]:
        self._live.model = model.name
        self._accepted = 0
        options = Options(
            model=model.served_as,
            parameters=parameters,
            extra=self._request.extra if "extra" in model.engine.capabilities else {},
        )
        tasks = [
            asyncio.create_task(self._go_on(model, options, place))
            for place in range(len(self._request.prompts))
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, model: Model, options: Options, place: int) -> Finish:
        """Write the replies to one prompt."""
        prompt, first = self._request.prompts[place], place * self._count
        left = None if options.parameters.max_tokens is not None else LONGEST_UNASKED * self._count
        generator = model.engine.complete(prompt, self._request.suffix, self._window, options)
        is_echoed = not self._request.echo
        try:
            async with contextlib.aclosing(generator) as events:
                async for event in events:
                    if isinstance(event, Accepted):
                        self._accept()
                        continue
                    if isinstance(event, Progress):
                        if place == 0:  # as of several replies
                            self._live.wait(waiting_for(event))
                        continue
                    if not is_echoed:
                        is_echoed = True
                        self._echo(prompt, first)
                    if isinstance(event, Finish):
                        return event
                    self._publish(event, first)
                    left = None if left is None else left - 1
                    if left == 0:
                        return Finish("length", others=["length"] * (self._count - 1))
        except ContextLengthExceeded as error:
            raise about(error, f"prompt[{place}]" if len(self._request.prompts) > 1 else "prompt") from None
        raise EngineError("The model ended without saying so.")

    def _accept(self) -> None:
        self._accepted += 1
        if self._accepted == len(self._request.prompts):
            self._live.accept()

    def _echo(self, prompt: str | list[int], first: int) -> None:
        if isinstance(prompt, str) and prompt:
            for choice in range(first, first + self._count):
                self._publish(ContentDelta(prompt, choice - first), first)

    def _publish(self, delta: ContentDelta | ReasoningDelta | ToolCallDelta, first: int) -> None:
        """All that a model says as it goes on with a text is that text, thinking too."""
        self._has_spoken = True
        if isinstance(delta, ContentDelta):
            self._live.publish(msgspec.structs.replace(delta, choice=first + delta.choice))
        elif isinstance(delta, ReasoningDelta):
            self._live.publish(ContentDelta(delta.text, first + delta.choice))


def about(error: ContextLengthExceeded, param: str) -> ContextLengthExceeded:
    """The error, naming what was sent: there are no messages here."""
    if error.param == "messages":
        error.param = param
    return error


def _ended(finishes: Sequence[Finish], count: int) -> Outcome:
    reasons: list[FinishReason | None] = []
    for finish in finishes:
        told = [finish.reason, *finish.others]
        reasons += [told[i] if i < len(told) else None for i in range(count)]
    usages = [finish.usage for finish in finishes if finish.usage is not None]
    return Outcome(
        state=TurnState.COMPLETED,
        finish_reason=reasons[0],
        usage=_sum(usages) if len(usages) == len(finishes) else None,
        others=reasons[1:],
        warnings=list(dict.fromkeys(warning for finish in finishes for warning in finish.warnings)),
    )


def _sum(usages: Sequence[Usage]) -> Usage:
    cached = [usage.cached_tokens for usage in usages if usage.cached_tokens is not None]
    thought = [usage.reasoning_tokens for usage in usages if usage.reasoning_tokens is not None]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cached_tokens=sum(cached) if cached else None,
        reasoning_tokens=sum(thought) if thought else None,
    )
