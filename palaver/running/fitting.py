"""The window of a turn, for one model: what of its path is shown, and what that leaves for the reply.

    strict   all of what was sent, or all above the message that was named; too much is refused with both numbers
    auto     the window of the epoch that the turn goes on with, as long as it has room, else a new one

What surely fits is not counted. What may not is counted by the engine as a whole; only where a new window is to be
chosen are messages counted one by one. A new window is counted again as a whole before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
import structlog

from palaver.core.epoch import Above, Epoch, break_reason, is_grown
from palaver.core.errors import ContextLengthExceeded, EngineError
from palaver.core.path import Span, Step, shown
from palaver.core.receipt import Receipt, seen_and_left_out
from palaver.core.window import Window, composed
from palaver.core.window_settings import DEFAULT_KEEP, Mode, WindowSettings, mode_of, reserved
from palaver.engines.base import Model, Options
from palaver.running.beginning import Beginning, Told
from palaver.running.choosing import Choosing, Chosen, Limits
from palaver.running.counting import Counting, CountsKept, CountsKnown, SizesTold, at_most
from palaver.running.measuring import Measuring
from palaver.running.needs import Asked

Clock = Callable[[], float]

log = structlog.get_logger(__name__)


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A window with the options that go with it, and what it is: its epoch and its receipt.

    `steps` are its messages, and `new` those that no turn of its path showed before.
    """

    window: Window
    options: Options
    epoch: Epoch
    receipt: Receipt
    steps: list[Step]
    new: list[Step]


