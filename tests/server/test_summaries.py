"""Summaries at the door: read, made, edited, switched off and deleted; and compactions that use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import ContentDelta, Finish
from palaver.core.window_settings import WindowSettings
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened, until
from tests.server.responding import ROUTE, body_of, respond, sent_again
from tests.server.test_deletion import delete

SUMMARIES = "/v1/conversations/{}/summaries"
ON = ChatSettings(window=WindowSettings(summaries=True), summary_model="scripted")
BY_HAND = ChatSettings(summary_model="test/hand")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, chat_settings=ON) as door:
        yield door


async def talked(door: Door, *questions: str) -> dict[str, Any]:
    """The last response of a conversation with these questions."""
    body: dict[str, Any] = {}
    for question in questions:
        body = await respond(door, question, **({"previous_response_id": body["id"]} if body else {}))
    return body


async def messages(door: Door, conversation: str) -> list[str]:
    items = await door.chat.store.items("local", conversation, order="asc", limit=100)
    return [item.id for item in items]


async def made(door: Door) -> tuple[str, dict[str, Any]]:
    """A conversation's path to its summaries, and the one that was made of its first four messages."""
    last = await talked(door, "One", "Two", "Three")
    conversation = last["conversation"]["id"]
    to = (await messages(door, conversation))[3]
    answered, summary = await door.post(SUMMARIES.format(conversation), {"to": to})
    assert answered.status == 200, summary
    return SUMMARIES.format(conversation), summary


async def test_one_is_made_read_edited_switched_and_deleted(door: Door) -> None:
    path, summary = await made(door)
    assert (summary["object"], summary["first"], summary["last"]) == ("conversation.summary", 0, 3)
    assert (summary["version"], summary["model"], summary["enabled"], summary["stale"]) == (
        1,
        "scripted",
        True,
        False,
    )
    assert (await door.get(path))[1]["data"] == [summary]
    one = f"{path}/{summary['id']}"
    assert (await door.get(one))[1] == summary
    _, edited = await door.post(one, {"text": "They counted.", "enabled": False})
    assert (edited["text"], edited["version"], edited["model"], edited["enabled"]) == (
        "They counted.",
        2,
        None,
        False,
    )
    _, again = await door.post(path, {"to": summary["message"]})
    assert (again["id"], again["version"], again["model"]) == (summary["id"], 3, "scripted")
    status, gone = await delete(door, one)
    assert (status, gone) == (
        200,
        {"id": summary["id"], "object": "conversation.summary.deleted", "deleted": True},
    )
    assert (await door.get(path))[1]["data"] == []
    assert (await door.get(one))[1]["error"]["code"] == "summary_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "text"), ({"text": " "}, "text"), ({"text": ""}, "text"), ({"enabled": "no"}, "enabled")],
)
async def test_changes_that_say_nothing_are_refused(door: Door, body: Any, param: str) -> None:
    path, summary = await made(door)
    answered, told = await door.post(f"{path}/{summary['id']}", body)
    assert (answered.status, told["error"]["param"]) == (400, param)


async def test_changes_of_one_that_is_not_there_are_404_whatever_they_are(door: Door) -> None:
    path, _ = await made(door)
    for body in ({}, {"text": " "}, {"text": "x"}, {"enabled": True}):
        answered, told = await door.post(f"{path}/sum_none", body)
        assert (answered.status, told["error"]["code"]) == (404, "summary_not_found")


async def test_what_cannot_be_summed_up_is_told(door: Door) -> None:
    path, summary = await made(door)
    for body, status, param in (
        ({}, 400, "to"),
        ({"to": "msg_none"}, 404, "message"),
        ({"to": "msg_none", "model": "scripted"}, 404, "message"),
        ({"to": summary["message"], "model": "scripted"}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
    ):
        answered, told = await door.post(path, body)
        assert (answered.status, told["error"]["param"]) == (status, param), told


async def test_without_a_model_that_may_be_asked_it_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        last = await talked(door, "One")
        answered, told = await door.post(SUMMARIES.format(last["conversation"]["id"]), {})
        assert (answered.status, told["error"]["param"]) == (400, "model")
        assert "summary_model" in told["error"]["message"]


async def held_up(door: Door) -> tuple[str, asyncio.Task[Any]]:
    """A conversation (an id) that is being summed up, and the request for that."""
    last = await talked(door, "One", "Two")
    conversation: str = last["conversation"]["id"]
    to = (await messages(door, conversation))[1]
    door.hand.began.clear()
    asking = asyncio.create_task(door.post(SUMMARIES.format(conversation), {"to": to}))
    await door.hand.began.wait()
    return conversation, asking


async def test_one_that_somebody_waits_for_counts_among_the_turns_of_the_server(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(BY_HAND, max_open_turns=1)
    async with opened(tmp_path, chat_settings=settings) as door:
        conversation, asking = await held_up(door)
        assert (await door.ask())[0].status == 429
        assert (await door.post(SUMMARIES.format(conversation), {}))[0].status == 429
        door.hand.put(ContentDelta("They counted."), Finish("stop"))
        assert (await asking)[1]["text"] == "They counted."
        assert (await door.ask())[0].status == 200


async def test_it_ends_with_its_conversation_and_with_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=BY_HAND) as door:
        other, going = await held_up(door)
        conversation, asking = await held_up(door)
        assert (await delete(door, f"/v1/conversations/{conversation}"))[0] == 200
        response, body = await asking
        assert (response.status, body["error"]["code"]) == (409, "turn_cancelled")
        assert not going.done(), "that is of another conversation"
        await door.chat.close()
        response, body = await going
        assert (response.status, body["error"]["message"]) == (502, "palaver was shut down.")
        assert await door.chat.store.summaries("local", other) == []
        assert (await door.post(SUMMARIES.format(other), {}))[0].status == 503


async def test_it_stops_when_its_client_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=BY_HAND) as door:
        _, asking = await held_up(door)
        assert len(door.chat.completing) == 1
        asking.cancel()
        await until(lambda: not len(door.chat.completing))


