"""What every engine does: one suite, run for each of them by a class that says which engine.

A subclass gives the fixtures `engine` (a new engine, closed afterwards) and `options` (its model, and
sampling that gives the same reply for the same prompt, some words long). An engine whose model cannot tell
the two `HISTORIES` apart overrides them.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import pytest

from palaver.core.errors import ContextLengthExceeded, EngineError
from palaver.core.message import Message, Role
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, Finish, ReasoningDelta
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Engine, Options

ROLES: tuple[Role, Role] = ("user", "assistant")


def window(*texts: str, turn: str = "turn-1") -> Window:
    """A conversation in which user and assistant say these texts in turn."""
    messages = tuple(Message(ROLES[i % 2], text) for i, text in enumerate(texts))
    return Window(owner="local", conversation=None, turn=turn, messages=messages)


async def collect(engine: Engine, prompt: Window, options: Options) -> list[EngineEvent]:
    """All events of one reply."""
    async with contextlib.aclosing(engine.generate(prompt, options)) as events:
        return [event async for event in events]


def text_of(events: Sequence[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ContentDelta))


def finish_of(events: Sequence[EngineEvent]) -> Finish:
    finish = events[-1]
    assert isinstance(finish, Finish)
    return finish


def with_sampling(options: Options, **changes: object) -> Options:
    sampling = msgspec.structs.replace(options.sampling, **changes)
    return msgspec.structs.replace(options, sampling=sampling)


class EngineContract:
    """Every test here holds for every engine."""

    QUESTION: ClassVar[str] = "Where is the castle of Edinburgh?"
    HISTORIES: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (
        ("My name is Anna.", "Hello Anna.", "What is my name?"),
        ("My name is Otto.", "Hello Otto.", "What is my name?"),
    )

    async def test_events_come_in_order(self, engine: Engine, options: Options) -> None:
        events = await collect(engine, window(self.QUESTION), options)
        assert isinstance(events[0], Accepted)
        assert isinstance(events[-1], Finish)
        assert not any(isinstance(event, Accepted | Finish) for event in events[1:-1])
        assert all(event.text for event in events if isinstance(event, ContentDelta | ReasoningDelta))
        assert text_of(events)

    async def test_usage_is_counted(self, engine: Engine, options: Options) -> None:
        usage = finish_of(await collect(engine, window(self.QUESTION), options)).usage
        assert usage is not None
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens > 0
        assert usage.cached_tokens is None or 0 <= usage.cached_tokens <= usage.prompt_tokens

    async def test_the_same_prompt_has_the_same_reply(self, engine: Engine, options: Options) -> None:
        """What the tests of `stop` and of the history rest on."""
        first = await collect(engine, window(self.QUESTION), options)
        assert text_of(await collect(engine, window(self.QUESTION), options)) == text_of(first)

    async def test_max_tokens_ends_a_reply(self, engine: Engine, options: Options) -> None:
        finish = finish_of(await collect(engine, window(self.QUESTION), with_sampling(options, max_tokens=1)))
        assert finish.reason == "length"
        assert finish.usage is not None
        assert finish.usage.completion_tokens == 1

    async def test_a_reply_ends_before_its_stop(self, engine: Engine, options: Options) -> None:
        whole = text_of(await collect(engine, window(self.QUESTION), options))
        middle = len(whole) // 2
        stop = whole[middle : middle + 3]
        events = await collect(engine, window(self.QUESTION), with_sampling(options, stop=[stop]))
        assert text_of(events) == whole[: whole.index(stop)]
        assert finish_of(events).reason == "stop"

    async def test_the_history_matters(self, engine: Engine, options: Options) -> None:
        one, other = [text_of(await collect(engine, window(*texts), options)) for texts in self.HISTORIES]
        assert one != other

    async def test_a_closed_reply_frees_its_place(self, engine: Engine, options: Options) -> None:
        for _ in range(3):
            async with contextlib.aclosing(engine.generate(window(self.QUESTION), options)) as events:
                async for event in events:
                    if isinstance(event, ContentDelta | ReasoningDelta):
                        break
        assert text_of(await collect(engine, window(self.QUESTION), options))
        assert engine.waiting == 0

    async def test_a_cancelled_reply_frees_its_place(self, engine: Engine, options: Options) -> None:
        for _ in range(3):
            task = asyncio.create_task(collect(engine, window(self.QUESTION), options))
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert text_of(await collect(engine, window(self.QUESTION), options))
        assert engine.waiting == 0

    async def test_many_are_answered_at_once(self, engine: Engine, options: Options) -> None:
        prompts = [window(self.QUESTION, "Hm.", f"And number {i}?", turn=f"turn-{i}") for i in range(8)]
        replies = await asyncio.gather(*(collect(engine, prompt, options) for prompt in prompts))
        assert [bool(text_of(reply)) for reply in replies] == [True] * 8
        assert engine.waiting == 0

    async def test_a_count_is_what_the_reply_reports(self, engine: Engine, options: Options) -> None:
        prompt = window(*self.HISTORIES[0])
        counted = await engine.count(prompt, options.model)
        usage = finish_of(await collect(engine, prompt, options)).usage
        assert usage is not None
        assert counted in (None, usage.prompt_tokens)

    async def test_a_cut_reply_goes_on(self, engine: Engine, options: Options) -> None:
        if "prefill" not in engine.capabilities:
            return  # then it is never asked to
        whole = text_of(await collect(engine, window(self.QUESTION), options))
        start = whole[: whole.index(" ", len(whole) // 3)]
        more = await collect(
            engine, window(self.QUESTION, start), msgspec.structs.replace(options, prefill=True)
        )
        assert start + text_of(more) == whole
        as_history = await collect(engine, window(self.QUESTION, start), options)
        assert start + text_of(as_history) != whole

    async def test_a_longer_prompt_counts_more(self, engine: Engine, options: Options) -> None:
        counts = [await engine.count(window("word " * n), options.model) for n in (2, 20)]
        assert counts == [None, None] or (counts[0] or 0) < (counts[1] or 0)

    async def test_a_prompt_over_the_context_is_refused_with_both_numbers(
        self, engine: Engine, options: Options
    ) -> None:
        size = await engine.context_size(options.model)
        if size is None:
            return  # then the engine has no number to refuse by
        with pytest.raises(ContextLengthExceeded) as refused:
            await collect(engine, window("word " * (size + 8)), options)
        assert refused.value.context_size == size
        assert refused.value.prompt_tokens > size
        assert text_of(await collect(engine, window(self.QUESTION), options))

    async def test_a_window_is_not_changed(self, engine: Engine, options: Options) -> None:
        prompt = window(*self.HISTORIES[0])
        before = msgspec.msgpack.encode(prompt)
        await collect(engine, prompt, options)
        assert msgspec.msgpack.encode(prompt) == before

    async def test_it_says_what_it_honours(self, engine: Engine, options: Options) -> None:
        assert {"max_tokens", "stop"} <= engine.capabilities
        assert engine.capabilities <= SAMPLING | {"parts", "tools", "extra", "count", "prefill"}

    async def test_it_may_be_closed_twice(self, engine: Engine, options: Options) -> None:
        await collect(engine, window(self.QUESTION), with_sampling(options, max_tokens=1))
        await engine.close()
        await engine.close()
        with pytest.raises(EngineError):
            await collect(engine, window(self.QUESTION), options)
