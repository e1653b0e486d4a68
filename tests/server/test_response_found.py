"""Responses in odd places: replies that speak several times, repeated requests, whom and where headers name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    Delta,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TurnState,
)
from palaver.engines.base import SAMPLING
from palaver.server.response_body import MOVED
from tests.server.conftest import Door, HandEngine, opened, until
from tests.server.responding import (
    ROUTE,
    ClosingHand,
    body_of,
    by_hand,
    client_of,
    events_of,
    found,
    input_items,
    path_of,
    refused,
    respond,
    says,
    shown,
    streamed,
    text_of,
)
from tests.server.test_deletion import delete

ABILITIES = SAMPLING | {"tools", "reasoning", "logprobs", "prefill", "extra"}
NOW = {"type": "function", "name": "now"}
TWICE: list[list[Delta | str]] = [
    [ReasoningDelta("Hm. "), "One", ReasoningDelta("So."), " two"],
    ["One", ToolCallDelta(0, "call_1", "now", "{}"), " two"],
]
"""Replies that speak twice."""
FORWARDED = {"X-OpenWebUI-Chat-Id": "chat-1", "X-OpenWebUI-User-Id": "ann"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=HandEngine(ABILITIES, context=8192)) as door:
        yield door


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("said", TWICE)
async def test_a_reply_that_speaks_twice_is_that_reply_when_it_is_sent_back(
    door: Door, said: list[Delta | str]
) -> None:
    body = await by_hand(door, "Go on", *said, tools=[NOW])
    items = [item["type"] for item in body["output"]]
    assert items.count("message") == 2
    results = [{"type": "function_call_output", "call_id": "call_1", "output": "noon"}]
    new = results if "function_call" in items else [user("And?")]
    more = await by_hand(door, [user("Go on"), *body["output"], *new], "Three")
    assert more["conversation"] == body["conversation"]
    texts = [text for _, text in await path_of(door, body["conversation"]["id"])]
    assert texts == ["Go on", "One two", "noon" if new is results else "And?", "Three"]
    assert [message.reasoning for message in door.hand.windows[-1].messages][1] in (None, "Hm. So.")


@pytest.mark.parametrize("said", TWICE)
async def test_each_of_its_items_can_be_named(door: Door, said: list[Delta | str]) -> None:
    body = await by_hand(door, "Go on", *said, tools=[NOW], conversation="room")
    kept = {"message": "One two", "reasoning": "Hm. So.", "function_call": "{}"}
    for item in body["output"]:
        reference = {"type": "item_reference", "id": item["id"]}
        await by_hand(door, [reference, user("x")], tools=[NOW])
        assert shown(door.hand.windows[-1]) == [("assistant", "One two"), ("user", "x")]
        answered, whole = await door.get(f"/v1/conversations/room/items/{item['id']}")
        assert answered.status == 200, whole
        text = whole.get("arguments") or whole["content"][0]["text"]
        assert (whole["type"], text) == (item["type"], kept[item["type"]])
        answered, page = await door.get(f"/v1/conversations/room/items?after={item['id']}&order=asc")
        assert answered.status == 200, page
        assert whole["id"] not in [each["id"] for each in page["data"]]
    for prefix in ("msg_", "rs_", "fc_"):
        beyond = body["output"][0]["id"].partition("_")[2] + "_9"
        answered, _ = await door.get(f"/v1/conversations/room/items/{prefix}{beyond}x")
        assert answered.status == 404
    question = (await input_items(door, body["id"]))[0]["id"]
    for unknown in (f"{question}_1", f"fc_{beyond}"):
        await refused(door, body_of([{"id": unknown}, user("x")]), "input[0].id")
    assert (await delete(door, f"/v1/conversations/room/items/{body['output'][-1]['id']}"))[0] == 200
    assert [role for role, _ in await path_of(door, body["conversation"]["id"])] == ["user"]


async def test_log_probabilities_are_told_with_their_texts(door: Door) -> None:
    tokens = [TokenLogprob(text, -0.5) for text in ("One", " two", " three")]
    said: list[Delta | str] = [
        ContentDelta("One", logprobs=tokens[:1]),
        ContentDelta(" two", logprobs=tokens[1:2]),
        ReasoningDelta("Hm."),
        ContentDelta(" three", logprobs=tokens[2:]),
    ]
    says(door, *said)
    events = await streamed(door, model="test/hand", include=["message.output_text.logprobs"])
    id = events[-1]["response"]["id"]
    assert await events_of(door, id) == events
    assert await events_of(door, id, 4) == events[5:]
    assert (await found(door, id))["output"] == events[-1]["response"]["output"]


async def test_when_it_was_made_does_not_change_with_how_long_the_store_took(door: Door) -> None:
    door.chat._clock = lambda: 1_700_000_000.999
    body = await respond(door)
    assert body["created_at"] == (await found(door, body["id"]))["created_at"] == 1_700_000_000


class TestNotStored:
    async def test_a_reply_that_was_cut_off_is_not_gone_on_with(self, door: Door) -> None:
        says(door, "Once upon", reason="length")
        cut = await respond(door, model="test/hand")
        whole = await respond(door, "Hello")
        for id in (cut["id"], whole["id"]):
            await refused(
                door,
                body_of(None, model="test/hand", previous_response_id=id, store=False),
                "input",
            )
        asked = await by_hand(door, "On", previous_response_id=cut["id"], store=False)
        assert asked["store"] is False

    async def test_instructions_stand_where_they_stood(self, door: Door) -> None:
        history = [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "I am Ada."},
            {"role": "system", "content": "Be kind."},
            user("Hi"),
        ]
        _, chat = await door.post("/v1/chat/completions", {"model": "scripted", "messages": history})
        seen = []
        for store in (None, False):
            await by_hand(door, "And?", previous_response_id=chat["id"], store=store, instructions="Now.")
            seen.append(shown(door.hand.windows[-1]))
        assert seen[0] == seen[1]
        assert [text for _, text in seen[0]][:5] == ["Now.", "Be brief.", "I am Ada.", "Be kind.", "Hi"]

    async def test_nor_are_they_lost_below_a_compaction(self, door: Door) -> None:
        history = [{"role": "system", "content": "Be brief."}, user("Hi")]
        _, chat = await door.post("/v1/chat/completions", {"model": "scripted", "messages": history})
        asked = {"model": "scripted", "previous_response_id": chat["id"]}
        _, made = await door.post(f"{ROUTE}/compact", asked)
        for store in (None, False):
            await by_hand(door, [made["output"][-1], user("And?")], store=store)
            assert shown(door.hand.windows[-1])[:2] == [("system", "Be brief."), ("user", "Hi")]

    async def test_not_in_a_conversation_that_a_header_names(self, door: Door) -> None:
        await by_hand(door, "A secret", conversation="room")
        headers = {"palaver-conversation": "room"}
        await refused(door, body_of(store=False), "store", headers=headers)
        await respond(door, store=False, headers={"palaver-conversation": "none"})


class TestOpenWebUi:
    """It sends its whole history along, and names the chat."""

    async def test_its_history_is_not_said_again(self, door: Door) -> None:
        history = [user("One")]
        for answer in ("a", "b", "c"):
            says(door, answer)
            body = await respond(door, history, FORWARDED, model="test/hand", instructions="Hm.", stream=None)
            history += [{"role": "assistant", "content": answer}, user(answer * 2)]
        texts = [text for _, text in await path_of(door, body["conversation"]["id"])]
        assert texts == ["One", "a", "aa", "b", "bb", "c"]
        _, found = await door.get("/v1/conversations/chat-1?user=ann")
        assert found["id"] == body["conversation"]["id"]

    async def test_a_chore_of_its_own_does_not_become_the_chat(self, door: Door) -> None:
        chore = await respond(door, [user("A title for this, please")], FORWARDED)
        says(door, "a")
        await streamed(door, [user("One")], FORWARDED, model="test/hand")
        _, page = await door.get("/v1/conversations/chat-1/items?user=ann&order=asc")
        assert [item["content"][0]["text"] for item in page["data"]] == ["One", "a"]
        assert chore["conversation"] is not None


class TestWordsOfChatCompletions:
    @pytest.mark.parametrize("name", sorted(MOVED))
    async def test_they_are_refused_by_name(self, door: Door, name: str) -> None:
        body = {**body_of("x", model="test/hand"), name: 3}
        said = await refused(door, body, name, "unsupported_parameter")
        assert f"`{MOVED[name]}`" in said or MOVED[name] is None
        assert (await by_hand(door, "x", **{name: None}))["status"] == "completed"

    async def test_what_asks_for_nothing_passes_and_goes_nowhere(self, door: Door) -> None:
        more = {"n": 1, "logprobs": False, "echo": False, "image": {}, "access_programs": {}}
        await by_hand(door, "x", **more, background_options={"completion_window": "8h"})
        assert not door.hand.options[-1].extra


async def test_reasoning_that_nobody_can_read_is_no_input(door: Door) -> None:
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    await refused(door, body_of([sealed]), "input")


async def test_no_summary_is_told_in_the_words_of_the_official_types(door: Door) -> None:
    body = await by_hand(door, "x", reasoning={"summary": "none"})
    async with client_of(door) as sdk:
        shown = await sdk.responses.retrieve(body["id"])
    assert shown.reasoning is not None
    assert shown.reasoning.summary is None


class TestRepeatedInTheBackground:
    async def test_it_is_told_how_it_stands(self, door: Door) -> None:
        says(door, "Yes")
        asked = {"model": "test/hand", "background": True}
        begun = await respond(door, "x", {"x-stainless-retry-count": "0"}, **asked)
        await door.until_ended(begun["id"].replace("resp_", "turn_"), TurnState.COMPLETED)
        again = await respond(door, "x", {"x-stainless-retry-count": "1"}, **asked)
        assert (again["id"], again["status"], text_of(again)) == (begun["id"], "completed", "Yes")

    async def test_it_needs_no_place_of_its_own(self, tmp_path: Path) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(readerless_turns=1)) as door:
            asked: dict[str, Any] = {"model": "test/hand", "background": True}
            begun = await respond(door, "x", {"x-stainless-retry-count": "0"}, **asked)
            again = await respond(door, "x", {"x-stainless-retry-count": "1"}, **asked)
            assert again["id"] == begun["id"]
            other = body_of("y", **asked)
            await refused(door, other, None, "rate_limit_exceeded", 429)
            await refused(
                door, other, None, "rate_limit_exceeded", 429, headers={"x-stainless-retry-count": "1"}
            )
            await asyncio.wait_for(door.post(f"{ROUTE}/{begun['id']}/cancel"), 10)
            await respond(door, "y", **asked)


async def test_what_nobody_can_hear_any_more_is_stopped(tmp_path: Path) -> None:
    hand = ClosingHand()
    async with opened(tmp_path, chat_settings=ChatSettings(grace=0.005), hand=hand) as door:
        for store in (None, False):
            hand.put(Accepted(), ContentDelta("x"))
            asked = body_of(model="test/hand", store=store, stream=True)
            async with door.http.post(door.address + ROUTE, json=asked) as response:
                turn = response.headers["palaver-turn"].replace("resp_", "turn_")
                await response.content.readline()
            if store is False:
                await until(partial(hand.closed.__contains__, turn))
        assert len(hand.closed) == 1, "one that is stored goes on"


async def test_what_windows_are_to_be_does_not_contradict_itself(door: Door) -> None:
    for window, param in (({"mode": "strict"}, "truncation"), ({"truncation": "disabled"}, "truncation")):
        await refused(door, body_of(truncation="auto", window=window), param)
    first = await respond(door)
    for more, truncation in (
        ({}, "auto"),
        ({"window": {"mode": "strict"}}, "disabled"),
        ({"window": {"truncation": "disabled"}, "store": False}, "disabled"),
        ({"truncation": "disabled"}, "disabled"),
        ({"store": False}, "auto"),
    ):
        given: dict[str, Any] = dict(more)
        body = await respond(door, previous_response_id=first["id"], **given)
        assert body["truncation"] == truncation, more
