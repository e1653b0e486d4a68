"""Created API keys at the door: made, used, scoped, expired, revoked; and when they cannot be looked up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
import together

from palaver.core.errors import NotAuthenticated, StoreUnavailable
from palaver.server.app import ServerSettings
from palaver.server.keyring import FRESH, Keyring, hash_of, new_key
from palaver.server.route import ALL_SCOPES
from palaver.stores.base import Store
from tests.server.conftest import Door, opened, until
from tests.stores.contract_keys import new_key as stored_key
from tests.stores.sqlite_files import opened as opened_store

LOCAL = {"authorization": "Bearer local-secret"}
SETTINGS = ServerSettings(local_key="local-secret", api_keys=())
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, SETTINGS) as door:
        yield door


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def created(door: Door, **more: Any) -> dict[str, Any]:
    response, body = await door.post("/v1/keys", {"name": "app", **more}, LOCAL)
    assert response.status == 200, body
    found: dict[str, Any] = body
    return found


async def revoke(door: Door, id: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with door.http.delete(f"{door.address}/v1/keys/{id}", headers=headers or LOCAL) as response:
        return response.status, await response.json()


async def status(door: Door, headers: dict[str, str] | None = None) -> int:
    response, _ = await door.post("/v1/chat/completions", BODY, headers)
    return response.status


async def half_sent(
    door: Door, path: str, body: object, headers: dict[str, str]
) -> tuple[asyncio.Task[aiohttp.ClientResponse], asyncio.Event]:
    """A request whose headers were accepted, and whose body ends when the event is set."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        begun.set()  # the server has told it to go on, which it does when it reads the body
        await go_on.wait()
        yield msgspec.json.encode(body)

    given = headers | {"content-type": "application/json"}
    asking = asyncio.create_task(
        door.http.post(door.address + path, data=slow(), headers=given, expect100=True)
    )
    await begun.wait()
    return asking, go_on


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def damage(store: Path) -> None:
    for path in (store, store.with_name(store.name + "-wal")):
        if path.exists():
            path.write_bytes(b"\xff" * path.stat().st_size)


async def test_a_key_is_shown_once_and_kept_nowhere(door: Door, tmp_path: Path) -> None:
    response, made = await door.post("/v1/keys", {"name": "app"}, LOCAL)
    assert response.headers["cache-control"] == "no-store"
    key = made.pop("key")
    assert key.startswith("pal_")
    assert len(key) == 47
    assert made["hint"] == key[-4:]
    assert (made["owner"], made["scopes"], made["status"]) == ("local", ["chat", "read", "write"], "active")
    _, listed = await door.get("/v1/keys", LOCAL)
    assert listed["data"] == [made]
    assert await status(door, bearer(key)) == 200
    await door.chat.store.close()
    kept = all_bytes(tmp_path)
    assert key.removeprefix("pal_").encode() not in kept
    assert hash_of(key) in kept


async def test_no_two_keys_are_the_same() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


async def test_from_the_first_key_on_one_is_needed_for_good(door: Door) -> None:
    assert await status(door) == 200
    response, made = await door.post("/v1/keys", {"name": "app"})  # nobody needs a key yet
    assert response.status == 200
    key = bearer(made["key"])
    assert [await status(door, given) for given in (None, bearer("any"), key, LOCAL)] == [401, 401, 200, 200]
    assert (await revoke(door, made["id"]))[0] == 200
    assert [await status(door, given) for given in (None, bearer("any"), key, LOCAL)] == [401, 401, 401, 200]


async def test_a_restart_leaves_the_door_closed(tmp_path: Path) -> None:
    async with opened(tmp_path, SETTINGS) as door:
        made = await created(door)
        await revoke(door, made["id"])
    async with opened(tmp_path, SETTINGS) as door:
        assert [await status(door), await status(door, LOCAL)] == [401, 200]


async def test_a_revoked_key_and_an_expired_one_are_told_so(door: Door) -> None:
    revoked, expired = await created(door), await created(door, expires_in_days=1e-9)
    lasting = await created(door, expires_at=int(time.time()) + 1000)
    await revoke(door, revoked["id"])
    for made, word in ((revoked, "revoked"), (expired, "expired")):
        response, body = await door.post("/v1/chat/completions", BODY, bearer(made["key"]))
        assert (response.status, body["error"]["code"]) == (401, "invalid_api_key")
        assert word in body["error"]["message"]
    assert await status(door, bearer(lasting["key"])) == 200
    _, listed = await door.get("/v1/keys", LOCAL)
    assert [each["status"] for each in listed["data"]] == ["revoked", "expired", "active"]


