"""API keys."""

from __future__ import annotations

import msgspec

from palaver.core.errors import ApiKeyNotFound
from palaver.stores.base import ApiKey, NewApiKey
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.rows import now, settings_of, to_json
from palaver.stores.writing import owner_and_secret


class SqlApiKeys(Verbs):
    """See `palaver.stores.base.ApiKeys`."""

    async def add_api_key(self, key: NewApiKey) -> ApiKey:
        def work(session: Session) -> ApiKey:
            owner, _ = owner_and_secret(session, key.owner)
            session.run(
                "add_api_key",
                id=key.id,
                owner=owner,
                name=key.name,
                hash=key.hash,
                hint=key.hint,
                scopes=to_json(key.scopes),
                requests_per_minute=key.requests_per_minute,
                tokens_per_minute=key.tokens_per_minute,
                expires_at=key.expires_at,
                window_settings=to_json(key.window) if key.window else None,
                now=now(),
            )
            session.run("close_door", now=now())
            row = session.one("api_key", id=key.id)
            assert row is not None
            return _api_key_of(row)

        return await self._database.write(work)

    async def had_api_key(self) -> bool:
        return await self._database.read(lambda session: session.one("closed_door") is not None)

    async def api_keys(self, owner: str | None = None) -> list[ApiKey]:
        def work(session: Session) -> list[ApiKey]:
            query = "all_api_keys" if owner is None else "api_keys_of_owner"
            return [_api_key_of(row) for row in session.all(query, owner=owner)]

        return await self._database.read(work)

    async def api_key_of(self, hash: bytes) -> ApiKey | None:
        def work(session: Session) -> ApiKey | None:
            row = session.one("api_key_with_hash", hash=hash)
            return _api_key_of(row) if row else None

        return await self._database.read(work)

    async def revoke_api_key(self, id: str, owner: str | None = None) -> ApiKey:
        def work(session: Session) -> ApiKey:
            row = session.one("api_key", id=id)
            if row is None or owner not in (None, row["owner_name"]):
                raise ApiKeyNotFound(f"There is no API key {id}.")
            session.run("revoke_api_key", seq=row["seq"], now=now())
            row = session.one("api_key", id=id)
            assert row is not None
            return _api_key_of(row)

        return await self._database.write(work)

    async def touch_api_keys(self, used: dict[str, int]) -> None:
        def work(session: Session) -> None:
            for id, used_at in used.items():
                session.run("touch_api_key", id=id, used_at=used_at)

        await self._database.write(work, durable=False)


def _api_key_of(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        owner=row["owner_name"],
        name=row["name"],
        hash=row["hash"],
        hint=row["hint"],
        scopes=msgspec.json.decode(row["scopes"], type=list[str]),
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        window=settings_of(row["window_settings"]),
    )
