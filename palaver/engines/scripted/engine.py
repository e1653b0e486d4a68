"""The engine without a model. For its tokens see `palaver.engines.scripted`, for its script `Line`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import msgspec

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    UnsupportedParameter,
)
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import Accepted, EngineEvent, Finish, Prefilled, Usage
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Options
from palaver.engines.scripted.replying import Prompt, Said, said
from palaver.engines.scripted.script import Line, Script
from palaver.engines.scripted.tokens import prompt_tokens, text_tokens, words_of
from palaver.engines.scripted.vectors import DIMENSIONS, vector

PROMPTS_KEPT = 100
TOKENIZER = "scripted:1"
PREFILL_STEPS = 10


class ScriptedEngine:
    """Answers at once and always alike: the same window and options give the same reply.

    Without a script the reply names its number, the question and a hash of the window, so that any two
    windows have different replies: ``Reply 3 to: What is the time? [90f2c1ab]``; and so have the choices of one
    request. A call that is demanded, and JSON by a schema, is the least that fits; any JSON object is one with a
    `reply`. `script` is a file of JSON lines, see `Line`; only it makes text that fits a regular expression.
    `delay` is in seconds a token. `context` is in tokens; None is without limit.

    Raises ConfigError where the script cannot be read.
    """

    capabilities = SAMPLING | {
        "image_url",
        "video_url",
        "audio_url",
        "input_audio",
        "file",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "json_object",
        "json_schema",
        "regex",
        "reasoning",
        "reasoning_effort",
        "chat_template_kwargs",
        "logprobs",
        "echo",
        "count",
        "prefill",
        "completions",
        "embeddings",
    }
    """`max_tokens` and `stop` end a reply, `seed` changes one that no script gives. How likely tokens are changes
    nothing: there is but one reply to draw."""
    waiting = 0
    """Everybody is served at once."""

    def __init__(self, script: Path | None = None, delay: float = 0.0, context: int | None = None) -> None:
        self.prompts: list[Window] = []
        """The last windows it was given, at most `PROMPTS_KEPT`, newest last. A text to go on with is the one
        message of its window."""
        self.asked: list[Options] = []
        """With which options, each at the place of its window."""
        self._script = Script(script)
        self._delay = delay
        self._context = context
        self._closed = asyncio.Event()
        self._loading = (0.0, 0.0)
        """When it last began to be loaded, by the monotonic clock, and how long that takes."""

    @property
    def loading(self) -> float | None:
        """While a line of the script says that it is being loaded, how much of it is: from 0 to 1. None at all other
        times."""
        began, seconds = self._loading
        share = (time.monotonic() - began) / seconds if seconds else 1.0
        return share if share < 1 else None

    async def context_size(self, model: str) -> int | None:
        return self._context

    async def count(self, window: Window, options: Options) -> int | None:
        return prompt_tokens(window.messages, window.tools)

    def tokenizer(self, model: str) -> str | None:
        return TOKENIZER

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        return [prompt_tokens([message]) for message in messages]

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.generate`."""
        tokens = self._admit(window, options, prompt_tokens(window.messages, window.tools))
        messages, begun = window.messages, ""
        if options.prefill:
            messages, begun = messages[:-1], messages[-1].text
        prompt = Prompt(messages, window.tools)
        line = self._script.line(messages)
        shown = "\n".join(f"{message.role}: {message.text}" for message in window.messages)
        async for event in self._tell(line, prompt, options, tokens, begun, shown):
            yield event

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.complete`. The script's lines are looked through as for a question."""
        text = prompt if isinstance(prompt, str) else words_of(prompt)
        tokens = text_tokens(text) + text_tokens(suffix or "")
        messages = (Message("user", text),)
        self._admit(msgspec.structs.replace(window, messages=messages), options, tokens)
        most = options.parameters.max_tokens
        if self._context is not None and most is not None and tokens + most > self._context:
            raise ContextLengthExceeded(
                prompt_tokens=tokens, context_size=self._context, max_tokens=most, param="max_tokens"
            )
        whole = Prompt(messages, gap=suffix, is_text=True)
        async for event in self._tell(self._script.line(messages), whole, options, tokens, "", text):
            yield event

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        """See `palaver.engines.base.Engine.embed` and `palaver.engines.scripted.vectors`."""
        if dimensions is not None and not 1 <= dimensions <= DIMENSIONS:
            raise UnsupportedParameter(
                f"The vectors of this model have 1 to {DIMENSIONS} dimensions, not {dimensions}.",
                param="dimensions",
            )
        words = [text if isinstance(text, str) else words_of(text) for text in texts]
        lengths = [text_tokens(text) for text in words]
        self._admit(window, options, max(lengths, default=0))
        vectors = [vector(text, dimensions or DIMENSIONS) for text in words]
        return Embedded(vectors, sum(lengths))

    async def settle(self, window: Window, options: Options) -> bool:
        return False

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return 0

    async def kv_cache(self) -> KvCache | None:
        return None

    async def close(self) -> None:
        """Running replies break off at their next token; later requests are refused."""
        self._closed.set()

    def _admit(self, window: Window, options: Options, tokens: int) -> int:
        """Note the window, whose prompt has so many tokens."""
        if self._closed.is_set():
            raise EngineUnavailable("The engine is closed.")
        self.prompts.append(window)
        self.asked.append(options)
        del self.prompts[:-PROMPTS_KEPT], self.asked[:-PROMPTS_KEPT]
        if self._context is not None and tokens > self._context:
            raise ContextLengthExceeded(prompt_tokens=tokens, context_size=self._context)
        return tokens

    async def _tell(
        self, line: Line, prompt: Prompt, options: Options, tokens: int, begun: str, shown: str
    ) -> AsyncGenerator[EngineEvent, None]:
        """All replies to a prompt of so many `tokens`, which as text is `shown`; a token of each at a time."""
        action, after = line.failure
        if action == "unavailable":
            raise EngineUnavailable("The script says: unavailable.")
        if action == "refused":
            raise EngineRefused("The script says: refused.")
        parameters = options.parameters
        limit = self._limit(tokens, parameters)
        choices = [said(line, prompt, parameters, i, limit, begun) for i in range(parameters.n)]
        if line.loading:
            self._loading = (time.monotonic(), line.loading)
            await self._pass(line.loading)
        yield Accepted()
        for step in range(PREFILL_STEPS if line.prefill else 0):
            yield Prefilled(tokens * step // PREFILL_STEPS, tokens)
            await self._pass(line.prefill / PREFILL_STEPS)
        delay = self._delay if line.delay is None else line.delay
        done = 0
        for delta in chain.from_iterable(zip_longest(*(choice.deltas for choice in choices))):
            if delta is None:  # the reply of this choice was shorter
                continue
            if done == after:
                await self._fail(action)
            await asyncio.sleep(delay)
            self._check_open()
            yield delta
            done += 1
        if done <= after:
            await self._fail(action)
        first, *others = (choice.reason for choice in choices)
        yield Finish(
            first,
            _usage(tokens, choices),
            options.model,
            others=others,
            prompt=shown if parameters.echo else None,
        )

    def _limit(self, prompt: int, parameters: Parameters) -> int | None:
        room = None if self._context is None else self._context - prompt
        return min((limit for limit in (parameters.max_tokens, room) if limit is not None), default=None)

    async def _pass(self, seconds: float) -> None:
        """Let so many pass before anything is said."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
                raise EngineUnavailable("The engine is closed.")

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise EngineBroke("The engine was closed.")

    async def _fail(self, action: str | None) -> None:
        if action == "break":
            raise EngineBroke("The script says: break.")
        if action == "timeout":
            raise EngineTimeout("The script says: timeout.")
        if action == "stall":
            await self._closed.wait()
        self._check_open()


def _usage(prompt: int, choices: list[Said]) -> Usage:
    thought = sum(choice.thought for choice in choices)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=sum(len(choice.deltas) for choice in choices),
        reasoning_tokens=thought or None,
    )