async def test_the_keys_of_an_owner_go_with_it_at_once_and_the_door_stays_closed(door: Door) -> None:
    key = bearer((await created(door, owner="ann"))["key"])
    assert await status(door, key) == 200
    async with door.http.delete(f"{door.address}/v1/owners/ann", headers=LOCAL) as response:
        assert response.status == 200
    assert [await status(door, given) for given in (key, None, LOCAL)] == [401, 401, 200]
    assert await door.chat.store.api_keys() == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/conversations/c/fork", "/v1/keys"])
@pytest.mark.parametrize("end", ["/v1/owners/ann", "/v1/keys/{id}"])
async def test_a_key_that_goes_while_the_body_comes_opens_nothing(door: Door, path: str, end: str) -> None:
    made = await created(door, owner="ann", scopes=["chat", "write", "admin"])
    body = BODY | {"name": "evil", "message": "msg_x"}
    asking, go_on = await half_sent(door, path, body, bearer(made["key"]))
    async with door.http.delete(door.address + end.format(**made), headers=LOCAL) as response:
        assert response.status == 200
    go_on.set()
    response = await asking
    assert (response.status, (await response.json())["error"]["code"]) == (401, "invalid_api_key")
    assert await door.chat.store.conversations("ann", one_shots=True) == []
    assert [key.name for key in await door.chat.store.api_keys() if key.revoked_at is None] == []


async def test_a_key_that_goes_while_a_model_is_looked_up_opens_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await created(door, owner="ann")
    begun, go_on = asyncio.Event(), asyncio.Event()
    find = door.chat.catalog.find

    async def slow(name: str) -> Any:  # as where an upstream is asked for its list
        begun.set()
        await go_on.wait()
        return await find(name)

    monkeypatch.setattr(door.chat.catalog, "find", slow)
    asking = asyncio.create_task(door.post("/v1/chat/completions", BODY, bearer(made["key"])))
    await begun.wait()
    async with door.http.delete(f"{door.address}/v1/owners/ann", headers=LOCAL) as response:
        assert response.status == 200
    go_on.set()
    assert (await asking)[0].status == 401
    assert await door.chat.store.conversations("ann", one_shots=True) == []


async def test_a_door_that_closes_while_a_body_comes_is_closed_to_it(door: Door) -> None:
    asking, go_on = await half_sent(door, "/v1/chat/completions", BODY, {})
    await created(door)
    go_on.set()
    assert (await asking).status == 401


async def test_what_only_looks_like_a_key_is_none(door: Door) -> None:
    key = (await created(door))["key"]
    for given in (key[:-1], key + "x", key.upper(), key[:-1] + "é", "pal_", "pal_" + "é" * 43, new_key()):
        assert await status(door, bearer(given)) == 401
    assert await status(door, {"authorization": f"Basic {key}"}) == 401


async def test_sdks_take_created_keys(door: Door) -> None:
    key = (await created(door))["key"]
    messages: Any = BODY["messages"]
    async with openai.AsyncOpenAI(base_url=door.address, api_key=key) as sdk:
        assert (await sdk.chat.completions.create(model="scripted", messages=messages)).choices
    async with together.AsyncTogether(base_url=door.address, api_key=key) as other:
        assert (await other.chat.completions.create(model="scripted", messages=messages)).choices
        await revoke(door, (await door.get("/v1/keys", LOCAL))[1]["data"][0]["id"])
        with pytest.raises(together.AuthenticationError, match="revoked"):
            await other.chat.completions.create(model="scripted", messages=messages)


async def test_every_operation_wants_its_scope(door: Door) -> None:
    _, document = await door.get("/openapi.json")
    keys = {scope: (await created(door, scopes=[scope]))["key"] for scope in ALL_SCOPES}
    others = {
        scope: (await created(door, scopes=sorted(ALL_SCOPES - {scope})))["key"] for scope in ALL_SCOPES
    }
    seen = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["security"] == [{}]:
                continue
            (scope,) = operation["security"][-1]["key"]
            assert f"needs the scope `{scope}`" in operation["description"]
            seen.add(scope)
            url = door.address + path.replace("{", "").replace("}", "")
            for key, allowed in ((keys[scope], True), (others[scope], False)):
                async with door.http.request(method, url, json={}, headers=bearer(key)) as response:
                    assert (response.status not in (401, 403)) is allowed, (method, path)
                    if not allowed:
                        error = (await response.json())["error"]
                        assert (response.status, error["code"]) == (403, "insufficient_scope")
                        assert f"`{scope}`" in error["message"]
    assert {"chat", "read", "admin"} <= seen


