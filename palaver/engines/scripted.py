"""An engine that answers without a model: for tests, yours too, for documentation and for benchmarks.

A token is a word with the space before it: a text costs one token for each space in it, and one more where
it does not begin with a space; empty text costs none. A message costs one token more than its texts (content,
thinking, arguments of calls), and one for each part that is not text. So counts, limits and contexts are
real, and a reader can check them by hand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from palaver.core.errors import (
    ConfigError,
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from palaver.core.message import Message, TextPart
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    EngineEvent,
    Finish,
    FinishReason,
    ReasoningDelta,
    Sampling,
    Usage,
)
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Options

PROMPTS_KEPT = 100
FIRST_WORDS = 8
"""As many words of the question stand in a reply that no script gives."""
TOKEN = re.compile(r" [^ ]*|[^ ]+")
FAILURE = re.compile(r"(unavailable|refused)|(break|stall|timeout)(?: after (\d+) tokens?)?")

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a script, as JSON.

    `reply` is the text, or null for one that depends on the history; `reasoning` the thinking before it.
    A line with `when` answers every request whose last user message holds that text, the first such line
    first. The others are used in their order, each for one request; after the last comes the first again.
    `delay` is in seconds a token, in place of the engine's own.

    `fail`: ``unavailable`` or ``refused`` before anything is said, or in mid-reply ``break after N tokens``,
    ``timeout after N tokens`` or ``stall after N tokens``, which says nothing more until it is stopped. N is
    1 where it is left out; a shorter reply fails at its end.
    """

    reply: str | None = None
    reasoning: str = ""
    when: str | None = None
    delay: float | None = None
    fail: str | None = None


