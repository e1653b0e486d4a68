"""What turns show their models: foretold before one is asked, and read again afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

import msgspec

from palaver.chat.beginnings import beginning, unstored
from palaver.chat.request import HEAD, ChatRequest, ChatSettings, asked_of, is_stored
from palaver.core import ids
from palaver.core.errors import EngineError, ModelNotFound, TurnNotFound
from palaver.core.path import Step
from palaver.core.receipt import Receipt
from palaver.core.tree import History, read_history
from palaver.engines.base import Catalog, Model, Options
from palaver.running import Beginning, Fitting
from palaver.running.counting import Counting, CountsKnown
from palaver.stores.base import Admission, Store

NONE_YET = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt with what it speaks of. `turn` and `conversation` are ids, None where it is not stored.

    `steps` are the messages of the path from the first that was seen on, without ids where they are not stored, and
    `tokens` how long each is by itself, as far as that could be counted. `text` is empty for what was deleted.
    """

    receipt: Receipt
    turn: str | None
    conversation: str | None
    steps: list[Step]
    tokens: dict[int, int]


class Windows:
    """Foretells windows, and tells of those that were."""

    def __init__(
        self, store: Store, catalog: Catalog, settings: ChatSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        self._known = CountsKnown()

    def fitting(self, *, stored: bool) -> Fitting:
        """What chooses the windows of a turn."""
        return Fitting(self._store if stored else None, self._known, self._clock, self._new_epoch)

    async def foresee(self, request: ChatRequest) -> Shown:
        """What a request would show its model, and nobody is asked. It leaves no trace, and joins no other turn.

        Raises what `Chat.say` and the turn itself would raise before the model is asked.
        """
        model = await self._catalog.find(request.model)
        stored = is_stored(request, self._settings.record)
        begins = await self._begins(request, model) if stored else unstored(request.messages)
        # It has no conversation yet, or none of which anything is to be told.
        asked = asked_of(request, NONE_YET if stored else None, NONE_YET, self._settings.window)
        if begins.continues is not None:
            asked = msgspec.structs.replace(asked, continues=begins.continues.message)
        options = Options(
            model=model.served_as,
            parameters=request.parameters.over(model.defaults),
            prefill=begins.continues is not None,
        )
        fitted = await self.fitting(stored=stored).fit(asked, begins, model, options)
        counting = self._counting(model, options, request.owner)
        receipt = fitted.receipt
        if receipt.prompt_tokens is None and (count := await counting.prompt(fitted.window)) is not None:
            receipt = msgspec.structs.replace(receipt, prompt_tokens=count, counted="engine")
        steps = [step for step in begins.steps if receipt.seen and step.depth >= receipt.seen[0][0]]
        return Shown(
            receipt=receipt,
            turn=None,
            conversation=None,
            steps=steps,
            tokens=await _tokens(counting, [step for step in steps if receipt.saw(step.depth)]),
        )

    async def receipt(self, owner: str, turn: str) -> Shown:
        """What a stored turn showed its model. Raises TurnNotFound, also for one that came to no window."""
        record = await self._store.turn(owner, turn)
        receipt = record.receipt
        if receipt is None:
            raise TurnNotFound("This turn has no receipt: it came to no window.", code="no_receipt")
        steps: list[Step] = []
        if record.question is not None and receipt.seen:
            steps = await self._store.path(owner, record.question, receipt.seen[0][0])
        tokens: dict[int, int] = {}
        seen = [step for step in steps if receipt.saw(step.depth) and not step.deleted]
        try:
            model = await self._catalog.find(receipt.model)
            options = Options(model=model.served_as, parameters=record.parameters)
            await model.engine.context_size(model.served_as)
            tokens = await _tokens(self._counting(model, options, owner), seen)
        except (EngineError, ModelNotFound):
            pass  # who counted is gone or away: the whole prompt's count was kept
        return Shown(
            receipt=receipt, turn=record.id, conversation=record.conversation, steps=steps, tokens=tokens
        )

    async def _begins(self, request: ChatRequest, model: Model) -> Beginning:
        root = await self._store.root_key(request.owner, request.end_user)
        exact = request.parent is not None
        history = read_history(request.messages, root, goes_on=exact)
        prompt = await self._store.foresee(self._admission(request, model, history))
        added = sum(1 for step in prompt.steps if not step.id)
        return await beginning(self._store, request.owner, history, prompt, exact=exact, added=added)

    def _counting(self, model: Model, options: Options, owner: str) -> Counting:
        return Counting(model, options, owner, self._store, self._known)

    def _admission(self, request: ChatRequest, model: Model, history: History) -> Admission:
        at_head = request.parent == HEAD
        return Admission(
            owner=request.owner,
            end_user=request.end_user,
            turn=NONE_YET,
            lease=NONE_YET,
            door=request.door,
            requested_model=request.model,
            model=model.name,
            history=history,
            tools=request.tools,
            conversation=request.conversation,
            parent=None if at_head else request.parent,
            at_head=at_head,
        )

    def _new_epoch(self) -> str:
        return ids.EPOCH + ids.id_body(int(self._clock() * 1000), secrets.token_bytes(ids.RANDOM_BYTES))


async def _tokens(counting: Counting, steps: Sequence[Step]) -> dict[int, int]:
    if counting.tokenizer is None:
        return {}
    return dict(zip((step.depth for step in steps), await counting.each(steps), strict=True))
