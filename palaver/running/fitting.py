"""The window of a turn, for one model: what of its path is shown, and what that leaves for the reply.

    strict   all of what was sent, or all above the message that was named; too much is refused with both numbers
    auto     the window of the epoch that the turn goes on with, as long as it has room, else a new one

What surely fits is not counted. What may not is counted by the engine as a whole; only where a new window is to be
chosen are messages counted one by one. A new window is counted again as a whole before it is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog

from palaver.core.epoch import Epoch, Reason, break_reason, is_grown
from palaver.core.errors import EngineError
from palaver.core.message import Message
from palaver.core.path import Span, Step, shown
from palaver.core.recall import recalled
from palaver.core.receipt import Receipt, seen_and_left_out
from palaver.core.summaries import Failure, Summary
from palaver.core.window import Window
from palaver.core.window_settings import DEFAULT_KEEP, Mode, WindowSettings, mode_of
from palaver.engines.base import Model, Options
from palaver.running.beginning import Beginning, Told
from palaver.running.choosing import Choosing, Chosen, Limits
from palaver.running.counting import Counting, CountsKept, CountsKnown, SizesTold
from palaver.running.fitted import Fitted
from palaver.running.making import Making, counted, is_sent_otherwise, strict
from palaver.running.measuring import Measuring
from palaver.running.needs import Asked
from palaver.running.preparing import Prepared
from palaver.running.recalling import Recalling, offers

Clock = Callable[[], float]
Summarise = Callable[[int], Awaitable[tuple[list[Summary], Failure | None]]]

log = structlog.get_logger(__name__)


class Fitting:
    """Chooses windows. `kept` is where counts of stored messages are kept; None where nothing is stored. `prepared` are
    epochs that are ready to be begun. `recalling` finds what windows leave out; None where nothing is stored."""

    def __init__(
        self,
        kept: CountsKept | None,
        known: CountsKnown,
        sizes: SizesTold,
        clock: Clock,
        new_id: Callable[[], str],
        prepared: Prepared | None = None,
        recalling: Recalling | None = None,
    ) -> None:
        self._prepared = prepared or Prepared()
        self.recalling = recalling
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
        standing = beginning.window.over(asked.inner).over(model.window.over(asked.outer))
        settings = asked.asks.over(standing)
        mode = mode_of(asked.asks, settings, exact=beginning.exact)
        size = await self._size(model, settings, mode, told)
        if mode == "strict":
            beginning = beginning.as_left_out()
        if mode == "strict" or not settings.summaries:
            beginning = beginning.with_summaries(())
        knows = self.recalling is not None and model.name not in self.recalling.refused
        may_offer = knows and offers(asked, model, standing, mode, size)
        made = Making(asked, beginning, model, options, settings, size, offers_recall=may_offer)
        if mode == "strict":
            return self._kept_whole(made, *await strict(made, self._counting(made)))
        choosing = self._choosing(made, beginning, made.limits, told)
        chosen = await choosing.choose()
        if told is not None:
            self._sizes.put(model.name, told.context_size, self._clock(), choosing.stretch)
        fitted = self._made(made, "auto", chosen)
        if self.recalling is None or settings.recall != "always":
            return fitted
        return await self.recalling.for_question(
            fitted, "user" if asked.asks.recall == "always" else "setting"
        )

    def offer_recall(self, model: Model, *, offers: bool) -> None:
        """Whether this model is offered the tool for recall from now on, as far as that is asked for."""
        if self.recalling is not None:
            change = self.recalling.refused.discard if offers else self.recalling.refused.add
            change(model.name)

    def begun(self, fitted: Fitted) -> None:
        """A turn shows its model this window."""
        if fitted.receipt.prepared:
            self._prepared.begin(fitted.epoch.id)

    async def next_epoch(
        self,
        fitted: Fitted,
        reply: Message,
        prompt_tokens: int,
        started: Epoch | None,
        summarise: Summarise | None = None,
    ) -> tuple[Epoch, Window] | None:
        """The epoch that follows a turn's, and its window up to the turn's `reply`. `started` is one that was chosen
        after the turn before. `summarise` says which summaries there are of all before a depth, and why not of all of
        it; it is asked where windows show any. None where there is nothing to keep.

        Raises ContextLengthExceeded, EngineError, StoreError.
        """
        made, limits = fitted.made, fitted.made.limits
        depth = made.beginning.length
        steps = [*fitted.steps, Step(depth, reply)]
        beginning = Beginning(
            steps, instructions=made.beginning.instructions, summaries=made.beginning.summaries
        )
        if started is None or beginning.summary_ref(started.span.start) != started.summary:
            choosing = self._choosing(made, beginning, limits, None)
            span = (await choosing.anew((fitted.steps, prompt_tokens))).span
            if span == fitted.epoch.span:
                return None
            failure: Failure | None = None
            if made.settings.summaries and summarise is not None:
                summaries, failure = await summarise(span.start)
                beginning = beginning.with_summaries(summaries)
            started = self._new_epoch(made.of(beginning), "overflow", span, failure)
        shows = shown(steps, started.span)
        if not shows:
            return None
        window = made.of(beginning).composed(shows)
        window = msgspec.structs.replace(
            window, epoch=started.id, epoch_began=started.began // 1000, kept=fitted.window.kept
        )
        return started, window

    def _counting(self, made: Making) -> Counting:
        return Counting(made.model, made.options, made.asked.window.owner, self._kept, self._known)

    def _choosing(self, made: Making, beginning: Beginning, limits: Limits, told: Told | None) -> Choosing:
        asked, model, above = made.asked, made.model, beginning.above
        return Choosing(
            beginning,
            Measuring(beginning, self._counting(made), made.largest, made.composed),
            limits,
            keep=made.settings.keep or DEFAULT_KEEP,
            told=told,
            model=model.name,
            stored=asked.window.conversation is not None,
            stretch=self._sizes.stretch(model.name, self._clock()),
            prepared=self._prepared.get(above.turn if above else None, model.name),
            from_summary=asked.compacted,
            offers=made.offers,
        )

    def _new_epoch(self, made: Making, reason: Reason, span: Span, failure: Failure | None) -> Epoch:
        return Epoch(
            id=self._new_id(),
            model=made.model.name,
            reason=reason,
            span=span,
            began=int(self._clock() * 1000),
            summary=made.beginning.summary_ref(span.start),
            summary_failed=failure,
        )

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

    def _kept_whole(self, made: Making, span: Span, steps: list[Step], prompt_tokens: int | None) -> Fitted:
        above = made.beginning.above
        reason = break_reason(above, made.model.name)
        if reason is None and above is not None:
            if (
                above.epoch.span != span
                or above.epoch.summary
                or is_sent_otherwise(above, made.beginning, steps)
            ):
                reason = "user"
            elif not is_grown(above, steps, made.beginning.opening):
                reason = "deletion"
        chosen = Chosen(span=span, steps=steps, reason=reason, prompt_tokens=prompt_tokens)
        return self._made(made, "strict", chosen)

    def _made(self, made: Making, mode: Mode, chosen: Chosen) -> Fitted:
        beginning, now, above = made.beginning, int(self._clock() * 1000), made.beginning.above
        beside, is_new = beginning.beside, False
        if chosen.epoch is not None:
            epoch, is_new = chosen.epoch, not self._prepared.has_begun(chosen.epoch.id)
        elif chosen.reason is None and above is not None:
            epoch = above.epoch
        elif (
            beside is not None
            and break_reason(beside, made.model.name) is None
            and beside.epoch.span == chosen.span
            and beside.is_strict is (mode == "strict")
            and is_grown(beside, chosen.steps, beginning.opening)
            and beside.epoch.summary == beginning.summary_ref(chosen.span.start)
            and beside.offers_recall is made.offers(chosen.steps)
            and (above is None or beside.epoch.id != above.epoch.id)
        ):
            epoch = beside.epoch  # asked again
        else:
            is_new = True
            wants = mode == "auto" and made.settings.summaries
            failure: Failure | None = (
                "none_yet" if wants and beginning.lacks_summary(chosen.span.start) else None
            )
            epoch = self._new_epoch(made, chosen.reason or "start", chosen.span, failure)
        goes_on = mode == "auto" and above is not None and epoch is above.epoch
        continued = list(beginning.continued) if mode == "auto" else []
        notes = [*(beginning.notes if goes_on else ()), *continued]
        seen, left_out = seen_and_left_out(
            beginning.length,
            chosen.span,
            chosen.steps,
            by_client=mode == "strict",
            opening=beginning.opening,
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
            instructions=len(beginning.instructions) - len(beginning.opening),
            tools=len(made.asked.window.tools),
            context_size=made.size,
            reserved=made.reserved(mode, chosen.prompt_tokens),
            prompt_tokens=chosen.prompt_tokens,
            counted=counted(chosen),
            tokenizer=made.model.engine.tokenizer(made.model.served_as),
            continues=beginning.continues is not None,
            prepared=is_new and chosen.epoch is not None,
            summary=epoch.summary,
            summary_failed=epoch.summary_failed,
            recalled=recalled(notes),
            offers_recall=made.offers(chosen.steps),
        )
        window = made.composed(chosen.steps, notes)
        if mode == "auto":  # what is shown as it was sent speaks of the day that it is
            window = msgspec.structs.replace(window, epoch_began=min(epoch.began, now) // 1000)
        kept = made.asked.window.kept or (made.asked.may_keep and above is not None)
        window = msgspec.structs.replace(window, epoch=epoch.id, kept=kept)
        return Fitted(
            window=window,
            options=made.lowered(chosen.prompt_tokens, is_estimate=chosen.is_estimate),
            epoch=epoch,
            receipt=receipt,
            steps=chosen.steps,
            new=[step for step in chosen.steps if above is None or step.depth > above.asked],
            made=made,
            notes=notes,
            fresh=len(continued),
            above=above.turn if above is not None else None,
            room=made.limits.room,
        )