async def test_a_compaction_that_is_deleted_meanwhile_is_none(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(BY_HAND, window=WindowSettings(summaries=True))
    async with opened(tmp_path, chat_settings=settings) as door:
        last = await talked(door, "One", "Two", "Three")
        door.hand.began.clear()
        asked = {"model": "scripted", "previous_response_id": last["id"]}
        asking = asyncio.create_task(door.post(f"{ROUTE}/compact", asked))
        await door.hand.began.wait()
        await delete(door, f"/v1/conversations/{last['conversation']['id']}")
        response, body = await asking
        assert (response.status, body["error"]["code"]) == (409, "turn_cancelled")


async def test_compactions_and_summaries_count_against_the_limits_of_a_key(tmp_path: Path) -> None:
    local = {"authorization": "Bearer local-secret"}
    async with opened(tmp_path, ServerSettings(local_key="local-secret"), ON) as door:
        limits = {"requests_per_minute": 4, "tokens_per_minute": 1000}
        _, key = await door.post("/v1/keys", {"name": "app", **limits}, local)
        app = {"authorization": f"Bearer {key['key']}"}
        _, last = await door.post(ROUTE, body_of("One " * 20), app)
        asked = {"model": "scripted", "input": "Two", "previous_response_id": last["id"]}
        compaction, body = await door.post(f"{ROUTE}/compact", asked, app)
        left = int(compaction.headers["x-tokenlimit-remaining"])
        assert compaction.headers["x-ratelimit-remaining"] == "2"
        assert left == 1000 - last["usage"]["total_tokens"] - body["usage"]["total_tokens"]
        path = SUMMARIES.format(last["conversation"]["id"])
        made, summary = await door.post(path, {"to": last["output"][0]["id"]}, app)
        assert made.status == 200, summary
        assert int(made.headers["x-tokenlimit-remaining"]) < left
        assert (await door.post(f"{ROUTE}/compact", asked, app))[0].status == 200
        response, body = await door.post(f"{ROUTE}/compact", asked, app)
        assert (response.status, body["error"]["code"]) == (429, "request_limited")


async def compacted(door: Door, response: str) -> tuple[dict[str, Any], dict[str, Any]]:
    answered, body = await door.post(
        f"{ROUTE}/compact", {"model": "scripted", "previous_response_id": response}
    )
    assert answered.status == 200, body
    return body["output"][-1], body["usage"]


async def test_a_compaction_makes_one_and_the_response_after_it_shows_that(door: Door) -> None:
    last = await talked(door, "One", "Two", "Three")
    item, usage = await compacted(door, last["id"])
    assert item["kind"] == "summary"
    assert usage["total_tokens"] > 0
    (summary,) = (await door.get(SUMMARIES.format(last["conversation"]["id"])))[1]["data"]
    again, nothing = await compacted(door, last["id"])
    assert (again["kind"], nothing["total_tokens"]) == ("summary", 0), "it is there"
    asked = [*sent_again([item]), {"role": "user", "content": "Four"}]
    went_on = await respond(door, asked, context=True)
    context = went_on["context"]
    assert context["epoch"]["reason"] == "user"
    assert context["summary"] == {"id": summary["id"], "version": 1, "first": 0, "last": summary["last"]}
    assert context["messages"][0]["place"] == summary["last"] + 1
    window = door.scripted.prompts[-1]
    assert summary["text"] in window.messages[0].text
    after = await respond(door, "Five", previous_response_id=went_on["id"], context=True)
    assert after["context"]["epoch"]["id"] == context["epoch"]["id"]
    await delete(door, f"{SUMMARIES.format(last['conversation']['id'])}/{summary['id']}")
    without = await respond(door, asked, context=True)
    assert without["context"]["summary"] is None


async def test_without_summaries_it_is_an_extract(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        last = await talked(door, "One", "Two", "Three")
        item, usage = await compacted(door, last["id"])
        assert (item["kind"], usage["total_tokens"]) == ("extract", 0)


async def test_a_threshold_has_windows_begin_anew(tmp_path: Path) -> None:
    managed: dict[str, Any] = {
        "context_management": [{"type": "compaction", "compact_threshold": 200}],
        "context": True,
    }
    async with opened(tmp_path) as door:
        body = await respond(door, "word " * 20, **managed)
        reasons = set()
        for _ in range(8):
            body = await respond(door, "word " * 20, previous_response_id=body["id"], **managed)
            assert (body["context"]["prompt_tokens"] or 0) <= 200
            reasons.add(body["context"]["epoch"]["reason"])
        assert "overflow" in reasons


@pytest.mark.parametrize("threshold", [0, -1, "many"])
async def test_a_threshold_that_is_none_is_refused(door: Door, threshold: Any) -> None:
    managed = [{"type": "compaction", "compact_threshold": threshold}]
    answered, told = await door.post(ROUTE, body_of("Hello", context_management=managed))
    refused_at = told["error"]["param"]
    assert (answered.status, refused_at) == (400, "context_management[0].compact_threshold")
