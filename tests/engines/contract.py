"""What every engine does: one suite, run for each of them by a class that says which engine.

A subclass gives the fixtures `engine` (a new engine, closed afterwards) and `options` (its model, and
sampling that gives the same reply for the same prompt, some words long). An engine whose model cannot tell
the two `HISTORIES` apart overrides them. What an engine can do only by its capabilities is asked only of those
that say they can.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

import msgspec
import pytest

from palaver.core.errors import ContextLengthExceeded, EngineError
from palaver.core.message import Message, Role, TextPart
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.reply import Reply, replies
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    EngineEvent,
    Finish,
    Prefilled,
    Progress,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
)
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Engine, Options

ROLES: tuple[Role, Role] = ("user", "assistant")
CAPABILITIES = SAMPLING | {
    "image_url",
    "video_url",
    "audio_url",
    "input_audio",
    "file",
    "remote_media",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "json_object",
    "json_schema",
    "regex",
    "grammar",
    "reasoning",
    "reasoning_effort",
    "chat_template_kwargs",
    "logprobs",
    "echo",
    "extra",
    "count",
    "prefill",
    "settle",
    "completions",
    "embeddings",
    "titles",
    "paid",
}
"""All the words there are; see `Engine.capabilities`."""


def window(*texts: str, turn: str = "turn-1") -> Window:
    """A conversation in which user and assistant say these texts in turn."""
    messages = tuple(Message(ROLES[i % 2], text) for i, text in enumerate(texts))
    return Window(owner="local", conversation=None, turn=turn, messages=messages)


async def collect(engine: Engine, prompt: Window, options: Options) -> list[EngineEvent]:
    """All events of one turn, without what it waits for."""
    return await all_of(engine.generate(prompt, options))


async def all_of(generator: AsyncGenerator[EngineEvent, None]) -> list[EngineEvent]:
    return [event for event in await told_of(generator) if not isinstance(event, Progress)]


async def told_of(generator: AsyncGenerator[EngineEvent, None]) -> list[EngineEvent]:
    """All events, whatever they tell of."""
    async with contextlib.aclosing(generator) as events:
        return [event async for event in events]


def text_of(events: Sequence[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ContentDelta))


def finish_of(events: Sequence[EngineEvent]) -> Finish:
    finish = events[-1]
    assert isinstance(finish, Finish)
    return finish


def replies_of(events: Sequence[EngineEvent]) -> list[Reply]:
    """The replies that the events of a whole turn make."""
    finish = finish_of(events)
    return replies([event for event in events if isinstance(event, Delta)], [finish.reason, *finish.others])


def logprobs_of(events: Sequence[EngineEvent]) -> list[TokenLogprob]:
    return [each for event in events if isinstance(event, ContentDelta) for each in event.logprobs]


def asking(options: Options, **changes: object) -> Options:
    """The options, with these parameters."""
    parameters: Parameters = msgspec.structs.replace(options.parameters, **changes)
    return msgspec.structs.replace(options, parameters=parameters)


class EngineContract:
    """Every test here holds for every engine."""

    QUESTION: ClassVar[str] = "Where is the castle of Edinburgh?"
    HISTORIES: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (
        ("My name is Anna.", "Hello Anna.", "What is my name?"),
        ("My name is Otto.", "Hello Otto.", "What is my name?"),
    )
    TOOL: ClassVar[Tool] = Tool(
        name="measure",
        description="Measures a thing.",
        parameters={
            "type": "object",
            "properties": {"unit": {"enum": ["metre", "mile"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    )
    OTHER_TOOL: ClassVar[Tool] = Tool(
        name="stop", parameters={"type": "object", "properties": {}, "additionalProperties": False}
    )

    async def test_events_come_in_order(self, engine: Engine, options: Options) -> None:
        told = await told_of(engine.generate(window(self.QUESTION), options))
        events = [event for event in told if not isinstance(event, Progress)]
        assert isinstance(events[0], Accepted)
        assert isinstance(events[-1], Finish)
        assert not any(isinstance(event, Accepted | Finish) for event in events[1:-1])
        assert all(event.text for event in events if isinstance(event, ContentDelta | ReasoningDelta))
        assert text_of(events)
        said = told[told.index(events[1]) :]
        assert not any(isinstance(event, Progress) for event in said), "nothing is waited for any more"
        assert all(0 <= event.done <= event.of for event in told if isinstance(event, Prefilled))

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
        finish = finish_of(await collect(engine, window(self.QUESTION), asking(options, max_tokens=1)))
        assert finish.reason == "length"
        assert finish.usage is not None
        assert finish.usage.completion_tokens == 1

    async def test_a_reply_ends_before_its_stop(self, engine: Engine, options: Options) -> None:
        whole = text_of(await collect(engine, window(self.QUESTION), options))
        middle = len(whole) // 2
        stop = whole[middle : middle + 3]
        events = await collect(engine, window(self.QUESTION), asking(options, stop=[stop]))
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
        counted = await engine.count(prompt, options)
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
        counts = [await engine.count(window("word " * n), options) for n in (2, 20)]
        assert counts == [None, None] or (counts[0] or 0) < (counts[1] or 0)

    async def test_messages_are_counted_one_by_one(self, engine: Engine, options: Options) -> None:
        """By a tokenizer with a name, and together they are about as long as the prompt that they make."""
        await engine.context_size(
            options.model
        )  # one that is elsewhere knows its model only when it was asked
        messages = [
            Message("user", "word " * 20),
            Message("assistant", ""),
            Message("user", [TextPart("two "), TextPart("words")]),
            Message("user", "word " * 40),
        ]
        counts = await engine.counts(messages, options)
        name = engine.tokenizer(options.model)
        assert (counts is None) is (name is None)
        if counts is None:
            return
        assert len(counts) == len(messages)
        assert counts[1] <= counts[2] < counts[0] < counts[3]
        assert await engine.counts(messages[2:3], options) == counts[2:3], "the others change nothing"
        whole = await engine.count(window("word " * 20, "word " * 20, "word " * 40), options)
        assert whole is not None
        together = 2 * counts[0] + counts[3]
        assert together <= whole <= together + 64
        assert await engine.counts([], options) == []

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
        assert engine.capabilities <= CAPABILITIES

    async def test_several_replies(self, engine: Engine, options: Options) -> None:
        one = finish_of(await collect(engine, window(self.QUESTION), options))
        events = await collect(engine, window(self.QUESTION), asking(options, n=3))
        assert isinstance(events[0], Accepted)
        finish, said = finish_of(events), replies_of(events)
        assert [bool(reply.content) for reply in said] == [True] * 3
        assert len(finish.others) == 2
        assert finish.usage is not None
        assert one.usage is not None
        assert finish.usage.prompt_tokens == one.usage.prompt_tokens, "the prompt is counted once"
        assert finish.usage.completion_tokens >= len(said)

    async def test_each_of_several_replies_ends_at_max_tokens(self, engine: Engine, options: Options) -> None:
        finish = finish_of(await collect(engine, window(self.QUESTION), asking(options, n=2, max_tokens=2)))
        assert [finish.reason, *finish.others] == ["length", "length"]
        assert finish.usage is not None
        assert finish.usage.completion_tokens == 4

    async def test_closing_ends_all_of_several_replies(self, engine: Engine, options: Options) -> None:
        for _ in range(3):
            several = engine.generate(window(self.QUESTION), asking(options, n=3))
            async with contextlib.aclosing(several) as events:
                async for event in events:
                    if isinstance(event, ContentDelta | ReasoningDelta):
                        break
        assert text_of(await collect(engine, window(self.QUESTION), options))
        assert engine.waiting == 0

    async def test_a_call_can_be_forced(self, engine: Engine, options: Options) -> None:
        if not {"tools", "tool_choice"} <= engine.capabilities:
            return
        prompt = msgspec.structs.replace(window(self.QUESTION), tools=(self.OTHER_TOOL, self.TOOL))
        for choice in ("required", NamedTool(self.TOOL.name)):
            events = await collect(engine, prompt, asking(options, tool_choice=choice))
            pieces = [event for event in events if isinstance(event, ToolCallDelta)]
            began = {piece.index: piece for piece in reversed(pieces)}
            assert all(piece.id and piece.name for piece in began.values()), "the first piece says what it is"
            calls = replies_of(events)[0].tool_calls
            assert calls
            assert finish_of(events).reason == "tool_calls"
            for call in calls:
                assert isinstance(msgspec.json.decode(call.function.arguments), dict)
            if isinstance(choice, NamedTool):
                assert {call.function.name for call in calls} == {self.TOOL.name}
                arguments = msgspec.json.decode(calls[0].function.arguments)
                assert arguments["unit"] in ("metre", "mile")

    async def test_tools_make_the_prompt_longer(self, engine: Engine, options: Options) -> None:
        if not {"tools", "count"} <= engine.capabilities:
            return
        prompt = window(self.QUESTION)
        counts = [
            await engine.count(each, options)
            for each in (prompt, msgspec.structs.replace(prompt, tools=(self.TOOL,)))
        ]
        assert counts == [None, None] or (counts[0] or 0) < (counts[1] or 0)

    async def test_a_json_object(self, engine: Engine, options: Options) -> None:
        if "json_object" not in engine.capabilities:
            return
        events = await collect(
            engine, window(self.QUESTION), asking(options, format=Format(type="json_object"))
        )
        if finish_of(events).reason == "stop":  # a model may be cut off in the middle of one
            assert isinstance(msgspec.json.decode(text_of(events)), dict)
        else:
            assert text_of(events).lstrip().startswith("{")

    async def test_json_by_a_schema(self, engine: Engine, options: Options) -> None:
        if "json_schema" not in engine.capabilities:
            return
        form = Format(type="json_schema", name="length", schema=self.TOOL.parameters)
        events = await collect(engine, window(self.QUESTION), asking(options, format=form))
        assert msgspec.json.decode(text_of(events))["unit"] in ("metre", "mile")
        assert finish_of(events).reason == "stop"

    async def test_logprobs(self, engine: Engine, options: Options) -> None:
        assert not logprobs_of(await collect(engine, window(self.QUESTION), options))
        if "logprobs" not in engine.capabilities:
            return
        for wanted in (0, 2):
            events = await collect(engine, window(self.QUESTION), asking(options, logprobs=wanted))
            told = logprobs_of(events)
            assert told
            assert all(each.logprob <= 0 and math.isfinite(each.logprob) for each in told)
            assert all(len(each.top) <= max(wanted, 1) for each in told)
            assert wanted == 0 or any(each.top for each in told)

    async def test_the_prompt_is_echoed(self, engine: Engine, options: Options) -> None:
        assert finish_of(await collect(engine, window(self.QUESTION), options)).prompt is None
        if "echo" in engine.capabilities:
            finish = finish_of(await collect(engine, window(self.QUESTION), asking(options, echo=True)))
            assert self.QUESTION in (finish.prompt or "")

    async def test_a_text_is_gone_on_with(self, engine: Engine, options: Options) -> None:
        if "completions" not in engine.capabilities:
            return
        short = asking(options, max_tokens=3, n=2)
        events = await all_of(engine.complete("Once upon a time", None, window(), short))
        assert isinstance(events[0], Accepted)
        assert not any(isinstance(event, Accepted | Finish) for event in events[1:-1])
        assert [bool(reply.content) for reply in replies_of(events)] == [True, True]
        usage = finish_of(events).usage
        assert usage is not None
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens <= 6
        again = await all_of(engine.complete("Once upon a time", None, window(), short))
        assert replies_of(again)[0].content == replies_of(events)[0].content

    async def test_texts_become_vectors(self, engine: Engine, options: Options) -> None:
        if "embeddings" not in engine.capabilities:
            return
        texts = ["The castle stands on a rock.", "A boat is on the sea.", "The castle stands on a rock."]
        embedded = await engine.embed(texts, None, window(), options)
        first, second, third = embedded.vectors
        assert len(first) == len(second) > 0
        assert first == pytest.approx(third)
        assert first != pytest.approx(second)
        assert embedded.prompt_tokens > 0

    async def test_it_may_be_closed_twice(self, engine: Engine, options: Options) -> None:
        await collect(engine, window(self.QUESTION), asking(options, max_tokens=1))
        await engine.close()
        await engine.close()
        with pytest.raises(EngineError):
            await collect(engine, window(self.QUESTION), options)
