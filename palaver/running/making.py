"""A window in the making: what is known of it, how long it may be, and what it is made of."""

from __future__ import annotations

import msgspec

from palaver.core.errors import ContextLengthExceeded
from palaver.core.path import Span, Step, shown
from palaver.core.window import Window, composed
from palaver.core.window_settings import Mode, WindowSettings, reserved
from palaver.engines.base import Model, Options
from palaver.running.beginning import Beginning
from palaver.running.choosing import Limits
from palaver.running.counting import Counting, at_most
from palaver.running.needs import Asked


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
        self._reserve = None if size is None else reserved(settings, size, self.most, lowers=self.lowers)

    @property
    def limits(self) -> Limits:
        """How long prompts may be."""
        size, reserve = self.size, self._reserve
        if size is None or reserve is None:
            return Limits()
        room = max(0, size - reserve)
        usual = max(reserve, reserved(self.settings, size, None, lowers=True))
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
