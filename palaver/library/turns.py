"""What is asked of turns by their ids: what became of them, and what they were shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaver.library.asking import part, query

COMPLETIONS = "/v1/chat/completions"


class Turns:
    """A part of `Palaver`, which says how something is asked for."""

    async def _get(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def completions(self, *, metadata: Mapping[str, str] | None = None, **asked: Any) -> dict[str, Any]:
        """A page of stored replies, the first one first: `limit`, `after`, `order`, `model`; with `metadata` those with
        all of these notes."""
        noted = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        return await self._get("GET", COMPLETIONS, params=query({**asked, **noted}))

    async def completion(self, turn: str) -> dict[str, Any]:
        """A stored reply (its turn's id in any form). Raises RequestError with code ``turn_not_found`` for one that
        there is not, ``message_deleted`` for one that is gone, and ``turn_running`` while it runs."""
        return await self._get("GET", f"{COMPLETIONS}/{part(turn, 'turn')}")

    async def receipt(self, turn: str) -> dict[str, Any]:
        """What the model saw in a stored turn (its id in any form). Raises RequestError with code ``turn_not_found``
        for one that there is not, and with ``no_receipt`` for one in which nothing was shown."""
        return await self._get("GET", f"{COMPLETIONS}/{part(turn, 'turn')}/receipt")

    async def cancel(self, turn: str) -> None:
        """Stop a running reply; its text so far is kept. Returns when that is stored."""
        await self._get("POST", f"{COMPLETIONS}/{part(turn, 'turn')}/cancel", json={})
