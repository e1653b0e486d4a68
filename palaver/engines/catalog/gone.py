"""The engine of a model whose file cannot be used: every turn hears that, and nothing else is affected."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from palaver.core.errors import EngineUnavailable
from palaver.core.message import Message
from palaver.core.turn import EngineEvent
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Options


class GoneEngine:
    """Stands where a model's own engine would. `reason` names no folders: clients are told. `setting` is the one that
    stands in the way; ``model`` where it is the file."""

    capabilities = SAMPLING | {
        *("tools", "tool_choice", "json_object", "json_schema", "reasoning", "extra"),
        *("completions", "embeddings"),
    }
    """So that whoever asks hears why, and not that a parameter is not taken."""
    waiting = 0

    def __init__(self, model: str, reason: str, setting: str | None = "model") -> None:
        self.reason = reason
        self.setting = setting
        self.why = f"The model {model} cannot be used: {reason}"

    async def context_size(self, model: str) -> int | None:
        raise EngineUnavailable(self.why)

    async def count(self, window: Window, options: Options) -> int | None:
        raise EngineUnavailable(self.why)

    def tokenizer(self, model: str) -> str | None:
        return None

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        raise EngineUnavailable(self.why)

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        return _none(self.why)

    def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        return _none(self.why)

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        raise EngineUnavailable(self.why)

    async def settle(self, window: Window, options: Options) -> bool:
        return False

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return 0

    async def kv_cache(self) -> KvCache | None:
        return None

    async def close(self) -> None:
        """Nothing is held."""


async def _none(why: str) -> AsyncGenerator[EngineEvent, None]:
    """No events, but the reason."""
    events: list[EngineEvent] = []
    for event in events:
        yield event
    raise EngineUnavailable(why)
