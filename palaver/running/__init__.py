"""One turn in the hands of this process: from admitted to ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal, assert_never

import msgspec
import structlog

from palaver.core import ids
from palaver.core.errors import (
    EngineError,
    LeaseLost,
    PalaverError,
    RequestError,
    StoreError,
    TurnCancelled,
    UnsupportedParameter,
)
from palaver.core.message import Message
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    Finish,
    ReasoningDelta,
    Sampling,
    ToolCalls,
    TurnState,
)
from palaver.core.window import Window
from palaver.engines.base import Model, Options
from palaver.live import LiveReply, Outcome
from palaver.running.beginning import Beginning
from palaver.running.fitting import fit
from palaver.running.keeping import Hurry, keep_end
from palaver.stores.base import Ending, Store

__all__ = ["Beginning", "RunningTurn"]

log = structlog.get_logger(__name__)


class RunningTurn:
    """Runs one turn. `store` is None for a turn that is not stored.

    With `begin` the turn waits for that first, and its window has no messages until then. A reply that goes on
    with another begins with that one's text.
    """

    def __init__(
        self,
        *,
        window: Window,
        model: Model,
        sampling: Sampling,
        lower_max_tokens: bool,
        limited: bool,
        reasoning: Literal[False] | None,
        extra: dict[str, Any],
        on_leave: Literal["finish", "grace"],
        store: Store | None,
        lease: str,
        clock: Callable[[], float],
        log_interval: float,
        on_left: Callable[[RunningTurn], None],
        begin: Callable[[], Awaitable[Beginning]] | None = None,
    ) -> None:
        self.window = window
        self.model = model
        self.on_leave = on_leave
        self.limited = limited
        self.store = store
        self.live = LiveReply(
            turn=window.turn,
            conversation=window.conversation,
            model=model.name,
            created=ids.seconds_of(window.turn),
            on_left=lambda: on_left(self),
        )
        self.task: asyncio.Task[None]
        self._sampling = sampling
        self._lower_max_tokens = lower_max_tokens
        self._reasoning = reasoning
        self._extra = extra
        self._continues: Message | None = None
        self._begin = begin
        self._lease = lease
        self._clock = clock
        self._log_interval = log_interval
        self._generating: asyncio.Task[Finish] | None = None
        self._stopped: tuple[TurnState, str | None] | None = None
        self._alone_limit: int | None = None
        self._first_token_at: int | None = None
        self._logged = 0
        self._timer: asyncio.TimerHandle | None = None
        self._hurry = Hurry()
        self.left = False
        """Whether its last reader has left it, and is expected back no more."""

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
        logging = asyncio.create_task(self._log()) if self.store else None
        outcome = await self._generate()
        if logging is not None:
            logging.cancel()
            (died,) = await asyncio.gather(logging, return_exceptions=True)
            if isinstance(died, Exception):
                log.error("the text of a reply was not logged", turn=self.window.turn, exc_info=died)
        try:
            if self.store is not None:
                await keep_end(self.store, self._ending(outcome), self.live, outcome, self._hurry)
            self.live.end(outcome)
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
            finish = await self._generating
            return Outcome(state=TurnState.COMPLETED, finish_reason=finish.reason, usage=finish.usage)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._stopped is None and not (this and this.cancelling()):
                return self._failed(EngineError("The model gave up on the reply."))
            return self._cut(*(self._stopped or (TurnState.INCOMPLETE, "palaver was shut down.")))
        except (EngineError, RequestError, StoreError) as error:
            return self._failed(error) if self._stopped is None else self._cut(*self._stopped)
        except Exception as error:
            # Whatever an engine did wrong, the turn must end and be stored with its text.
            log.exception("an engine failed in an unforeseen way", turn=self.window.turn)
            return self._failed(EngineError(f"The model failed to answer ({type(error).__name__})."))

    def _cut(self, state: TurnState, reason: str | None) -> Outcome:
        if state is TurnState.CANCELLED and (reason or not self.live.events):
            return Outcome(state=state, error=TurnCancelled(reason))
        error = EngineError(reason) if reason else None
        return Outcome(state=state, finish_reason=None if reason else "stop", error=error)

    def _failed(self, error: PalaverError) -> Outcome:
        state = TurnState.INCOMPLETE if self.live.events else TurnState.FAILED
        return Outcome(state=state, error=error)

    async def _drive(self) -> Finish:
        if self._begin is not None:
            beginning = await self._begin()
            self.window = msgspec.structs.replace(self.window, messages=beginning.messages)
            self._continues = beginning.continues
        if self._continues is not None and "prefill" not in self.model.engine.capabilities:
            raise UnsupportedParameter(
                f"The model {self.model.name} cannot go on with a reply that was cut off; have it answer again.",
                param="parent",
            )
        sampling = await fit(self.window, self.model, self._sampling, lower_max_tokens=self._lower_max_tokens)
        options = Options(
            model=self.model.served_as,
            sampling=sampling,
            reasoning=self._reasoning,
            prefill=self._continues is not None,
            extra=self._extra,
        )
        async with contextlib.aclosing(self.model.engine.generate(self.window, options)) as events:
            async for event in events:
                match event:
                    case Accepted():
                        self._tell_beginning()
                        self.live.accept()
                    case Finish():
                        return event
                    case ContentDelta() | ReasoningDelta() | ToolCalls():
                        if self._first_token_at is None:
                            self._first_token_at = int(self._clock() * 1000)
                        self.live.publish(event)
                        self._check_alone()
                        if self._stopped:
                            # Where the cancellation strikes: an engine with much at hand may not wait for long.
                            await asyncio.sleep(0)
                    case _:
                        assert_never(event)
        raise EngineError("The model ended without saying so.")

    def _tell_beginning(self) -> None:
        """A reply that goes on with another is told whole, so that what readers hear is what is stored."""
        if self._continues is not None:
            if self._continues.reasoning:
                self.live.publish(ReasoningDelta(self._continues.reasoning))
            if self._continues.text:
                self.live.publish(ContentDelta(self._continues.text))

    def _check_alone(self) -> None:
        if (
            self._alone_limit is not None
            and self.live.readers == 0
            and len(self.live.events) >= self._alone_limit
        ):
            self.stop(TurnState.INCOMPLETE, f"Nobody read it, so it ended at {self._alone_limit} tokens.")

    async def _log(self) -> None:
        """Keep what has come, in batches, so that it outlives this process."""
        batch = 0
        while True:
            await asyncio.sleep(self._log_interval)
            deltas: list[Delta] = self.live.deltas[self._logged :]
            if not deltas or self.store is None:
                continue
            try:
                await self.store.log(self.window.turn, self._lease, batch, deltas)
            except LeaseLost:
                self.stop(TurnState.INCOMPLETE, "The turn was taken over by another process.")
                return
            except StoreError as error:
                log.warning(
                    "a batch of a reply could not be kept", turn=self.window.turn, error=error.message
                )
                continue
            self._logged += len(deltas)
            batch += 1

    def _ending(self, outcome: Outcome) -> Ending:
        error = outcome.error
        return Ending(
            turn=self.window.turn,
            lease=self._lease,
            state=outcome.state,
            content=self.live.content,
            reasoning=self.live.reasoning,
            tool_calls=[call for event in self.live.tool_calls for call in event.calls] or None,
            finish_reason=outcome.finish_reason,
            usage=outcome.usage,
            error_code=type(error).__name__ if error else None,
            error_message=error.public if error else None,
            deltas=self.live.deltas,
            first_token_at=self._first_token_at,
        )
