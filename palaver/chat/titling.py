"""Titles that a model makes of conversations, in idle time: until then, and where none comes, they have first words.

Nothing has run in this process for a while then, and what comes goes first: a title in the making is dropped, and made
anew later. It is no turn: nothing is kept of it but the title.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection

import msgspec
import structlog

from palaver.chat.request import ChatSettings
from palaver.core.errors import EngineError, EngineRefused, RequestError, StoreError
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.reply import replies
from palaver.core.titles import title_in
from palaver.core.turn import Delta, Finish, TurnState
from palaver.core.window import Window
from palaver.engines.base import Catalog, Model, Options
from palaver.running import RunningTurn
from palaver.stores.base import Item, Store

QUIET = 5.0
"""Seconds in which nothing runs before a title is made."""
LOOKS = 10
"""How often in that time it is looked whether something runs."""
TRIES = 3
"""How often a conversation's title is tried in one process."""
MOST_WAITING = 1000
"""As many conversations wait for a title; what waits longest is given up then."""
MOST_KNOWN = 100_000
QUESTION_CHARACTERS = 2000
TITLE_TOKENS = 24
REFUSED = (400, 422)
"""What servers say of parameters and messages that a model does not take."""
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
        self._is_busy = is_busy
        self._new_turn = new_turn
        self.quiet = quiet
        self._waiting: OrderedDict[str, _Wanted] = OrderedDict()
        self._tries: Counter[str] = Counter()
        self._ran_at = 0.0
        self._working: asyncio.Task[None] | None = None
        self._making: tuple[str, str, asyncio.Task[None]] | None = None
        """Whose title is being made, of which conversation, and by what."""

    def make_way(self) -> None:
        """Something comes that somebody waits for: what is being made is dropped."""
        self._ran_at = asyncio.get_running_loop().time()
        if self._making is not None:
            self._making[2].cancel()

    def turn_ended(self, turn: RunningTurn) -> None:
        """Its conversation may want a title."""
        self._ran_at = asyncio.get_running_loop().time()
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
            await _ended(self._making[2])

    async def close(self) -> None:
        """Make no more."""
        self._is_on = False
        self._waiting.clear()  # or the next would begin as soon as this one has ended
        if self._making is not None:
            await _ended(self._making[2])
        if self._working is not None:
            await _ended(self._working)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._until_quiet()
                if self._waiting:  # what waited may have been deleted
                    await self._next()
        finally:
            self._working = None

    async def _until_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            is_busy = self._is_busy()
            if is_busy:
                self._ran_at = loop.time()
            left = self._ran_at + self.quiet - loop.time()
            if not is_busy and left <= 0:
                return
            await asyncio.sleep(max(0.001, min(left, self.quiet / LOOKS)))

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
        # What is computed of it is none of the conversation's.
        window = Window(owner=owner, conversation=None, turn=self._new_turn(), messages=())
        thinking = False if "reasoning" in model.engine.capabilities else None
        careful = Parameters(max_tokens=TITLE_TOKENS, temperature=0.0, reasoning=thinking)
        try:
            return await _answer(
                model, window, (Message("system", INSTRUCTION), Message("user", asked)), careful
            )
        except (EngineRefused, RequestError) as error:
            if isinstance(error, EngineRefused) and error.status not in REFUSED:
                raise
        # There are templates without instructions, and models that cannot but think, at a temperature of their own.
        simple = (Message("user", f"{INSTRUCTION}\n\n{asked}"),)
        return await _answer(model, window, simple, Parameters(max_tokens=TITLE_TOKENS))


def makes_titles(model: Model, *, is_named: bool) -> bool:
    """Whether a model is asked for titles; `is_named` says that the settings name it for that."""
    words = model.engine.capabilities
    return model.kind == "chat" and "titles" in words and (is_named or "paid" not in words)


async def _answer(
    model: Model, window: Window, messages: tuple[Message, ...], parameters: Parameters
) -> str | None:
    window = msgspec.structs.replace(window, messages=messages)
    options = Options(model=model.served_as, parameters=parameters.over(model.defaults), idle=True)
    deltas: list[Delta] = []
    async with contextlib.aclosing(model.engine.generate(window, options)) as events:
        async for event in events:
            if isinstance(event, Finish):
                return title_in(replies(deltas)[0].content, is_whole=event.reason == "stop")
            if isinstance(event, Delta):
                deltas.append(event)
    return None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
