"""A window in the making: what is known of it, how long it may be, and what it is made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import msgspec

from palaver.core.epoch import Above
from palaver.core.errors import ContextLengthExceeded
from palaver.core.path import Span, Step, shown
from palaver.core.recall import TOOL, Note, shown_with
from palaver.core.summaries import message_of
from palaver.core.window import Window, composed
from palaver.core.window_settings import MOST, Mode, WindowSettings, reserved
from palaver.engines.base import Model, Options
from palaver.running.beginning import Beginning
from palaver.running.choosing import Chosen, Limits
from palaver.running.counting import Counting, at_most
from palaver.running.needs import Asked

NOTE_TOKENS = 400
"""Quotes of a question are at most about so long; an eighth of the context where that is less."""


class Making:
    """What is known of a window in the making."""

    def __init__(
        self,
        asked: Asked,
        beginning: Beginning,
        model: Model,
        options: Options,
        settings: WindowSettings,
        size: int | None,
        *,
        offers_recall: bool = False,
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
        self.settings = settings
        self.offers_recall = offers_recall
        """Whether windows that leave messages out offer the tool with which they are quoted."""
        self.note_tokens = note_tokens(settings, size)
        """How many tokens are kept free for quotes, in every prompt."""
        self._reserve = None if size is None else reserved(settings, size, self.most, lowers=self.lowers)

    @property
    def limits(self) -> Limits:
        """How long prompts may be."""
        size, reserve = self.size, self._reserve
        if size is None and self.settings.room is not None:
            size, reserve = MOST, 0  # nobody knows how long prompts may be, but how long they are to be
        if size is None or reserve is None:
            return Limits()
        room = max(0, min(size - reserve, self.settings.room or size) - self.note_tokens)
        usual = max(reserve, reserved(self.settings, size, None, lowers=True))
        return Limits(
            size=size,
            room=room,
            reply=reserve,
            sure=max(0, min(room, size - (self.most or 0))),
            last=size - 1 if self.lowers else room,
            steady=max(0, min(size - usual, self.settings.room or size) - self.note_tokens),
        )

    def reserved(self, mode: Mode, prompt_tokens: int | None) -> int:
        """How much was kept free for the reply."""
        if mode == "strict" or self.size is None or self._reserve is None:
            return 0
        return max(0, min(self._reserve, self.size - (prompt_tokens or 0)))

    def of(self, beginning: Beginning) -> Making:
        """The same of another beginning."""
        other = copy.copy(self)
        other.beginning = beginning
        return other

    @property
    def largest(self) -> Window:
        """A window without messages, with all tools that it may offer."""
        window = self.asked.window
        tools = (*window.tools, TOOL) if self.offers_recall else window.tools
        return msgspec.structs.replace(window, tools=tools)

    def offers(self, steps: Sequence[Step]) -> bool:
        """Whether a window that shows these messages offers the tool: only where others are out of its sight, and not
        as long as it starts where one does that has gone without."""
        if not self.offers_recall or not steps or steps[0].depth <= len(self.beginning.opening):
            return False
        above = self.beginning.above
        return above is None or above.offers_recall or steps[0].depth > above.epoch.span.start

    def composed(self, steps: Sequence[Step], notes: Sequence[Note] = ()) -> Window:
        """The window that shows these messages, with these notes."""
        tools = self.asked.window.tools
        if self.offers(steps):
            tools = (*tools, TOOL)
        shown = self.beginning.summary(steps[0].depth) if steps else None
        if self.beginning.continues is not None:
            steps = [*steps, self.beginning.continues]
        steps = shown_with(steps, notes)
        summary = message_of(shown) if shown is not None else None
        messages = composed(self.beginning.instructions, steps, summary=summary)
        return msgspec.structs.replace(self.asked.window, messages=messages, tools=tools)

    def lowered(self, prompt_tokens: int | None, *, is_estimate: bool) -> Options:
        """The options, with no longer reply than there is room for, as far as that is known and asked for."""
        if self.size is None or prompt_tokens is None or self.most is None or not self.lowers:
            return self.options
        least = (self._reserve or 1) if is_estimate else 1  # an estimate may be far off
        return shortened(self.options, max(least, self.size - prompt_tokens))


def shortened(options: Options, left: int | None) -> Options:
    """The options, with no longer reply than so many tokens; None for any length."""
    most = options.parameters.max_tokens
    if left is None or (most is not None and most <= left):
        return options
    parameters = msgspec.structs.replace(options.parameters, max_tokens=left)
    return msgspec.structs.replace(options, parameters=parameters)


def note_tokens(settings: WindowSettings, size: int | None) -> int:
    """How many tokens are kept free for quotes, where every question has them.

    >>> note_tokens(WindowSettings(recall="always"), 2048), note_tokens(WindowSettings(), 2048)
    (256, 0)
    """
    if settings.recall != "always":
        return 0
    return NOTE_TOKENS if size is None else min(NOTE_TOKENS, size // 8)


async def strict(made: Making, counting: Counting) -> tuple[Span, list[Step], int | None]:
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


def is_sent_otherwise(above: Above, beginning: Beginning, steps: list[Step]) -> bool:
    """Whether a client sent messages otherwise than the turn above showed them, as they are stored."""
    if above.is_strict:
        return False
    stored = {step.depth: step.message for step in beginning.steps}
    return any(step.message != stored[step.depth] for step in steps if step.depth <= above.asked)


def counted(chosen: Chosen) -> Literal["engine", "estimate"] | None:
    """By what the length of its prompt is known."""
    if chosen.prompt_tokens is None:
        return None
    return "estimate" if chosen.is_estimate else "engine"
