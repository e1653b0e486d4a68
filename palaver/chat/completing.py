"""Texts that a model goes on with, texts that become vectors, summaries on demand: work that is no turn.

What is under way is stored nowhere, so it goes on only as long as somebody waits for it. It counts among the turns of
this process (`ChatSettings.max_open_turns`): each prompt, each request for vectors, and each summary, as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from palaver.chat.texts import TextRequest, Texts, about
from palaver.core import ids
from palaver.core.errors import (
    ContextLengthExceeded,
    EngineError,
    PalaverError,
    TurnCancelled,
    UnsupportedParameter,
)
from palaver.core.window import Window
from palaver.engines.base import Catalog, Embedded, Model, Options
from palaver.live import LiveReply

T = TypeVar("T")
WHAT = {"completions": "goes on with no texts", "embeddings": "makes no embeddings"}


class VectorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts, or token numbers, that are to become vectors of so many `dimensions`; None is as many as the model
    has."""

    owner: str
    texts: list[str] | list[list[int]]
    dimensions: int | None = None
    extra: dict[str, Any] = {}


class Completing:
    """The work of this process besides its turns. `check_open` raises where there is no place for so much more;
    `new_turn` makes an id."""

    def __init__(
        self, catalog: Catalog, check_open: Callable[[int], None], new_turn: Callable[[], str]
    ) -> None:
        self._catalog = catalog
        self._check_open = check_open
        self._new_turn = new_turn
        self._works: set[_Work] = set()

    def __len__(self) -> int:
        """How much of it is open."""
        return sum(work.size for work in self._works)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        return [work.task for work in self._works]

    async def model(self, name: str, capability: Literal["completions", "embeddings"]) -> Model:
        """The model of this name, which can do that. Raises ModelNotFound, UnsupportedParameter."""
        model = await self._catalog.find(name)
        if capability not in model.engine.capabilities:
            raise UnsupportedParameter(f"The model {model.name} {WHAT[capability]}.", param="model")
        return model

    def complete(self, model: Model, request: TextRequest) -> LiveReply:
        """Go on with texts. The choices of the first prompt come first, then those of the next one.

        When its last reader leaves it is stopped. Where the model's engine fails before it has said anything, its
        fallbacks are tried. Raises TooManyRequests and EngineUnavailable; what else goes wrong is the live reply's.
        """
        self._check_open(len(request.prompts))
        turn = self._new_turn()
        live = LiveReply(
            turn=turn,
            conversation=None,
            model=model.name,
            created=ids.seconds_of(turn),
            on_left=lambda: work.stop(EngineError("Its reader left.")),
        )
        texts = Texts(live, request)
        work = self._begin(request.owner, len(request.prompts), texts.run(model))
        work.task.add_done_callback(lambda _: live.end(texts.outcome(work.task, work.stopped)))
        return live

    async def embed(self, model: Model, request: VectorRequest) -> Embedded:
        """The vectors of texts, in their order. No other model is tried: vectors of two models have nothing to do
        with each other. A caller that is cancelled stops the work.

        Raises TooManyRequests, and what `Engine.embed` raises; ContextLengthExceeded names
        `input`.
        """
        self._check_open(1)
        window = Window(owner=request.owner, conversation=None, turn=self._new_turn(), messages=())
        extra = request.extra if "extra" in model.engine.capabilities else {}
        options = Options(model=model.served_as, extra=extra)
        work = self._begin(
            request.owner, 1, model.engine.embed(request.texts, request.dimensions, window, options)
        )
        try:
            embedded: Embedded = await _waited_for(work)
        except ContextLengthExceeded as error:
            raise about(error, "input") from None
        if len(embedded.vectors) != len(request.texts):
            raise EngineError(
                f"The model gave {len(embedded.vectors)} vectors for {len(request.texts)} texts."
            )
        return embedded

    async def during(self, owner: str, conversation: str, doing: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something for a conversation (an id) that somebody waits for. A caller that is cancelled stops it.

        Raises TooManyRequests and EngineUnavailable, TurnCancelled where it is stopped, and what it raises itself.
        """
        self._check_open(1)
        found: T = await _waited_for(self._begin(owner, 1, doing(), conversation))
        return found

    async def stop(self, owner: str, reason: str, conversations: Collection[str] | None = None) -> None:
        """Stop all of an owner's, or what is done for some conversations (ids); whoever waits for it hears why."""
        these = [
            work
            for work in self._works
            if work.owner == owner and (conversations is None or work.conversation in conversations)
        ]
        await self._stop(these, TurnCancelled(reason))

    async def close(self) -> None:
        """Stop everything."""
        await self._stop(list(self._works), EngineError("palaver was shut down."))

    def _begin(
        self, owner: str, size: int, doing: Coroutine[Any, Any, Any], conversation: str | None = None
    ) -> _Work:
        work = _Work(owner, size, asyncio.create_task(doing), conversation)
        self._works.add(work)
        work.task.add_done_callback(lambda _: self._works.discard(work))
        return work

    async def _stop(self, works: Sequence[_Work], error: PalaverError) -> None:
        for work in works:
            work.stop(error)
        if works:
            await asyncio.wait([work.task for work in works])


async def _waited_for(work: _Work) -> Any:
    """What comes of it. Raises why it was stopped, where it was."""
    try:
        return await work.task
    except asyncio.CancelledError:
        if work.stopped is not None:
            raise work.stopped from None
        raise


class _Work:
    """Something under way, for a conversation (an id) or for none. `stopped` is why it was stopped, where it was."""

    def __init__(self, owner: str, size: int, task: asyncio.Task[Any], conversation: str | None) -> None:
        self.owner = owner
        self.size = size
        self.task = task
        self.conversation = conversation
        self.stopped: PalaverError | None = None

    def stop(self, error: PalaverError) -> None:
        if self.stopped is None:
            self.stopped = error
            self.task.cancel()
