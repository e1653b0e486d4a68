"""Branches: the tree of a conversation, its leaves, its head, and forks."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.core import ids
from palaver.core.errors import InvalidRequest, MessageNotFound
from palaver.core.message import REFERENCE, canonical, path_keys, root_key
from palaver.core.segments import Entry, path_of, segments, telling
from palaver.core.titles import shortened
from palaver.stores.base import Conversation, Item, Map, Segment
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.places import check_name_is_free
from palaver.stores.reading import LAST, find_conversation, find_message
from palaver.stores.rows import conversation_of, item_of, message_of, new_id, now, portions
from palaver.stores.titles import title_of
from palaver.stores.writing import instructions_above

MAP_CHARACTERS = 80
"""As much of a message stands in a map, in characters,"""
ENOUGH = 4000
"""of so many at its beginning: where words stand far apart, fewer of them."""


class SqlBranches(Verbs):
    """See `palaver.stores.base.Branches`."""

    async def tree(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        return await self._database.read(
            lambda s: _page(s, "tree_from", find_conversation(s, owner, conversation), after, 0, limit)
        )

    async def leaves(
        self, owner: str, conversation: str, *, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        return await self._database.read(
            lambda s: _page(s, "leaves_before", find_conversation(s, owner, conversation), after, LAST, limit)
        )

    async def map(self, owner: str, conversation: str) -> Map:
        return await self._database.read(lambda s: _map(s, find_conversation(s, owner, conversation)))

    async def set_head(
        self, owner: str, conversation: str, message: str, *, newest: bool = False
    ) -> Conversation:
        def work(session: Session) -> Conversation:
            found = find_conversation(session, owner, conversation)
            head = living(session, found["seq"], message)
            if newest and (leaf := session.one("newest_below", seq=head)):
                head = leaf["seq"]
            session.run("set_head", seq=found["seq"], head=head, now=now())
            return conversation_of(find_conversation(session, owner, conversation))

        return await self._database.write(work)

    async def fork(
        self, owner: str, conversation: str, message: str | None = None, *, name: str | None = None
    ) -> Conversation:
        def work(session: Session) -> Conversation:
            found = find_conversation(session, owner, conversation)
            end = found["head_seq"] if message is None else living(session, found["seq"], message)
            return conversation_of(find_conversation(session, owner, _fork(session, found["seq"], end, name)))

        return await self._database.write(work)


def _page(
    session: Session, query: str, conversation: Row, after: str | None, start: int, limit: int
) -> list[Item]:
    """A page of a conversation's messages: what comes after the one named, or after the sequence number
    `start`. Raises InvalidRequest for a message of another conversation."""
    if after is not None:
        cursor = session.one("message_in", conversation=conversation["seq"], id=after)
        if cursor is None:
            raise InvalidRequest(f"No message of this conversation has the id {after}.", param="after")
        start = cursor["seq"]
    rows = session.all(query, conversation=conversation["seq"], seq=start, limit=limit)
    return [item_of(row) for row in rows]


def _map(session: Session, conversation: Row) -> Map:
    """The tree in segments. What messages say is read of one of each only."""
    rows = session.all("skeleton", conversation=conversation["seq"])
    entries = [Entry(row["seq"], row["parent"], row["role"], row["deleted_at"] is not None) for row in rows]
    drawn, path = segments(entries), path_of(entries, conversation["head_seq"])
    by_number = {row["seq"]: row for row in rows}
    told = [entry.number if (entry := telling(segment)) else None for segment in drawn]
    texts = {
        row["seq"]: shortened(message_of(row).text[:ENOUGH], MAP_CHARACTERS)
        for some in portions([number for number in told if number is not None])
        for row in session.all("bodies", messages=some)
    }
    return Map(
        conversation["head"],
        [
            Segment(
                first=by_number[segment[0].number]["id"],
                last=by_number[segment[-1].number]["id"],
                parent=by_number[above]["id"] if (above := segment[0].above) is not None else None,
                messages=len(segment),
                role=segment[0].role,
                text=texts.get(number, "") if number is not None else "",
                created_at=by_number[segment[0].number]["created_at"],
                updated_at=max(by_number[entry.number]["created_at"] for entry in segment),
                is_on_path=any(entry.number in path for entry in segment),
            )
            for segment, number in zip(drawn, told, strict=True)
        ],
    )


def living(session: Session, conversation: int, message: str) -> int:
    """The sequence number of a message that is no tombstone: nothing can go on from what was deleted.

    Raises MessageNotFound.
    """
    row = find_message(session, conversation, message)
    if row["deleted_at"] is not None:
        raise MessageNotFound(f"The message {message} was deleted.", param="message")
    seq: int = row["seq"]
    return seq


def _fork(session: Session, conversation: int, end: int | None, name: str | None) -> str:
    """Copy the path to the message `end`; the id of the new conversation. Raises InvalidRequest."""
    source = session.one("fork_source", seq=conversation)
    assert source is not None
    check_name_is_free(session, source["owner"], source["end_user"], name)
    id = new_id(ids.CONVERSATION)
    fork = session.one("add_fork", seq=conversation, id=id, name=name, now=now())
    assert fork is not None
    path = session.all("path_to", seq=end) if end is not None else []
    copies = _copy(session, fork["seq"], path, root_key(source["secret"], source["end_user_name"]))
    title, title_from, titled_by = _title(source, [row for row in path if row["seq"] in copies])
    session.run(
        "begin_fork",
        seq=fork["seq"],
        head=next(reversed(copies.values()), None),
        title=title,
        title_from=copies.get(title_from) if title_from is not None else None,
        titled_by=titled_by,
        instructions=instructions_above(session, conversation, end),
    )
    return id


def _title(source: Row, kept: Sequence[Row]) -> tuple[str | None, int | None, str | None]:
    """The title of a fork, the message of the source that it is made of, and whose it is.

    What the source's title was made of may stand on another branch. A title must be deleted with what it was
    made of, so that one is not taken over.
    """
    made_of = source["title_from"]
    if made_of is None or any(row["seq"] == made_of for row in kept):
        return source["title"], made_of, source["titled_by"]
    for row in kept:
        if row["role"] == "user" and (title := title_of(message_of(row))):
            return title, row["seq"], None
    return None, None, None


def _copy(session: Session, fork: int, path: Sequence[Row], root: bytes) -> dict[int, int]:
    """Copy the messages of a path, but for tombstones; the copies' sequence numbers by those they are of."""
    kept = [row for row in path if row["deleted_at"] is None]
    keys = [row["key"] for row in kept]
    if len(kept) < len(path):  # below a tombstone, a key is still that of a path with the deleted text
        keys = path_keys(root, [canonical(message_of(row)) for row in kept])
    copies: dict[int, int] = {}
    parent = None
    for depth, (row, key) in enumerate(zip(kept, keys, strict=True)):
        copy = session.one(
            "add_message",
            id=new_id(ids.MESSAGE),
            conversation=fork,
            parent=parent,
            depth=depth,
            role=row["role"],
            body=row["body"],
            key=key,
            tail=None,
            turn=None,
            now=row["created_at"],
        )
        assert copy is not None
        parent = copies[row["seq"]] = copy["seq"]
        session.run("copy_vectors", message=row["seq"], copy=parent)
        if REFERENCE in row["body"]:
            session.run("copy_links", message=row["seq"], copy=parent)
    return copies