BAD = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x", "owner": ""}, "owner"),
    ({"name": "x", "scopes": []}, "scopes"),
    ({"name": "x", "scopes": ["all"]}, "scopes[0]"),
    ({"name": "x", "requests_per_minute": 0}, "requests_per_minute"),
    ({"name": "x", "tokens_per_minute": -1}, "tokens_per_minute"),
    ({"name": "x", "expires_in_days": 0}, "expires_in_days"),
    ({"name": "x", "expires_at": 1}, "expires_at"),
    ({"name": "x", "expires_at": 1 << 60}, "expires_at"),
    ({"name": "x", "expires_at": 1 << 33, "expires_in_days": 1}, "expires_at"),
    ({"name": "x", "scope": ["chat"]}, None),
]


@pytest.mark.parametrize(("body", "param"), BAD)
async def test_a_key_that_cannot_be_is_not_made(door: Door, body: dict[str, Any], param: str | None) -> None:
    response, answer = await door.post("/v1/keys", body, LOCAL)
    assert (response.status, answer["error"]["param"]) == (400, param)
    assert await door.chat.store.api_keys() == []
    assert await status(door) == 200


async def test_the_scopes_there_are_are_told(door: Door) -> None:
    _, answer = await door.post("/v1/keys", {"name": "x", "scopes": ["all"]}, LOCAL)
    assert "must be one of chat, read, write, admin; not 'all'" in answer["error"]["message"]


async def test_what_is_possible_with_keys_is_told(door: Door) -> None:
    async with door.http.put(f"{door.address}/v1/keys", json={}, headers=LOCAL) as response:
        assert response.status == 405
        assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    async with door.http.head(f"{door.address}/v1/keys", headers=LOCAL) as response:
        assert response.status == 200


async def test_a_key_that_is_not_there_is_not_revoked(door: Door) -> None:
    found, body = await revoke(door, "key_00000000000000000000000000")
    assert (found, body["error"]["code"]) == (404, "api_key_not_found")


async def test_lists_can_be_of_one_owner(door: Door) -> None:
    for owner in ("ann", "bob", "ann"):
        await created(door, owner=owner)
    _, listed = await door.get("/v1/keys?owner=ann", LOCAL)
    assert [key["owner"] for key in listed["data"]] == ["ann", "ann"]


async def test_when_a_key_was_used_is_noted(door: Door) -> None:
    made = await created(door)
    _, listed = await door.get("/v1/keys", LOCAL)
    assert listed["data"][0]["last_used_at"] is None
    before = int(time.time())
    await status(door, bearer(made["key"]))
    _, listed = await door.get("/v1/keys", LOCAL)
    assert before <= listed["data"][0]["last_used_at"] <= time.time()


async def test_a_page_of_another_origin_may_ask_to_revoke(tmp_path: Path) -> None:
    settings = ServerSettings(local_key="local-secret", cors_origins=("https://app.example",))
    async with opened(tmp_path, settings) as door:
        asked = {"origin": "https://app.example", "access-control-request-method": "DELETE"}
        async with door.http.options(f"{door.address}/v1/keys/x", headers=asked) as response:
            assert response.status == 204
            assert "DELETE" in response.headers["access-control-allow-methods"]


