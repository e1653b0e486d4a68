"""A client of the process that owns the store, or the owner itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import aiohttp
import msgspec

from palaver import __version__, wiring
from palaver.config import Config, load
from palaver.core.errors import EngineUnavailable, PalaverError, RequestError
from palaver.library.asking import completion, part, query
from palaver.library.conversations import Conversations
from palaver.library.reply import Reply
from palaver.library.turns import COMPLETIONS, Turns

UNAVAILABLE = 503
CACHE = "/v1/cache"


class Palaver(Turns, Conversations):
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
            owner, own = await wiring.find_or_be(config, stack)
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
        parent: str | None = None,
        concurrency: Literal["queue", "branch", "reject"] | None = None,
        temporary: bool | None = None,
        store: bool | None = None,
        window: Literal["strict", "auto"] | Mapping[str, Any] | None = None,
        context: bool | None = None,
        on_leave: Literal["finish", "grace"] = "finish",
        **parameters: Any,
    ) -> AsyncIterator[Reply]:
        """Send a history and stream the reply. `parameters` go into the body as they are: all that chat completions
        have (`temperature`, `tools`, `response_format`, `n`, `reasoning_effort`, …) but `stream`, which always is.

        With a `parent`, the id of a message, `messages` are only what is new below it; ``head`` stands for the
        head of the `conversation`. `concurrency` says what becomes of that while another turn answers there:
        it waits, branches off, or is refused. A conversation that a `temporary` turn begins goes by itself.
        `window` says what the model is shown, all that is sent or what fits, or more (`mode`, `size`, `keep`, …);
        with `context` the reply tells in the end what that was.

        Leaving the block early does not stop the reply (see `cancel`) unless `on_leave` is ``grace``. Raises
        RequestError, EngineUnavailable, PalaverError.
        """
        given = {
            "conversation": conversation,
            "parent": parent,
            "concurrency": concurrency,
            "temporary": temporary,
            "store": store,
            "window": window,
            "context": context,
        }
        body = completion(model or self.model, messages, given, parameters) | {"stream": True}
        headers = {"palaver-on-leave": on_leave}
        async with self._request("POST", COMPLETIONS, json=body, headers=headers) as response:
            yield Reply(response)

    async def foresee(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        conversation: str | None = None,
        parent: str | None = None,
        store: bool | None = None,
        window: Literal["strict", "auto"] | Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """The receipt that `say` would have with these messages and parameters: what the model would see.

        No model is asked, and nothing is stored. Raises what `say` raises before the reply begins.
        """
        given = {"conversation": conversation, "parent": parent, "store": store, "window": window}
        body = completion(model or self.model, messages, given, parameters)
        return await self._get("POST", f"{COMPLETIONS}/dry_run", json=body)

    def regenerate(self, question: str, **options: Any) -> contextlib.AbstractAsyncContextManager[Reply]:
        """Have a message (its id) answered again; the reply stands beside the others. `options` are `say`'s."""
        return self.say([], parent=question, **options)

    def continue_(self, reply: str, **options: Any) -> contextlib.AbstractAsyncContextManager[Reply]:
        """Go on with a reply (its id) that was cut off. The new reply begins with the text of the old one and
        stands beside it. `options` are `say`'s."""
        return self.say([], parent=reply, **options)

    async def delete_user(self, user: str) -> dict[str, Any]:
        """Delete all conversations of an end user, and the name; how much it was."""
        return await self._get("DELETE", f"/v1/users/{part(user, 'user')}")

    async def delete_owner(self, owner: str) -> dict[str, Any]:
        """Delete everything of an owner, API keys too; how much it was."""
        return await self._get("DELETE", f"/v1/owners/{part(owner, 'owner')}")

    async def retention(self, older_than_days: float, **more: Any) -> dict[str, Any]:
        """What is older; it is deleted with a `dry_run` of False. Of one `owner`, or of all."""
        return await self._get("POST", "/v1/retention", json={"older_than_days": older_than_days, **more})

    async def models(self) -> list[dict[str, Any]]:
        """The models that can be named."""
        models: list[dict[str, Any]] = (await self._get("GET", "/v1/models"))["data"]
        return models

    async def model_named(self, name: str) -> dict[str, Any]:
        """One model, by its name or an alias. Raises RequestError with code ``model_not_available``."""
        return await self._get("GET", f"/v1/models/{part(name, 'name')}")

    async def kv_cache(
        self, *, model: str | None = None, conversation: str | None = None, all: bool = False
    ) -> list[dict[str, Any]]:
        """What models hold of the prompts of conversations, as ``GET /v1/cache`` says it: of one model, of one
        conversation (an id or a name), or of `all` owners. Raises RequestError where there is no such one."""
        asked = query({"model": model, "conversation": conversation, "all": all or None})
        caches: list[dict[str, Any]] = (await self._get("GET", CACHE, params=asked))["data"]
        return caches

    async def clear_kv_cache(
        self, *, model: str | None = None, conversation: str | None = None, all: bool = False
    ) -> dict[str, Any]:
        """Erase what models hold, of what `kv_cache` would list; how much was `cleared`. No message is deleted."""
        asked = query({"model": model, "conversation": conversation, "all": all or None})
        return await self._get("DELETE", CACHE, params=asked)

    async def api_keys(self) -> list[dict[str, Any]]:
        """All API keys that were ever made, without the keys themselves."""
        keys: list[dict[str, Any]] = (await self._get("GET", "/v1/keys"))["data"]
        return keys

    async def add_api_key(self, **asked: Any) -> dict[str, Any]:
        """Make an API key; `asked` is the body of ``POST /v1/keys``. Only here the answer has the `key` itself."""
        return await self._get("POST", "/v1/keys", json=asked)

    async def revoke_api_key(self, id: str) -> dict[str, Any]:
        """Accept a key no longer. Raises RequestError with code ``api_key_not_found``."""
        return await self._get("DELETE", f"/v1/keys/{part(id, 'id')}")

    async def _get(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async with self._request(method, path, **options) as response:
            body = await _body(response)
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise PalaverError(f"What answers at {self.address} is no palaver.") from error

    @contextlib.asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._session.request(method, self.address + path, **options)
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"palaver at {self.address} cannot be reached: {error}") from error
        async with response:
            if response.status >= 400:
                raise _error_of(response.status, await _body(response))
            yield response


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Raises EngineUnavailable where the connection breaks before its end."""
    try:
        return await response.read()
    except aiohttp.ClientError as error:
        raise EngineUnavailable("The connection to palaver broke in mid-reply.") from error


def _error_of(status: int, body: bytes) -> PalaverError:
    try:
        error = msgspec.json.decode(body)["error"]
        message, param, code = error["message"], error.get("param"), error.get("code")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return PalaverError(f"palaver answered with status {status}.")
    if status == UNAVAILABLE:
        return EngineUnavailable(message)
    return RequestError(message, param=param, code=code) if status < 500 else PalaverError(message)
