"""Choosing an `auto` window: go on with the epoch above while there is room, else begin a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import msgspec

from palaver.core.epoch import Reason, break_reason, is_grown
from palaver.core.errors import ContextLengthExceeded
from palaver.core.fit import Room, TooLong, fit, replayed, settled
from palaver.core.path import Span, Step, shown
from palaver.core.window import Window
from palaver.running.beginning import Beginning, Told
from palaver.running.counting import AROUND, TEMPLATE_TOKENS, Counting, at_most, estimated, tools_estimated

BYTES_A_TOKEN = 16
"""No text has more bytes a token in the long run: further up a path there is nothing that could fit."""
PAGE = 1024
TRIES = 4
"""How often a new window is chosen again where the whole of it turns out longer than its messages are."""
MARGIN = 1.1
"""What is estimated is taken for so much longer, where its model has counted nothing of it yet."""
REASONS_TO_LOOK_UP = ("start", "model", "user")
"""Epochs that begin for these reasons owe nothing to the one before, and may show what that did not."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A window. `reason` is why it is a new one, None where it goes on. Where it surely fits nobody counts
    `prompt_tokens`."""

    span: Span
    steps: list[Step]
    reason: Reason | None
    prompt_tokens: int | None
    is_estimate: bool = False


class Choosing:
    """Chooses the window of one turn for one model.

    `size` is how long prompt and reply may be together, and `room` the prompt, None for any length; one of at most
    `sure` tokens need not be counted. `compose` makes a window of messages, `base` is one without any.
    `told` is what the engine said of the window that was tried before.
    """

    def __init__(
        self,
        beginning: Beginning,
        counting: Counting,
        base: Window,
        compose: Callable[[list[Step]], Window],
        keep: float,
        size: int | None,
        room: int | None,
        sure: int | None,
        told: Told | None,
        model: str,
    ) -> None:
        self._beginning = beginning
        self._counting = counting
        self._base = base
        self._compose = compose
        self._keep = keep
        self._size = size or 0
        self._room = room
        self._sure = sure
        self._told = told
        self._model = model

    async def choose(self) -> Chosen:
        """The window. Raises ContextLengthExceeded where nothing fits; EngineError, StoreError."""
        beginning, above = self._beginning, self._beginning.above
        reason = break_reason(above, self._model)
        span: Span | None = None
        if reason is None and above is not None and above.is_cut:
            reason = "user"
        if above is not None and reason not in REASONS_TO_LOOK_UP:
            span = settled(beginning.steps, above.epoch.span)
            if reason is None and (span is None or not is_grown(above, shown(beginning.steps, span))):
                reason = "deletion"
        if span is None:
            await self._look_up()
            if self._base.conversation is None:
                return await self._unstored(reason)
        if span is None and beginning.top > 0:
            return await self._anew(reason or "overflow")  # nobody could read as much as there is
        going_on = span or settled(beginning.steps, Span(0)) or Span(0)
        steps = shown(beginning.steps, going_on)
        fits, tokens, is_estimate = await self._fits(steps, going_on, reason)
        if not fits:
            return await self._anew(reason or "overflow", (steps, tokens) if tokens else None)
        return Chosen(
            span=going_on, steps=steps, reason=reason, prompt_tokens=tokens, is_estimate=is_estimate
        )

    async def _look_up(self) -> None:
        """Read as much of the path as could fit at all."""
        beginning = self._beginning
        if self._room is None:
            await beginning.reach(0)
            return
        while beginning.top > 0 and _bytes(beginning.steps) < self._room * BYTES_A_TOKEN:
            await beginning.reach(max(0, beginning.top - PAGE))

    async def _fits(
        self, steps: list[Step], span: Span, reason: Reason | None
    ) -> tuple[bool, int | None, bool]:
        """Whether a window has room; how long its prompt is, where that had to be known; and whether by estimate."""
        if self._room is None or self._sure is None:
            return True, None, False
        window = self._compose(steps)
        if self._told is None and self._longest(steps, span, reason, window) <= self._sure:
            return True, None, False
        count = await self._counting.prompt(window) if self._told is None else self._told.prompt_tokens
        if count is not None:
            return count <= self._room, count, False
        count = self._estimate(steps, span, reason)
        return count <= self._room, count, True

    def _longest(self, steps: list[Step], span: Span, reason: Reason | None, window: Window) -> int:
        """More tokens than the prompt has: by its bytes, or by what the turn above counted of the same window."""
        bound = at_most(window.messages, window.tools)
        anchor = self._anchor(reason)
        if anchor is None or self._beginning.continues is not None:
            return bound
        counted, asked, said = anchor
        new = [step.message for step in steps if step.depth > asked]
        return min(bound, counted + said + at_most(new[1:] if said else new))

    def _anchor(self, reason: Reason | None) -> tuple[int, int, int] | None:
        """What the turn above counted: its prompt, up to which depth, and its reply. None where it is another
        window, or counted nothing that can be right."""
        above = self._beginning.above
        if above is None or reason is not None or above.prompt_tokens is None:
            return None
        if not self._counting.exact:
            before = [s for s in shown(self._beginning.steps, above.epoch.span) if s.depth <= above.asked]
            if above.prompt_tokens * 2 < sum(estimated(step.message) for step in before):
                return None  # it was cut, or cached tokens were left out
        return above.prompt_tokens, above.asked, above.completion_tokens or 0

    def _estimate(self, steps: Sequence[Step], span: Span, reason: Reason | None) -> int:
        """About how long a prompt is."""
        anchor = self._anchor(reason)
        if anchor is not None:
            counted, asked, _ = anchor
            ratio = self._ratio(counted, asked, span)
            new = [step for step in steps if step.depth > asked]
            return counted + ceil(sum(estimated(step.message) * ratio + AROUND for step in new))
        return ceil(MARGIN * sum(estimated(step.message) + AROUND for step in steps)) + self._fixed_estimate()

    def _ratio(self, counted: int, asked: int, span: Span) -> float:
        """How much longer things are than they are estimated, by what the turn above counted."""
        before = [step for step in shown(self._beginning.steps, span) if step.depth <= asked]
        about = self._fixed_estimate() + sum(estimated(step.message) + AROUND for step in before)
        return min(max(counted / about, 0.5), 3.0) if about >= TEMPLATE_TOKENS else 1.0

    def _fixed_estimate(self) -> int:
        """About how long everything is that stands before the messages."""
        instructions = [instruction.message for instruction in self._beginning.instructions]
        said = sum(estimated(message) + AROUND for message in instructions)
        return said + tools_estimated(self._base.tools) + AROUND

    async def _unstored(self, reason: Reason | None) -> Chosen:
        """The window of a turn that is not stored, so that nothing is known of the turn before: the one that it has
        if all of its history was asked here."""
        path, room = self._beginning.steps, self._room
        whole = shown(path, Span(0))
        if room is None or at_most(self._compose(whole).messages, self._base.tools) <= (self._sure or 0):
            return Chosen(span=Span(0), steps=whole, reason=reason, prompt_tokens=None)
        fixed, tokens = await self._lengths(path)
        stretched = 1.0
        for _ in range(TRIES):
            lengths = [ceil(count * stretched) for count in tokens]
            span = replayed(path, lengths, Room(max(0, room - ceil(fixed * stretched)), self._keep))
            steps = shown(path, span)
            count, is_estimate = await self._whole(
                steps, fixed, dict(zip(_depths(path), tokens, strict=True))
            )
            if count <= room:
                return Chosen(
                    span=span, steps=steps, reason=reason, prompt_tokens=count, is_estimate=is_estimate
                )
            stretched *= max(1.05, count / room)
        return await self._anew(reason or "start")

    async def _anew(self, reason: Reason, measured: tuple[Sequence[Step], int] | None = None) -> Chosen:
        """A new window, which keeps the newest part. `measured` is one that has no room, and how long it would be."""
        assert self._room is not None
        path = self._beginning.steps
        fixed, tokens = await self._lengths(path, measured)
        by_depth = dict(zip(_depths(path), tokens, strict=True))
        stretched, whole = 1.0, 0
        for _ in range(TRIES):
            lengths = [ceil(each * stretched) for each in tokens]
            fitted = fit(path, lengths, Room(max(0, self._room - ceil(fixed * stretched)), self._keep))
            if isinstance(fitted, TooLong):
                raise await self._too_long(fitted, fixed, by_depth)
            whole, is_estimate = await self._whole(fitted.steps, fixed, by_depth)
            if whole <= self._room:
                return Chosen(
                    span=fitted.span,
                    steps=fitted.steps,
                    reason=reason,
                    prompt_tokens=whole,
                    is_estimate=is_estimate,
                )
            stretched *= max(1.05, whole / max(1, fitted.tokens + ceil(fixed * stretched)))
        raise self._exceeded(whole)

    async def _lengths(
        self, path: Sequence[Step], measured: tuple[Sequence[Step], int] | None = None
    ) -> tuple[int, list[int]]:
        """How long all is that stands before the messages, and each message with what the template puts around it.

        That is learnt from a window that was counted as a whole, where there is one.
        """
        counting = self._counting
        instructions = [Step(0, instruction.message) for instruction in self._beginning.instructions]
        before = sum(count + AROUND for count in await counting.each(instructions))
        fixed = before + tools_estimated(self._base.tools) + AROUND
        if self._beginning.continues is not None:
            fixed += sum(await counting.each([self._beginning.continues])) + AROUND
        counts = await counting.each(path)
        around, ratio = await self._around(path, counts), 1.0
        if measured is not None and measured[0]:
            shown_depths = {step.depth for step in measured[0]}
            total = sum(c for s, c in zip(path, counts, strict=True) if s.depth in shown_depths)
            left = measured[1] - fixed - total
            if counting.tokenizer is not None:
                around = min(max(left / len(measured[0]), 0.0), 10 * AROUND)
            else:
                ratio = max((measured[1] - fixed - AROUND * len(measured[0])) / max(1, total), 0.5)
        return fixed, [ceil(count * ratio + around) for count in counts]

    async def _around(self, path: Sequence[Step], counts: Sequence[int]) -> float:
        """What the template puts around a message, by the first exchange of the path: a history that has grown since
        has the same one, and so the same windows."""
        roles = [step.message.role for step in path[:3]]
        if roles != ["user", "assistant", "user"] or any(step.deleted for step in path[:3]):
            return AROUND
        one = await self._counting.prompt(self._compose(list(path[:1])))
        three = await self._counting.prompt(self._compose(list(path[:3])))
        if one is None or three is None:
            return AROUND
        return max((three - one - counts[1] - counts[2]) / 2, 0.0)

    async def _whole(self, steps: list[Step], fixed: int, by_depth: dict[int, int]) -> tuple[int, bool]:
        """How long a whole prompt is, and whether that is an estimate."""
        count = await self._counting.prompt(self._compose(steps))
        if count is not None:
            return count, False
        return fixed + sum(by_depth[step.depth] for step in steps), True

    async def _too_long(self, least: TooLong, fixed: int, by_depth: dict[int, int]) -> ContextLengthExceeded:
        """The error for a prompt of which not even the least fits: it names what is too long by itself."""
        size, beginning = self._size, self._beginning
        assert self._room is not None
        prompt, _ = await self._whole(least.steps, fixed, by_depth)
        if prompt < size:
            return ContextLengthExceeded(
                prompt_tokens=prompt, context_size=size, max_tokens=size - self._room, param="max_tokens"
            )
        if fixed > least.longest_tokens:
            error = ContextLengthExceeded(prompt_tokens=prompt, context_size=size)
            return error.naming(
                "What stands before the messages (instructions and tools)", min(fixed, prompt)
            )
        place = least.longest.depth - (beginning.length - len(beginning.sent))
        if place < 0:
            error = ContextLengthExceeded(prompt_tokens=prompt, context_size=size)
            return error.naming(f"The message {least.longest.id}", least.longest_tokens)
        param = f"messages[{place + beginning.sent_instructions}]"
        error = ContextLengthExceeded(prompt_tokens=prompt, context_size=size, param=param)
        return error.naming(f"`{param}`", least.longest_tokens)

    def _exceeded(self, prompt: int) -> ContextLengthExceeded:
        return ContextLengthExceeded(prompt_tokens=prompt, context_size=self._size)


def _depths(path: Sequence[Step]) -> list[int]:
    return [step.depth for step in path]


def _bytes(steps: Sequence[Step]) -> int:
    return sum(len(step.message.text.encode()) + 1 for step in steps)