class TestUnreadableStore:
    """It is never taken for a door without keys, nor for a key that is not there."""

    async def test_a_key_cannot_be_checked(self, tmp_path: Path) -> None:
        async with opened(tmp_path, SETTINGS) as door:
            key = bearer((await created(door))["key"])
            await door.chat.store.close()
            response, body = await door.post("/v1/chat/completions", BODY, key)
            assert (response.status, body["error"]["code"]) == (503, "store_unavailable")
            assert "API keys cannot be checked" in body["error"]["message"]
            assert "retry-after" in response.headers

    async def test_whether_a_key_is_needed_cannot_be_told(self, tmp_path: Path) -> None:
        async with opened(tmp_path, SETTINGS) as door:
            await door.chat.store.close()
            for given in (None, bearer("any"), bearer(new_key())):
                response, _ = await door.get("/v1/models", given)
                assert response.status == 503
            assert (await door.get("/v1/models", LOCAL))[0].status == 200  # no store says whose that is
            assert (await door.get("/health"))[0].status == 200

    async def test_a_damaged_file_opens_nothing(self, tmp_path: Path) -> None:
        async with opened(tmp_path, SETTINGS) as door:
            key = bearer((await created(door))["key"])
        async with opened(tmp_path, SETTINGS) as door:
            damage(tmp_path / "palaver.db")
            for given in (None, key, bearer("any")):
                response, _ = await door.post("/v1/chat/completions", BODY, given)
                assert response.status == 503


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestKeyring:
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with opened_store(tmp_path / "palaver.db") as store:
            yield store

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def keyring(self, store: Store, clock: Clock) -> Keyring:
        return Keyring(store, clock=clock, today=lambda: 1000 * clock.now)

    async def test_while_keys_change_nothing_is_remembered(self, store: Store, keyring: Keyring) -> None:
        """Deleting an owner goes on for a while after its keys are gone."""
        first, second = new_key(), new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(first)))
        assert (await keyring.find(first)).id == "key_1"
        with keyring.changing():
            assert (await keyring.find(first)).id == "key_1"
            await store.revoke_api_key("key_1")
            with pytest.raises(NotAuthenticated, match="revoked"):
                await keyring.find(first)
            with keyring.changing():
                pass
            await store.add_api_key(stored_key("key_2", hash=hash_of(second)))
            assert (await keyring.find(second)).id == "key_2"
            await store.revoke_api_key("key_2")
            with pytest.raises(NotAuthenticated, match="revoked"):
                await keyring.find(second)

    async def test_while_keys_change_the_door_is_not_taken_for_open(
        self, store: Store, keyring: Keyring
    ) -> None:
        with keyring.changing():
            assert not await keyring.is_needed()
            await store.add_api_key(stored_key("key_1", hash=hash_of(new_key())))
            assert await keyring.is_needed()

    async def test_another_process_s_change_is_known_soon(
        self, store: Store, clock: Clock, keyring: Keyring
    ) -> None:
        assert not await keyring.is_needed()
        key = new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(key)))
        assert not await keyring.is_needed()
        clock.now += FRESH
        assert await keyring.is_needed()
        assert (await keyring.find(key)).id == "key_1"
        await store.revoke_api_key("key_1")
        clock.now += FRESH - 0.1
        assert (await keyring.find(key)).id == "key_1"
        clock.now += 0.1
        with pytest.raises(NotAuthenticated, match="revoked"):
            await keyring.find(key)

    async def test_a_change_here_is_known_at_once(self, store: Store, keyring: Keyring) -> None:
        assert not await keyring.is_needed()
        key = new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(key)))
        keyring.forget()
        assert await keyring.is_needed()
        await keyring.find(key)
        await store.revoke_api_key("key_1")
        keyring.forget()
        with pytest.raises(NotAuthenticated):
            await keyring.find(key)

    async def test_what_was_being_read_while_it_changed_is_not_remembered(
        self, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(key)))
        keyring = Keyring(store, clock=clock)
        read = store.api_key_of

        async def overtaken(hash: bytes) -> Any:
            found = await read(hash)
            await store.revoke_api_key("key_1")
            keyring.forget()
            return found

        monkeypatch.setattr(store, "api_key_of", overtaken)
        await keyring.find(key)
        monkeypatch.undo()
        with pytest.raises(NotAuthenticated, match="revoked"):
            await keyring.find(key)

    async def test_a_key_expires_while_it_is_remembered(
        self, store: Store, clock: Clock, keyring: Keyring
    ) -> None:
        key = new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(key), expires_at=1_000_000_500))
        await keyring.find(key)
        clock.now += 0.001  # of the other clock that is a second
        with pytest.raises(NotAuthenticated, match="expired on 1970-01-12"):
            await keyring.find(key)

    async def test_uses_that_could_not_be_noted_are_noted_later(
        self, tmp_path: Path, store: Store, clock: Clock, keyring: Keyring
    ) -> None:
        key = new_key()
        await store.add_api_key(stored_key("key_1", hash=hash_of(key)))
        await keyring.find(key)
        await until(lambda: not keyring._noting)
        assert [key.last_used_at for key in await store.api_keys()] == [1_000_000_000]
        clock.now += 10
        await keyring.find(key)
        assert not keyring._noting  # once a minute is enough
        await keyring.note_uses()
        assert [key.last_used_at for key in await store.api_keys()] == [1_010_000_000]
        clock.now += 1
        await keyring.find(key)
        await store.close()
        await keyring.note_uses()
        with pytest.raises(StoreUnavailable):
            await keyring.find(key[:-1] + ("a" if key[-1] != "a" else "b"))
        async with opened_store(tmp_path / "palaver.db") as again:
            keyring._store = again
            await keyring.note_uses()
            assert [key.last_used_at for key in await again.api_keys()] == [1_011_000_000]
