"""What is done after a turn, while nobody waits, so that the next one finds its prompt prefilled.

First the window as the next turn will show it, with the reply as it is stored. Then, once the window is nearly full,
that of the epoch to come; when it is ready the next turn begins it. A turn that comes in between stops this, and it
goes on after that turn: engines lose nothing of what they have prefilled.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Collection

import msgspec
import structlog

from palaver.chat.summarising import Summarising
from palaver.core import ids
from palaver.core.epoch import Epoch
from palaver.core.errors import EngineError, RequestError, StoreError
from palaver.core.message import Message
from palaver.core.recall import rest_of
from palaver.core.summaries import Failure, Summary
from palaver.core.turn import TurnState
from palaver.running import Fitting, RunningTurn
from palaver.running.fitted import Fitted
from palaver.running.preparing import LOW_MARK, Prepared

MOST_AT_ONCE = 64
"""As many conversations are settled at once; what waits longest is given up then."""

log = structlog.get_logger(__name__)


class _Started(msgspec.Struct, frozen=True):
    """An epoch in preparation: the turn it hangs on by now, and the epoch that it follows."""

    turn: str
    follows: str
    epoch: Epoch


class Settling:
    """Settles conversations. `prepared` is told of epochs that are ready, `summarising` makes what they show of the
    rest."""

    def __init__(self, prepared: Prepared, summarising: Summarising) -> None:
        self._prepared = prepared
        self._summarising = summarising
        self._tasks: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._unended: dict[asyncio.Task[None], tuple[str, str]] = {}
        """Whose they are and of which conversation, also of those that were stopped and have not ended yet."""
        self._interrupted: OrderedDict[str, tuple[RunningTurn, Fitting]] = OrderedDict()
        """What is not done yet, by its conversation."""
        self._started: OrderedDict[str, _Started] = OrderedDict()

    @property
    def conversations(self) -> set[tuple[str, str]]:
        """The owners and ids of those that are being settled."""
        return set(self._unended.values())

    def turn_begins(self, turn: RunningTurn) -> None:
        """What is being done for its conversation is done for a turn that is not the last one any more: that goes on
        after this one. An app's chore beside the conversation changes nothing."""
        conversation = turn.window.conversation
        if conversation is not None and turn.may_keep:
            self._cancel(conversation)

    def turn_ended(self, turn: RunningTurn, fitting: Fitting) -> None:
        """Settle its conversation; where the turn came to nothing, as the one before left it."""
        conversation = turn.window.conversation
        if conversation is None or not turn.may_keep or turn.is_unwanted:
            return
        if self._is_to_be_settled(turn):
            self._cancel(conversation)
            self._start(conversation, turn, fitting)
        elif conversation in self._interrupted:
            self._start(conversation, *self._interrupted[conversation])

    def _is_to_be_settled(self, turn: RunningTurn) -> bool:
        fitted, outcome = turn.fitted, turn.live.outcome
        if fitted is None or outcome is None or fitted.receipt.continues:
            return False
        wants = fitted.made.settings.summaries and fitted.receipt.mode == "auto"
        return outcome.state is TurnState.COMPLETED and bool(_settles(turn) or wants)

    def _cancel(self, conversation: str) -> None:
        if (task := self._tasks.pop(conversation, None)) is not None:
            task.cancel()

    def _start(self, conversation: str, turn: RunningTurn, fitting: Fitting) -> None:
        if len(self._tasks) >= MOST_AT_ONCE:
            self._tasks.popitem(last=False)[1].cancel()
        fitted = turn.fitted
        assert fitted is not None
        self._interrupted[conversation] = (turn, fitting)
        self._interrupted.move_to_end(conversation)
        if len(self._interrupted) > MOST_AT_ONCE:
            self._interrupted.popitem(last=False)
        task = asyncio.create_task(self._settle(turn, fitted, fitting))
        self._tasks[conversation] = task
        self._unended[task] = (turn.window.owner, conversation)
        task.add_done_callback(lambda done: self._done(conversation, done))

    async def stop(self, owner: str, conversations: Collection[str] | None = None) -> None:
        """Stop what is done for an owner's conversations (ids), without them for all; returns when it has ended. What
        it was about is to be deleted: it would be computed, and kept, after that."""
        these = [
            (task, of)
            for task, (whose, of) in self._unended.items()
            if whose == owner and (conversations is None or of in conversations)
        ]
        for task, of in these:
            self._started.pop(of, None)
            task.cancel()
        for of, (turn, _) in list(self._interrupted.items()):
            if turn.window.owner == owner and (conversations is None or of in conversations):
                del self._interrupted[of]
        await asyncio.gather(*(task for task, _ in these), return_exceptions=True)

    async def close(self) -> None:
        """Stop all of it."""
        tasks = list(self._unended)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, conversation: str, task: asyncio.Task[None]) -> None:
        self._unended.pop(task, None)
        if self._tasks.get(conversation) is task:
            del self._tasks[conversation]
        if not task.cancelled():
            self._interrupted.pop(conversation, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a conversation was not settled", error=type(error).__name__, exc_info=error)

    async def _settle(self, turn: RunningTurn, fitted: Fitted, fitting: Fitting) -> None:
        reply = turn.live.replies()[0].message
        if fitted.receipt.mode == "strict":  # clients seldom send thoughts back
            reply = msgspec.structs.replace(reply, reasoning=None, reasoning_content=None)
        engine = turn.model.engine
        shown = (*fitted.window.messages, rest_of(reply, fitted.own_notes))
        window = msgspec.structs.replace(fitted.window, messages=shown)
        try:
            is_done = not _settles(turn) or await engine.settle(window, fitted.options)
            if is_done and self._is_low(turn, fitted):
                await self._prepare(turn, fitted, fitting, reply)
        except (EngineError, RequestError, StoreError) as error:  # whoever needs it prefills it
            log.info("a conversation was not settled", error=type(error).__name__)

    def _is_low(self, turn: RunningTurn, fitted: Fitted) -> bool:
        usage = turn.live.outcome.usage if turn.live.outcome else None
        if usage is None or fitted.receipt.mode != "auto" or fitted.room is None:
            return False
        thought = usage.reasoning_tokens or 0  # which templates do not show again
        reply = (usage.completion_tokens - thought) / len(turn.live.replies())
        return usage.prompt_tokens + reply > fitted.room * LOW_MARK

    async def _prepare(self, turn: RunningTurn, fitted: Fitted, fitting: Fitting, reply: Message) -> None:
        conversation, id, usage = turn.window.conversation, turn.window.turn, turn.live.outcome
        assert conversation is not None
        assert usage is not None
        started = self._started.get(conversation)
        epoch = None
        if started is not None and (started.turn, started.follows) == (fitted.above, fitted.epoch.id):
            epoch = started.epoch
        prompt_tokens = usage.usage.prompt_tokens if usage.usage else 0

        def summarise(start: int) -> Awaitable[tuple[list[Summary], Failure | None]]:
            return self._summarising.ahead(
                turn.window.owner,
                conversation,
                ids.reply_of(id),
                start,
                turn.model.name,
                fitted.room or 0,
            )

        found = await fitting.next_epoch(fitted, reply, prompt_tokens, epoch, summarise)
        if found is None:
            return
        epoch, window = found
        self._started[conversation] = _Started(id, fitted.epoch.id, epoch)
        self._started.move_to_end(conversation)
        if len(self._started) > MOST_AT_ONCE:
            self._started.popitem(last=False)
        if not _settles(turn) or await turn.model.engine.settle(window, fitted.options):
            self._prepared.put(id, epoch)
            self._started.pop(conversation, None)


def _settles(turn: RunningTurn) -> bool:
    return "settle" in turn.model.engine.capabilities
