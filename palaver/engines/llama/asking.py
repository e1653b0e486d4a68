"""What is asked of a worker over HTTP, and what its failures mean.

Requests hold only the fields that are listed here and in `prompt`: the worker's own API knows hundreds, some
of which name files or stall everybody else. It answers bad input with 400 or 500; both mean the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec
import structlog

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    PalaverError,
)
from palaver.engines.chat_stream import error_message
from palaver.engines.llama.workers import Worker

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
NATIVE = "/completion"
COUNT = "/v1/chat/completions/input_tokens"
RENDER = "/apply-template"
TOKENIZE = "/tokenize"
DETOKENIZE = "/detokenize"
EMBEDDINGS = "/v1/embeddings"
SLOTS = "/slots"
STREAMED = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
"""With progress the worker answers when it begins with the prompt, and finds out after each batch of it that
the reader has left."""
LOADING = 503
FIRST_LOOK = 0.005
LONGEST_PAUSE = 1.5
"""Seconds between looks at a slot that was left in mid-reply. The longest is over a second: the worker may
find out about a connection closed during a prefill only in a second in which nobody else is answered."""

log = structlog.get_logger(__name__)


class _ErrorBody(msgspec.Struct):
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Errors(msgspec.Struct):
    error: _ErrorBody


class _Count(msgspec.Struct):
    input_tokens: int


class _Prompt(msgspec.Struct):
    prompt: str


class _Text(msgspec.Struct):
    content: str


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Slot(msgspec.Struct):
    id: int
    is_processing: bool


class _Saved(msgspec.Struct):
    n_saved: int
    n_written: int


class _Restored(msgspec.Struct):
    n_restored: int


class _Erased(msgspec.Struct):
    n_erased: int


class Prefilled(msgspec.Struct, frozen=True):
    """How much of a prompt was there, and how much was computed, in tokens."""

    cache_n: int
    prompt_n: int


class _Timed(msgspec.Struct):
    timings: Prefilled


class Completion:
    """One request for a reply, from the moment it is sent until its slot is idle again."""

    def __init__(self, worker: Worker, slot: int, fields: dict[str, Any], path: str = CHAT) -> None:
        self._worker = worker
        self._slot = slot
        self._path = path
        # A task of its own: once sent, a request must not be lost from sight before the worker has it. One
        # that was would come to the slot at any later time, in the middle of whatever is there then.
        self._opening = asyncio.create_task(self._open(fields | STREAMED | {"id_slot": slot}))
        self._opening.add_done_callback(_look_at_failure)

    async def begun(self) -> None:
        """Wait until the worker has begun with it.

        Raises ContextLengthExceeded, EngineRefused, EngineUnavailable or EngineTimeout.
        """
        await asyncio.shield(self._opening)

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The event stream, once it has begun. Raises EngineBroke or EngineTimeout."""
        response = self._opening.result()
        try:
            async for data in response.content.iter_any():
                yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await _failure(self._worker, error, EngineBroke) from error
        finally:
            response.close()

    async def left(self) -> None:
        """Nobody reads it any more: wait until the worker has stopped working on it."""
        try:
            await asyncio.wait([self._opening])
        finally:
            self._opening.cancel()
        if self._opening.exception() is None:
            self._opening.result().close()
        pause = FIRST_LOOK
        while await _is_busy(self._worker, self._slot):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _open(self, fields: dict[str, Any]) -> aiohttp.ClientResponse:
        data = msgspec.json.encode(fields)
        await _check_open(self._worker)
        try:
            response = await self._worker.session.post(self._worker.base + self._path, data=data)
            if response.status != 200:
                raise _refusal(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await _failure(self._worker, error, EngineUnavailable) from error
        return response


def _look_at_failure(opening: asyncio.Task[aiohttp.ClientResponse]) -> None:
    """Whoever waited may have left: a failure that nobody hears of is none, and no warning of asyncio's."""
    if not opening.cancelled():
        opening.exception()


_T = TypeVar("_T")


async def ask(worker: Worker, path: str, fields: dict[str, Any], answer: type[_T]) -> _T:
    """What the worker answers, where that is no stream.

    Raises ContextLengthExceeded, EngineRefused, EngineUnavailable, EngineTimeout.
    """
    data = msgspec.json.encode(fields)
    await _check_open(worker)
    try:
        async with worker.session.post(worker.base + path, data=data) as response:
            body = await response.read()
            if response.status != 200:
                raise _refusal(response.status, body)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise await _failure(worker, error, EngineUnavailable) from error
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.MsgspecError as error:
        raise EngineRefused(f"{worker.called} answers otherwise than it should.", status=502) from error


async def count(worker: Worker, prompt: dict[str, Any]) -> int:
    """How long the prompt is, in tokens. Raises what `ask` does."""
    return (await ask(worker, COUNT, prompt, _Count)).input_tokens


async def render(worker: Worker, prompt: dict[str, Any]) -> str:
    """The prompt as the model reads it. Raises what `ask` does."""
    return (await ask(worker, RENDER, prompt, _Prompt)).prompt


async def count_text(worker: Worker, text: str) -> int:
    """How long a text is as a prompt, in tokens. Raises what `ask` does."""
    return len(await tokens_of(worker, text))


async def tokenize(worker: Worker, pieces: list[Any]) -> list[int]:
    """The tokens of texts, and numbers among them as they are. Raises what `ask` does."""
    asked = {"content": pieces, "add_special": False, "parse_special": False}
    return (await ask(worker, TOKENIZE, asked, _Tokens)).tokens


async def tokens_of(worker: Worker, prompt: str) -> list[int]:
    """The tokens of a prompt's text, as the worker itself reads it. Raises what `ask` does."""
    asked = {"content": prompt, "add_special": True, "parse_special": True}
    return (await ask(worker, TOKENIZE, asked, _Tokens)).tokens


async def prefill(worker: Worker, slot: int, tokens: Sequence[int], *, reuse: bool) -> Prefilled:
    """Have a slot hold exactly these tokens, and generate nothing. Raises what `ask` does.

    What the slot held beyond what both begin with is gone.
    """
    fields = {"prompt": tokens, "n_predict": 0, "id_slot": slot, "cache_prompt": reuse}
    return (await ask(worker, NATIVE, fields, _Timed)).timings


async def save(worker: Worker, slot: int, name: str) -> tuple[int, int]:
    """Write what a slot holds into a file of the worker's folder; how many tokens and bytes that are.

    Raises what `ask` does; the file may be there then, cut off.
    """
    saved = await ask(worker, f"{SLOTS}/{slot}?action=save", {"filename": name}, _Saved)
    return saved.n_saved, saved.n_written


async def restore(worker: Worker, slot: int, name: str) -> int:
    """Have a slot hold what was saved in a file; how many tokens. The worker dies of a file that is cut off.

    Raises what `ask` does.
    """
    return (await ask(worker, f"{SLOTS}/{slot}?action=restore", {"filename": name}, _Restored)).n_restored


async def erase(worker: Worker, slot: int) -> None:
    """Have a slot hold nothing. Raises what `ask` does."""
    await ask(worker, f"{SLOTS}/{slot}?action=erase", {}, _Erased)


async def detokenize(worker: Worker, tokens: list[int]) -> str:
    """The text of these tokens. Raises what `ask` does."""
    return (await ask(worker, DETOKENIZE, {"tokens": tokens}, _Text)).content


async def _is_busy(worker: Worker, slot: int) -> bool:
    """Whether the slot works on something. A worker that has ended, or is given up, does not."""
    if not worker.alive:
        return False
    try:
        async with worker.session.get(worker.base + SLOTS) as response:
            body = await response.read()
            if response.status != 200:
                return False  # a server of the user's own need not tell
            states = msgspec.json.decode(body, type=list[_Slot])
    except (aiohttp.ClientError, TimeoutError) as error:
        # What was left there concerns nobody any more; whoever comes next hears of a worker that is gone.
        failure = await _failure(worker, error, EngineUnavailable)
        log.warning("a slot could not be looked at", worker=worker.called, reason=failure.message)
        return False
    return any(state.is_processing for state in states if state.id == slot)


async def _check_open(worker: Worker) -> None:
    """Raises EngineUnavailable for a worker that has ended, and whose connections are closed for good."""
    if worker.session.closed:
        raise EngineUnavailable(f"{worker.called} {await worker.how_it_ended() or 'has ended'}.")


def _refusal(status: int, body: bytes) -> PalaverError:
    """What an answer that is not 200 means."""
    message = error_message(body)
    if status == LOADING:
        return EngineUnavailable(message)
    try:
        error = msgspec.json.decode(body, type=_Errors).error
    except msgspec.DecodeError:
        return EngineRefused(message)
    if error.n_prompt_tokens is not None and error.n_ctx is not None:
        return ContextLengthExceeded(prompt_tokens=error.n_prompt_tokens, context_size=error.n_ctx)
    return EngineRefused(message)


async def _failure(worker: Worker, error: Exception, kind: type[EngineError]) -> EngineError:
    """What it means that an answer broke off (`kind`) or never came. A worker that hangs is killed."""
    if isinstance(error, TimeoutError):
        seconds = worker.stall_timeout
        worker.give_up(f"said nothing for {seconds:g} seconds and was stopped")
        return EngineTimeout(f"The model said nothing for {seconds:g} seconds and was given up.")
    how = await worker.how_it_ended()
    if how is None and isinstance(error, aiohttp.ClientConnectorError):
        how = "did not accept a connection and was stopped"
        worker.give_up(how)
    return kind(f"{worker.called} {how or 'closed the connection'}.")
