"""Choosing an `auto` window: go on with the epoch above while there is room, else begin a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from palaver.core.epoch import Epoch, Reason, break_reason, is_grown, summary_reason
from palaver.core.errors import ContextLengthExceeded
from palaver.core.fit import Fitted, Room, TooLong, fit, replayed, settled
from palaver.core.path import Span, Step, shown, starts
from palaver.running.beginning import Beginning, Told
from palaver.running.measuring import Lengths, Measured, Measuring
from palaver.running.preparing import LOW_MARK

BYTES_A_TOKEN = 16
"""No text has more bytes a token in the long run: further up a path there is nothing that could fit."""
PAGE = 1024
"""Messages that are read of a path at first; then twice as many, and so on."""
TRIES = 4
"""How often a new window is chosen again where the whole of it turns out longer than its messages are."""
SHRINK = 0.75
"""What an engine refuses a second time was estimated badly: then so much of the room is used, and so on."""
REASONS_TO_LOOK_UP = ("start", "model", "user")
"""Epochs that begin for these reasons owe nothing to the one before, and may show what that did not."""
BEFORE = "What stands before the messages (instructions and tools)"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long prompts may be. `size` is for prompt and reply together, and `room` for the prompt: None for any length.

    `reply` is how long the reply may be. A prompt of at most `sure` tokens need not be counted. Where not even the
    least has that room, it may have as many as `last`. `steady` is what there is whatever reply a single request
    asks for.
    """

    size: int = 0
    room: int | None = None
    reply: int = 0
    sure: int = 0
    last: int = 0
    steady: int = 0


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A window. `reason` is why it is a new one, None where it goes on. Where it surely fits nobody counts
    `prompt_tokens`. `epoch` is the one that it begins, where that was prepared."""

    span: Span
    steps: list[Step]
    reason: Reason | None
    prompt_tokens: int | None = None
    is_estimate: bool = False
    epoch: Epoch | None = None


class Choosing:
    """Chooses the window of one turn for one model. `told` is what its engine said of the window that was tried
    before, `stored` whether anything is known of the turn before. `prepared` is an epoch that is ready to be begun.
    `from_summary` is the id of a summary that a new one is to begin with. `offers` says whether a window with these
    messages offers the tool that recalls others."""

    def __init__(
        self,
        beginning: Beginning,
        measuring: Measuring,
        limits: Limits,
        *,
        keep: float,
        told: Told | None,
        model: str,
        stored: bool,
        stretch: float,
        prepared: Epoch | None = None,
        from_summary: str = "",
        offers: Callable[[Sequence[Step]], bool] = lambda _: False,
    ) -> None:
        self._beginning = beginning
        self._measuring = measuring
        self._limits = limits
        self._keep = keep
        self._told = told
        self._model = model
        self._stored = stored
        self._prepared = prepared
        self._from_summary = from_summary
        self._offers = offers
        self.stretch = stretch
        """How much longer prompts are than they are estimated, as far as refusals have told."""

    async def choose(self) -> Chosen:
        """The window. Raises ContextLengthExceeded where nothing fits; EngineError, StoreError."""
        beginning, above = self._beginning, self._beginning.above
        reason = break_reason(above, self._model)
        span: Span | None = None
        if reason is None and above is not None and (above.is_cut or beginning.thinks_otherwise(above)):
            reason = "user"
        if above is not None and reason not in REASONS_TO_LOOK_UP:
            span = settled(beginning.steps, above.epoch.span)
            if reason is None and (
                span is None or not is_grown(above, shown(beginning.steps, span), beginning.opening)
            ):
                reason = "deletion"
            if reason is None and len(beginning.notes) != above.notes:
                reason = "deletion"  # what was quoted is gone
            if (
                reason is None
                and self._offers(shown(beginning.steps, span or Span(0))) != above.offers_recall
            ):
                reason = "tools"
            if reason is None:
                now = beginning.summary_ref(above.epoch.span.start)
                reason = summary_reason(above.epoch.summary, now)
        compacted = await self._compacted()
        if compacted is not None:
            return compacted
        if reason is None and span is not None and self._told is None:
            ready = await self._begun_ahead()
            if ready is not None:
                return ready
        if span is None:
            await self._look_up()
            if not self._stored:
                return await self._replayed(reason)
            if beginning.top > 0:  # there is more than could ever fit
                return await self._anew(reason or "overflow")
        return await self._grown(span or settled(beginning.steps, Span(0)) or Span(0), reason)

    async def _compacted(self) -> Chosen | None:
        """The window that begins with the summary that was asked for, unless the epoch above shows that, or it is not
        to be shown any more."""
        beginning, above = self._beginning, self._beginning.above
        asked = next((each for each in beginning.summaries if each.id == self._from_summary), None)
        if asked is None or self._told is not None:
            return None
        if above is not None and above.epoch.model == self._model and above.epoch.summary == asked.ref:
            return None
        await beginning.reach(asked.stop)
        span = settled(beginning.steps, Span(asked.stop))
        return await self._grown(span, "user") if span is not None else None

    async def _begun_ahead(self) -> Chosen | None:
        """The window of the epoch that was prepared, if there is no more room now either, and all of it is there."""
        epoch, steps, above, room = (
            self._prepared,
            self._beginning.steps,
            self._beginning.above,
            self._limits.room,
        )
        if epoch is None or above is None or room is None or settled(steps, epoch.span) != epoch.span:
            return None
        if self._beginning.summary_ref(epoch.span.start) != epoch.summary:
            return None
        length = (above.prompt_tokens or 0) + (above.completion_tokens or 0)
        if length <= room * LOW_MARK:
            return None  # it was chosen for a smaller one
        chosen = await self._grown(epoch.span, "overflow")
        is_it = chosen.span == epoch.span
        return msgspec.structs.replace(chosen, epoch=epoch) if is_it else None

    async def anew(self, measured: Measured) -> Chosen:
        """The window of the epoch to come, before this one is full. Raises what `choose` does."""
        return await self._anew("overflow", measured)

    async def _look_up(self) -> None:
        """Read as much of the path as could fit at all, and at least to where a window may start."""
        beginning, room = self._beginning, self._limits.room
        page = PAGE
        while beginning.top > 0:
            is_enough = room is not None and beginning.bytes >= room * BYTES_A_TOKEN
            if is_enough and starts(shown(beginning.steps, Span(beginning.top))):
                break
            await beginning.reach(max(0, beginning.top - page))
            page *= 2

    async def _grown(self, span: Span, reason: Reason | None) -> Chosen:
        """The window with this span, if there is room for it; else a new one."""
        steps, room, told = shown(self._beginning.steps, span), self._limits.room, self._told
        goes_on = reason is None
        if room is None:
            return Chosen(span=span, steps=steps, reason=reason)
        if told is None and self._measuring.at_most(steps, goes_on=goes_on) <= self._limits.sure:
            return Chosen(span=span, steps=steps, reason=reason)
        measured: Measured | None = None
        if told is not None:
            tokens, is_estimate, measured = told.prompt_tokens, False, (told.steps, told.prompt_tokens)
            fits = tokens <= room and told.steps == steps and told.times == 1
        else:
            tokens, is_estimate = await self._measuring.growing(steps, goes_on=goes_on)
            measured, fits = (steps, tokens), tokens <= room
        if not fits:
            return await self._anew(reason or "overflow", measured)
        return Chosen(span=span, steps=steps, reason=reason, prompt_tokens=tokens, is_estimate=is_estimate)

    async def _replayed(self, reason: Reason | None) -> Chosen:
        """The window of a turn of which nothing is known from before: the one that it has if all of its history was
        asked here."""
        path, room, told = self._beginning.steps, self._limits.room, self._told
        whole = shown(path, Span(0))
        if room is None or (
            told is None and self._measuring.at_most(whole, goes_on=False) <= self._limits.sure
        ):
            return Chosen(span=Span(0), steps=whole, reason=reason)
        plain = await self._measuring.lengths()
        stretch = self.stretch
        if told is not None:
            stretch = self.stretch = max(stretch, told.prompt_tokens / max(1, plain.of(told.steps)))
        for _ in range(TRIES):
            lengths = plain.stretched(stretch)
            tokens = [lengths.each[step.depth] for step in path]
            span = replayed(path, tokens, Room(self._free(lengths, self._limits.steady), self._keep))
            steps = shown(path, span)
            count, is_estimate = await self._measuring.whole(steps, lengths)
            if count <= room:
                return Chosen(
                    span=span, steps=steps, reason=reason, prompt_tokens=count, is_estimate=is_estimate
                )
            stretch *= max(1.05, count / max(1, room))
        return await self._anew(reason or "start", (told.steps, told.prompt_tokens) if told else None)

    async def _anew(self, reason: Reason, measured: Measured | None = None) -> Chosen:
        """A new window, which keeps the newest part. `measured` is one that has no room."""
        limits, path = self._limits, self._beginning.steps
        assert limits.room is not None
        plain = await self._measuring.lengths(measured)
        stretch, keep = 1.0, self._keep
        for _ in range(TRIES):
            lengths = plain.stretched(stretch)
            tokens = [lengths.each[step.depth] for step in path]
            fitted = fit(path, tokens, Room(self._free(lengths, limits.room), keep))
            whole, is_estimate = await self._measuring.whole(fitted.steps, lengths)
            if isinstance(fitted, TooLong):
                break
            if whole <= limits.room:
                return _chosen(fitted, reason, whole, is_estimate)
            stretch *= max(1.05, whole / max(1, lengths.of(fitted.steps)))
            keep *= SHRINK  # it is the newest messages that are longer than they seem
        fitted = fit(path, tokens, Room(0, keep))
        whole, is_estimate = await self._measuring.whole(fitted.steps, lengths)
        if whole <= limits.last or (is_estimate and self._is_worth_trying(fitted)):
            return _chosen(fitted, reason, whole, is_estimate)
        if self._told is not None and self._told.steps == fitted.steps:
            whole = self._told.prompt_tokens
        if isinstance(fitted, TooLong):
            raise self._too_long(fitted, whole, lengths.fixed)
        raise ContextLengthExceeded(prompt_tokens=whole, context_size=limits.size)

    def _is_worth_trying(self, least: Fitted | TooLong) -> bool:
        """Whether to ask an engine for a window that is estimated as too long: it has not refused that, and may know
        better. What is certainly too long it is not asked, for some cut prompts without a word."""
        refused = self._told is not None and self._told.steps == least.steps
        return not refused and self._measuring.at_least(least.steps) < self._limits.size

    def _free(self, lengths: Lengths, room: int) -> int:
        """The room that is left for messages, in tokens."""
        used = SHRINK ** (self._told.times - 1) if self._told is not None else 1.0
        return max(0, int(room * used) - lengths.fixed)

    def _too_long(self, least: TooLong, prompt: int, fixed: int) -> ContextLengthExceeded:
        """The error for a prompt of which not even the least fits: it names what is too long by itself."""
        limits, beginning = self._limits, self._beginning
        assert limits.room is not None
        if prompt < limits.size:
            return ContextLengthExceeded(
                prompt_tokens=prompt,
                context_size=limits.size,
                max_tokens=limits.reply,
                param="max_tokens",
            )
        longest = min(least.longest_tokens, prompt)
        is_before = beginning.instructions or self._measuring.has_tools
        if fixed > longest and is_before:
            error = ContextLengthExceeded(prompt_tokens=prompt, context_size=limits.size)
            return error.naming(BEFORE, min(fixed, prompt))
        place = least.longest.depth - (beginning.length - len(beginning.sent))
        if place < 0:
            error = ContextLengthExceeded(prompt_tokens=prompt, context_size=limits.size)
            return error.naming(f"The message {least.longest.id}", longest)
        param = f"messages[{place + beginning.sent_instructions}]"
        error = ContextLengthExceeded(prompt_tokens=prompt, context_size=limits.size, param=param)
        return error.naming(f"`{param}`", longest)


def _chosen(fitted: Fitted | TooLong, reason: Reason, whole: int, is_estimate: bool) -> Chosen:
    return Chosen(
        span=fitted.span, steps=fitted.steps, reason=reason, prompt_tokens=whole, is_estimate=is_estimate
    )
