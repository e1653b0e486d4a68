"""Full text: what fits a query. The index is kept by the database itself (`migrations`, the triggers on messages)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from palaver.core.errors import MessageNotFound
from palaver.core.searching import MARKS, Query, Term, spaced, unspaced
from palaver.stores.base.search import ConversationName, Match, Matches, Scope, TitleMatch
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.reading import LAST, find_conversation
from palaver.stores.rows import portions

EXCERPT_CHARACTERS = 200
"""As many of a message that has no word of a query."""
TEXTS_AT_ONCE = 20
"""As many texts are read at a time, which may be long."""
NOBODY = -1
"""No row has this number."""


class SqlSearch(Verbs):
    """See `palaver.stores.base.search.Search`."""

    async def search(self, owner: str, query: Query, scope: Scope, *, limit: int = 1000) -> Matches:
        def work(session: Session) -> Matches:
            # Where nothing narrows what the words find, few are in vain; else all of them have to be in their order.
            if all(each is None for each in (scope.role, scope.since, scope.before, scope.source)):
                found = _matches(session, "search_messages", owner, query, scope, limit, depth=limit * 5 // 4)
                if len(found.found) == limit:
                    return found
            return _matches(session, "search_messages", owner, query, scope, limit, depth=-1)

        return await self._database.read(work)

    async def latest(
        self, owner: str, query: Query, scope: Scope, *, below: int | None = None, limit: int = 20
    ) -> Matches:
        every = Query(phrases=query.terms)

        def work(session: Session) -> Matches:
            return _matches(session, "latest_messages", owner, every, scope, limit, below=below)

        return await self._database.read(work)

    async def search_titles(
        self, owner: str, query: Query, scope: Scope, *, limit: int = 20
    ) -> list[TitleMatch]:
        return await self._database.read(
            lambda session: _titles(session, "search_titles", owner, query, scope, limit=limit)
        )

    async def latest_titles(
        self, owner: str, query: Query, scope: Scope, *, below: tuple[int, str] | None = None, limit: int = 20
    ) -> list[TitleMatch]:
        every, (time, id) = Query(phrases=query.terms), below or (None, None)
        return await self._database.read(
            lambda session: _titles(
                session, "latest_titles", owner, every, scope, limit=limit, below=time, below_id=id
            )
        )

    async def excerpts(self, owner: str, query: Query, messages: Sequence[str]) -> dict[str, str]:
        ids, match = list(dict.fromkeys(messages)), _text(Query(words=query.terms))
        found: dict[str, str] = {}
        for start in range(0, len(ids), TEXTS_AT_ONCE):
            some = ids[start : start + TEXTS_AT_ONCE]
            rows = await self._database.read(partial(_texts, owner=owner, ids=some))
            texts = {row["id"]: row["text"] for row in rows}
            marked = await self._database.excerpts(match, query.terms, texts)
            found.update((id, unspaced(marked.get(id) or _beginning(text))) for id, text in texts.items())
        return found

    async def on_path(self, owner: str, message: str, others: Sequence[str]) -> dict[str, int]:
        def work(session: Session) -> dict[str, int]:
            row = session.one("owned_message", owner=owner, id=message)
            if row is None:
                raise MessageNotFound(f"There is no message {message}.", param="message")
            return {
                each["id"]: each["depth"]
                for some in portions(list(dict.fromkeys(others)))
                for each in session.all("on_path_of", seq=row["seq"], ids=list(some))
            }

        return await self._database.read(work)

    async def conversation_names(
        self, owner: str, conversations: Sequence[str]
    ) -> dict[str, ConversationName]:
        def work(session: Session) -> dict[str, ConversationName]:
            return {
                row["id"]: ConversationName(
                    id=row["id"],
                    name=row["name"],
                    title=row["title"],
                    source=row["source"],
                    end_user=row["end_user"],
                )
                for some in portions(list(dict.fromkeys(conversations)))
                for row in session.all("conversation_names", owner=owner, ids=list(some))
            }

        return await self._database.read(work)


def _matches(
    session: Session,
    statement: str,
    owner: str,
    query: Query,
    scope: Scope,
    limit: int,
    *,
    below: int | None = None,
    **more: int,
) -> Matches:
    where = narrowed(session, owner, scope)
    match = f"{_places(session, where)}{_text(query)}"
    latest = session.one("latest_number")
    assert latest is not None
    last = min(LAST if scope.until is None else scope.until, LAST if below is None else below - 1)
    del where["conversation"], where["until"]
    rows = session.all(statement, match=match, limit=limit, until=last, **where, **more)
    until = latest["seq"] if scope.until is None else scope.until
    return Matches([match_of(row) for row in rows], until)


def _titles(
    session: Session, statement: str, owner: str, query: Query, scope: Scope, **more: object
) -> list[TitleMatch]:
    where = narrowed(session, owner, scope)
    match = f"{_places(session, where, titles=True)}{_text(query)}"
    del where["role"], where["until"]
    rows = session.all(statement, match=match, mark=MARKS[0], unmark=MARKS[1], **where, **more)
    return [
        TitleMatch(
            conversation=row["conversation"],
            title=unspaced(row["title"]),
            updated_at=row["updated_at"],
            score=row["score"],
        )
        for row in rows
    ]


def _texts(session: Session, *, owner: str, ids: list[str]) -> list[Row]:
    return session.all("texts_of", owner=owner, ids=ids)


def _beginning(text: str) -> str:
    """How a message begins that has none of the words that are looked for."""
    return text[:EXCERPT_CHARACTERS] + ("…" if len(text) > EXCERPT_CHARACTERS else "")


def narrowed(session: Session, owner: str, scope: Scope) -> dict[str, object]:
    """A scope as statements know it: by numbers. Raises ConversationNotFound."""
    whose = session.one("owner", name=owner)
    number = whose["seq"] if whose else NOBODY
    end_user = conversation = None
    if scope.end_user is not None:
        row = session.one("end_user", owner=number, name=scope.end_user)
        end_user = row["seq"] if row else NOBODY
    if scope.conversation is not None:
        conversation = find_conversation(session, owner, scope.conversation)["seq"]
    return {
        "owner": number,
        "end_user": end_user if scope.conversation is None else None,
        "conversation": conversation,
        "role": scope.role,
        "since": scope.since,
        "before": scope.before,
        "source": scope.source,
        "tasks": int(scope.tasks or conversation is not None),
        "temporary": int(scope.temporary or conversation is not None),
        "until": scope.until,
    }


def match_of(row: Row) -> Match:
    return Match(
        message=row["id"],
        conversation=row["conversation"],
        number=row["seq"],
        parent=row["parent"],
        depth=row["depth"],
        role="tool" if row["role"] == "function" else row["role"],
        created_at=row["created_at"],
        score=row["score"],
    )


def _places(session: Session, where: dict[str, object], *, titles: bool = False) -> str:
    """Whose and where, as the index has it: the narrowest place alone. Who is the only owner need not be named, which
    would have all rows of the store counted."""
    if where["conversation"] is not None and not titles:
        place = f"c{where['conversation']}"
    elif where["end_user"] is not None:
        place = f"u{where['end_user']}"
    else:
        row = session.one("has_other_owners")
        if row is not None and row["owners"] < 2:
            return ""
        place = f"o{where['owner']}"
    return f'place : "{place}" AND '


def _text(query: Query) -> str:
    """A query in the words of FTS5 (https://www.sqlite.org/fts5.html#full_text_query_syntax): all phrases, and any of
    the words. What is in quotes there is nothing but text."""
    phrases = " AND ".join(map(_quoted, query.phrases))
    words = " OR ".join(map(_quoted, query.words))
    if phrases and words:
        # With the first phrase among the words none of these is required: they are there for the ranking.
        return f"text : (({phrases}) AND ({_quoted(query.phrases[0])} OR {words}))"
    return f"text : ({phrases or words})"


def _quoted(term: Term) -> str:
    escaped = spaced(term.text).replace('"', '""')
    return f'"{escaped}"' + ("*" if term.is_prefix else "")
