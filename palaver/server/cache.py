"""``/v1/cache``: what engines hold of the prompts of conversations, shown and cleared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import Chat
from palaver.core.errors import InvalidRequest
from palaver.engines.base import Held, KvCache
from palaver.server.body import decode_fields
from palaver.server.conversation_shapes import USER_HEADERS, ConversationQuery
from palaver.server.exchange import exchange_of
from palaver.server.names import end_user_of
from palaver.server.route import Operation, json_response


class CacheQuery(ConversationQuery, frozen=True):
    model: Annotated[str | None, Meta(description="Only of this model, by its name or an alias.")] = None
    conversation: Annotated[
        str | None, Meta(description="Only of this conversation, by its id or its name.")
    ] = None
    all: Annotated[bool, Meta(description="Of all owners. An API key needs the scope `admin` for that.")] = (
        False
    )


class HeldBody(msgspec.Struct, frozen=True, kw_only=True):
    """A computed prompt that is held. `conversation` is null where it belongs to none that is stored.

    `where` is a `slot` of the model (which one, is null elsewhere), or where a snapshot is. `tokens` is about how long
    it is, `bytes` how large a snapshot is, 0 in a slot; `used` is when it was used last, in seconds since 1970.
    `owner` is there only where all owners were asked for.
    """

    conversation: str | None
    where: Literal["slot", "memory", "disk"]
    slot: int | None
    tokens: int
    bytes: int
    used: int
    owner: str | UnsetType = UNSET


class CacheRoom(msgspec.Struct, frozen=True, kw_only=True):
    """How much the snapshots that are listed take, in bytes, and the quota for all, which models share."""

    bytes: int
    quota: int


class KvCacheBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine of a model holds, what was used last first. `reason` is there where snapshots are not `kept`,
    and says why.

    `counts` are those of all owners since the engine started: tokens ``prefilled`` and ``reused`` by turns, and
    ``settled`` while nobody waited; how many snapshots were ``saved``, ``restored``, ``evicted`` and ``erased``; and as
    ``refused_…`` how many were not used, and why.
    """

    object: Literal["kv_cache"] = "kv_cache"
    model: str
    kept: bool
    reason: str | UnsetType = UNSET
    held: list[HeldBody]
    memory: CacheRoom
    disk: CacheRoom
    counts: dict[str, int]


class KvCacheList(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[KvCacheBody]


class KvCacheCleared(msgspec.Struct, frozen=True, kw_only=True):
    """How many slots and snapshots were cleared."""

    object: Literal["kv_cache.cleared"] = "kv_cache.cleared"
    cleared: int


class KvCaches:
    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def operations(self) -> list[Operation]:
        common: dict[str, Any] = {"path": "/cache", "query": CacheQuery, "headers": USER_HEADERS}
        return [
            Operation(
                method="GET",
                handler=self.show,
                summary="What models hold of prompts",
                description="What was computed of the prompts of conversations and is held, so that it need not be "
                "computed again: in the slots of models, and as snapshots. Models of which that is not known are left "
                "out.",
                reply=KvCacheList,
                **common,
            ),
            Operation(
                method="DELETE",
                handler=self.clear,
                scope="write",
                summary="Clear what models hold of prompts",
                description="It is erased from slots, memory and disk. No message is deleted: the next turn of a "
                "conversation takes longer to begin, no more. What a running turn has computed is erased when it ends.",
                reply=KvCacheCleared,
                **common,
            ),
        ]

    async def show(self, request: Request) -> Response:
        query = _asked(request)
        owner, conversation = await self._whose(request, query)
        found = await self._caches(query.model)
        data = [_shown(model, cache, owner, conversation) for model, cache in found.items()]
        return json_response(KvCacheList(data=data))

    async def clear(self, request: Request) -> Response:
        query = _asked(request)
        owner, conversation = await self._whose(request, query)
        cleared = await self._chat.catalog.forget(owner, conversation, model=query.model)
        return json_response(KvCacheCleared(cleared=cleared))

    async def _caches(self, name: str | None) -> Mapping[str, KvCache]:
        """By the names of models. Raises ModelNotFound."""
        if name is None:
            return await self._chat.catalog.kv_caches()
        model = await self._chat.catalog.find(name)
        cache = await model.engine.kv_cache()
        return {} if cache is None else {model.name: cache}

    async def _whose(self, request: Request, query: CacheQuery) -> tuple[str | None, str | None]:
        """Which owner is meant, None for all, and the id of which conversation. Raises ConversationNotFound."""
        if query.all:
            return None, None
        owner = exchange_of(request).owner
        if query.conversation is None:
            return owner, None
        end_user = query.user or end_user_of(request.headers)
        return owner, (await self._chat.store.conversation(owner, query.conversation, end_user)).id


def _asked(request: Request) -> CacheQuery:
    """Raises InvalidRequest, and ScopeMissing for all owners' without the scope for that."""
    query = decode_fields(request.query_params, CacheQuery)
    if query.user is not None and query.conversation is None:
        raise InvalidRequest("`user` says whose `conversation` is meant: name one.", param="user")
    if query.all:
        exchange_of(request).check_scope("admin")
        if query.conversation is not None:
            raise InvalidRequest(
                "`conversation` names one of your own: it does not go with `all`.", param="conversation"
            )
    return query


def _shown(model: str, cache: KvCache, owner: str | None, conversation: str | None) -> KvCacheBody:
    """What a model holds of an owner, or of one conversation; of all owners, where none is named."""
    held = [
        each
        for each in sorted(cache.held, key=lambda each: -each.used)
        if owner in (None, each.owner) and conversation in (None, each.conversation)
    ]
    return KvCacheBody(
        model=model,
        kept=cache.unkept is None,
        reason=UNSET if cache.unkept is None else cache.unkept,
        held=[_held(each, with_owner=owner is None) for each in held],
        memory=CacheRoom(bytes=_bytes(held, "memory"), quota=cache.memory_quota),
        disk=CacheRoom(bytes=_bytes(held, "disk"), quota=cache.disk_quota),
        counts=cache.counts,
    )


def _held(held: Held, *, with_owner: bool) -> HeldBody:
    return HeldBody(
        conversation=held.conversation,
        where=held.where,
        slot=held.slot,
        tokens=held.tokens,
        bytes=held.bytes,
        used=int(held.used),
        owner=held.owner if with_owner else UNSET,
    )


def _bytes(held: list[Held], where: str) -> int:
    return sum(each.bytes for each in held if each.where == where)
