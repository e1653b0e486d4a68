"""Storing a turn: what has come of it while it runs, and its end, however often that takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable

import msgspec
import structlog

from palaver.core.errors import EngineError, LeaseLost, PalaverError, StoreError, StoreRefused, TurnCancelled
from palaver.core.receipt import Receipt
from palaver.core.turn import Finish, TurnState
from palaver.live import LiveReply, Outcome
from palaver.running.fitted import Fitted
from palaver.stores.base import Ending, Store

log = structlog.get_logger(__name__)

FINISH_RETRIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts to store the end of a turn; the last of them again and again."""


class Hurry:
    """Has what is tried again and again be tried at once, and with `give_up` for the last time."""

    def __init__(self) -> None:
        self._now = asyncio.Event()
        self.gave_up = False

    def try_now(self) -> None:
        self._now.set()

    def give_up(self) -> None:
        self.gave_up = True
        self._now.set()

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody is in a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._now.wait()
        self._now.clear()


def final(receipt: Receipt | None, outcome: Outcome) -> Receipt | None:
    """The receipt of a turn that has ended: with what its engine counted, and what is to be known of that."""
    if receipt is None:
        return None
    usage = outcome.usage
    return msgspec.structs.replace(
        receipt,
        prompt_tokens=usage.prompt_tokens if usage else receipt.prompt_tokens,
        cached_tokens=usage.cached_tokens if usage else receipt.cached_tokens,
        counted="engine" if usage else receipt.counted,
        warnings=[*outcome.warnings, *outcome.marks],
    )


def completed(finish: Finish) -> Outcome:
    """How a turn ends that its model has ended."""
    return Outcome(
        state=TurnState.COMPLETED,
        finish_reason=finish.reason,
        usage=finish.usage,
        others=list(finish.others),
        warnings=finish.warnings,
        marks=finish.marks,
        prompt=finish.prompt,
    )


def cut(live: LiveReply, state: TurnState, reason: str | None, replies: int) -> Outcome:
    """How a turn of so many `replies` ends that is stopped, for a reason or without one."""
    if state is TurnState.CANCELLED and (reason or not live.events):
        return Outcome(state=state, error=TurnCancelled(reason))
    if reason:
        return Outcome(state=state, error=EngineError(reason))
    return Outcome(state=state, finish_reason="stop", others=["stop"] * (replies - 1))


def failed(live: LiveReply, error: PalaverError) -> Outcome:
    """How a turn ends that an error ends: what it has said is kept."""
    return Outcome(state=TurnState.INCOMPLETE if live.events else TurnState.FAILED, error=error)


async def keep_end(store: Store, ending: Ending, live: LiveReply, outcome: Outcome, hurry: Hurry) -> None:
    """Store the end of a turn. Where the store fails, readers hear that at once, and it is tried until it works.

    Once somebody gives up it is tried no more; recovery closes the turn at the next start.
    """
    for wait in itertools.chain(FINISH_RETRIES, itertools.repeat(FINISH_RETRIES[-1])):
        try:
            await store.finish(ending)
            return
        except LeaseLost as error:
            live.end(Outcome(state=TurnState.INCOMPLETE, error=error))
            return
        except StoreRefused as error:
            log.error("the end of a turn was refused", turn=ending.turn, error=error.message)
            live.end(Outcome(state=outcome.state, error=error))
            await _close(store, ending, error)
            return
        except StoreError as error:
            log.error("the end of a turn could not be stored", turn=ending.turn, error=error.message)
            live.end(Outcome(state=outcome.state, error=error))
        except Exception:
            # Whatever a store did wrong, readers must hear an end.
            log.exception("a store failed in an unforeseen way", turn=ending.turn)
            live.end(Outcome(state=outcome.state, error=StoreError()))
            await _close(store, ending, StoreError())
            return
        if hurry.gave_up:
            return
        await hurry.wait(wait)


async def _close(store: Store, ending: Ending, error: StoreError) -> None:
    """What a store will never take must not keep the turns that wait for this one: close it without its reply."""
    bare = Ending(
        turn=ending.turn,
        lease=ending.lease,
        state=TurnState.INCOMPLETE,
        error_code=type(error).__name__,
        error_message=error.public,
    )
    try:
        await store.finish(bare)
    except Exception:
        # Nothing is left to be tried; recovery closes it at the next start.
        log.exception("a turn could not be closed", turn=ending.turn)


async def keep_batches(
    store: Store, live: LiveReply, turn: str, lease: str, interval: float, shown: Callable[[], Fitted | None]
) -> None:
    """Keep in batches what has come of a reply, and what its model is shown, so that both outlive this process.

    A reply that holds its text back is kept as it comes, and told once it is kept. Goes on until it is cancelled.
    Raises LeaseLost.
    """
    batch = logged = 0
    noted: Fitted | None = None
    while True:
        if live.holds and noted is not None:
            await live.news(logged)
        elif live.holds:  # a prompt may take long: what it shows is noted before anything comes of it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await live.news(logged)
        else:
            await asyncio.sleep(interval)
        deltas, fitted = live.events[logged:], shown()
        try:
            if fitted is not None and fitted is not noted:
                await store.note_window(turn, lease, fitted.epoch, fitted.receipt, fitted.recalls)
                noted = fitted
            if deltas:
                await store.log(turn, lease, batch, deltas)
                logged += len(deltas)
                live.release(logged)
                batch += 1
        except LeaseLost:
            raise
        except StoreError as error:
            log.warning("a reply's batch could not be kept", turn=turn, error=error.message)
            await asyncio.sleep(interval)
