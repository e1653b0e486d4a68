"""How long windows are: at most, about, and as their engine counts them; and what each message takes of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import msgspec

from palaver.core.estimate import least_tokens, texts_of
from palaver.core.path import Span, Step, shown
from palaver.core.recall import Note
from palaver.core.summaries import message_of
from palaver.core.window import Window
from palaver.running.beginning import Beginning
from palaver.running.counting import AROUND, TEMPLATE_TOKENS, Counting, at_most, estimated, tools_estimated

MARGIN = 1.1
"""What is estimated is taken for so much longer, where its model has counted nothing of it yet."""

Compose = Callable[[Sequence[Step], Sequence[Note]], Window]
Measured = tuple[Sequence[Step], int]
"""A window whose length as a whole is known."""


class Lengths(msgspec.Struct, frozen=True):
    """How long everything is that stands before the messages (`fixed`), and each message by its depth, with what the
    template puts around it."""

    fixed: int
    each: dict[int, int]

    def stretched(self, by: float) -> Lengths:
        """The same, all of it longer."""
        return Lengths(ceil(self.fixed * by), {depth: ceil(count * by) for depth, count in self.each.items()})

    def of(self, steps: Sequence[Step]) -> int:
        """How long a prompt with these messages is."""
        return self.fixed + sum(self.each[step.depth] for step in steps)


class Measuring:
    """Measures the windows that one turn may have for one model. `compose` makes a window of messages, `base` is one
    without any."""

    def __init__(self, beginning: Beginning, counting: Counting, base: Window, compose: Compose) -> None:
        self._beginning = beginning
        self._counting = counting
        self._base = base
        self._compose = compose
        self.has_tools = bool(base.tools)

    def at_most(self, steps: list[Step], *, goes_on: bool) -> int:
        """More tokens than the prompt has: by its bytes or, where it `goes_on` from what the turn above showed, by
        what that counted."""
        composed = self._compose(steps, self._notes(goes_on=goes_on))
        bound = at_most(composed.messages, composed.tools)
        anchor = self._anchor() if goes_on and self._beginning.continues is None else None
        if anchor is None:
            return bound
        counted, asked, said = anchor
        new = [step.message for step in steps if step.depth > asked]
        return min(bound, counted + said + at_most(new[1:] if said else new))

    def _notes(self, *, goes_on: bool) -> Sequence[Note]:
        """What was recalled before: it stays where it stood as long as the epoch goes on. What was for a reply stays
        with that."""
        before = self._beginning.notes if goes_on else ()
        return (*before, *self._beginning.continued)

    def at_least(self, steps: Sequence[Step]) -> int:
        """No more tokens than the prompt has, whatever its tokenizer."""
        return least_tokens(texts_of([step.message for step in steps]))

    async def whole(self, steps: list[Step], lengths: Lengths) -> tuple[int, bool]:
        """How long a prompt with these messages is, and whether that is an estimate: by these `lengths`."""
        count = await self._counting.prompt(self._compose(steps, ()))
        return (lengths.of(steps), True) if count is None else (count, False)

    async def growing(self, steps: list[Step], *, goes_on: bool) -> tuple[int, bool]:
        """The same, where it `goes_on`: an estimate is of what is new then."""
        count = await self._counting.prompt(self._compose(steps, self._notes(goes_on=goes_on)))
        return (self._estimate(steps, goes_on=goes_on), True) if count is None else (count, False)

    async def lengths(self, measured: Measured | None = None) -> Lengths:
        """What each message of the path takes. What goes with it is learnt from a window that was `measured`."""
        counting, path = self._counting, self._beginning.steps
        instructions = [Step(place, each.message) for place, each in enumerate(self._beginning.instructions)]
        fixed = sum(count + AROUND for count in await counting.each(instructions))
        fixed += tools_estimated(self._base.tools) + AROUND
        if self._beginning.continues is not None:
            fixed += sum(await counting.each([self._beginning.continues])) + AROUND
        summaries = {each.id: Step(0, message_of(each)) for each in self._beginning.summaries}
        told = await counting.each(list(summaries.values()))
        of_summary = {id: count + AROUND for id, count in zip(summaries, told, strict=True)}
        counts = await counting.each(path)
        around, ratio = await self._around(path, counts), 1.0
        if measured is not None and measured[0]:
            steps, tokens = measured
            there_is = self._beginning.summary(steps[0].depth)
            tokens -= of_summary[there_is.id] if there_is is not None else 0
            there = {step.depth for step in steps}
            counted = sum(c for s, c in zip(path, counts, strict=True) if s.depth in there)
            if counting.tokenizer is not None:
                around = min(max((tokens - fixed - counted) / len(steps), 0.0), 10 * AROUND)
            else:
                ratio = max((tokens - fixed - AROUND * len(steps)) / max(1, counted), 0.5)
        each = {step.depth: ceil(count * ratio + around) for step, count in zip(path, counts, strict=True)}
        return Lengths(fixed + max(of_summary.values(), default=0), each)

    async def _around(self, path: Sequence[Step], counts: Sequence[int]) -> float:
        """What the template puts around a message, by the first exchange of the path: a history that has grown since
        has the same one, and so the same windows."""
        roles = [step.message.role for step in path[:3]]
        is_exchange = roles in (["user", "assistant", "user"], ["user", "assistant", "tool"])
        if not is_exchange or any(step.deleted for step in path[:3]):
            return AROUND
        one = await self._counting.prompt(self._compose(list(path[:1]), ()))
        three = await self._counting.prompt(self._compose(list(path[:3]), ()))
        if one is None or three is None:
            return AROUND
        return max((three - one - counts[1] - counts[2]) / 2, 0.0)

    def _anchor(self) -> tuple[int, int, int] | None:
        """What the turn above counted: its prompt, up to which depth, and its reply. None where it counted nothing
        that can be right."""
        above = self._beginning.above
        if above is None or above.prompt_tokens is None:
            return None
        if not self._counting.exact:
            before = [s for s in shown(self._beginning.steps, above.epoch.span) if s.depth <= above.asked]
            if above.prompt_tokens * 2 < sum(estimated(step.message) for step in before):
                return None  # it was cut, or cached tokens were left out
        return above.prompt_tokens, above.asked, above.completion_tokens or 0

    def _estimate(self, steps: Sequence[Step], *, goes_on: bool) -> int:
        """About how long a prompt is."""
        anchor = self._anchor() if goes_on else None
        if anchor is not None:
            counted, asked, _ = anchor
            ratio = self._ratio(counted, asked)
            new = [step for step in steps if step.depth > asked]
            return counted + ceil(sum(estimated(step.message) * ratio + AROUND for step in new))
        said = ceil(MARGIN * sum(estimated(step.message) + AROUND for step in steps))
        return said + self._fixed_estimate(steps)

    def _ratio(self, counted: int, asked: int) -> float:
        """How much longer things are than they are estimated, by what the turn above counted."""
        span = self._beginning.above.epoch.span if self._beginning.above else Span(0)
        before = [step for step in shown(self._beginning.steps, span) if step.depth <= asked]
        about = self._fixed_estimate(before) + sum(estimated(step.message) + AROUND for step in before)
        return min(max(counted / about, 0.5), 3.0) if about >= TEMPLATE_TOKENS else 1.0

    def _fixed_estimate(self, steps: Sequence[Step]) -> int:
        """About how long everything is that stands before the messages."""
        instructions = [instruction.message for instruction in self._beginning.instructions]
        summary = self._beginning.summary(steps[0].depth) if steps else None
        instructions += [message_of(summary)] if summary is not None else []
        said = sum(estimated(message) + AROUND for message in instructions)
        return said + tools_estimated(self._base.tools) + AROUND
