"""API keys: what is stored of them, and their verbs."""

from __future__ import annotations

from typing import Protocol

import msgspec

from palaver.core.window_settings import WindowSettings


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key to be stored. `hash` is all that is kept of the key itself, besides its last characters.

    `requests_per_minute` and `tokens_per_minute` are limits, None for none. `expires_at` is in milliseconds
    since 1970, None for never. `window` is how windows are chosen for requests with it.
    """

    id: str
    owner: str
    name: str
    hash: bytes
    hint: str
    scopes: list[str]
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires_at: int | None = None
    window: WindowSettings | None = None


class ApiKey(NewApiKey, frozen=True, kw_only=True):
    """An API key as it is stored. Times are milliseconds since 1970."""

    created_at: int
    revoked_at: int | None
    last_used_at: int | None


class ApiKeys(Protocol):
    """API keys. They belong to owners; who may manage whose is the door's to say."""

    async def add_api_key(self, key: NewApiKey) -> ApiKey:
        """Store a key; its owner is made where it is new."""

    async def had_api_key(self) -> bool:
        """Whether a key was ever stored, whatever became of it: revoked, expired, or deleted with its owner."""

    async def api_keys(self, owner: str | None = None) -> list[ApiKey]:
        """The keys of an owner, or all, the oldest first, revoked and expired ones too."""

    async def api_key_of(self, hash: bytes) -> ApiKey | None:
        """The key with this hash, also one that is revoked or expired, or None."""

    async def revoke_api_key(self, id: str, owner: str | None = None) -> ApiKey:
        """Accept a key no longer. One revoked already stays as it is. Raises ApiKeyNotFound, also for a key
        that is not the `owner`'s where one is named."""

    async def touch_api_keys(self, used: dict[str, int]) -> None:
        """Note when keys (by id) were last used. Not durable: what is lost with the machine is a timestamp."""
