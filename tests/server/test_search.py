"""``/v1/search``: what is found, in which order, page by page; and what no search can be."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from palaver.core.errors import InvalidRequest
from palaver.server.search_shapes import read_time
from tests.server.conftest import Door, shared_door

__all__ = ["shared_door"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = {"role": "user"}


async def make(door: Door, *texts: str, **more: Any) -> dict[str, Any]:
    """A conversation with these messages, of user and assistant in turns."""
    items = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    response, made = await door.post("/v1/conversations", {"items": items, **more})
    assert response.status == 200, made
    return dict(made)


async def search(door: Door, q: str, route: str = "/v1/search", headers: Any = None, **asked: Any) -> Any:
    response, page = await door.get(f"{route}?{urlencode({'q': q, **asked})}", headers)
    assert response.status == 200, page
    return page


async def refused(door: Door, route: str = "/v1/search", status: int = 400, **asked: Any) -> Any:
    response, body = await door.get(f"{route}?{urlencode(asked)}")
    assert response.status == status, body
    return body["error"]


def texts(page: Any) -> list[str]:
    return [hit["text"] for hit in page["data"]]


@pytest_asyncio.fixture(loop_scope="module")
async def door(shared_door: Door) -> AsyncIterator[Door]:
    """The door, with nothing in it."""
    yield shared_door
    await shared_door.chat.store.delete_owner("local")


async def test_a_message_is_found_by_its_words(door: Door) -> None:
    made = await make(
        door, "Where does Aunt Mary live?", "She lives in Zürich, in Mary's street.", title="Kin"
    )
    await make(door, "nothing", "of that")
    page = await search(door, "zurich")
    assert page["object"] == "list"
    assert page["has_more"] is False
    (hit,) = page["data"]
    assert page["first_id"] == page["last_id"] == hit["id"]
    assert hit == {
        "id": hit["id"],
        "object": "search.hit",
        "type": "message",
        "conversation": {
            "id": made["id"],
            "name": None,
            "title": "Kin",
            "source": hit["conversation"]["source"],
            "user": None,
        },
        "message": hit["message"],
        "role": "assistant",
        "created_at": made["created_at"],
        "score": 1.0,
        "text": "She lives in Zürich, in Mary's street.",
        "marks": [[13, 19]],
    }
    item = (await door.get(f"/v1/conversations/{made['id']}/items/{hit['message']}"))[1]
    assert item["content"][0]["text"] == hit["text"]
    assert texts(await search(door, '"in mary"')) == [hit["text"]]
    assert texts(await search(door, '"mary in"')) == []


async def test_marks_are_ranges_of_characters(door: Door) -> None:
    await make(door, "🎈 東京タワー and <b>tower</b> & 東京")
    (hit,) = (await search(door, "東京 tower", **{"in": "messages"}))["data"]
    assert [hit["text"][start:end] for start, end in hit["marks"]] == ["東京", "tower", "東京"]


async def test_titles_are_found_too(door: Door) -> None:
    made = await make(door, "How do I bake rye bread?", "Slowly.", title="Baking bread")
    page = await search(door, "bake bread")
    assert [(hit["type"], hit["text"]) for hit in page["data"]] == [
        ("title", "Baking bread"),
        ("message", "How do I bake rye bread?"),
    ]
    title = page["data"][0]
    assert (title["message"], title["role"], title["marks"]) == (None, None, [[0, 6], [7, 12]])
    assert (title["created_at"], title["conversation"]["id"]) == (made["updated_at"], made["id"])
    assert [hit["type"] for hit in (await search(door, "bread", **{"in": "titles"}))["data"]] == ["title"]
    assert [hit["type"] for hit in (await search(door, "bread", **{"in": "messages"}))["data"]] == ["message"]
    assert [hit["type"] for hit in (await search(door, "bread", role="user"))["data"]] == ["message"]


async def test_a_title_counts_as_much_as_it_has_of_the_query(door: Door) -> None:
    await make(door, "Is rye bread from Rome any good?", title="Bread")
    page = await search(door, "rye bread rome")
    assert [hit["type"] for hit in page["data"]] == ["message", "title"]
    assert page["data"][1]["score"] == pytest.approx(1 / 3, abs=1e-5)
    await make(door, "x", title="東京タワー")
    (hit,) = (await search(door, "東京タワー"))["data"]
    assert (hit["type"], hit["score"], hit["marks"]) == ("title", 1.0, [[0, 5]])


async def test_filters(door: Door) -> None:
    old = await make(door, "bread one", "bread two", name="bakery", title="x")
    await make(door, "bread three", user="ann", title="x")
    now = old["created_at"]
    assert set(texts(await search(door, "bread"))) == {"bread one", "bread two", "bread three"}
    assert texts(await search(door, "bread", role="assistant")) == ["bread two"]
    assert set(texts(await search(door, "bread", conversation="bakery"))) == {"bread one", "bread two"}
    assert texts(await search(door, "bread", user="ann")) == ["bread three"]
    assert texts(await search(door, "bread", headers={"palaver-user": "ann"})) == ["bread three"]
    assert texts(await search(door, "bread", user="bob")) == []
    assert len(texts(await search(door, "bread", since=now, before=now + 60))) == 3
    assert texts(await search(door, "bread", since=now + 60)) == []
    assert texts(await search(door, "bread", before="2020-01-01")) == []
    assert len(texts(await search(door, "bread", since="2020-01-01T12:00:00Z"))) == 3
    assert len(texts(await search(door, "bread", source="Python"))) == 3
    assert texts(await search(door, "bread", source="curl")) == []


async def test_tasks_and_temporary_ones_only_where_asked_for(door: Door) -> None:
    await door.ask("a task about bread")
    await make(door, "bread in passing", temporary=True, title="x")
    assert texts(await search(door, "bread", **{"in": "messages"})) == []
    more = await search(door, "bread", include_tasks="true", **{"in": "messages"})
    assert "a task about bread" in texts(more)
    more = await search(door, "bread", include_temporary="true", **{"in": "messages"})
    assert texts(more) == ["bread in passing"]


async def test_one_conversation(door: Door) -> None:
    await make(door, "bread here", "wine", name="here", title="bread")
    await make(door, "bread there", name="there", user="ann")
    path = "/v1/conversations/here/search"
    page = await search(door, "bread", path)
    assert [(hit["type"], hit["text"]) for hit in page["data"]] == [("message", "bread here")]
    assert (await refused(door, "/v1/conversations/there/search", 404, q="bread"))[
        "code"
    ] == "conversation_not_found"
    assert texts(await search(door, "bread", "/v1/conversations/there/search", user="ann")) == ["bread there"]
    assert (await refused(door, path, 400, q="bread", path="tail"))["param"] == "path"
    assert (await refused(door, q="x", conversation="nowhere", status=404))[
        "code"
    ] == "conversation_not_found"
    assert (await refused(door, q="x", conversation="there", user="bob", status=404))["code"]


async def test_only_what_is_on_the_path_to_the_head(door: Door) -> None:
    made = await make(door, "bread one", "bread two", name="tree")
    await door.post("/v1/conversations/tree/items", {"items": [{**USER, "content": "bread three"}]})
    items = (await door.get("/v1/conversations/tree/items"))[1]["data"]
    await door.post("/v1/conversations/tree/head", {"message": items[1]["id"]})
    path = "/v1/conversations/tree/search"
    for sort in ("relevance", "newest"):
        assert len((await search(door, "bread", path, sort=sort))["data"]) == 3
        on_path = await search(door, "bread", path, sort=sort, path="head")
        assert set(texts(on_path)) == {"bread one", "bread two"}
    await make(door, name="empty")
    assert texts(await search(door, "bread", "/v1/conversations/empty/search", path="head")) == []
    assert made["messages"] == 2


async def pages(door: Door, q: str, **asked: Any) -> list[list[str]]:
    found: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = await search(door, q, limit=3, **after, **asked)
        found.append(texts(page))
        if not page["has_more"]:
            return found
        after = {"after": page["last_id"]}


@pytest.mark.parametrize("sort", ["relevance", "newest"])
async def test_pages_are_the_list_in_parts(door: Door, sort: str) -> None:
    for number in range(4):
        await make(door, f"bread {number} " + "x " * number, f"more bread {number}", title=f"bread {number}")
    whole = texts(await search(door, "bread", sort=sort))
    assert len(whole) == 12
    found = await pages(door, "bread", sort=sort)
    assert [text for page in found for text in page] == whole
    assert [len(page) for page in found] == [3, 3, 3, 3]
    if sort == "newest":
        said = [text for text in whole if text.startswith("more")]
        assert said == [f"more bread {number}" for number in (3, 2, 1, 0)]


@pytest.mark.parametrize("sort", ["relevance", "newest"])
async def test_what_comes_and_goes_between_two_pages_moves_nothing(door: Door, sort: str) -> None:
    for number in range(6):
        await make(door, f"bread {number}", title="x")
    whole = (await search(door, "bread", sort=sort))["data"]
    first = await search(door, "bread", sort=sort, limit=3)
    await make(door, "bread bread", "bread", title="x")
    again = await search(door, "bread", sort=sort, limit=3, after=first["last_id"])
    assert texts(again) == [hit["text"] for hit in whole[3:]]
    assert again["has_more"] is False
    gone = first["data"][-1]
    await door.chat.store.delete_message("local", gone["message"])
    again = await search(door, "bread", sort=sort, limit=3, after=first["last_id"])
    rest = [hit["text"] for hit in whole[3:]]
    assert texts(again) in (rest, rest[1:]) if sort == "relevance" else texts(again) == rest


async def test_of_a_page_that_is_deleted_nothing_after_it_is_skipped(door: Door) -> None:
    for number in range(9):
        await make(door, "bread " + "x " * number, title="x")
    whole = (await search(door, "bread"))["data"]
    first = await search(door, "bread", limit=3)
    second = await search(door, "bread", limit=3, after=first["last_id"])
    for gone in (second["data"][2], second["data"][1], second["data"][0]):
        await door.chat.store.delete_message("local", gone["message"])
        rest = await search(door, "bread", limit=3, after=second["last_id"])
        assert [hit["message"] for hit in rest["data"]] == [hit["message"] for hit in whole[6:]]
    # Before what is gone is what its page began with.
    middle = await search(door, "bread", limit=9, after=first["data"][1]["id"])
    assert [hit["message"] for hit in middle["data"]] == [
        whole[2]["message"],
        *(h["message"] for h in whole[6:]),
    ]


async def test_the_id_of_a_hit_stays_short(door: Door) -> None:
    for number in range(5):
        await make(door, *["bread"] * 20, title="x", name=f"c{number}")
    page = await search(door, "bread", limit=100)
    assert len(page["data"]) == 100
    assert max(len(hit["id"]) for hit in page["data"]) < 1500


async def test_the_newest_titles_are_among_the_newest(door: Door) -> None:
    """Also where a hundred others fit better."""
    for _ in range(105):
        await make(door, title="bread")
    latest = await make(door, title="bread and much else besides")
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await search(door, "bread", sort="newest", limit=50, **after)
        seen += [hit["conversation"]["id"] for hit in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert len(seen) == len(set(seen)) == 106
    assert latest["id"] in seen[:50]


async def test_newest_has_every_word(door: Door) -> None:
    await make(door, "bread and wine", title="x")
    await make(door, "bread", title="x")
    assert texts(await search(door, "wine bread", sort="newest")) == ["bread and wine"]
    assert set(texts(await search(door, "wine bread"))) == {"bread and wine", "bread"}


@pytest.mark.parametrize("q", ["", " ", "...", '""', '"', "AND*"[3:], "- + ^ ( )", "x" * 5001, "_"])
async def test_a_query_without_a_word_is_none(door: Door, q: str) -> None:
    assert (await refused(door, q=q))["param"] == "q"


@pytest.mark.parametrize(
    "q",
    [
        "the of and",
        "NEAR(a b, 3)",
        "a AND b OR NOT c",
        "text:x",
        'say "hi',
        "🎈x" * 2500,
        "a\tb\nc",
        "'; DROP--",
    ],
)
async def test_any_other_query_is_one(door: Door, q: str) -> None:
    await search(door, q)
    await search(door, q, sort="newest")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "q"),
        ({"q": "x", "role": "critic"}, "role"),
        ({"q": "x", "sort": "best"}, "sort"),
        ({"q": "x", "in": "tags"}, "in"),
        ({"q": "x", "limit": 0}, "limit"),
        ({"q": "x", "limit": 101}, "limit"),
        ({"q": "x", "since": "yesterday"}, "since"),
        ({"q": "x", "before": "2026-13-01"}, "before"),
        ({"q": "x", "include_tasks": "perhaps"}, "include_tasks"),
        ({"q": "x", "after": ""}, "after"),
        ({"q": "x", "after": "msg_01m8q7egmz3srqc1tqr1hdbk4m"}, "after"),
        ({"q": "x", "after": "é"}, "after"),
        ({"q": "x", "after": urlsafe_b64encode(b'["a",-1,"b",1]').decode()}, "after"),
        ({"q": "x", "after": urlsafe_b64encode(b"[" * 5000).decode()}, "after"),
    ],
)
async def test_what_is_wrong_is_named(door: Door, asked: dict[str, Any], param: str) -> None:
    assert (await refused(door, **asked))["param"] == param


async def test_a_cursor_is_of_one_search(door: Door) -> None:
    await make(door, "bread", "bread", title="x")
    cursor = (await search(door, "bread", limit=1))["last_id"]
    assert len(texts(await search(door, "bread", after=cursor))) == 1
    for other in ({"q": "wine"}, {"role": "user"}, {"sort": "newest"}, {"in": "messages"}, {"user": "ann"}):
        error = await refused(door, **{"q": "bread", **other, "after": cursor})
        assert error["param"] == "after"
        assert "another search" in error["message"]


@pytest.mark.parametrize(
    "text", ["2026-01-01T25:00", "2026-02-30", "1e9", "nan", "inf", "9" * 12, "0001-01-01T00:00+23:00x"]
)
async def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_time(text, "since")
