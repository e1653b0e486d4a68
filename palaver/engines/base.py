"""The contract of an engine, and of the catalog that finds one by a model's name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from palaver.core.message import Message
from palaver.core.parameters import Parameters, Sampling
from palaver.core.turn import EngineEvent
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings

SAMPLING = frozenset(Sampling.__struct_fields__)
"""How replies are drawn; `Engine.capabilities` says which of these an engine honours."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How one reply is generated, or texts are made vectors.

    `model` is the engine's own name of the model. `prefill` has it go on with the reply that is the window's
    last message: what is generated is the rest of that; only engines whose capabilities hold ``prefill`` are
    asked. `extra` holds parameters of the request that palaver does not know, for engines whose capabilities hold
    ``extra``; others never get any. With `idle` nobody waits for the reply: it takes nothing that a turn works with, or
    that a conversation's next turn needs, and leaves nothing behind. Where that cannot be it is EngineUnavailable.
    """

    model: str
    parameters: Parameters = Parameters()
    prefill: bool = False
    extra: dict[str, Any] = {}
    idle: bool = False


class Embedded(msgspec.Struct, frozen=True):
    """Texts as vectors, in their order, and how many tokens they had."""

    vectors: list[list[float]]
    prompt_tokens: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A computed prompt that an engine holds, so that it need not be prefilled again: in a `slot` of its model (a
    number), or saved as a snapshot in ``memory`` or on ``disk``.

    `tokens` is about how long it is, `bytes` how large a snapshot is (0 in a slot), `used` when it was used last, in
    seconds since 1970. `conversation` is None for what belongs to none that is stored.
    """

    owner: str
    conversation: str | None
    where: Literal["slot", "memory", "disk"]
    slot: int | None = None
    tokens: int
    bytes: int = 0
    used: float


