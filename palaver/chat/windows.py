"""What turns show their models: foretold before one is asked, and read again afterwards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from palaver.chat.beginnings import beginning, unstored_of
from palaver.chat.request import ChatRequest, ChatSettings, admission_of, asked_of, history_of, is_stored
from palaver.core import ids
from palaver.core.errors import EngineError, StoreError, TurnNotFound
from palaver.core.path import Step
from palaver.core.receipt import Receipt
from palaver.core.turn import TurnState
from palaver.core.window import Window
from palaver.engines.base import Catalog, Model
from palaver.finding import Finding
from palaver.live import LiveReply
from palaver.running import Beginning, Fitting, RunningTurn
from palaver.running.counting import (
    AROUND,
    Counting,
    CountsKept,
    CountsKnown,
    SizesTold,
    estimated,
    tools_estimated,
)
from palaver.running.needs import check_can_continue, options_for
from palaver.running.preparing import Prepared
from palaver.running.recalling import Recalling
from palaver.stores.base import Store

log = structlog.get_logger(__name__)

NONE_YET = ""
"""Stands for the ids that a dry run's turn would get."""
NO_KEY = b""
"""Where the keys of its history start: nowhere. It is keyed where it is looked for."""
COUNTED_AFTER = 64
"""As many messages of a turn, its newest, are counted after it: a history that comes for the first time may be long."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt with what it speaks of. `turn` and `conversation` are ids, None where it is not stored.

    `steps` are the messages of the path that were seen, and others, without ids where they are not stored, and `tokens`
    how long each is by itself, as far as that could be counted. A deleted one is empty.
    """

    receipt: Receipt
    turn: str | None
    conversation: str | None
    steps: list[Step]
    tokens: dict[int, int]


