"""Having a model sum up a path: of the summary before, and of the messages since, word for word, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from palaver.chat.own_account import Answer, ask
from palaver.chat.request import ChatSettings
from palaver.core.message import Message
from palaver.core.path import Step
from palaver.core.summaries import (
    INSTRUCTION,
    Failure,
    Summary,
    asked_for,
    pieces,
    summary_in,
    uncovered,
)
from palaver.core.turn import Usage
from palaver.core.window import Window
from palaver.engines.base import Catalog, Model
from palaver.running.counting import estimated
from palaver.stores.base import Store

MOST = 512
"""Tokens that a summary may have; an eighth of the context where that is less."""
LEAST = 32
UNKNOWN = 4096
"""Tokens of a context that nobody knows."""
PLAIN = 300
"""Tokens of a prompt for a summary besides what is summed up."""
SAFE = 0.7
"""The share of a context that is filled: how long messages are is estimated."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a model wrote, or why it is none; `usage` is all that it was asked for that."""

    text: str = ""
    failure: Failure | None = None
    usage: Usage = Usage(0, 0)


class SummingUp:
    """Has models write summaries. `new_turn` makes an id of the kind that turns have."""

    def __init__(
        self, store: Store, catalog: Catalog, settings: ChatSettings, new_turn: Callable[[], str]
    ) -> None:
        self._store = store
        self._catalog = catalog
        self.named = settings.summary_model
        self._new_turn = new_turn

    async def model(self, name: str) -> Model | None:
        """The model to ask for summaries of what the one of this name answers; None where that may not be asked: it is
        no use, or may cost money, and the settings do not name it. Raises ModelNotFound."""
        model = await self._catalog.find(self.named or name)
        words = model.engine.capabilities
        may = self.named is not None or ("titles" in words and "paid" not in words)
        return model if may and model.kind == "chat" else None

    async def usable(self, owner: str, conversation: str, steps: Sequence[Step]) -> list[Summary]:
        """The summaries of a path that windows may show. Raises StoreError."""
        on_path = {step.id for step in steps}
        found = await self._store.summaries(owner, conversation)
        return [each for each in found if each.message in on_path and not each.is_off]

    async def written(
        self,
        model: Model,
        owner: str,
        steps: Sequence[Step],
        before: Summary | None,
        start: int,
        room: int,
        *,
        idle: bool,
    ) -> Written:
        """A new text for all before the depth `start`, a piece at a time where that is long."""
        most = max(LEAST, min(MOST, room // 8))
        size = min(await self.size(model), room) if idle else await self.size(model)
        text, usage = before.text if before else "", Usage(0, 0)
        bound = max(PLAIN, int((size - 2 * most - PLAIN) * SAFE))
        for piece in pieces(uncovered(steps, before, start), bound, _length):
            window = Window(owner=owner, conversation=None, turn=self._new_turn(), messages=())
            answer = await ask(model, window, INSTRUCTION, asked_for(text, piece), most, idle=idle)
            usage = _plus(usage, answer.usage)
            text = summary_in(answer.text)
            if failure := _failure(answer, text, most):
                return Written(failure=failure, usage=usage)
        return Written(text=text, usage=usage)

    async def size(self, model: Model) -> int:
        """A model's context in tokens. Raises EngineError."""
        size = model.context_size
        if size is None:
            size = await model.engine.context_size(model.served_as)
        return size or UNKNOWN


def end_of(steps: Sequence[Step], start: int) -> tuple[str, int]:
    """The last message before the depth `start` that is there, and how many of the path are there up to it."""
    living = [step for step in steps if step.depth < start and not step.deleted]
    return living[-1].id, len(living)


def _failure(answer: Answer, text: str, most: int) -> Failure | None:
    if not answer.is_whole:
        return "too_long" if text else "empty"
    if not text:
        return "empty"
    return "too_long" if _length(text) > 2 * most else None  # it does not hold to its bound


def _plus(one: Usage, other: Usage | None) -> Usage:
    if other is None:
        return one
    return Usage(one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens)


def _length(text: str) -> int:
    return estimated(Message("user", text))
