"""What engines hold of prompts, at the door: each owner's, and for those who may, everybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.server.app import ServerSettings
from tests.holding import GIB, Holds, held, in_slot
from tests.server.conftest import Door, HandEngine, opened

LOCAL = {"authorization": "Bearer local-secret"}
SETTINGS = ServerSettings(local_key="local-secret")


class Holding(Holds, HandEngine):
    pass


@pytest.fixture
def engine() -> Holding:
    engine = Holding()
    engine.hold()
    return engine


@pytest.fixture
async def door(tmp_path: Path, engine: Holding) -> AsyncIterator[Door]:
    async with opened(tmp_path, SETTINGS, hand=engine) as door:
        yield door


async def shown(door: Door, query: str = "", headers: dict[str, str] = LOCAL) -> list[dict[str, Any]]:
    response, body = await door.get(f"/v1/cache{query}", headers)
    assert response.status == 200, body
    assert body["object"] == "list"
    data: list[dict[str, Any]] = body["data"]
    return data


async def clear(door: Door, query: str = "", headers: dict[str, str] = LOCAL) -> tuple[int, Any]:
    async with door.http.delete(f"{door.address}/v1/cache{query}", headers=headers) as response:
        return response.status, await response.json()


async def key_of(door: Door, owner: str, *scopes: str) -> dict[str, str]:
    asked = {"name": "app", "owner": owner, **({"scopes": scopes} if scopes else {})}
    response, body = await door.post("/v1/keys", asked, LOCAL)
    assert response.status == 200, body
    return {"authorization": f"Bearer {body['key']}"}


async def named(door: Door, name: str, headers: dict[str, str] = LOCAL, **more: Any) -> str:
    """The id of a new conversation of this name."""
    message = {"role": "user", "content": f"Hello {name}"}
    body = {"model": "scripted", "messages": [message], "conversation": name, **more}
    response, body = await door.post("/v1/chat/completions", body, headers)
    assert response.status == 200, body
    return response.headers["palaver-conversation"]


async def test_what_a_model_holds(door: Door, engine: Holding) -> None:
    trip = await named(door, "trip")
    engine.hold(
        held(conversation=trip, where="disk", tokens=30, bytes=3000, used=1_700_000_001.9),
        held(conversation=trip, bytes=500, used=1_700_000_003.0),
        held(bytes=7, used=1_700_000_000.0),
        in_slot(conversation=trip, slot=2, tokens=40, used=1_700_000_002.5),
        counts={"prefilled": 12, "refused_model": 1},
    )
    [cache] = await shown(door)
    entry = {"conversation": trip, "where": "memory", "slot": None, "tokens": 100, "bytes": 500}
    assert cache == {
        "object": "kv_cache",
        "model": "test/hand",
        "kept": True,
        "held": [
            entry | {"used": 1_700_000_003},
            entry | {"where": "slot", "slot": 2, "tokens": 40, "bytes": 0, "used": 1_700_000_002},
            entry | {"where": "disk", "tokens": 30, "bytes": 3000, "used": 1_700_000_001},
            entry | {"conversation": None, "bytes": 7, "used": 1_700_000_000},
        ],
        "memory": {"bytes": 507, "quota": GIB},
        "disk": {"bytes": 3000, "quota": 2 * GIB},
        "counts": {"prefilled": 12, "refused_model": 1},
    }
    [cache] = await shown(door, "?conversation=trip")
    assert [each["conversation"] for each in cache["held"]] == [trip] * 3
    assert cache["memory"]["bytes"] == 500


async def test_why_none_are_kept(door: Door, engine: Holding) -> None:
    engine.hold(unkept="its state cannot be restored")
    [cache] = await shown(door)
    assert (cache["kept"], cache["reason"], cache["held"]) == (False, "its state cannot be restored", [])


async def test_only_of_one_model(door: Door, engine: Holding) -> None:
    engine.hold(held())
    [cache] = await shown(door, "?model=test/hand")
    assert (cache["model"], len(cache["held"])) == ("test/hand", 1)
    assert await shown(door, "?model=gpt") == [], "it does not know"
    assert await clear(door, "?model=gpt") == (200, {"object": "kv_cache.cleared", "cleared": 0})
    assert engine.forgotten == []
    assert await clear(door, "?model=test/hand") == (200, {"object": "kv_cache.cleared", "cleared": 1})
    assert engine.forgotten == [("local", None)]


async def test_what_is_not_there_is_said(door: Door, engine: Holding) -> None:
    for query, param, code in (
        ("?model=nobody", "model", "model_not_available"),
        ("?conversation=nobody", "conversation", "conversation_not_found"),
        ("?conversation=conv_01arz3ndektsv4rrffq69g5fav", "conversation", "conversation_not_found"),
    ):
        response, body = await door.get(f"/v1/cache{query}", LOCAL)
        assert (response.status, body["error"]["param"], body["error"]["code"]) == (404, param, code)
        status, body = await clear(door, query)
        assert (status, body["error"]["code"]) == (404, code)
    for query, param in (("?all=perhaps", "all"), ("?all=true&conversation=trip", "conversation")):
        status, body = await clear(door, query)
        assert (status, body["error"]["param"]) == (400, param)
    assert engine.forgotten == []


async def test_a_conversation_is_cleared_by_its_name_or_its_id(door: Door, engine: Holding) -> None:
    trip, other = await named(door, "trip"), await named(door, "other")
    anns = await named(door, "hers", user="ann")
    engine.hold(*(held(conversation=each) for each in (trip, other, anns)), held())
    for query, id in (
        ("?conversation=trip", trip),
        (f"?conversation={other}", other),
        ("?conversation=hers&user=ann", anns),
    ):
        assert await clear(door, query) == (200, {"object": "kv_cache.cleared", "cleared": 1})
        assert engine.forgotten[-1] == ("local", id)
    [cache] = await shown(door)
    assert [each["conversation"] for each in cache["held"]] == [None]
    status, _ = await clear(door, "?conversation=hers")
    assert status == 404, "it is her conversation's name"


async def test_an_owner_sees_and_clears_what_is_theirs(door: Door, engine: Holding) -> None:
    ann = await key_of(door, "ann")
    hers = await named(door, "trip", ann)
    engine.hold(held("ann", hers, bytes=30), held("bob", "conv_b"), held("local", None), counts={"saved": 3})
    [cache] = await shown(door, headers=ann)
    assert [each["conversation"] for each in cache["held"]] == [hers]
    assert (cache["memory"]["bytes"], cache["counts"]) == (30, {"saved": 3})
    assert "owner" not in cache["held"][0]
    for query in ("?all=true", "?all=true&model=test/hand"):
        for status, body in (await clear(door, query, ann), await status_of(door, query, ann)):
            assert (status, body["error"]["code"]) == (403, "insufficient_scope")
    status, _ = await clear(door, f"?conversation={hers}")
    assert status == 404, "another owner's is not there"
    assert engine.forgotten == []
    assert (await clear(door, headers=ann))[1]["cleared"] == 1
    assert engine.forgotten == [("ann", None)]


async def status_of(door: Door, query: str, headers: dict[str, str]) -> tuple[int, Any]:
    response, body = await door.get(f"/v1/cache{query}", headers)
    return response.status, body


async def test_who_may_sees_and_clears_everybodys(door: Door, engine: Holding) -> None:
    engine.hold(held("ann", "conv_a", bytes=30), held("bob", "conv_b", bytes=40), held("local", None))
    [cache] = await shown(door, "?all=true")
    assert {each["owner"]: each["conversation"] for each in cache["held"]} == {
        "ann": "conv_a",
        "bob": "conv_b",
        "local": None,
    }
    assert cache["memory"]["bytes"] == 1070
    assert [each["conversation"] for each in (await shown(door, "?all=false"))[0]["held"]] == [None]
    root = await key_of(door, "root", "read", "write", "admin")
    assert len((await shown(door, "?all=true", root))[0]["held"]) == 3
    assert (await clear(door, "?all=true&model=test/hand", root))[1]["cleared"] == 3
    assert engine.forgotten == [(None, None)]


async def test_reading_and_clearing_take_their_scopes(door: Door) -> None:
    for scope, seen, cleared in (("read", 200, 403), ("write", 403, 200), ("chat", 403, 403)):
        key = await key_of(door, "ann", scope)
        assert (await status_of(door, "", key))[0] == seen
        assert (await clear(door, headers=key))[0] == cleared


async def test_an_engine_that_cannot_be_asked(door: Door, engine: Holding) -> None:
    engine.failure = EngineUnavailable("It is restarting.")
    assert await shown(door) == []
    for status, body in (await status_of(door, "?model=test/hand", LOCAL), await clear(door)):
        assert (status, body["error"]["message"]) == (503, "It is restarting.")
