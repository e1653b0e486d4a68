"""The contract: API keys."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.errors import ApiKeyNotFound
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import ApiKey, NewApiKey, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker


def new_key(id: str, owner: str = "ann", **more: Any) -> NewApiKey:
    key = NewApiKey(
        id=id,
        owner=owner,
        name=f"name of {id}",
        hash=secrets.token_bytes(32),
        hint="wxyz",
        scopes=["chat", "read"],
    )
    return msgspec.structs.replace(key, **more)


def as_new(key: ApiKey) -> NewApiKey:
    """What of a stored key was handed in."""
    return NewApiKey(**{name: getattr(key, name) for name in NewApiKey.__struct_fields__})


class ApiKeys(Part):
    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"requests_per_minute": 3, "tokens_per_minute": 10**12, "expires_at": 1},
            {"name": "", "scopes": [], "owner": "an 'owner'; --"},
            {"window": WindowSettings(mode="auto", size=4096, keep=0.3)},
            {"window": WindowSettings()},
        ],
    )
    async def test_what_is_stored_is_what_was_given(
        self, store: Store, folder: Path, more: dict[str, Any]
    ) -> None:
        given = new_key("key_1", **more)
        added = await store.add_api_key(given)
        assert as_new(added) == given
        assert added.created_at > 1_600_000_000_000
        assert (added.revoked_at, added.last_used_at) == (None, None)
        await store.close()
        async with self.opened(folder) as again:
            assert await again.api_key_of(given.hash) == added
            assert await again.api_keys() == [added]

    async def test_the_owner_of_a_key_is_made_once(self, store: Store, folder: Path) -> None:
        await store.add_api_key(new_key("key_1", "ann"))
        root = await store.root_key("ann", None)
        await store.add_api_key(new_key("key_2", "ann"))
        assert await store.root_key("ann", None) == root
        assert [row["name"] for row in self.tables(folder)["owners"]] == ["ann"]

    async def test_a_key_is_found_by_its_hash_alone(self, store: Store) -> None:
        ann, bob = new_key("key_1", "ann"), new_key("key_2", "bob", expires_at=1)
        for each in (ann, bob):
            await store.add_api_key(each)
        found = await store.api_key_of(bob.hash)
        assert found is not None
        assert as_new(found) == bob
        for unknown in (secrets.token_bytes(32), b"", ann.hash[:-1], ann.hash + b"\0"):
            assert await store.api_key_of(unknown) is None

    async def test_lists_are_of_one_owner_or_of_all(self, store: Store) -> None:
        for number, owner in enumerate(("ann", "bob", "ann")):
            await store.add_api_key(new_key(f"key_{number}", owner))
        await store.revoke_api_key("key_0")
        assert [key.id for key in await store.api_keys()] == ["key_0", "key_1", "key_2"]
        assert [key.id for key in await store.api_keys("ann")] == ["key_0", "key_2"]
        assert await store.api_keys("nobody") == []

    async def test_a_key_is_revoked_once_and_found_as_such(self, store: Store, folder: Path) -> None:
        given = new_key("key_1")
        added = await store.add_api_key(given)
        revoked = await store.revoke_api_key("key_1", "ann")
        assert revoked.revoked_at is not None
        assert revoked == msgspec.structs.replace(added, revoked_at=revoked.revoked_at)
        assert await store.api_key_of(given.hash) == revoked
        async with self.unchanged(folder):
            assert await store.revoke_api_key("key_1") == revoked

    @pytest.mark.parametrize(("id", "owner"), [("key_1", "bob"), ("key_1", "nobody"), ("key_2", None)])
    async def test_a_key_that_is_not_there_or_anothers_is_not_revoked(
        self, store: Store, folder: Path, id: str, owner: str | None
    ) -> None:
        await store.add_api_key(new_key("key_1", "ann"))
        await store.root_key("bob", None)
        async with self.unchanged(folder):
            with pytest.raises(ApiKeyNotFound):
                await store.revoke_api_key(id, owner)

    async def test_the_first_key_is_remembered(self, store: Store, folder: Path) -> None:
        assert not await store.had_api_key()
        await Talker(store).talk("hi", "hello")
        assert not await store.had_api_key()
        for id in ("key_1", "key_2"):
            await store.add_api_key(new_key(id))
            await store.revoke_api_key(id)
            assert await store.had_api_key()
        await store.close()
        async with self.opened(folder) as again:
            assert await again.had_api_key()
            await again.delete_owner("ann")
            assert await again.api_keys() == []
            assert await again.had_api_key()

    async def test_how_windows_are_chosen_for_a_key_is_told_with_it(self, store: Store) -> None:
        kept = [WindowSettings(mode="strict"), None]
        for number, window in enumerate(kept):
            await store.add_api_key(new_key(f"key_{number}", window=window))
        revoked = [await store.revoke_api_key(f"key_{number}") for number in range(2)]
        for found in (revoked, await store.api_keys(), await store.api_keys("ann")):
            assert [key.window for key in found] == kept

    async def test_the_last_use_of_keys_is_the_latest_that_was_told(self, store: Store) -> None:
        for id in ("key_1", "key_2"):
            await store.add_api_key(new_key(id))
        await store.touch_api_keys({"key_1": 2000, "key_2": 3000, "key_3": 4000})
        await store.touch_api_keys({"key_1": 5000, "key_2": 1000})
        await store.touch_api_keys({})
        assert [key.last_used_at for key in await store.api_keys()] == [5000, 3000]
