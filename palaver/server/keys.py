"""``/v1/keys``: API keys, made, listed and revoked."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.core import ids
from palaver.core.errors import InvalidRequest
from palaver.core.window_settings import WindowSettings
from palaver.server.body import decode, decode_fields, read_body
from palaver.server.keyring import HINT, Keyring, hash_of, new_key
from palaver.server.receipts import CHOICES as WINDOW_CHOICES
from palaver.server.route import KeyScope, Operation, json_response, path_value
from palaver.server.settings import ServerSettings
from palaver.stores.base import ApiKey, NewApiKey, Store

DEFAULT_SCOPES: tuple[KeyScope, ...] = ("chat", "read", "write")
CHOICES = {
    "scopes[]": get_args(KeyScope),
    **{f"window.{name}": words for name, words in WINDOW_CHOICES.items()},
}
DAY = 24 * 60 * 60

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. Of the two ways to say when it expires, one may be used; without, it never does."""

    name: Annotated[Text, Meta(description="What it is for; for people.")]
    owner: Annotated[
        Text, Meta(description="Whose conversations it opens. An owner that is new begins with none.")
    ] = "local"
    scopes: Annotated[
        list[KeyScope],
        Meta(
            min_length=1,
            description="`chat` asks, looks up and cancels its owner's turns, and lists models; `read` reads "
            "conversations; `write` changes and deletes them; `admin` manages keys and owners, all of them. "
            "Without it: `chat`, `read` and `write`.",
        ),
    ] = msgspec.field(default_factory=lambda: list(DEFAULT_SCOPES))
    requests_per_minute: Annotated[
        Limit | None, Meta(description="How many turns it may ask for in a minute.")
    ] = None
    tokens_per_minute: Annotated[
        Limit | None, Meta(description="How many tokens prompts and replies may have in a minute.")
    ] = None
    expires_in_days: Annotated[
        Annotated[float, Meta(gt=0, le=36_500)] | None, Meta(description="It expires so long from now.")
    ] = None
    expires_at: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 36)] | None,
        Meta(description="It expires then, in seconds since 1970."),
    ] = None
    window: Annotated[
        WindowSettings | None, Meta(description="How windows are chosen for requests with it.")
    ] = None


class KeysQuery(msgspec.Struct, frozen=True):
    owner: Annotated[str | None, Meta(description="Only the keys of this owner.")] = None


class KeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without the key itself: `hint` is how it ends. Times are in seconds since 1970.

    `status` says whether it is accepted: only while it is ``active``. `last_used_at` may lag by a minute where
    palaver was stopped by force.
    """

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    owner: str
    hint: str
    scopes: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    status: Literal["active", "expired", "revoked"]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    window: WindowSettings | None


class CreatedKey(KeyBody, frozen=True, kw_only=True):
    """A key that was just made. `key` is shown this once and stored nowhere."""

    key: str


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[KeyBody]


_decoder = msgspec.json.Decoder(KeyRequest)


class ApiKeys:
    def __init__(self, store: Store, keyring: Keyring, settings: ServerSettings) -> None:
        self._store = store
        self._keyring = keyring
        self._settings = settings

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/keys",
                handler=self.list,
                summary="API keys, the oldest first",
                description="All that were ever made, the revoked and the expired too. Keys from the settings "
                "are not among them.",
                query=KeysQuery,
                reply=KeyList,
                scope="admin",
            ),
            Operation(
                method="POST",
                path="/keys",
                handler=self.create,
                summary="Make an API key",
                description="From the first one on, every request needs a key, on loopback too.",
                body=KeyRequest,
                reply=CreatedKey,
                scope="admin",
            ),
            Operation(
                method="DELETE",
                path="/keys/{id}",
                handler=self.revoke,
                summary="Revoke an API key",
                description="It is accepted no longer, from now on. Replies that run go on.",
                reply=KeyBody,
                scope="admin",
            ),
        ]

    async def list(self, request: Request) -> Response:
        query = decode_fields(request.query_params, KeysQuery)
        await self._keyring.note_uses()
        data = [KeyBody(**_shown(key)) for key in await self._store.api_keys(query.owner)]
        return json_response(KeyList(data=data))

    async def create(self, request: Request) -> Response:
        body = await read_body(request, self._settings.max_body_bytes)
        asked, key = decode(body, _decoder, CHOICES), new_key()
        added = await self._store.add_api_key(
            NewApiKey(
                id=_new_id(),
                owner=asked.owner,
                name=asked.name,
                hash=hash_of(key),
                hint=key[-HINT:],
                scopes=sorted(set(asked.scopes)),
                requests_per_minute=asked.requests_per_minute,
                tokens_per_minute=asked.tokens_per_minute,
                expires_at=_expiry(asked),
                window=asked.window,
            )
        )
        return json_response(CreatedKey(**_shown(added), key=key), headers={"cache-control": "no-store"})

    async def revoke(self, request: Request) -> Response:
        return json_response(KeyBody(**_shown(await self._store.revoke_api_key(path_value(request, "id")))))


def _new_id() -> str:
    return ids.API_KEY + ids.id_body(int(time.time() * 1000), secrets.token_bytes(ids.RANDOM_BYTES))


def _expiry(asked: KeyRequest) -> int | None:
    """When the key expires, in milliseconds since 1970. Raises InvalidRequest."""
    now = time.time()
    if asked.expires_in_days is not None:
        if asked.expires_at is not None:
            raise InvalidRequest(
                "`expires_in_days` and `expires_at` say the same in two ways.", param="expires_at"
            )
        return int((now + asked.expires_in_days * DAY) * 1000)
    if asked.expires_at is not None and asked.expires_at <= now:
        raise InvalidRequest("`expires_at` is in the past.", param="expires_at")
    return None if asked.expires_at is None else asked.expires_at * 1000


def _shown(key: ApiKey) -> dict[str, Any]:
    """The fields of a `KeyBody`."""
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "hint": key.hint,
        "scopes": key.scopes,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "status": _status(key),
        "created_at": key.created_at // 1000,
        "expires_at": _seconds(key.expires_at),
        "revoked_at": _seconds(key.revoked_at),
        "last_used_at": _seconds(key.last_used_at),
        "window": key.window,
    }


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= time.time() * 1000 else "active"


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
