"""The Python front door: conversations over the store of this machine's user.

`Palaver.open` finds the process that owns the store and speaks to it; where there is none, it becomes the owner
itself, with the same server inside, so that whoever comes next finds it. Either way it uses the public API only.

    async with Palaver.open() as palaver:
        async with palaver.say([{"role": "user", "content": "Hello!"}]) as reply:
            async for piece in reply:
                print(piece.text, end="")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import msgspec

from palaver import __version__, wiring
from palaver.config import Config, load
from palaver.core.errors import EngineUnavailable, PalaverError, RequestError, StoreOwned, StoreUnavailable

UNAVAILABLE = 503
PATIENCE = 10.0
"""How long to wait for an owner that is just starting or stopping, in seconds."""


class Piece(msgspec.Struct, frozen=True):
    """A piece of a reply as it comes; one of the two is empty."""

    text: str = ""
    reasoning: str = ""


class Reply:
    """A reply that is being streamed. `finish_reason` and `usage` are known after the last piece.

    `turn` is the id (``chatcmpl-…``), `conversation` is None where the turn is not stored.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        conversation = response.headers.get("palaver-conversation")
        self.turn = response.headers.get("palaver-turn", "")
        self.conversation = None if conversation in (None, "none") else conversation
        self.model = ""
        self.text = ""
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self._response = response

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces. Raises PalaverError for an error in mid-reply."""
        try:
            async for line in self._response.content:
                if line.startswith(b"data: {"):
                    piece = self._read(msgspec.json.decode(line[6:]))
                    if piece.text or piece.reasoning:
                        self.text += piece.text
                        yield piece
        except aiohttp.ClientError as error:
            raise EngineUnavailable("The connection to palaver broke in mid-reply.") from error
        if self.finish_reason is None:
            raise EngineUnavailable("The connection to palaver ended in mid-reply.")

    def _read(self, chunk: dict[str, Any]) -> Piece:
        if "error" in chunk:
            raise PalaverError(chunk["error"].get("message"))
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        choice = chunk["choices"][0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta") or {}
        return Piece(delta.get("content") or "", delta.get("reasoning") or "")


class Palaver:
    """A client of the process that owns the store. Made by `Palaver.open`."""

    def __init__(self, session: aiohttp.ClientSession, address: str, model: str, *, own: bool) -> None:
        self.address = address
        self.model = model
        """The name of the model that answers where none is named."""
        self.own = own
        """Whether this process is the owner itself."""
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, config: Config | None = None) -> AsyncIterator[Palaver]:
        """Find the owner of the store, or be it until the end of the block.

        Without `config`, settings come from the configuration file and the environment. Raises StoreError,
        ConfigError, and `palaver.config.SettingError` for a setting from there that cannot be used.
        """
        config = config or load({})
        async with contextlib.AsyncExitStack() as stack:
            owner, own = await _find_or_be(config, stack)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    headers={"authorization": f"Bearer {owner.key}", "user-agent": f"palaver/{__version__}"},
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                    connector=aiohttp.TCPConnector(limit=0),
                )
            )
            yield cls(session, owner.address, owner.model, own=own)

    @contextlib.asynccontextmanager
    async def say(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        conversation: str | None = None,
        store: bool | None = None,
        on_leave: Literal["finish", "grace"] = "finish",
        **parameters: Any,
    ) -> AsyncIterator[Reply]:
        """Send a history and stream the reply. `parameters` are those of chat completions.

        Leaving the block early does not stop the reply (see `cancel`) unless `on_leave` is ``grace``. Raises
        RequestError, EngineUnavailable, PalaverError.
        """
        body = {"model": model or self.model, "messages": list(messages), "stream": True, **parameters}
        body |= {"conversation": conversation} if conversation else {}
        body |= {} if store is None else {"store": store}
        headers = {"palaver-on-leave": on_leave}
        async with self._request("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            yield Reply(response)

    async def cancel(self, turn: str) -> None:
        """Stop a running reply; its text so far is kept. Returns when that is stored."""
        await self._get("POST", f"/v1/chat/completions/{turn}/cancel", json={})

    async def conversations(self, **query: Any) -> dict[str, Any]:
        """A page of conversations, last updated first: `limit`, `after`, `name`, `user`, `include_tasks`."""
        return await self._get("GET", "/v1/conversations", params=_query(query))

    async def conversation(self, ref: str) -> dict[str, Any]:
        """One conversation, by id or name. Raises RequestError with code ``conversation_not_found``."""
        return await self._get("GET", f"/v1/conversations/{quote(ref, safe='')}")

    async def items(self, ref: str, **query: Any) -> dict[str, Any]:
        """A page of a conversation's messages: `limit`, `after`, `order` (``desc`` by default)."""
        return await self._get("GET", f"/v1/conversations/{quote(ref, safe='')}/items", params=_query(query))

    async def models(self) -> list[dict[str, Any]]:
        """The models that can be named."""
        models: list[dict[str, Any]] = (await self._get("GET", "/v1/models"))["data"]
        return models

    async def model_named(self, name: str) -> dict[str, Any]:
        """One model, by its name or an alias. Raises RequestError with code ``model_not_available``."""
        return await self._get("GET", f"/v1/models/{quote(name, safe='')}")

    async def _get(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async with self._request(method, path, **options) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    @contextlib.asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._session.request(method, self.address + path, **options)
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"palaver at {self.address} cannot be reached: {error}") from error
        async with response:
            if response.status >= 400:
                raise _error_of(response.status, await response.read())
            yield response


def _query(query: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items() if v is not None}


def _error_of(status: int, body: bytes) -> PalaverError:
    try:
        error = msgspec.json.decode(body)["error"]
        message, param, code = error["message"], error.get("param"), error.get("code")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return PalaverError(f"palaver answered with status {status}.")
    if status == UNAVAILABLE:
        return EngineUnavailable(message)
    return RequestError(message, param=param, code=code) if status < 500 else PalaverError(message)


async def _find_or_be(config: Config, stack: contextlib.AsyncExitStack) -> tuple[wiring.Owner, bool]:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        owner = wiring.find_owner(config)
        if owner is not None:
            return owner, False
        try:
            # All that answers is imported here: it takes half a second that a mere client need not wait.
            from palaver.wiring import assembly

            running = await stack.enter_async_context(assembly.running(config, private=True))
            return running.owner, True
        except StoreOwned as error:
            # Another process was quicker, or is on its way out: look again until it says where it answers.
            if asyncio.get_running_loop().time() > deadline:
                raise StoreUnavailable(error.message) from error
            await asyncio.sleep(0.05)
