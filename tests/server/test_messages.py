"""What is shown beside the text of messages: siblings, what a reply cost and when it came, its text as HTML."""

from __future__ import annotations

from typing import Any

import pytest

from palaver.core.turn import TurnState, Usage
from palaver.web.rendering import render
from tests.server.conftest import Door
from tests.server.test_branches import branched, texts, user
from tests.stores.talking import Talker
from tests.stores.talking import user as asked

BESIDE = ("siblings", "usage", "timing", "html")


async def messages(door: Door, conversation: str, query: str = "") -> list[dict[str, Any]]:
    response, page = await door.get(f"/v1/conversations/{conversation}/messages?order=asc&limit=100{query}")
    assert response.status == 200, page
    found: list[dict[str, Any]] = page["data"]
    return found


async def test_a_message_says_its_place(door: Door) -> None:
    conversation, tree = await branched(door)
    assert [each["place"] for each in await messages(door, conversation)] == [0, 1, 2, 3]
    assert [each["place"] for each in tree] == [0, 1, 2, 3, 2, 3]
    assert [name for name in BESIDE if name in tree[0]] == [], "they are there where they are asked for"


async def test_siblings(door: Door) -> None:
    conversation, tree = await branched(door)
    found = await messages(door, conversation, "&include=siblings")
    ids = [each["id"] for each in tree]
    assert [each["siblings"] for each in found] == [[ids[0]], [ids[1]], [ids[2], ids[4]], [ids[5]]]
    assert "usage" not in found[0]


async def test_usage_and_timing(door: Door) -> None:
    talker = Talker(door.chat.store)
    admitted = await talker.admit([asked("Hello")], "trip")
    figures = await door.chat.store.figures("local", [admitted.turn])
    began = figures[admitted.turn].started_at
    assert began is not None
    await talker.end(
        admitted.turn,
        "Hi",
        reasoning="Hm.",
        usage=Usage(5, 6, 1, 2),
        first_token_at=began + 250,
        first_text_at=began + 1250,
        ended_at=began + 3000,
    )
    question, reply = await messages(door, "trip", "&include=usage&include[]=timing")
    assert (question["usage"], question["timing"]) == (None, None)
    assert reply["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 6,
        "cached_tokens": 1,
        "reasoning_tokens": 2,
    }
    assert reply["timing"] == {
        "started_at": began // 1000,
        "first_token_ms": 250,
        "thinking_ms": 1000,
        "total_ms": 3000,
    }


async def test_a_turn_of_which_little_is_known(door: Door) -> None:
    """One that was stopped before the engine told what it cost, after a clock was set back."""
    talker = Talker(door.chat.store)
    admitted = await talker.admit([asked("Hello")], "trip")
    await talker.end(admitted.turn, "Hi", TurnState.CANCELLED, ended_at=1000)
    _, reply = await messages(door, "trip", "&include=usage&include=timing")
    assert reply["usage"] is None
    assert {**reply["timing"], "started_at": 0} == {
        "started_at": 0,
        "first_token_ms": None,
        "thinking_ms": None,
        "total_ms": 0,
    }


async def test_a_reply_as_html(door: Door) -> None:
    talker = Talker(door.chat.store)
    admitted = await talker.admit([asked("**Hello**")], "trip")
    await talker.end(admitted.turn, "**Hi** <script>alert(1)</script>")
    question, reply = await messages(door, "trip", "&include=html")
    assert "html" not in question
    assert reply["html"] == render("**Hi** <script>alert(1)</script>")
    assert "<strong>Hi</strong>" in reply["html"]
    assert "<script" not in reply["html"]
    await door.chat.store.delete_message("local", question["id"])
    gone, _ = await messages(door, "trip", "&include=html&include=siblings")
    assert (gone["deleted"], gone["siblings"], "html" in gone) == (True, [gone["id"]], False)


async def test_pages_have_all_that_is_asked_for(door: Door) -> None:
    conversation, _ = await branched(door)
    whole = await messages(door, conversation, "".join(f"&include={name}" for name in BESIDE))
    paged: list[dict[str, Any]] = []
    while len(paged) < 4:
        after = f"&after={paged[-1]['id']}" if paged else ""
        query = "&".join(f"include={name}" for name in BESIDE)
        _, page = await door.get(
            f"/v1/conversations/{conversation}/messages?order=asc&limit=1{after}&{query}"
        )
        assert page["has_more"] is (len(paged) < 3)
        paged += page["data"]
    assert paged == whole
    assert all(set(BESIDE[:3]) <= set(each) for each in whole)
    assert all(("html" in each) is (each["role"] == "assistant") for each in whole)


async def test_a_path_from_a_time_on(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1_700_000_000, 1_800_000_000, 86_400))
    monkeypatch.setattr("palaver.stores.writing.now", lambda: next(seconds) * 1000)
    items = [user(f"{number}") for number in range(5)]
    _, made = await door.post("/v1/conversations", {"items": items})
    path = await messages(door, made["id"])
    assert len({each["created_at"] for each in path}) == 5
    third = path[2]["created_at"]
    assert texts(await messages(door, made["id"], f"&at={third}")) == ["2", "3", "4"]
    assert texts(await messages(door, made["id"], f"&at={third}&after={path[3]['id']}")) == ["4"]
    assert texts(await messages(door, made["id"], "&at=1970-01-01")) == ["0", "1", "2", "3", "4"]
    assert await messages(door, made["id"], "&at=2100-01-01T00:00Z") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("at=1", "at"),
        ("at=1&order=desc", "at"),
        ("at=yesterday&order=asc", "at"),
        ("at=&order=asc", "at"),
        ("at=99999999999999&order=asc", "at"),
        ("include=everything", "include[0]"),
        ("order=up", "order"),
    ],
)
async def test_what_is_not_valid_names_the_field(door: Door, query: str, param: str) -> None:
    conversation, _ = await branched(door)
    response, answer = await door.get(f"/v1/conversations/{conversation}/messages?{query}")
    assert (response.status, answer["error"]["param"]) == (400, param), answer


async def test_other_lists_have_nothing_beside(door: Door) -> None:
    conversation, _ = await branched(door)
    response, answer = await door.get(f"/v1/conversations/{conversation}/items?include=siblings")
    assert (response.status, answer["error"]["param"]) == (400, "include[0]")
