"""Finding: the messages that fit a query, ranked.

Words find them (`stores.base.search`), their neighbours and who said them move them up and down (`core.ranking`); where
an embedding model is configured, meaning has a say, too. It is never needed: where it fails, words alone count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from palaver.core.ranking import blended, ranked, smoothed
from palaver.core.searching import Query
from palaver.stores.base import Match, Matches, Scope, Store

PATIENCE = 5.0
"""How long a search waits for what tells meanings, in seconds."""
BEST = 1000
"""As many matches of the words are ranked. Further down nothing is left that neighbours could lift."""


class Meaning(Protocol):
    """What knows how near messages are to a query by what they mean."""

    async def near(
        self,
        owner: str,
        query: Query,
        scope: Scope,
        matches: Sequence[Match],
        *,
        patience: float = PATIENCE,
    ) -> list[Match] | None:
        """The messages within a scope that have a vector, the `matches` of the words among them; the score is how near
        they are, 0 or more. None where that is not known now, nor within `patience` (in seconds)."""


class Finding:
    """Finds messages in a store. `patience` is how long each search waits for what tells meanings, in seconds."""

    def __init__(self, store: Store, meaning: Meaning | None = None, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._meaning = meaning
        self._patience = patience

    async def find(self, owner: str, query: Query, scope: Scope, *, limit: int = BEST) -> Matches:
        """The messages that fit best, the best first. Raises ConversationNotFound, StoreError."""
        matches = await self._store.search(owner, query, scope, limit=BEST)
        near = None
        if self._meaning is not None and not query.phrases:  # a phrase has to be there, word for word
            near = await self._meaning.near(owner, query, scope, matches.found, patience=self._patience)
        # Of what both found, that which the words did is shown.
        known = {match.number: match for match in (*(near or ()), *matches.found)}
        scores = smoothed(matches.found, also=near or ())
        if near:
            scores = blended(scores, smoothed(near))
        best = ranked(known.values(), scores)
        found = [
            msgspec.structs.replace(match, score=scores.get(match.number, 0.0)) for match in best[:limit]
        ]
        return Matches(found, matches.until)