class KvCache(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine holds of the prompts of conversations, and what it has counted since it started.

    `unkept` is why it saves no snapshots, None where it does. Quotas are in bytes. `counts` are, in tokens,
    ``prefilled`` and ``reused`` by turns, ``settled`` (prefilled while nobody waited) and, in times, ``saved``,
    ``unsaved`` (it did not work, or there was no room), ``restored``, ``evicted``, ``erased`` and ``refused_`` with why
    a snapshot was not used.
    """

    held: list[Held] = []
    unkept: str | None = None
    memory_quota: int = 0
    disk_quota: int = 0
    counts: dict[str, int] = {}


class Engine(Protocol):
    """Something that answers. One engine may serve several models; it may be used by many turns at once."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do, by these words; what it cannot is refused before it is asked.

        - the parameters it honours, by their names in `Sampling`
        - kinds of content besides text, by their `type`: ``image_url``, ``input_audio``, …
        - ``tools``: tools, calls and results; ``tool_choice``: a call can be forced; ``parallel_tool_calls``: it
          can be held to one call
        - the types of `Format`: ``json_object``, ``json_schema``, ``regex``, ``grammar``
        - ``reasoning``, ``reasoning_effort``, ``chat_template_kwargs``, ``logprobs``, ``echo``: those parameters
        - ``remote_media``: it may fetch the remote addresses in messages itself
        - ``extra``: parameters that palaver does not know
        - ``count``: it can count a prompt; nobody asks the others how long one is
        - ``prefill``: it can go on with a reply
        - ``settle``: it keeps what it computed of a prompt, and `settle` prefills ahead of a turn
        - ``completions``: `complete`; ``embeddings``: `embed`
        - ``titles``: it is worth asking for a conversation's title, on palaver's own account; ``paid``: what it is
          asked may cost money, so that palaver asks nothing on its own account unless the settings name the model

        Several replies (`n`) are every engine's duty. An engine that finds out only later what a model's server
        takes says yes here, and raises UnsupportedParameter in `generate`.
        """

    @property
    def waiting(self) -> int:
        """How many turns wait for a place in the engine now. 0 where there is no queue of our own."""

    async def context_size(self, model: str) -> int | None:
        """The model's context in tokens; None where it cannot be known.

        Raises EngineUnavailable.
        """

    async def count(self, window: Window, options: Options) -> int | None:
        """The prompt's length in tokens, by the model's own tokenizer and template; None if it cannot count.

        Raises EngineUnavailable, EngineRefused.
        """

    def tokenizer(self, model: str) -> str | None:
        """A name for what `counts` counts the model's messages by, the same wherever its counts are; None where it
        counts none."""

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        """How many tokens each message has by itself, without what the template puts around it; None if it cannot.

        Raises EngineUnavailable, EngineRefused.
        """

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """Answer. Yields one `Accepted`, any number of deltas, then exactly one `Finish`.

        Before the first delta, before `Accepted` or after it, may come any number of `InLine` and `Prefilled`: what is
        waited for now, in place of what the last of them said. They say nothing about whether the request is taken: an
        error may still follow, and who answers it with a status waits for `Accepted`. With several replies they are
        about the first. An engine that cannot tell yields none; so may one that has the prompt read at once.

        With `n` of more than one the deltas of all replies come mixed, each with its choice's number. Closing the
        iterator stops the work within a token and frees its place. Will not change the window.
        Raises ContextLengthExceeded, UnsupportedParameter, EngineUnavailable, EngineTimeout or EngineRefused
        before the first delta, EngineBroke or EngineTimeout after it.
        """

    def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        """Go on with a text, or token numbers, as it stands, without any template; with `suffix`, fill the gap
        between the two. `window` says whose it is and is else empty. The rest is as in `generate`; only engines
        whose capabilities hold ``completions`` are asked."""

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        """The vectors of these texts; only engines whose capabilities hold ``embeddings`` are asked.

        Raises UnsupportedParameter (other `dimensions` than the model's), ContextLengthExceeded, EngineUnavailable,
        EngineTimeout, EngineRefused.
        """

    async def settle(self, window: Window, options: Options) -> bool:
        """Prefill what the prompt of a turn after this window begins with, while nobody waits for a reply: work on it
        stops within one batch when a turn comes, and goes on when that has ended.

        Returns whether it is prefilled now: False where that would cost what the conversation's own next turn needs,
        or the engine does not do so. May be cancelled; what was done is not lost. Raises EngineUnavailable,
        EngineTimeout, EngineRefused, ContextLengthExceeded.
        """

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        """Erase what was computed for an owner, or for one conversation of theirs; without an owner, everything.

        Returns how much was erased: slots and snapshots. What a running turn has computed is erased when it ends.
        """

    async def kv_cache(self) -> KvCache | None:
        """What it holds; None for an engine that does not know."""

    async def close(self) -> None:
        """Stop what it runs and free what it holds. May be called twice."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a request may name.

    `name` is what the reply's `model` says; `served_as` is the engine's own name of it. `kind` is what it is for.
    `defaults` fill in what a request leaves open. `context_size` is in tokens, None while it is not known.
    `fallbacks` answer in its place, in their order, where its engine fails before the first token.
    """

    name: str
    served_as: str
    engine: Engine
    kind: Literal["chat", "embedding"] = "chat"
    description: str = ""
    defaults: Sampling = Sampling()
    aliases: tuple[str, ...] = ()
    context_size: int | None = None
    window: WindowSettings = WindowSettings()
    """How windows for this model are chosen, where it was said."""
    unkept: str | None = None
    """Why the KV cache of its conversations cannot be kept as snapshots, in words that go on "because"; empty where it
    can, None where that is another server's affair."""
    fallbacks: tuple[Model, ...] = ()
    loading: float | None = None
    """While it is being loaded, how much of it is: from 0 to 1. None before and after."""
    progress: Callable[[], float | None] = lambda: None
    """Says what `loading` does, at any time."""


class Catalog(Protocol):
    """Which models there are, under which names."""

    async def find(self, name: str) -> Model:
        """The model of this name or alias. Starts nothing: an engine starts with the first turn it generates.

        Raises ModelNotFound (naming those there are).
        """

    async def models(self) -> list[Model]:
        """All models that can be named now. Never starts one; an upstream that cannot be reached lists none."""

    async def kv_caches(self) -> dict[str, KvCache]:
        """What engines hold, by the names of their models; one that serves several stands under the first. Those that
        do not know, or fail to say, are left out."""

    async def forget(
        self, owner: str | None = None, conversation: str | None = None, *, model: str | None = None
    ) -> int:
        """Have every engine erase as `Engine.forget` does, or only that of the `model` of this name or alias.

        Returns how much was erased. Raises ModelNotFound and, once all others have erased theirs, the EngineError of
        one that could not.
        """

    async def close(self) -> None:
        """Close every engine."""
