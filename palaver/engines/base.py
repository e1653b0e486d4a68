"""The contract of an engine, and of the catalog that finds one by a model's name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

import msgspec

from palaver.core.turn import EngineEvent, Sampling
from palaver.core.window import Window

SAMPLING = frozenset(Sampling.__struct_fields__)
"""The parameters every engine is asked about; `Engine.capabilities` says which it honours."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How one reply is generated.

    `model` is the engine's own name of the model. `reasoning` is False where the model shall answer without
    thinking first, None where that is left to the model. `prefill` has it go on with the reply that is the window's
    last message: what is generated is the rest of that; only engines whose capabilities hold ``prefill`` are
    asked. `extra` holds parameters of the request that palaver does
    not know, for engines whose capabilities hold ``extra``; others never get any.
    """

    model: str
    sampling: Sampling = Sampling()
    reasoning: Literal[False] | None = None
    prefill: bool = False
    extra: dict[str, Any] = {}


class Engine(Protocol):
    """Something that answers. One engine may serve several models; it may be used by many turns at once."""

    @property
    def capabilities(self) -> frozenset[str]:
        """The parameters it honours, by their names in `Sampling`, and ``parts`` (content that is not text),
        ``tools`` (tool messages and calls in the history), ``extra`` (unknown parameters), ``count`` (it can
        count a prompt; nobody asks the others how long one is), ``prefill`` (it can go on with a
        reply)."""

    @property
    def waiting(self) -> int:
        """How many turns wait for a place in the engine now. 0 where there is no queue of our own."""

    async def context_size(self, model: str) -> int | None:
        """The model's context in tokens; None where it cannot be known.

        Raises EngineUnavailable.
        """

    async def count(self, window: Window, model: str) -> int | None:
        """The prompt's length in tokens, by the model's own tokenizer and template; None if it cannot count.

        Raises EngineUnavailable, EngineRefused.
        """

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """Answer. Yields one `Accepted`, any number of deltas, then exactly one `Finish`.

        Closing the iterator stops the work within a token and frees its place. Will not change the window.
        Raises ContextLengthExceeded, EngineUnavailable, EngineTimeout or EngineRefused before the first delta,
        EngineBroke or EngineTimeout after it.
        """

    async def close(self) -> None:
        """Stop what it runs and free what it holds. May be called twice."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a request may name.

    `name` is what the reply's `model` says; `served_as` is the engine's own name of it. `defaults` fill in
    what a request leaves open. `context_size` is in tokens, None while it is not known.
    """

    name: str
    served_as: str
    engine: Engine
    description: str = ""
    defaults: Sampling = Sampling()
    aliases: tuple[str, ...] = ()
    context_size: int | None = None


class Catalog(Protocol):
    """Which models there are, under which names."""

    async def find(self, name: str) -> Model:
        """The model of this name or alias. Starts nothing: an engine starts with the first turn it generates.

        Raises ModelNotFound (naming those there are).
        """

    async def models(self) -> list[Model]:
        """All models that can be named now. Never starts one; an upstream that cannot be reached lists none."""

    async def close(self) -> None:
        """Close every engine."""
