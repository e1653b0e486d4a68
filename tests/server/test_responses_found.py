"""Openings, instructions for once and results of tools, where they meet each other, other doors and deletion."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from palaver.core.turn import TurnState
from tests.server.conftest import Door
from tests.server.responding import ROUTE, body_of, by_hand, found, respond, says, shown

DEVELOPER = {"role": "developer", "content": "Be brief."}
QUESTION = {"role": "user", "content": "Hi"}
RESULT = {"type": "function_call_output", "call_id": "call_9", "output": "x"}


@pytest.mark.parametrize("first", [[DEVELOPER], [DEVELOPER, DEVELOPER]])
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_result_that_nobody_asked_for_below_an_opening(
    door: Door, first: list[dict[str, Any]], is_named: bool
) -> None:
    _, made = await door.post("/v1/conversations", {})
    sent = [*first, QUESTION, RESULT, QUESTION]
    answered, body = await door.post(ROUTE, body_of(sent, conversation="new" if is_named else made["id"]))
    assert (answered.status, body["error"]["param"]) == (400, f"input[{len(first) + 1}].call_id")


@pytest.mark.parametrize("mode", ["auto", "strict"])
async def test_an_opening_that_a_chat_completion_sends_again_is_told_once(door: Door, mode: str) -> None:
    _, made = await door.post("/v1/conversations", {"items": [DEVELOPER]})
    conversation = made["id"]
    await by_hand(door, "one", conversation=conversation)
    history = [DEVELOPER, {"role": "user", "content": "one"}, {"role": "assistant", "content": "Yes"}]
    says(door, "Sure")
    asked = {"model": "test/hand", "messages": [*history, {"role": "user", "content": "two"}]}
    answered, body = await door.post("/v1/chat/completions", {**asked, "window": {"mode": mode}})
    assert (answered.status, answered.headers["palaver-conversation"]) == (200, conversation), body
    below = await by_hand(door, "three", conversation=conversation)
    await by_hand(door, "four", previous_response_id=below["id"])
    await by_hand(door, "five", previous_response_id=below["id"], store=False)
    for window in door.hand.windows:
        texts = [text for _, text in shown(window)]
        assert texts[:2] == ["Be brief.", "one"]
        assert texts.count("Be brief.") == 1


async def test_a_client_that_leaves_the_opening_out_is_shown_what_it_sent(door: Door) -> None:
    _, made = await door.post("/v1/conversations", {"items": [DEVELOPER]})
    await by_hand(door, "one", conversation=made["id"])
    history = [
        {"role": "system", "content": "Be wordy."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "two"},
    ]
    for mode, first in (("strict", ["Be wordy.", "one"]), ("auto", ["Be wordy.", "Be brief.", "one"])):
        says(door, "Sure")
        asked = {"model": "test/hand", "messages": history, "window": {"mode": mode}}
        answered, body = await door.post("/v1/chat/completions", asked)
        assert answered.headers["palaver-conversation"] == made["id"]
        assert [text for _, text in shown(door.hand.windows[-1])][: len(first)] == first
        _, receipt = await door.get(f"/v1/chat/completions/{body['id']}/receipt")
        places = [message["place"] for message in receipt["messages"]]
        assert places == list(range(mode == "strict", 4))
        assert receipt["instructions"] == 1


async def test_instructions_for_once_are_deleted_with_their_response(door: Door, tmp_path: Path) -> None:
    first = await respond(door, "one", instructions="canary", background=True)
    await door.until_ended(first["id"].replace("resp_", "turn_"), TurnState.COMPLETED)
    second = await respond(door, "two", previous_response_id=first["id"], instructions="another")
    third = await respond(door, "three", previous_response_id=second["id"])
    async with door.http.delete(f"{door.address}{ROUTE}/{first['id']}") as answered:
        assert answered.status == 200
    with sqlite3.connect(tmp_path / "palaver.db") as rows:
        assert "canary" not in str(rows.execute("SELECT body FROM instructions").fetchall())
    rows.close()
    assert b"canary" not in (tmp_path / "palaver.db").read_bytes()
    assert (await found(door, second["id"]))["instructions"] == "another"
    # Without its question a response is not what was asked any more: nothing of that is told.
    question = (await door.chat.store.turn("local", second["id"].replace("resp_", "turn_"))).question
    where = f"{door.address}/v1/conversations/{third['conversation']['id']}/items/{question}"
    async with door.http.delete(where) as answered:
        assert answered.status == 200
    left = await found(door, second["id"])
    assert (left["instructions"], left["status"]) == (None, "completed")


async def test_a_conversation_tells_what_goes_on_and_not_what_was_for_once(door: Door) -> None:
    system = {"role": "system", "content": "Be kind."}
    _, body = await door.post("/v1/chat/completions", {"model": "scripted", "messages": [system, QUESTION]})
    below = await respond(door, "two", previous_response_id=body["id"], instructions="Only now.")
    conversation = below["conversation"]["id"]
    _, detail = await door.get(f"/v1/conversations/{conversation}")
    assert [message["content"] for message in detail["instructions"]] == ["Be kind."]


async def test_a_receipt_of_a_long_conversation_reads_what_was_seen(door: Door) -> None:
    _, made = await door.post("/v1/conversations", {"items": [DEVELOPER]})
    conversation = made["id"]
    for i in range(40):
        items = [
            {"role": "user", "content": f"q{i} " + "x" * 100},
            {"role": "assistant", "content": "y" * 100},
        ]
        await door.post(f"/v1/conversations/{conversation}/items", {"items": items})
    body = await by_hand(door, "last", conversation=conversation)
    shown_ = await door.chat.windows.receipt("local", body["id"].replace("resp_", "turn_"))
    depths = [step.depth for step in shown_.steps]
    assert depths == [depth for start, stop in shown_.receipt.seen for depth in range(start, stop)]
    assert (depths[0], depths[1] > 1, depths[-1]) == (0, True, 81)
    opening = await door.chat.store.opening("local", shown_.steps[-1].id)
    assert [step.message.text for step in opening] == ["Be brief."]
