"""One turn in the hands of this process: from admitted to ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Literal, assert_never

import msgspec
import structlog

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineError,
    LeaseLost,
    PalaverError,
    RequestError,
    StoreError,
)
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
from palaver.stores.base import Ending, Store

log = structlog.get_logger(__name__)

TEMPLATE_TOKENS = 512
"""What a template may add to a prompt, in tokens; for the estimate that spares a count. An engine that gets too
long a prompt all the same refuses it with its own count."""
FINISH_RETRIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts to store the end of a turn; the last of them again and again."""


class RunningTurn:
    """Runs one turn. `store` is None for a turn that is not stored."""

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
            created=int(clock()),
            on_left=lambda: on_left(self),
        )
        self.task: asyncio.Task[None]
        self._sampling = sampling
        self._lower_max_tokens = lower_max_tokens
        self._reasoning = reasoning
        self._extra = extra
        self._lease = lease
        self._clock = clock
        self._log_interval = log_interval
        self._generating: asyncio.Task[Finish] | None = None
        self._stopped: tuple[TurnState, str | None] | None = None
        self._alone_limit: int | None = None
        self._first_token_at: int | None = None
        self._logged = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_try = asyncio.Event()
        self.left = False
        """Whether a reader has left it, or its caller before there was one."""

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
        self._last_try.set()

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
                await self._finish(self.store, outcome)
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
        except (EngineError, RequestError) as error:
            return self._failed(error) if self._stopped is None else self._cut(*self._stopped)
        except Exception as error:
            # Whatever an engine did wrong, the turn must end and be stored with its text.
            log.exception("an engine failed in an unforeseen way", turn=self.window.turn)
            return self._failed(EngineError(f"The model failed to answer ({type(error).__name__})."))

    def _cut(self, state: TurnState, reason: str | None) -> Outcome:
        error = EngineError(reason) if reason else None
        return Outcome(state=state, finish_reason=None if reason else "stop", error=error)

    def _failed(self, error: PalaverError) -> Outcome:
        state = TurnState.INCOMPLETE if self.live.events else TurnState.FAILED
        return Outcome(state=state, error=error)

    async def _drive(self) -> Finish:
        sampling = await self._fit()
        options = Options(
            model=self.model.served_as, sampling=sampling, reasoning=self._reasoning, extra=self._extra
        )
        async with contextlib.aclosing(self.model.engine.generate(self.window, options)) as events:
            async for event in events:
                match event:
                    case Accepted():
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

    def _check_alone(self) -> None:
        if (
            self._alone_limit is not None
            and self.live.readers == 0
            and len(self.live.events) >= self._alone_limit
        ):
            self.stop(TurnState.INCOMPLETE, f"Nobody read it, so it ended at {self._alone_limit} tokens.")

    async def _fit(self) -> Sampling:
        """The sampling that fits the context. Raises ContextLengthExceeded with both numbers."""
        engine, model, sampling = self.model.engine, self.model.served_as, self._sampling
        if "count" not in engine.capabilities:
            return sampling  # it refuses what is too long in its own time and words
        size = self.model.context_size or await engine.context_size(model)
        wanted = sampling.max_tokens or 0
        if size is None or self._at_most() + wanted <= size:
            return sampling
        count = await engine.count(self.window, model)
        if count is None or (count + wanted <= size and count < size):
            return sampling
        if count >= size:
            raise ContextLengthExceeded(prompt_tokens=count, context_size=size)
        if not self._lower_max_tokens:
            raise ContextLengthExceeded(
                prompt_tokens=count, context_size=size, max_tokens=wanted, param="max_tokens"
            )
        return msgspec.structs.replace(sampling, max_tokens=size - count)

    def _at_most(self) -> int:
        """More tokens than the prompt can have: no tokenizer makes more than one of a byte, and a message's
        braces and field names here outweigh what templates put around it."""
        return TEMPLATE_TOKENS + len(msgspec.json.encode(self.window.messages))

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

    async def _finish(self, store: Store, outcome: Outcome) -> None:
        """Store the end. Where the store fails, readers hear that at once, and it is tried until it works."""
        ending = self._ending(outcome)
        for wait in itertools.chain(FINISH_RETRIES, itertools.repeat(FINISH_RETRIES[-1])):
            try:
                await store.finish(ending)
                return
            except LeaseLost as error:
                self.live.end(Outcome(state=TurnState.INCOMPLETE, error=error))
                return
            except StoreError as error:
                log.error("the end of a turn could not be stored", turn=self.window.turn, error=error.message)
                self.live.end(Outcome(state=outcome.state, error=error))
            except Exception:
                # Whatever a store did wrong, readers must hear an end; recovery closes the turn at the next start.
                log.exception("a store failed in an unforeseen way", turn=self.window.turn)
                self.live.end(Outcome(state=outcome.state, error=StoreError()))
                return
            if self._last_try.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._last_try.wait()

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
            error_message=error.message if error else None,
            deltas=self.live.deltas,
            first_token_at=self._first_token_at,
        )
