"""Limits of API keys: what counts, what is said of them, and what they hold back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from palaver.core import ids
from palaver.core.errors import EngineRefused, RateLimited
from palaver.core.turn import ContentDelta, Finish, ReasoningDelta, TurnState, Usage
from palaver.live import LiveReply, Outcome
from palaver.server.app import ServerSettings
from palaver.server.limits import MINUTE
from palaver.server.metering import Meter, cost
from palaver.stores.base import ApiKey
from tests.server.conftest import Door, opened, until
from tests.stores.contract_keys import new_key

LOCAL = {"authorization": "Bearer local-secret"}
MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
        yield door


async def limited(door: Door, **limits: int) -> dict[str, str]:
    """The headers of a key with these limits."""
    _, made = await door.post("/v1/keys", {"name": "app", **limits}, LOCAL)
    return {"authorization": f"Bearer {made['key']}"}


async def ask(door: Door, headers: Mapping[str, str], **more: Any) -> tuple[Any, Any]:
    body = {"model": "scripted", "messages": MESSAGES, **more}
    return await door.post("/v1/chat/completions", body, headers)


def counters(headers: Mapping[str, str], what: str) -> list[int]:
    """Limit, remaining and reset."""
    return [int(headers[f"x-{what}limit-{each}"]) for each in ("limit", "remaining", "reset")]


async def test_requests_are_counted_and_then_refused(door: Door) -> None:
    key = await limited(door, requests_per_minute=2)
    for left in (1, 0):
        response, _ = await ask(door, key)
        assert response.status == 200
        limit, remaining, reset = counters(response.headers, "rate")
        assert (limit, remaining) == (2, left)
        assert (reset > 0) is (left == 0)
        assert "x-tokenlimit-limit" not in response.headers
    response, body = await ask(door, key)
    assert response.status == 429
    assert (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "request_limited")
    assert "2 requests per minute" in body["error"]["message"]
    assert counters(response.headers, "rate")[:2] == [2, 0]
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers.getall("x-ratelimit-reset") == [response.headers["retry-after"]]
    # What was refused is not on record as a turn, and others are not held back.
    assert len(await door.chat.store.conversations("local", one_shots=True)) == 2
    assert (await ask(door, LOCAL))[0].status == 200
    assert (await ask(door, await limited(door, requests_per_minute=1)))[0].status == 200


async def test_a_stream_and_an_error_tell_what_is_left_too(door: Door) -> None:
    key = await limited(door, requests_per_minute=5, tokens_per_minute=1000)
    asked: list[dict[str, Any]] = [{"stream": True}, {"model": "missing"}, {"messages": "x"}]
    for number, more in enumerate(asked, 1):
        response, _ = await ask(door, key, **more)
        assert counters(response.headers, "rate")[:2] == [5, 5 - number]
        assert counters(response.headers, "token")[0] == 1000


async def test_only_questions_count(door: Door) -> None:
    key = await limited(door, requests_per_minute=1)
    response, _ = await ask(door, key)
    turn = response.headers["palaver-turn"]
    for path in ("/v1/models", "/v1/conversations", f"/v1/chat/completions/{turn}"):
        response, _ = await door.get(path, key)
        assert response.status == 200
        assert "x-ratelimit-limit" not in response.headers
    assert (await door.post(f"/v1/chat/completions/{turn}/cancel", {}, key))[0].status == 200


async def test_a_key_without_limits_hears_nothing_of_them(door: Door) -> None:
    response, _ = await ask(door, await limited(door))
    assert response.status == 200
    assert not [name for name in response.headers if "limit" in name.lower()]


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_charged_when_the_turn_ends(door: Door, stream: bool) -> None:
    key = await limited(door, tokens_per_minute=100)
    asking = asyncio.create_task(ask(door, key, model="test/hand", stream=stream))
    await door.hand.began.wait()
    response, _ = await door.post("/v1/chat/completions", {}, key)
    assert counters(response.headers, "token") == [100, 100, 0]  # what runs is not charged yet
    door.hand.put(ContentDelta("hi"), Finish("stop", Usage(70, 50)))
    response, _ = await asking
    assert response.status == 200
    assert counters(response.headers, "token")[1] == (
        100 if stream else 0
    )  # a stream's headers are sent first
    response, body = await ask(door, key)
    assert (response.status, body["error"]["code"]) == (429, "token_limited")
    assert "100 tokens per minute" in body["error"]["message"]
    assert counters(response.headers, "token")[:2] == [100, 0]
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers["x-ratelimit-reset"] == response.headers["retry-after"]


async def test_a_reader_that_leaves_pays_all_the_same(door: Door) -> None:
    key = await limited(door, tokens_per_minute=10)
    body = {"model": "test/hand", "messages": MESSAGES, "stream": True}
    asking = asyncio.create_task(door.post("/v1/chat/completions", body, key))
    await door.hand.began.wait()
    asking.cancel()
    door.hand.put(ContentDelta("hi"), Finish("stop", Usage(7, 3)))
    await until(lambda: not door.chat._running)
    response, _ = await ask(door, key)
    assert response.status == 429


async def test_a_repetition_is_a_request_but_its_tokens_are_charged_once(door: Door) -> None:
    key = await limited(door, requests_per_minute=9, tokens_per_minute=1000)
    door.hand.put(ContentDelta("hi"), Finish("stop", Usage(100, 23)))
    turns = []
    for count in range(3):
        again = {**key, "x-stainless-retry-count": str(count)}
        response, _ = await ask(door, again, model="test/hand")
        turns.append(response.headers["palaver-turn"])
        assert counters(response.headers, "rate")[1] == 8 - count
    assert len(set(turns)) == 1
    response, _ = await door.post("/v1/chat/completions", {}, key)
    assert counters(response.headers, "token")[1] == 877


async def test_an_engine_that_says_nothing_of_tokens_is_estimated(door: Door) -> None:
    key = await limited(door, tokens_per_minute=10_000)
    door.hand.put(ContentDelta("x" * 400), Finish("stop", None))
    body = msgspec.json.encode({"model": "test/hand", "messages": MESSAGES})
    await door.post("/v1/chat/completions", None, key, data=body)
    response, _ = await door.post("/v1/chat/completions", None, key, data=b"{}")
    assert counters(response.headers, "token")[1] == 10_000 - -(-(len(body) + 400) // 4)


async def test_a_turn_that_failed_before_any_text_is_free(door: Door) -> None:
    key = await limited(door, tokens_per_minute=10)
    door.hand.put(EngineRefused("No."))
    assert (await ask(door, key, model="test/hand"))[0].status == 400
    response, _ = await door.post("/v1/chat/completions", {}, key)
    assert counters(response.headers, "token")[1] == 10


async def test_sdks_raise_rate_limit_errors(door: Door) -> None:
    key = (await limited(door, requests_per_minute=1))["authorization"].removeprefix("Bearer ")
    async with openai.AsyncOpenAI(base_url=door.address, api_key=key, max_retries=0) as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model="scripted", messages=MESSAGES)
        assert raw.headers["x-ratelimit-remaining"] == "0"
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(model="scripted", messages=MESSAGES)
        assert refused.value.code == "request_limited"
        assert int(refused.value.response.headers["retry-after"]) <= 60


async def test_pages_of_another_origin_may_read_what_is_left(tmp_path: Path) -> None:
    settings = ServerSettings(local_key="local-secret", cors_origins=("https://app.example",))
    async with opened(tmp_path, settings) as door:
        key = await limited(door, requests_per_minute=2, tokens_per_minute=100)
        response, _ = await ask(door, {**key, "origin": "https://app.example"})
        exposed = set(response.headers["access-control-expose-headers"].split(", "))
        assert {name.lower() for name in response.headers if "limit" in name.lower()} <= exposed


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def api_key(**limits: Any) -> ApiKey:
    given = msgspec.structs.asdict(new_key("key_1", **limits))
    return ApiKey(**given, created_at=0, revoked_at=None, last_used_at=None)


def reply(made_at: int, text: str = "") -> LiveReply:
    turn = ids.TURN + ids.id_body(made_at, bytes(10))
    live = LiveReply(turn=turn, conversation=None, model="m", created=0)
    if text:
        live.publish(ContentDelta(text))
    return live


def ended(usage: Usage | None, state: TurnState = TurnState.COMPLETED) -> Outcome:
    return Outcome(state=state, usage=usage)


class TestMeter:
    async def test_a_turn_is_charged_once_however_often_its_request_is_repeated(self) -> None:
        clock = Clock()
        meter, live = Meter(api_key(tokens_per_minute=100), clock), reply(made_at=5000)
        meter.charge_at_end(live, 10, since=5000)
        meter.charge_at_end(live, 10, since=5001)  # a repetition, which joins it
        live.end(ended(Usage(20, 10)))
        await until(lambda: not meter._waiting)
        meter.charge_at_end(live, 10, since=9000)  # and one that comes when it has ended
        await until(lambda: not meter._waiting)
        assert dict(meter.headers()) == {
            "x-tokenlimit-limit": "100",
            "x-tokenlimit-remaining": "70",
            "x-tokenlimit-reset": "0",
        }

    async def test_it_lets_through_again_when_it_said(self) -> None:
        clock = Clock()
        meter, live = Meter(api_key(tokens_per_minute=5, requests_per_minute=50), clock), reply(0)
        meter.charge_at_end(live, 0, 0)
        clock.now = 30_000
        live.end(ended(Usage(1000, 1000)))
        await until(lambda: not meter._waiting)
        clock.now = 40_500
        with pytest.raises(RateLimited, match="try again in 50 s") as refused:
            meter.count_request()
        assert refused.value.retry_after == 49.5
        clock.now = 30_000 + MINUTE
        meter.count_request()
        headers = dict(meter.headers())
        assert (headers["x-ratelimit-remaining"], headers["x-tokenlimit-remaining"]) == ("49", "5")

    @pytest.mark.parametrize(
        ("outcome", "tokens"),
        [
            (ended(Usage(3, 4)), 7),
            (ended(Usage(0, 0)), 0),
            (ended(None), 28),
            (ended(None, TurnState.CANCELLED), 28),
            (ended(None, TurnState.INCOMPLETE), 28),
            (ended(None, TurnState.FAILED), 0),
        ],
    )
    def test_what_a_turn_costs(self, outcome: Outcome, tokens: int) -> None:
        live = reply(0, "x" * 9)
        live.publish(ReasoningDelta("y"))
        assert cost(live, outcome, sent=101) == tokens
