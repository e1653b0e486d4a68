"""The engine on a server that speaks OpenAI's chat API: the contract, out of the parts of this folder.

generate, complete, embed   a `Request` in that server's way (`body`), sent by `Sender`
  _checked                  as many replies as were asked for, held against what was sent (`checking`)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

import msgspec
import structlog

from palaver.core.errors import ConfigError, ContextLengthExceeded, EngineRefused, EngineUnavailable
from palaver.core.estimate import texts_of
from palaver.core.message import Message
from palaver.core.turn import ContentDelta, EngineEvent, Finish, TokenLogprob, ToolCallDelta
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, KvCache, Options
from palaver.engines.choices import GenerateOne, several
from palaver.engines.upstream.address import by_place
from palaver.engines.upstream.asking import ask, now
from palaver.engines.upstream.body import Request, chat_request, completion_request, embedding_request
from palaver.engines.upstream.checking import WORTH_SAYING, Checks, count_is_off, cut_warning, model_warning
from palaver.engines.upstream.contexts import ASKING_SECONDS, Contexts
from palaver.engines.upstream.counting import with_real_count
from palaver.engines.upstream.dialects import DIALECTS
from palaver.engines.upstream.errors import refusal
from palaver.engines.upstream.http import UpstreamServer
from palaver.engines.upstream.kinds import KINDS, Kind, KindFinder
from palaver.engines.upstream.models import ListedModel, listed_models
from palaver.engines.upstream.sending import Sender
from palaver.engines.upstream.vectors import vectors_of

CUTTING: frozenset[Kind] = frozenset({"ollama", "lmstudio"})
"""Servers that may cut a prompt without a word."""
NO_LOGPROBS = "the upstream told no log probabilities"
NO_CALL = "the upstream made no tool call although one was required"

CAPABILITIES = SAMPLING | {
    *("image_url", "video_url", "audio_url", "input_audio", "file"),
    *("tools", "tool_choice", "parallel_tool_calls"),
    *("json_object", "json_schema", "regex", "grammar"),
    *("reasoning", "reasoning_effort", "chat_template_kwargs", "logprobs"),
    *("extra", "prefill", "completions", "embeddings", "titles"),
}
SURELY_FITS = 0.9
"""A prompt of about so much of the context, or less, was not cut."""

log = structlog.get_logger(__name__)


class UpstreamEngine:
    """An engine that passes turns on to a server and its reply back.

    `name` is what the server is called in the configuration. `base_url` may end in ``/v1`` or not; a path with
    another version (``/v1beta/openai``) is taken as it is. `api_key` is palaver's own key there; what clients send
    as theirs never reaches it. The reply is always streamed. `kind` is one of `KINDS`; without it the server is
    asked what it is.

    Times are in seconds: `connect_timeout` for the connection, `first_byte_timeout` for all before the first byte
    of the reply (a long prompt takes long), `stall_timeout` for the silence between two bytes. What fails before
    the first token for a reason that may pass is sent again, up to `retries` times.

    Raises ConfigError for a name, address, key or kind that cannot be used.
    """

    waiting = 0
    """The queue is the server's."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        kind: Kind | None = None,
        retries: int = 2,
        connect_timeout: float = 10.0,
        first_byte_timeout: float = 600.0,
        stall_timeout: float = 120.0,
    ) -> None:
        if not name or "/" in name or not name.isprintable():
            raise ConfigError(
                f"{name!r} is no name for an upstream: it stands before a /.", setting="upstream"
            )
        if kind is not None and kind not in KINDS:
            raise ConfigError(
                f"{kind!r} is no kind of upstream; there are: {', '.join(KINDS)}.", setting="upstream"
            )
        self.name = name
        self._server = UpstreamServer(name, base_url, api_key, connect_timeout)
        self._api_key = api_key
        self._kinds = KindFinder(self._server, kind)
        self._contexts = Contexts(self._server)
        self._checks = Checks()
        self._sender = Sender(
            self._server,
            api_key,
            retries=retries,
            first_byte_timeout=first_byte_timeout,
            stall_timeout=stall_timeout,
            on_failure=self._failed,
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """All that such servers can do. What this kind of server, or the model, does not is refused by name when
        it is asked for: `generate` raises UnsupportedParameter, or the server refuses it in its own words."""
        return CAPABILITIES | by_place(self._server.root)

    async def kind(self) -> Kind:
        """What kind of server it is, asked where it is not known; ``other`` where it cannot be told."""
        return (await self._kinds.find()).kind

    async def models(self) -> list[ListedModel]:
        """The models for chats and embeddings that the server lists now.

        Raises EngineUnavailable, EngineTimeout, EngineRefused.
        """
        answer = await ask(self._server, f"{self._server.api}/models", now() + ASKING_SECONDS)
        if answer.status != 200:
            raise refusal(self.name, answer.status, answer.body, self._api_key)
        models = listed_models(answer.body)
        if models is None:
            raise EngineRefused(f"The model server {self.name} sent no list of models.", status=502)
        return models

    async def context_size(self, model: str) -> int | None:
        """As the server tells it; see `docs/upstreams.md` for where each kind does. Raises EngineUnavailable."""
        return await self._contexts.size(model, await self.kind())

    async def count(self, window: Window, options: Options) -> int | None:
        """None: the API has no route that counts."""
        return None

    def tokenizer(self, model: str) -> str | None:
        """None: what is counted there is known from what it says of each reply."""
        return None

    async def counts(self, messages: Sequence[Message], options: Options) -> list[int] | None:
        return None

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.generate`."""
        server = await self._kinds.find()
        await self._foretell_cut(window, options.model, server.kind)

        def one(options: Options) -> AsyncGenerator[EngineEvent, None]:
            def make(without: frozenset[str]) -> Request:
                return chat_request(window, options, server, without)

            return self._sender.replies(make, options.model, options.parameters.n)

        try:
            async with aclosing(self._checked(one, server.kind, window, options, None)) as events:
                async for event in events:
                    yield event
        except ContextLengthExceeded as error:
            if server.kind != "vllm":
                raise
            raise await with_real_count(error, self._server, window, options) from error

    async def complete(
        self, prompt: str | list[int], suffix: str | None, window: Window, options: Options
    ) -> AsyncGenerator[EngineEvent, None]:
        """See `palaver.engines.base.Engine.complete`."""
        server = await self._kinds.find()

        def one(options: Options) -> AsyncGenerator[EngineEvent, None]:
            def make(without: frozenset[str]) -> Request:
                return completion_request(prompt, suffix, window, options, server, without)

            return self._sender.replies(make, options.model, options.parameters.n, is_text=True)

        async with aclosing(self._checked(one, server.kind, window, options, prompt)) as events:
            async for event in events:
                yield event

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        """See `palaver.engines.base.Engine.embed`."""
        request = embedding_request(texts, dimensions, options, await self._kinds.find())
        return vectors_of(await self._sender.vectors(request, options.model), len(texts), dimensions)

    async def settle(self, window: Window, options: Options) -> bool:
        return False

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        return 0

    async def kv_cache(self) -> KvCache | None:
        return None

    async def close(self) -> None:
        """Close the connections; replies that run over them break off."""
        await self._server.close()

    async def _checked(
        self,
        one: GenerateOne,
        kind: Kind,
        window: Window,
        options: Options,
        prompt: str | list[int] | None,
    ) -> AsyncGenerator[EngineEvent, None]:
        """All replies: by one request where the server gives several at a time, else by one for each. What the
        server says of them is held against what was sent."""
        generating = one(options) if DIALECTS[kind].counts_replies else several(one, options)
        wanted = options.parameters.logprobs
        forced = window.tools and options.parameters.tool_choice not in (None, "auto", "none")
        text = told = called = False
        async with aclosing(generating) as events:
            async for event in events:
                if isinstance(event, ContentDelta):
                    text, told = True, told or bool(event.logprobs)
                    if event.logprobs:
                        yield msgspec.structs.replace(event, logprobs=_wanted(event.logprobs, wanted))
                        continue
                elif isinstance(event, ToolCallDelta):
                    called = True
                elif isinstance(event, Finish):
                    found = await self._warnings(event, kind, window, options, prompt)
                    warnings = [*event.warnings, *found]
                    if wanted is not None and text and not told:
                        warnings.append(NO_LOGPROBS)
                    if forced and not called and event.reason == "stop":
                        warnings.append(NO_CALL)
                    for warning in warnings:
                        log.warning(warning, upstream=self.name, model=options.model, turn=window.turn)
                    event = msgspec.structs.replace(event, warnings=warnings)
                yield event

    async def _warnings(
        self, finish: Finish, kind: Kind, window: Window, options: Options, prompt: str | list[int] | None
    ) -> list[str]:
        model, usage = options.model, finish.usage
        # llama-server has names of its own.
        is_another = model_warning(model, finish) if kind != "llama-server" else None
        warnings = [is_another] if is_another else []
        dialect = DIALECTS[kind]
        ends_with_reply = [message.role for message in window.messages[-1:]] == ["assistant"]
        if ends_with_reply and dialect.last_reply and not options.prefill:
            warnings.append(f"{dialect.title} {dialect.last_reply}")
        if self._contexts.is_supposed(model):
            self._contexts.forget(model)  # it is loaded now, and told
        if usage is None:
            return warnings
        off = count_is_off(window, usage, prompt)
        texts = [prompt] if isinstance(prompt, str) else texts_of(window.messages)
        shrunk = self._checks.shrunk(window, options, usage)
        about = self._checks.cut(texts, usage, model) or shrunk
        if off is not None:
            warnings.append(off)
        elif about is not None and await self._is_over_context(about, model, kind):
            warnings.append(cut_warning(usage.prompt_tokens, about))
        return warnings

    async def _foretell_cut(self, window: Window, model: str, kind: Kind) -> None:
        """Say in the log that the server is about to cut a prompt: afterwards only its count may show it."""
        about = self._checks.about(model, texts_of(window.messages)) if kind in CUTTING else 0
        if about < WORTH_SAYING:
            return
        with suppress(EngineUnavailable):  # the request itself will tell
            size = await self._contexts.size(model, kind)
            if size is not None and about > size:
                log.warning(
                    "a prompt is longer than its model's context; this server cuts such without a word",
                    upstream=self.name,
                    model=model,
                    turn=window.turn,
                    about=about,
                    context=size,
                )

    async def _is_over_context(self, about: int, model: str, kind: Kind) -> bool:
        """Whether a prompt is long enough to be cut, as far as can be known. Some versions of Ollama leave what
        they had cached out of their counts, which looks the same."""
        if kind not in CUTTING:
            return True
        self._contexts.forget(model)
        try:
            size = await self._contexts.size(model, kind)
        except EngineUnavailable:
            size = None
        return size is None or about > SURELY_FITS * size

    def _failed(self, model: str) -> None:
        """The server may come back as another, or with another context."""
        self._kinds.doubt()
        self._contexts.forget(model)


def _wanted(logprobs: list[TokenLogprob], count: int | None) -> list[TokenLogprob]:
    """Servers give a likeliest token where none was asked for."""
    if count is None:
        return []
    return [msgspec.structs.replace(each, top=each.top[:count]) for each in logprobs]