class Fitting:
    """Chooses windows. `kept` is where counts of stored messages are kept; None where nothing is stored."""

    def __init__(
        self,
        kept: CountsKept | None,
        known: CountsKnown,
        sizes: SizesTold,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._kept = kept
        self._known = known
        self._sizes = sizes
        self._clock = clock
        self._new_id = new_id

    async def fit(
        self,
        asked: Asked,
        beginning: Beginning,
        model: Model,
        options: Options,
        told: Told | None = None,
    ) -> Fitted:
        """The window of a turn for this model. `told` is what its engine said of the window that was tried before.

        Raises ContextLengthExceeded with both numbers, and naming the message that is too long by itself;
        EngineError, StoreError.
        """
        inner = asked.asks.over(beginning.window.over(asked.inner))
        settings = inner.over(model.window.over(asked.outer))
        mode = mode_of(asked.asks, settings, exact=beginning.exact)
        size = await self._size(model, settings, mode, told)
        made = _Making(asked, beginning, model, options, settings, size)
        counting = Counting(model, options, asked.window.owner, self._kept, self._known)
        if mode == "strict":
            return self._kept_whole(made, *await _strict(made, counting))
        measuring = Measuring(beginning, counting, asked.window, made.composed)
        choosing = Choosing(
            beginning,
            measuring,
            made.limits,
            keep=settings.keep or DEFAULT_KEEP,
            told=told,
            model=model.name,
            stored=asked.window.conversation is not None,
            stretch=self._sizes.stretch(model.name, self._clock()),
        )
        chosen = await choosing.choose()
        if told is not None:
            self._sizes.put(model.name, told.context_size, self._clock(), choosing.stretch)
        return self._made(made, "auto", chosen)

    async def _size(
        self, model: Model, settings: WindowSettings, mode: Mode, told: Told | None
    ) -> int | None:
        """The most tokens that prompt and reply may have; None where nobody knows.

        An engine that cannot count refuses what is too long itself, so it is asked only where it is to be spared
        that. Raises EngineError for one that counts.
        """
        size, counts = model.context_size, "count" in model.engine.capabilities
        if mode == "strict" and not counts:
            return size  # nothing could be held to a size that was set
        if size is None:
            try:
                size = await model.engine.context_size(model.served_as)
            except EngineError:
                if counts:
                    raise
                log.info("a model's context is not known", model=model.name)
        known = told.context_size if told is not None else self._sizes.size(model.name, self._clock())
        sizes = [size, known, settings.size]
        return min((each for each in sizes if each), default=None)

    def _kept_whole(self, made: _Making, span: Span, steps: list[Step], prompt_tokens: int | None) -> Fitted:
        above = made.beginning.above
        reason = break_reason(above, made.model.name)
        if reason is None and above is not None:
            if above.epoch.span != span or _is_sent_otherwise(above, made.beginning, steps):
                reason = "user"
            elif not is_grown(above, steps):
                reason = "deletion"
        chosen = Chosen(span=span, steps=steps, reason=reason, prompt_tokens=prompt_tokens)
        return self._made(made, "strict", chosen)

    def _made(self, made: _Making, mode: Mode, chosen: Chosen) -> Fitted:
        beginning, now, above = made.beginning, int(self._clock() * 1000), made.beginning.above
        beside, is_new = beginning.beside, False
        if chosen.reason is None and above is not None:
            epoch = above.epoch
        elif (
            beside is not None
            and break_reason(beside, made.model.name) is None
            and beside.epoch.span == chosen.span
            and beside.is_strict is (mode == "strict")
            and is_grown(beside, chosen.steps)
        ):
            epoch = beside.epoch  # asked again
        else:
            is_new = True
            epoch = Epoch(
                id=self._new_id(),
                model=made.model.name,
                reason=chosen.reason or "start",
                span=chosen.span,
                began=now,
            )
        seen, left_out = seen_and_left_out(
            beginning.length, chosen.span, chosen.steps, by_client=mode == "strict"
        )
        receipt = Receipt(
            model=made.model.name,
            mode=mode,
            epoch=epoch.id,
            reason=epoch.reason,
            began=is_new,
            path=beginning.length,
            seen=seen,
            left_out=left_out,
            instructions=len(beginning.instructions),
            tools=len(made.asked.window.tools),
            context_size=made.size,
            reserved=made.reserved(mode, chosen.prompt_tokens),
            prompt_tokens=chosen.prompt_tokens,
            counted=_counted(chosen),
            tokenizer=made.model.engine.tokenizer(made.model.served_as),
            continues=beginning.continues is not None,
        )
        window = made.composed(chosen.steps)
        if mode == "auto":  # what is shown as it was sent speaks of the day that it is
            window = msgspec.structs.replace(window, epoch_began=min(epoch.began, now) // 1000)
        return Fitted(
            window=window,
            options=made.lowered(chosen.prompt_tokens, is_estimate=chosen.is_estimate),
            epoch=epoch,
            receipt=receipt,
            steps=chosen.steps,
            new=[step for step in chosen.steps if above is None or step.depth > above.asked],
        )


def _is_sent_otherwise(above: Above, beginning: Beginning, steps: list[Step]) -> bool:
    """Whether a client sent messages otherwise than the turn above showed them, as they are stored."""
    if above.is_strict:
        return False
    stored = {step.depth: step.message for step in beginning.steps}
    return any(step.message != stored[step.depth] for step in steps if step.depth <= above.asked)


def _counted(chosen: Chosen) -> Literal["engine", "estimate"] | None:
    if chosen.prompt_tokens is None:
        return None
    return "estimate" if chosen.is_estimate else "engine"


class _Making:
    """What is known of a window in the making."""

    def __init__(
        self,
        asked: Asked,
        beginning: Beginning,
        model: Model,
        options: Options,
        settings: WindowSettings,
        size: int | None,
    ) -> None:
        self.asked = asked
        self.beginning = beginning
        self.model = model
        self.options = options
        self.size = size
        self.most = options.parameters.max_tokens
        """The longest reply, in tokens; None where nothing says."""
        self.lowers = (
            asked.parameters.max_tokens is None or settings.context_length_exceeded_behavior == "truncate"
        )
        """Whether that gives way where the prompt needs the room."""
        self._settings = settings
        self._reserve = None if size is None else reserved(settings, size, self.most, lowers=self.lowers)

    @property
    def limits(self) -> Limits:
        """How long prompts may be."""
        size, reserve = self.size, self._reserve
        if size is None or reserve is None:
            return Limits()
        room = max(0, size - reserve)
        usual = max(reserve, reserved(self._settings, size, None, lowers=True))
        return Limits(
            size=size,
            room=room,
            reply=reserve,
            sure=max(0, min(room, size - (self.most or 0))),
            last=size - 1 if self.lowers else room,
            steady=max(0, size - usual),
        )

    def reserved(self, mode: Mode, prompt_tokens: int | None) -> int:
        """How much was kept free for the reply."""
        if mode == "strict" or self.size is None or self._reserve is None:
            return 0
        return max(0, min(self._reserve, self.size - (prompt_tokens or 0)))

    def composed(self, steps: list[Step]) -> Window:
        """The window that shows these messages."""
        if self.beginning.continues is not None:
            steps = [*steps, self.beginning.continues]
        messages = composed(self.beginning.instructions, steps)
        return msgspec.structs.replace(self.asked.window, messages=messages)

    def lowered(self, prompt_tokens: int | None, *, is_estimate: bool) -> Options:
        """The options, with no longer reply than there is room for, as far as that is known and asked for."""
        if self.size is None or prompt_tokens is None or self.most is None or not self.lowers:
            return self.options
        least = (self._reserve or 1) if is_estimate else 1  # an estimate may be far off
        left = max(least, self.size - prompt_tokens)
        if self.most <= left:
            return self.options
        parameters = msgspec.structs.replace(self.options.parameters, max_tokens=left)
        return msgspec.structs.replace(self.options, parameters=parameters)


async def _strict(made: _Making, counting: Counting) -> tuple[Span, list[Step], int | None]:
    """All that was sent. Raises ContextLengthExceeded where that is too much."""
    beginning = made.beginning
    await beginning.reach(0)
    span = Span.without(beginning.gap)
    if beginning.exact:
        steps = shown(beginning.steps, span)
    else:
        steps = [step for step in beginning.as_sent() if not step.deleted]
    window = made.composed(steps)
    wanted = made.most or 0
    if not counting.exact or made.size is None:
        return span, steps, None  # its engine refuses what is too long in its own time and words
    if at_most(window.messages, window.tools) + wanted <= made.size:
        return span, steps, None
    count = await counting.prompt(window)
    if count is None or (count + wanted <= made.size and count < made.size):
        return span, steps, count
    if count >= made.size:
        raise ContextLengthExceeded(prompt_tokens=count, context_size=made.size)
    if not made.lowers:
        raise ContextLengthExceeded(
            prompt_tokens=count, context_size=made.size, max_tokens=wanted, param="max_tokens"
        )
    return span, steps, count
