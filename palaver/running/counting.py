"""How long messages and prompts are, for one model: as its engine counts, or by an estimate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import ceil
from typing import Protocol

import msgspec
import structlog

from palaver.core.errors import StoreError
from palaver.core.estimate import TYPICAL, least_tokens, texts_of
from palaver.core.message import Message, TextPart
from palaver.core.parameters import Tool
from palaver.core.path import Step
from palaver.core.window import Window
from palaver.engines.base import Model, Options

TEMPLATE_TOKENS = 512
"""What a template may add to a prompt, in tokens; for the bound that spares a count. An engine that gets too
long a prompt all the same refuses it with its own count."""
AROUND = 8
"""What a template puts around a message, where nobody has counted it."""
MEDIUM = 800
"""About how many tokens a picture or the like has."""
MOST_CHARACTERS = 6
"""Characters a token holds at most in the long run: what looks like one word, such as base64, is many tokens."""
COUNTS_KNOWN = 100_000
TOLD_SECONDS = 300.0
"""How long it is taken for true how long a server said that a prompt may be."""

log = structlog.get_logger(__name__)


class CountsKept(Protocol):
    """Where counts of stored messages are kept (`palaver.stores.base.windows.Windows`)."""

    async def counts(self, owner: str, tokenizer: str, messages: Sequence[str]) -> dict[str, int]: ...

    async def keep_counts(self, owner: str, tokenizer: str, counts: Mapping[str, int]) -> None: ...


class CountsKnown:
    """Counts of messages that are not stored, by their content: a client that resends them has them counted once.
    The latest `COUNTS_KNOWN` are known."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, int] = OrderedDict()

    def get(self, tokenizer: str, message: Message) -> int | None:
        key = _digest(tokenizer, message)
        if key in self._tokens:
            self._tokens.move_to_end(key)
        return self._tokens.get(key)

    def put(self, tokenizer: str, message: Message, tokens: int) -> None:
        self._tokens[_digest(tokenizer, message)] = tokens
        if len(self._tokens) > COUNTS_KNOWN:
            self._tokens.popitem(last=False)


class SizesTold:
    """What servers told of models when they refused a prompt: the context, and how much longer prompts are than they
    were estimated. For a while: a server may come back with a larger context."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, float, float]] = {}

    def put(self, model: str, size: int, now: float, stretch: float = 1.0) -> None:
        self._told[model] = (size, stretch, now + TOLD_SECONDS)

    def size(self, model: str, now: float) -> int | None:
        """The context in tokens, if it was told."""
        told = self._told.get(model)
        return told[0] if told is not None and now < told[2] else None

    def stretch(self, model: str, now: float) -> float:
        """How much longer prompts are than they were estimated."""
        told = self._told.get(model)
        return told[1] if told is not None and now < told[2] else 1.0


def _digest(tokenizer: str, message: Message) -> bytes:
    return blake2b(msgspec.json.encode((tokenizer, message)), digest_size=16).digest()


class Counting:
    """How long messages are for one model. `kept` is None where nothing is stored."""

    def __init__(
        self, model: Model, options: Options, owner: str, kept: CountsKept | None, known: CountsKnown
    ) -> None:
        self._engine = model.engine
        self._options = options
        self._owner = owner
        self._kept = kept
        self._known = known
        self.tokenizer = model.engine.tokenizer(model.served_as)
        """What messages are counted by; None where they are estimated."""
        self.exact = "count" in model.engine.capabilities

    async def prompt(self, window: Window) -> int | None:
        """How long a whole prompt is; None where its engine cannot tell. Raises EngineError."""
        return await self._engine.count(window, self._options) if self.exact else None

    async def each(self, steps: Sequence[Step]) -> list[int]:
        """How long each message is by itself: counted in one batch as far as it was not before, or estimated.

        Raises EngineError.
        """
        if self.tokenizer is None:
            return [estimated(step.message) for step in steps]
        found = await self._found(steps)
        missing = [place for place, known in enumerate(found) if known is None]
        if missing:
            messages = [steps[place].message for place in missing]
            tokens = await self._engine.counts(messages, self._options)
            if tokens is None:
                tokens = [estimated(message) for message in messages]
            else:
                await self._keep([steps[place] for place in missing], tokens)
            for place, count in zip(missing, tokens, strict=True):
                found[place] = count
        return [count for count in found if count is not None]

    async def _found(self, steps: Sequence[Step]) -> list[int | None]:
        """What is known of each."""
        assert self.tokenizer is not None
        stored = [step.id for step in steps if step.id]
        kept = await self._kept.counts(self._owner, self.tokenizer, stored) if self._kept and stored else {}
        return [
            kept.get(step.id) if step.id else self._known.get(self.tokenizer, step.message) for step in steps
        ]

    async def _keep(self, steps: Sequence[Step], tokens: Sequence[int]) -> None:
        assert self.tokenizer is not None
        counted = list(zip(steps, tokens, strict=True))
        for step, count in counted:
            if not step.id:
                self._known.put(self.tokenizer, step.message, count)
        stored = {step.id: count for step, count in counted if step.id}
        if stored and self._kept is not None:
            try:
                await self._kept.keep_counts(self._owner, self.tokenizer, stored)
            except StoreError as error:
                log.warning("counts of messages were not kept", error=error.message)


def estimated(message: Message) -> int:
    """About how many tokens a message has.

    >>> estimated(Message("user", "Four words and five.")) in range(5, 8)
    True
    """
    texts = texts_of([message])
    texts += [call.function.name + call.function.arguments for call in message.tool_calls or ()]
    if message.function_call is not None:
        texts.append(message.function_call.name + message.function_call.arguments)
    parts = message.content if isinstance(message.content, list) else ()
    media = sum(not isinstance(part, TextPart) for part in parts)
    about = max(least_tokens(texts) * TYPICAL, sum(map(len, texts)) / MOST_CHARACTERS)
    return ceil(about) + media * MEDIUM


def tools_estimated(tools: Sequence[Tool]) -> int:
    """About how many tokens tools have in a prompt."""
    return ceil(least_tokens([msgspec.json.encode(tools).decode()]) * TYPICAL) if tools else 0


def at_most(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
    """More tokens than a prompt can have: no tokenizer makes more than one of a byte, and a message's braces and
    field names here outweigh what templates put around it."""
    return TEMPLATE_TOKENS + len(msgspec.json.encode((messages, tools)))
