"""Titles that a model makes of conversations, in idle time: until then, and where none comes, they have first words.

Nothing has run in this process for a while then, and what comes goes first: a title in the making is dropped, and made
anew later. It is no turn: nothing is kept of it but the title.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection

import msgspec
import structlog

from palaver.chat.own_account import ask
from palaver.chat.quiet import QUIET, Quiet, ended
from palaver.chat.request import ChatSettings
from palaver.core.errors import EngineError, RequestError, StoreError
from palaver.core.titles import title_in
from palaver.core.turn import TurnState
from palaver.core.window import Window
from palaver.engines.base import Catalog, Model
from palaver.running import RunningTurn
from palaver.stores.base import Item, Store

TRIES = 3
"""How often a conversation's title is tried in one process."""
MOST_WAITING = 1000
"""As many conversations wait for a title; what waits longest is given up then."""
MOST_KNOWN = 100_000
QUESTION_CHARACTERS = 2000
TITLE_TOKENS = 24
INSTRUCTION = (
    "You name conversations. Of the message that a conversation begins with, make a title of two to six words, in "
    "the language of the message. Do not answer the message. Write the title only."
)

log = structlog.get_logger(__name__)


class _Wanted(msgspec.Struct, frozen=True):
    owner: str
    model: str


class Titling:
    """Makes titles, one at a time. `is_busy` says whether something runs, `new_turn` makes an id of the kind that turns
    have. `quiet` is how long nothing has to have run, in seconds."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: ChatSettings,
        is_busy: Callable[[], bool],
        new_turn: Callable[[], str],
        quiet: float = QUIET,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._model = settings.title_model
        self._is_on = settings.titles == "model"
        self._new_turn = new_turn
        self.quiet = Quiet(is_busy, quiet)
        self._waiting: OrderedDict[str, _Wanted] = OrderedDict()
        self._tries: Counter[str] = Counter()
        self._working: asyncio.Task[None] | None = None
        self._making: tuple[str, str, asyncio.Task[None]] | None = None
        """Whose title is being made, of which conversation, and by what."""

    def make_way(self) -> None:
        """Something comes that somebody waits for: what is being made is dropped."""
        self.quiet.ends()
        if self._making is not None:
            self._making[2].cancel()

    def turn_ended(self, turn: RunningTurn) -> None:
        """Its conversation may want a title."""
        self.quiet.ends()
        outcome, conversation = turn.live.outcome, turn.window.conversation
        if not self._is_on or conversation is None or outcome is None or not turn.may_keep:
            return
        if turn.is_unwanted or outcome.state is TurnState.FAILED or self._tries[conversation] >= TRIES:
            return
        self._waiting[conversation] = _Wanted(turn.window.owner, turn.live.model)
        self._waiting.move_to_end(conversation)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def stop(self, owner: str, conversations: Collection[str] | None = None) -> None:
        """Make none of an owner's conversations (ids), without them of all; returns when none is being made: what it is
        made of is to be deleted."""

        def is_meant(whose: str, of: str) -> bool:
            return whose == owner and (conversations is None or of in conversations)

        for conversation, wanted in list(self._waiting.items()):
            if is_meant(wanted.owner, conversation):
                del self._waiting[conversation]
        if self._making is not None and is_meant(*self._making[:2]):
            await ended(self._making[2])

    async def close(self) -> None:
        """Make no more."""
        self._is_on = False
        self._waiting.clear()  # or the next would begin as soon as this one has ended
        if self._making is not None:
            await ended(self._making[2])
        if self._working is not None:
            await ended(self._working)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self.quiet.comes()
                if self._waiting:  # what waited may have been deleted
                    await self._next()
        finally:
            self._working = None

    async def _next(self) -> None:
        """Make the title of what waits longest. Of one that is dropped it is tried again, but not for ever."""
        conversation, wanted = next(iter(self._waiting.items()))
        if len(self._tries) >= MOST_KNOWN:
            self._tries.clear()  # which of them have a title the store knows
        making = asyncio.create_task(self._made(conversation, wanted))
        self._making = (wanted.owner, conversation, making)
        await asyncio.wait([making])
        self._making = None
        if making.cancelled() and self._tries[conversation] < TRIES:
            return
        if self._waiting.get(conversation) is wanted:
            del self._waiting[conversation]
        if making.cancelled():
            return
        error = making.exception()
        if isinstance(error, EngineError | RequestError | StoreError):
            log.info("a conversation got no title", error=type(error).__name__)
        elif error is not None:
            log.error("a conversation got no title", error=type(error).__name__, exc_info=error)

    async def _made(self, conversation: str, wanted: _Wanted) -> None:
        question = await self._store.titled_by_words(wanted.owner, conversation)
        if question is None or not question.message.text.strip():
            return  # as yet: a single request may be continued, and what has no words be followed by some
        model = await self._catalog.find(self._model or wanted.model)
        if not makes_titles(model, is_named=self._model is not None):
            return  # as yet: another model may answer next
        self._tries[conversation] += 1
        title = await self._asked(model, wanted.owner, question)
        if title is not None and await self._store.set_model_title(
            wanted.owner, conversation, title, question.id
        ):
            self._tries[conversation] = TRIES

    async def _asked(self, model: Model, owner: str, question: Item) -> str | None:
        """What a model calls a conversation with this question. Raises what `Engine.generate` does."""
        asked = f"The message:\n\n{question.message.text[:QUESTION_CHARACTERS]}\n\nThe title:"
        window = Window(owner=owner, conversation=None, turn=self._new_turn(), messages=())
        answer = await ask(model, window, INSTRUCTION, asked, TITLE_TOKENS)
        return title_in(answer.text, is_whole=answer.is_whole)


def makes_titles(model: Model, *, is_named: bool) -> bool:
    """Whether a model is asked for titles; `is_named` says that the settings name it for that."""
    words = model.engine.capabilities
    return model.kind == "chat" and "titles" in words and (is_named or "paid" not in words)
