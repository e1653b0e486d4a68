"""Summaries that somebody waits for: made on demand, or for an item that stands for a conversation."""

from __future__ import annotations

import structlog

from palaver.chat.completing import Completing
from palaver.chat.summing_up import SummingUp, end_of
from palaver.core.errors import EngineError, InvalidRequest, MessageNotFound, RequestError, TurnCancelled
from palaver.core.fit import Room, fit
from palaver.core.summaries import Summary, best, uncovered
from palaver.core.turn import Usage
from palaver.engines.base import Catalog, Model
from palaver.running.counting import estimated
from palaver.stores.base import Store

log = structlog.get_logger(__name__)


class OnDemand:
    """Makes summaries while somebody waits: each is part of the work `besides` turns."""

    def __init__(self, store: Store, catalog: Catalog, summing: SummingUp, besides: Completing) -> None:
        self._store = store
        self._catalog = catalog
        self._summing = summing
        self._besides = besides

    async def ask(
        self, owner: str, conversation: str, *, to: str | None, model: str | None
    ) -> tuple[Summary, Usage]:
        """Have a summary made now of a conversation (an id), up to a message, without it of all that the window of its
        last epoch does not show. One of the same messages is made anew. `model` is the name of who is to do that.

        Raises InvalidRequest where no model may be asked, and else what `Completing.during` and `make` do,
        ModelNotFound.
        """
        return await self._besides.during(
            owner, conversation, lambda: self._ask(owner, conversation, to, model)
        )

    async def _ask(
        self, owner: str, conversation: str, to: str | None, model: str | None
    ) -> tuple[Summary, Usage]:
        epochs = await self._store.epochs(owner, conversation, limit=1)
        if to is not None:
            await self._store.items(owner, conversation, to=to, limit=1)
        asked = await self._to_ask(model, epochs[0].epoch.model if epochs else None)
        if to is None:
            start = epochs[0].epoch.span.start if epochs else 0
            head = (await self._store.conversation(owner, conversation)).head
            steps = await self._store.path(owner, head, attachments=False) if head is not None else []
            out = uncovered(steps, None, start)
            if not out:
                raise InvalidRequest(
                    "The window of this conversation shows all of it: say up to which message (`to`).",
                    param="to",
                )
            to = out[-1].id
        there = [each for each in await self._store.summaries(owner, conversation) if each.message == to]
        return await self.make(owner, conversation, to, asked, again=there[0] if there else None)

    async def make(
        self,
        owner: str,
        conversation: str,
        to: str,
        model: Model,
        *,
        start: int | None = None,
        again: Summary | None = None,
    ) -> tuple[Summary, Usage]:
        """Make a summary while somebody waits: of the path to a message (its id), up to the depth `start`, without it
        all of the path. One that is there takes the new text where it is to be made `again`; another is used as it is.

        Raises MessageNotFound for what was deleted, also meanwhile, InvalidRequest where there is nothing to sum up,
        EngineError, StoreError and what models refuse.
        """
        steps = await self._store.path(owner, to, attachments=False)
        start = steps[-1].depth + 1 if start is None else start
        there = [each for each in await self._summing.usable(owner, conversation, steps) if each != again]
        before = best(there, start if again is None else again.stop - 1)
        if again is None and before is not None and not uncovered(steps, before, start):
            return before, Usage(0, 0)
        if not uncovered(steps, before, start):
            raise InvalidRequest("There is nothing to sum up.", param="to")
        size = await self._summing.size(model)
        written = await self._summing.written(model, owner, steps, before, start, size, idle=False)
        if written.failure is not None:
            why = "said nothing" if written.failure == "empty" else "said more than a summary may have"
            raise EngineError(f"There is no summary: the model {model.name} {why}.")
        message, living = end_of(steps, start)
        of = before.id if before is not None else None
        if again is None:
            kept = await self._store.add_summary(
                owner, conversation, message, written.text, model=model.name, living=living, of=of
            )
        else:
            kept = await self._store.edit_summary(
                owner, conversation, again.id, written.text, model=model.name, living=living, of=of
            )
        if kept is None:
            raise MessageNotFound("Something of it was deleted meanwhile.", param="to")
        return kept, written.usage

    async def compact(
        self, owner: str, conversation: str, message: str, model: str
    ) -> tuple[Summary, Usage] | None:
        """A summary of the path to a message, but for its newest part: at least the last exchange. None where no model
        may be asked now, none came of it, or there is nothing before that part. Raises StoreError, ModelNotFound,
        TurnCancelled where it is stopped."""
        asked = await self._summing.model(model)
        if asked is None:
            return None
        try:
            return await self._besides.during(
                owner, conversation, lambda: self._compact(owner, conversation, message, asked)
            )
        except TurnCancelled:
            raise
        except (EngineError, RequestError) as error:  # what it stands for can be shown word for word
            log.info("there is no summary", error=type(error).__name__)
            return None

    async def _compact(
        self, owner: str, conversation: str, message: str, model: Model
    ) -> tuple[Summary, Usage] | None:
        steps = await self._store.path(owner, message, attachments=False)
        below = uncovered(steps, None, steps[-1].depth + 1)
        tokens = [estimated(step.message) for step in below]
        size = await self._summing.size(model)
        fitted = fit(below, tokens, Room(min(size // 8, sum(tokens) // 2), 1.0))
        if not uncovered(steps, None, fitted.span.start):
            return None
        return await self.make(owner, conversation, message, model, start=fitted.span.start)

    async def _to_ask(self, named: str | None, last: str | None) -> Model:
        if named is not None:
            model = await self._catalog.find(named)
            if model.kind == "chat" and "titles" in model.engine.capabilities:
                return model
            raise InvalidRequest(f"The model {named} makes no summaries.", param="model")
        known = last or self._summing.named
        found = await self._summing.model(known) if known is not None else None
        if found is None:
            raise InvalidRequest(
                "No model may be asked for a summary: what answers here is no use for that, or may cost money. Name "
                "one as `model`, or in the setting `summary_model`.",
                param="model",
            )
        return found