class Windows:
    """Foretells windows, and tells of those that were."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: ChatSettings,
        clock: Callable[[], float] = time.time,
        finding: Finding | None = None,
    ) -> None:
        self._store = store
        self._recalling = Recalling(store, finding or Finding(store))
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        self._known = CountsKnown()
        self._sizes = SizesTold()
        self.prepared = Prepared()
        """Epochs that are ready to be begun."""
        self._counting_now: set[asyncio.Task[None]] = set()

    def fitting(self, *, stored: bool) -> Fitting:
        """What chooses the windows of a turn."""
        return self._fitting(self._store if stored else None)

    async def foresee(self, request: ChatRequest) -> Shown:
        """What a request would show its model, and nobody is asked. It leaves no trace, and joins no other turn.

        Raises what `Chat.say` and the turn itself would raise before the model is asked.
        """
        return (await self._foreseen(request))[0]

    async def _foreseen(self, request: ChatRequest) -> tuple[Shown, Window]:
        model = await self._catalog.find(request.model)
        stored = is_stored(request, self._settings.record)
        begins = await self._begins(request, model) if stored else unstored_of(request)
        # It has no conversation yet, or none of which anything is to be told.
        asked = asked_of(request, NONE_YET if stored else None, NONE_YET, self._settings.window)
        if begins.continues is not None:
            asked = msgspec.structs.replace(asked, continues=begins.continues.message)
        check_can_continue(asked, model)
        options = options_for(asked, model)
        kept = _Kept(self._store)
        fitted = await self._fitting(kept if stored else None).fit(asked, begins, model, options)
        counting = Counting(model, options, request.owner, kept, self._known)
        receipt = fitted.receipt
        if receipt.prompt_tokens is None and (count := await counting.prompt(fitted.window)) is not None:
            receipt = msgspec.structs.replace(receipt, prompt_tokens=count, counted="engine")
        begins = fitted.made.beginning
        path = {step.depth: step for step in (*begins.steps, *begins.opening)}
        steps = [path[d] for d in sorted(path) if receipt.seen and d >= receipt.seen[0][0]]
        tokens = await _tokens(counting, [step for step in steps if receipt.saw(step.depth)])
        found = Shown(receipt=receipt, turn=None, conversation=None, steps=steps, tokens=tokens)
        return found, fitted.window

    async def length(self, request: ChatRequest) -> int:
        """How many tokens the prompt of a request would have; an estimate where its engine cannot count.

        Raises what `foresee` raises.
        """
        shown, window = await self._foreseen(request)
        if shown.receipt.prompt_tokens is not None:
            return shown.receipt.prompt_tokens
        return sum(estimated(message) + AROUND for message in window.messages) + tools_estimated(window.tools)

    async def receipt(self, owner: str, turn: str, live: LiveReply | None = None) -> Shown:
        """What a stored turn showed its model; `live` is its reply, while it runs.

        Raises TurnNotFound, also for one that came to no window.
        """
        record = await self._store.turn(owner, turn)
        receipt = record.receipt or (live.receipt if live else None)
        if receipt is None:
            raise TurnNotFound("This turn has no receipt: it came to no window.", code="no_receipt")
        steps: list[Step] = []
        if record.question is not None and receipt.seen:
            steps = await self._seen(owner, record.question, receipt)
        return Shown(
            receipt=receipt,
            turn=record.id,
            conversation=record.conversation,
            steps=steps,
            tokens=await self._kept_tokens(owner, receipt, steps),
        )

    async def _seen(self, owner: str, question: str, receipt: Receipt) -> list[Step]:
        """The path from the first message that was seen on, but for what the window left out below its opening: that
        may be nearly all of it."""
        first = await self._store.opening(owner, question) if len(receipt.seen) > 1 else []
        opening = {step.depth: step for step in first}
        seen = (depth for start, stop in receipt.seen for depth in range(start, stop))
        since = next((depth for depth in seen if depth not in opening), receipt.seen[0][0])
        steps = await self._store.path(owner, question, since, attachments=False)
        return [*(step for depth, step in opening.items() if depth < since), *steps]

    async def _kept_tokens(self, owner: str, receipt: Receipt, steps: Sequence[Step]) -> dict[int, int]:
        """How long what was seen is, as far as that was counted: no model is asked to tell."""
        seen = {step.id: step.depth for step in steps if receipt.saw(step.depth) and not step.deleted}
        if receipt.tokenizer is None or not seen:
            return {}
        kept = await self._store.counts(owner, receipt.tokenizer, list(seen))
        return {seen[id]: count for id, count in kept.items()}

    def count(self, turn: RunningTurn) -> None:
        """Have what a turn that has ended showed for the first time counted: its model is loaded, and nobody waits."""
        model, fitted, outcome = turn.model, turn.fitted, turn.live.outcome
        if turn.store is None or fitted is None or fitted.receipt.tokenizer is None:
            return
        if outcome is None or outcome.state is not TurnState.COMPLETED:
            return
        counting = Counting(model, fitted.options, turn.window.owner, self._store, self._known)
        task = asyncio.create_task(_counted(counting, fitted.new[-COUNTED_AFTER:]))
        self._counting_now.add(task)
        task.add_done_callback(self._counting_now.discard)

    async def close(self) -> None:
        """Count no more."""
        for task in self._counting_now:
            task.cancel()
        await asyncio.gather(*self._counting_now, return_exceptions=True)

    async def _begins(self, request: ChatRequest, model: Model) -> Beginning:
        exact, history = request.parent is not None, history_of(request, NO_KEY)
        admission = admission_of(request, model, history, self._settings, turn=NONE_YET, lease=NONE_YET)
        prompt = await self._store.foresee(admission)
        return await beginning(self._store, request.owner, history, prompt, exact=exact)

    def _fitting(self, kept: CountsKept | None) -> Fitting:
        recalling = self._recalling if kept is not None else None
        return Fitting(kept, self._known, self._sizes, self._clock, self._new_epoch, self.prepared, recalling)

    def _new_epoch(self) -> str:
        return ids.EPOCH + ids.id_body(int(self._clock() * 1000), secrets.token_bytes(ids.RANDOM_BYTES))


class _Kept:
    """Counts that are kept; no more are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def counts(self, owner: str, tokenizer: str, messages: Sequence[str]) -> dict[str, int]:
        return await self._store.counts(owner, tokenizer, messages)

    async def keep_counts(self, owner: str, tokenizer: str, counts: Mapping[str, int]) -> None:
        """A dry run leaves no trace."""


async def _counted(counting: Counting, steps: Sequence[Step]) -> None:
    try:
        await counting.each(steps)
    except (EngineError, StoreError) as error:  # whoever needs to know counts then
        log.info("messages were not counted", error=error.message)


async def _tokens(counting: Counting, steps: Sequence[Step]) -> dict[int, int]:
    if counting.tokenizer is None:
        return {}
    return dict(zip((step.depth for step in steps), await counting.each(steps), strict=True))
