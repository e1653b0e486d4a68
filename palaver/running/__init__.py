"""One turn in the hands of this process: from admitted to ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Literal, assert_never

import msgspec
import structlog

from palaver.core import ids
from palaver.core.errors import (
    EngineError,
    LeaseLost,
    PalaverError,
    RequestError,
    StoreError,
    kept_name,
)
from palaver.core.reply import Reply, deltas_of, replies
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    EngineEvent,
    Finish,
    InLine,
    Prefilled,
    ReasoningDelta,
    ToolCallDelta,
    TurnState,
)
from palaver.core.waiting import waiting_for
from palaver.engines.base import Model
from palaver.live import LiveReply, Outcome
from palaver.running.answering import Answering, may_pass
from palaver.running.beginning import Beginning
from palaver.running.fitted import Fitted, quoted
from palaver.running.fitting import Fitting
from palaver.running.keeping import Hurry, completed, cut, failed, final, keep_batches, keep_end
from palaver.running.needs import Asked
from palaver.stores.base import Ending, Store, Tried

__all__ = ["Asked", "Beginning", "Fitting", "RunningTurn", "may_pass"]

log = structlog.get_logger(__name__)


class RunningTurn:
    """Runs one turn. `store` is None for a turn that is not stored. What is `asked` are the request's own parameters;
    each `model` that is asked adds its defaults.

    The turn waits for what it begins with (`begin`), and until then its window has no messages: `fitting` chooses
    them. A reply that goes on with another begins with that one's text.
    """

    def __init__(
        self,
        *,
        asked: Asked,
        model: Model,
        fitting: Fitting,
        on_leave: Literal["finish", "grace"],
        store: Store | None,
        lease: str,
        clock: Callable[[], float],
        log_interval: float,
        on_left: Callable[[RunningTurn], None],
        begin: Callable[[], Awaitable[Beginning]],
    ) -> None:
        self.window = window = asked.window
        self.model = model
        self.on_leave = on_leave
        self.limited = asked.parameters.max_tokens is not None
        self.store = store
        self.live = LiveReply(
            turn=window.turn,
            conversation=window.conversation,
            model=model.name,
            created=ids.seconds_of(window.turn),
            on_left=lambda: on_left(self),
            holds=asked.logs_first and store is not None,
        )
        self.task: asyncio.Task[None]
        self._asked = asked
        self._fitting = fitting
        self.fitted: Fitted | None = None
        """What its model is shown; None until that is known."""
        self._begin = begin
        self._lease = lease
        self._clock = clock
        self._log_interval = log_interval
        self._generating: asyncio.Task[Finish] | None = None
        self._stopped: tuple[TurnState, str | None] | None = None
        self._alone_limit: int | None = None
        self._first_token_at: int | None = None
        self._first_text_at: int | None = None
        self._tried: list[Tried] = []
        self._served_as: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._hurry = Hurry()
        self.may_keep = asked.may_keep
        """Whether anything that is computed of it may be kept, once there is more of its conversation."""
        self.is_unwanted = False  # what it is about is being deleted
        self.in_background = False  # nobody is expected to read it before its end
        self.left = False
        """Whether its last reader has left it, and is expected back no more."""

    def is_about(self, conversations: Collection[str]) -> bool:
        """Whether it is in one of these conversations (ids), or its model was shown something of them."""
        return self.window.conversation in conversations or not self.quoted.isdisjoint(conversations)

    @property
    def quoted(self) -> set[str]:
        """The other conversations (ids) that its model was shown something of."""
        return quoted(self.fitted)

    def start(self, on_end: Callable[[], object]) -> None:
        """Begin; `on_end` is called when the turn has ended and been stored."""
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda _: on_end())

    def stop(self, state: TurnState, reason: str | None = None) -> None:
        """End it as cancelled or incomplete, with the text so far. One that has ended stays as it is."""
        if self._stopped is None and self.live.outcome is None:
            self._stopped = (state, reason)
            if self._generating is not None:
                self._generating.cancel()

    def after(self, seconds: float, call: Callable[[RunningTurn], None]) -> None:
        """Call back then, unless the turn has ended by that time. One such call is kept, the last."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, call, self)

    def limit_while_alone(self, deltas: int) -> None:
        """End it once it has so many deltas (about one a token) and nobody reads."""
        self._alone_limit = deltas

    def hurry(self) -> None:
        """palaver shuts down: try once more to store the end, and leave the rest to recovery."""
        self._hurry.give_up()

    async def stored(self, seconds: float) -> bool:
        """Whether its end is stored; where that has failed it is tried now, and waited for so long."""
        self._hurry.try_now()
        await asyncio.wait((self.task,), timeout=seconds)
        return self.task.done()

    async def _run(self) -> None:
        logging = asyncio.create_task(self._log(self.store)) if self.store else None
        outcome = await self._generate()
        if logging is not None:
            logging.cancel()
            (died,) = await asyncio.gather(logging, return_exceptions=True)
            if isinstance(died, Exception):
                log.error("the text of a reply was not logged", turn=self.window.turn, exc_info=died)
        self.live.receipt = final(self.live.receipt, outcome)
        at = int(self._clock() * 1000)
        try:
            if self.store is not None:
                await keep_end(self.store, self._ending(outcome, at), self.live, outcome, self._hurry)
            self.live.end(outcome, at // 1000)
        finally:
            # Only now: readers may leave until the very end, and each who does sets it anew.
            if self._timer is not None:
                self._timer.cancel()

    async def _generate(self) -> Outcome:
        """Run the engine to the end of the reply, whatever ends it."""
        self._generating = asyncio.create_task(self._drive())
        if self._stopped:
            self._generating.cancel()
        try:
            return completed(await self._generating)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._stopped is None and not (this and this.cancelling()):
                return failed(self.live, EngineError("The model gave up on the reply."))
            stopped = self._stopped or (TurnState.INCOMPLETE, "palaver was shut down.")
            return cut(self.live, *stopped, self._asked.parameters.n)
        except (EngineError, RequestError, StoreError) as error:
            if self._stopped is None:
                return failed(self.live, error)
            return cut(self.live, *self._stopped, self._asked.parameters.n)
        except Exception as error:
            # Whatever an engine did wrong, the turn must end and be stored with its text.
            log.exception("an engine failed in an unforeseen way", turn=self.window.turn)
            return failed(self.live, EngineError(f"The model failed to answer ({type(error).__name__})."))

    async def _drive(self) -> Finish:
        """The reply of the model that was asked for or, where that fails before its first token, of a fallback.

        Where all fail, the turn's error is the last of an engine that might have answered: that a fallback refuses
        what is asked is no news for whoever asked another model.
        """
        beginning = await self._begin()
        if beginning.continues is not None:
            self._asked = msgspec.structs.replace(self._asked, continues=beginning.continues.message)
        answering = Answering(self._asked, beginning, self._fitting, self._fit)
        failures: list[tuple[Model, PalaverError, Fitted | None]] = []
        for model in (self.model, *self.model.fallbacks):
            self.model, self.live.model, self.live.progress = model, model.name, model.progress
            self.fitted = self.live.receipt = None
            self.live.wait()
            try:
                return await self._hear(model, answering.answer(model, in_place_of_another=bool(failures)))
            except (EngineError, RequestError) as error:
                if self._first_token_at is not None or self._stopped or not (failures or may_pass(error)):
                    raise
                said = type(error).__name__  # not its words, which may quote the prompt: `tried` keeps them
                log.warning("a model failed before its first token", model=model.name, error=said)
                failures.append((model, error, self.fitted))
                self._tried = [Tried(each.name, why.public) for each, why, _ in failures]
        last = max(number for number, (_, error, _) in enumerate(failures) if may_pass(error))
        del self._tried[last]
        self.model, failure, self.fitted = failures[last]
        self.live.model = self.model.name
        self.live.receipt = self.fitted.receipt if self.fitted else None
        raise failure

    def _fit(self, fitted: Fitted) -> None:
        """This is the window that the model is about to be shown."""
        self._fitting.begun(fitted)
        self.window, self.fitted, self.live.receipt = fitted.window, fitted, fitted.receipt

    async def _hear(self, model: Model, answer: AsyncGenerator[EngineEvent, None]) -> Finish:
        """Publish what a model says, to its end."""
        async with contextlib.aclosing(answer) as events:
            async for event in events:
                match event:
                    case Accepted():
                        self.live.accept()
                    case InLine() | Prefilled():
                        self.live.wait(waiting_for(event))
                    case Finish():
                        self._tell_beginning()
                        self._served_as = event.model or model.served_as
                        return event
                    case ContentDelta() | ReasoningDelta() | ToolCallDelta():
                        if self._first_token_at is None:
                            self._first_token_at = int(self._clock() * 1000)
                            self._served_as = model.served_as
                            self._tell_beginning()
                        if self._first_text_at is None and isinstance(event, ContentDelta):
                            self._first_text_at = int(self._clock() * 1000)
                        self.live.publish(event)
                        self._check_alone()
                        if self._stopped:
                            # Where the cancellation strikes: an engine with much at hand may not wait for long.
                            await asyncio.sleep(0)
                    case _:
                        assert_never(event)
        raise EngineError("The model ended without saying so.")

    def _tell_beginning(self) -> None:
        """A reply that goes on with another is told whole: readers hear what is stored. It is with the first news, so
        that what fails before leaves no copy of the beginning."""
        continues = self._asked.continues
        if continues is not None and not self.live.events:
            for delta in deltas_of(Reply(content=continues.text, reasoning=continues.reasoning or "")):
                self.live.publish(delta)

    def _check_alone(self) -> None:
        if (
            self._alone_limit is not None
            and self.live.readers == 0
            and len(self.live.events) >= self._alone_limit
        ):
            self.stop(TurnState.INCOMPLETE, f"Nobody read it, so it ended at {self._alone_limit} tokens.")

    async def _log(self, store: Store) -> None:
        try:
            await keep_batches(
                store, self.live, self.window.turn, self._lease, self._log_interval, lambda: self.fitted
            )
        except LeaseLost:
            self.stop(TurnState.INCOMPLETE, "The turn was taken over by another process.")

    def _ending(self, outcome: Outcome, at: int) -> Ending:
        return Ending(
            turn=self.window.turn,
            lease=self._lease,
            state=outcome.state,
            replies=replies(self.live.events, [outcome.finish_reason, *outcome.others]),
            model=self.live.model,
            served_as=self._served_as,
            tried=self._tried,
            warnings=outcome.warnings,
            usage=outcome.usage,
            error_code=kept_name(outcome.error) if outcome.error else None,
            error_message=outcome.error.public if outcome.error else None,
            first_token_at=self._first_token_at,
            first_text_at=self._first_text_at,
            ended_at=at,
            epoch=self.fitted.epoch if self.fitted else None,
            receipt=self.live.receipt,
            recalls=self.fitted.recalls if self.fitted else [],
        )
