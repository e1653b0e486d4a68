"""Searches as the API takes them, and what is found as it shows that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from palaver.core.errors import InvalidRequest
from palaver.core.searching import MARKS
from palaver.server.conversation_shapes import Limit, User
from palaver.server.paging import page_of
from palaver.stores.base import SearchRole

Sort = Literal["relevance", "newest"]
Where = Literal["all", "messages", "titles"]
Path = Literal["all", "head"]
LONGEST = 5000
"""Characters of a query: encoded, so many of any script fit into an address, which has at most 64 kB."""
TIME = r"([0-9]{1,11}(\.[0-9]{1,6})?|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{2,15}(Z|[+-][0-9:]{2,6})?)?)"
Time = Annotated[str, Meta(extra_json_schema={"pattern": f"^{TIME}$"})]
WHEN = "A day, a time (ISO 8601; UTC where it names no zone), or seconds since 1970"
CHOICES: Mapping[str, tuple[str, ...]] = {
    "role": get_args(SearchRole),
    "sort": get_args(Sort),
    "in": get_args(Where),
    "path": get_args(Path),
}

_marked = re.compile(f"{MARKS[0]}(.*?){MARKS[1]}", re.DOTALL)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What every search takes."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST,
            description='Words, "phrases" in quotes, and beginnings of words with a `*`. There are no operators.',
        ),
    ]
    user: User = None
    role: Annotated[SearchRole | None, Meta(description="Only messages of this role.")] = None
    since: Annotated[Time | None, Meta(description=f"Only what was kept then or later. {WHEN}.")] = None
    before: Annotated[Time | None, Meta(description=f"Only what was kept before. {WHEN}.")] = None
    sort: Annotated[
        Sort, Meta(description="The best first, or the newest; of the latter only those with every word.")
    ] = "relevance"
    limit: Limit = 20
    after: Annotated[str | None, Meta(description="The id of the last hit of the page before.")] = None


class SearchQuery(_Asked, frozen=True, kw_only=True):
    conversation: Annotated[str | None, Meta(description="Only this conversation: its id, or its name.")] = (
        None
    )
    source: Annotated[
        str | None,
        Meta(description="Only conversations whose `source` begins so: the program that began them."),
    ] = None
    where: Annotated[
        Where, Meta(description="What is searched: messages, titles of conversations, or both.")
    ] = msgspec.field(default="all", name="in")
    include_tasks: Annotated[
        bool, Meta(description="Also requests that nothing has continued, such as an app's for a title.")
    ] = False
    include_temporary: Annotated[bool, Meta(description="Also conversations that go by themselves.")] = False


class ConversationSearchQuery(_Asked, frozen=True, kw_only=True):
    path: Annotated[
        Path, Meta(description="Messages of all branches, or only those on the path to the head.")
    ] = "all"


class HitConversation(msgspec.Struct, frozen=True):
    """The conversation of a hit."""

    id: str
    name: str | None
    title: str | None
    source: str | None
    user: str | None


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was found, or a conversation by its title; then `message` and `role` are null, and `created_at` is
    when it was last updated. `id` is for `after` alone.

    `text` is an excerpt, with an … for what is left out; `marks` are the parts of it that were looked for, each from a
    character up to another, excluded, counted in Unicode code points. `score` is 1 for the best hit of a query.
    """

    id: str
    object: Literal["search.hit"] = "search.hit"
    type: Literal["message", "title"]
    conversation: HitConversation
    message: str | None
    role: SearchRole | None
    created_at: int
    score: float
    text: str
    marks: list[tuple[int, int]]


class SearchPage(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[SearchHit]
    first_id: str
    last_id: str
    has_more: bool


def search_page(hits: list[SearchHit], *, has_more: bool) -> SearchPage:
    page: SearchPage = page_of(SearchPage, hits, len(hits), lambda hit: hit)
    return msgspec.structs.replace(page, has_more=has_more)


def read_time(text: str | None, param: str) -> int | None:
    """A time in milliseconds since 1970. Raises InvalidRequest.

    >>> read_time("1970-01-02", "since"), read_time("1.5", "since"), read_time("1970-01-01T01:00+01:00", "since")
    (86400000, 1500, 0)
    """
    if text is None:
        return None
    try:
        if re.fullmatch(TIME, text) is None:
            raise ValueError
        if "-" not in text:
            return int(float(text) * 1000)
        told = datetime.fromisoformat(text)
        return int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        must = "must be a day (2026-03-01), a time (ISO 8601), or seconds since 1970"
        raise InvalidRequest(f"`{param}` {must}; not {text[:100]}.", param=param) from None


def without_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A text in which words are marked as it is without that, and where they are.

    >>> without_marks(f"a {MARKS[0]}bc{MARKS[1]} d")
    ('a bc d', [(2, 4)])
    """
    found: list[tuple[int, int]] = []
    for number, match in enumerate(_marked.finditer(marked)):
        start = match.start() - 2 * number
        end = start + len(match[1])
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return marked.replace(MARKS[0], "").replace(MARKS[1], ""), found