class ScriptedEngine:
    """Answers at once and always alike: the same window and options give the same reply.

    Without a script the reply names its number, the question and a hash of the window, so that any two
    windows have different replies: ``Reply 3 to: What is the time? [90f2c1ab]``. `script` is a file of JSON
    lines, see `Line`. `delay` is in seconds a token. `context` is in tokens; None is without limit.

    Raises ConfigError where the script cannot be read.
    """

    capabilities = SAMPLING | {"parts", "tools", "count", "prefill"}
    """`max_tokens` and `stop` end a reply. Whatever else is set, there is but one reply to draw."""
    waiting = 0
    """Everybody is served at once."""

    def __init__(self, script: Path | None = None, delay: float = 0.0, context: int | None = None) -> None:
        self.prompts: list[Window] = []
        """The last windows it was given, at most `PROMPTS_KEPT`, newest last."""
        lines = _read(script) if script is not None else []
        self._conditional = [line for line in lines if line.when is not None]
        self._ordered = [line for line in lines if line.when is None]
        self._next = 0
        self._delay = delay
        self._context = context
        self._closed = asyncio.Event()

    async def context_size(self, model: str) -> int | None:
        return self._context

    async def count(self, window: Window, model: str) -> int | None:
        return prompt_tokens(window.messages)

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.generate`."""
        prompt = self._admit(window)
        line = self._line(window)
        action, after = _failure(line.fail)
        if action == "unavailable":
            raise EngineUnavailable("The script says: unavailable.")
        if action == "refused":
            raise EngineRefused("The script says: refused.")
        yield Accepted()
        thought = TOKEN.findall(line.reasoning)
        said = _until_stop(_reply(line, window, options), options.sampling.stop)
        limit = self._limit(prompt, options.sampling)
        delay = self._delay if line.delay is None else line.delay
        done = 0
        for text in (thought + said)[:limit]:
            if done == after:
                await self._fail(action)
            await asyncio.sleep(delay)
            self._check_open()
            yield ReasoningDelta(text) if done < len(thought) else ContentDelta(text)
            done += 1
        if done <= after:
            await self._fail(action)
        reason: FinishReason = "length" if done < len(thought) + len(said) else "stop"
        yield Finish(reason, _usage(prompt, done, len(thought)), options.model)

    async def close(self) -> None:
        """Running replies break off at their next token; later requests are refused."""
        self._closed.set()

    def _admit(self, window: Window) -> int:
        """Note the window; its length."""
        if self._closed.is_set():
            raise EngineUnavailable("The engine is closed.")
        self.prompts.append(window)
        del self.prompts[:-PROMPTS_KEPT]
        prompt = prompt_tokens(window.messages)
        if self._context is not None and prompt > self._context:
            raise ContextLengthExceeded(prompt_tokens=prompt, context_size=self._context)
        return prompt

    def _line(self, window: Window) -> Line:
        question = _question(window.messages)
        for line in self._conditional:
            if line.when is not None and line.when in question:
                return line
        if not self._ordered:
            return Line()
        line = self._ordered[self._next % len(self._ordered)]
        self._next += 1
        return line

    def _limit(self, prompt: int, sampling: Sampling) -> int | None:
        room = None if self._context is None else self._context - prompt
        return min((limit for limit in (sampling.max_tokens, room) if limit is not None), default=None)

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


def prompt_tokens(messages: Sequence[Message]) -> int:
    """The length of a prompt by the rule at the top of this file."""
    return sum(_message_tokens(message) for message in messages)


def text_tokens(text: str) -> int:
    """
    >>> text_tokens("three short words"), text_tokens(" one"), text_tokens("")
    (3, 1, 0)
    """
    return text.count(" ") + (1 if text and not text.startswith(" ") else 0)


def _reply(line: Line, window: Window, options: Options) -> str:
    """The reply to a window; of one that the window ends in a part of, the rest."""
    begun = ""
    if options.prefill:
        begun = window.messages[-1].text
        window = msgspec.structs.replace(window, messages=window.messages[:-1])
    whole = default_reply(window, options.sampling) if line.reply is None else line.reply
    return whole.removeprefix(begun)


def default_reply(window: Window, sampling: Sampling) -> str:
    """The reply to a window where no script gives one."""
    number = sum(message.role == "user" for message in window.messages)
    question = " ".join(_question(window.messages).split()[:FIRST_WORDS])
    mark = blake2b(_encode((window.messages, sampling.seed)), digest_size=4).hexdigest()
    return f"Reply {number} to: {question} [{mark}]"


def _message_tokens(message: Message) -> int:
    tokens = 1 + text_tokens(message.reasoning or message.reasoning_content or "")
    if isinstance(message.content, str):
        tokens += text_tokens(message.content)
    else:
        for part in message.content or ():
            tokens += text_tokens(part.text) if isinstance(part, TextPart) else 1
    for call in message.tool_calls or ():
        tokens += 1 + text_tokens(call.function.arguments)
    return tokens


def _question(messages: Sequence[Message]) -> str:
    """The text of the last user message."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _until_stop(text: str, stops: list[str] | None) -> list[str]:
    """The tokens of a text up to the first of these stops."""
    cuts = [text.index(stop) for stop in stops or () if stop and stop in text]
    return TOKEN.findall(text[: min(cuts, default=None)])


def _usage(prompt: int, done: int, thought: int) -> Usage:
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=done,
        reasoning_tokens=min(done, thought) if thought else None,
    )


def _failure(fail: str | None) -> tuple[str | None, int]:
    match = FAILURE.fullmatch(fail or "")
    if match is None:
        return None, 0
    return match[1] or match[2], 1 if match[3] is None else int(match[3])


def _read(script: Path) -> list[Line]:
    try:
        rows = script.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(
            f"The script {script} cannot be read: {error.strerror}.", setting="script"
        ) from error
    lines = [_parsed(script, number, row) for number, row in enumerate(rows, 1) if row.strip()]
    if not lines:
        raise ConfigError(f"The script {script} holds no line.", setting="script")
    return lines


def _parsed(script: Path, number: int, row: bytes) -> Line:
    try:
        line = msgspec.json.decode(row, type=Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"Line {number} of the script {script}: {error}", setting="script") from error
    if line.fail is not None and not FAILURE.fullmatch(line.fail):
        raise ConfigError(
            f"Line {number} of the script {script}: no such failure: {line.fail!r}.", setting="script"
        )
    if line.delay is not None and line.delay < 0:
        raise ConfigError(
            f"Line {number} of the script {script}: a delay cannot be negative.", setting="script"
        )
    return line
