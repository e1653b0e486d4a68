"""The models that are asked, each with an engine of its own for each way, so that none gets at another's cache."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from bench.turns import talk
from palaver.core.message import Message
from palaver.core.turn import EngineEvent, Usage
from palaver.core.window import Window
from palaver.engines.base import Engine, Options
from palaver.engines.llama import LlamaEngine, LlamaSettings, ModelMemory
from palaver.engines.pocket import POCKET
from palaver.engines.scripted import ScriptedEngine, prompt_tokens
from palaver.wiring.models import POCKET_ROOM


class Plan(msgspec.Struct, frozen=True):
    """One long conversation: so many turns, in a window of `size` tokens, with replies of at most `reply` tokens.

    The first `resent` turns are asked again by a client that resends its history. `slots` is how many replies the
    real engine could give at once, each with a cache of its own; with one there is no choice of caches.
    """

    model: str
    turns: int
    size: int
    reply: int
    resent: int
    seed: int
    slots: int = 1

    @property
    def room(self) -> int:
        """How long a prompt may be."""
        return self.size - self.reply


class Asked(Protocol):
    """A model that is asked."""

    @property
    def engine(self) -> Engine:
        """What answers."""

    def shown(self) -> Sequence[Message]:
        """The prompt that it was given last."""

    def prefilled(self, usage: Usage, before: Sequence[Message]) -> int:
        """How much of that prompt was computed, in tokens. `before` is the last prompt of the conversation with its
        reply."""


class WatchedEngine(LlamaEngine):
    """Keeps the window that it was given last."""

    last: Window | None = None

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        self.last = window
        async with aclosing(super().generate(window, options)) as events:
            async for event in events:
                yield event


class Pocket:
    """The bundled model on the real engine. Its worker says how much of a prompt it had in its cache."""

    def __init__(self, slots: int) -> None:
        settings = LlamaSettings(path=POCKET, name="pocket", slots=slots, threads=1)
        self.engine = WatchedEngine(settings, ModelMemory(POCKET_ROOM))

    def shown(self) -> Sequence[Message]:
        assert self.engine.last is not None
        return self.engine.last.messages

    def prefilled(self, usage: Usage, before: Sequence[Message]) -> int:
        assert usage.cached_tokens is not None
        return usage.prompt_tokens - usage.cached_tokens


class Scripted:
    """The engine without a model. It has no cache: the prefill is what it would be with a perfect one, which holds
    the last prompt and its reply, message by message."""

    def __init__(self, plan: Plan, script: Path) -> None:
        lines = (json.dumps({"reply": text}) for text in islice(talk.replies(plan.seed), plan.turns))
        script.write_text("\n".join(lines))
        self.engine = ScriptedEngine(script)

    def shown(self) -> Sequence[Message]:
        return self.engine.prompts[-1].messages

    def prefilled(self, usage: Usage, before: Sequence[Message]) -> int:
        messages = self.shown()
        return usage.prompt_tokens - prompt_tokens(messages[: _alike(messages, before)])


def _alike(messages: Sequence[Message], before: Sequence[Message]) -> int:
    """How many messages both begin with."""
    pairs = zip(messages, before, strict=False)
    return next(
        (i for i, (new, old) in enumerate(pairs) if (new.role, new.text) != (old.role, old.text)),
        min(len(messages), len(before)),
    )


async def own_tokens(engine: Engine, model: str, questions: Sequence[str]) -> list[int]:
    """How many tokens each question adds to a prompt: itself, and all that the template puts between two replies."""
    options = Options(model=model)
    window = Window(owner="bench", conversation=None, turn="", messages=())

    async def whole(*messages: Message) -> int:
        count = await engine.count(msgspec.structs.replace(window, messages=messages), options)
        assert count is not None
        return count

    question, reply = Message("user", questions[0]), Message("assistant", "Yes.")
    texts = await engine.counts([reply, *(Message("user", text) for text in questions)], options)
    assert texts is not None
    two = await whole(question, reply, question)
    around = two - await whole(question) - texts[0] - texts[1]
    return [tokens + around for tokens in texts[1:]]
