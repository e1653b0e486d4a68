"""Turns that go to another server: sent to where their conversation is cached, and told how much of it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.kinds import Kind
from palaver.server.app import ServerSettings
from tests.engines.fake_upstream import FakeUpstream, fake_upstream
from tests.server.conftest import Door, opened
from tests.server.test_receipts import Talk, receipt_of

LOCAL = {"authorization": "Bearer local-secret"}
Session = Callable[[FakeUpstream], str | None]
SESSIONS: dict[Kind, Session] = {
    "vllm": lambda server: server.headers.get("X-Session-ID"),
    "sglang": lambda server: server.headers.get("x-smg-routing-key"),
    "openai": lambda server: server.requests[-1].get("prompt_cache_key"),
}
"""Where each kind of server looks for the session."""


@asynccontextmanager
async def before(folder: Path, kind: Kind) -> AsyncIterator[tuple[Door, FakeUpstream]]:
    """A door before a server of this kind, whose model is ``house/wordy``."""
    async with fake_upstream() as server:
        engine = UpstreamEngine("house", server.url, kind=kind)
        settings = ServerSettings(local_key="local-secret")
        async with opened(folder, settings, upstreams=[engine]) as door:
            door.http.headers.update(LOCAL)
            yield door, server


def talk(door: Door, **more: Any) -> Talk:
    return Talk(door, model="house/wordy", **more)


def messages_of(body: bytes) -> bytes:
    """The messages in a request as they were sent, without the end of their list."""
    text = body.decode().partition('"messages":')[2]
    _, end = json.JSONDecoder().raw_decode(text)
    return text[: end - 1].encode()


@pytest.mark.parametrize("kind", SESSIONS)
async def test_the_turns_of_a_conversation_have_one_session(tmp_path: Path, kind: Kind) -> None:
    session = SESSIONS[kind]
    async with before(tmp_path, kind) as (door, server):
        one, other = talk(door), talk(door)
        told = []
        for speaker, text in (
            (one, "Hello there"),
            (other, "Good morning"),
            (one, "And now?"),
            (other, "Well"),
        ):
            await speaker.say(text)
            told.append(session(server))
        assert None not in told
        assert told[:2] == told[2:]
        assert len(set(told)) == 2
        assert one.conversation not in str(server.requests) + str(server.headers)


@pytest.mark.parametrize("kind", SESSIONS)
async def test_conversations_of_two_owners_have_two(tmp_path: Path, kind: Kind) -> None:
    told = []
    async with before(tmp_path, kind) as (door, server):
        for owner in ("ann", "bob", "ann"):
            _, key = await door.post("/v1/keys", {"name": owner, "owner": owner})
            body = {"model": "house/wordy", "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"authorization": f"Bearer {key['key']}"}
            response, _ = await door.post("/v1/chat/completions", body | {"conversation": "room"}, headers)
            assert response.status == 200
            told.append(SESSIONS[kind](server))
    assert told[0] == told[2] != told[1]


@pytest.mark.parametrize("kind", SESSIONS)
async def test_a_turn_that_is_not_stored_has_none(tmp_path: Path, kind: Kind) -> None:
    async with before(tmp_path, kind) as (door, server):
        await talk(door, store=False).say("Hello there")
        assert SESSIONS[kind](server) is None


@pytest.mark.parametrize("kind", ["together", "llama-server", "ollama", "lmstudio", "other"])
async def test_a_server_that_has_no_word_for_it_is_told_nothing(tmp_path: Path, kind: Kind) -> None:
    async with before(tmp_path, kind) as (door, server):
        await talk(door).say("Hello there")
        named = {name.lower() for name in (*server.headers, *server.requests[-1])}
        assert not [name for name in named if "session" in name or "key" in name or "conversation" in name]


@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama", "other"])
@pytest.mark.parametrize("store", [True, False])
async def test_a_clients_own_key_goes_on_as_it_is(tmp_path: Path, kind: Kind, store: bool) -> None:
    async with before(tmp_path, kind) as (door, server):
        await talk(door, store=store, prompt_cache_key="my own key").say("Hello there")
        assert server.requests[-1]["prompt_cache_key"] == "my own key"
        await talk(door, store=store, prompt_cache_key=None).say("Good morning")
        assert server.requests[-1].get("prompt_cache_key") != "my own key"
        assert server.requests[-1].get("prompt_cache_key", "") is not None


async def test_a_model_here_passes_over_a_key(door: Door) -> None:
    response, answer = await door.ask(prompt_cache_key="my own key")
    assert response.status == 200, answer


@pytest.mark.parametrize("window", ["strict", "auto"])
@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama"])
async def test_each_prompt_begins_with_the_one_before(tmp_path: Path, kind: Kind, window: str) -> None:
    async with before(tmp_path, kind) as (door, server):
        speaker = talk(door, window=window)
        speaker.history = [{"role": "system", "content": "Be brief."}]
        for text in ("Hello there", "And n\u00f6w?", 'What of "that"?'):
            await speaker.say(text)
        speaker.history = speaker.history[:1]
        await speaker.say("Well", parent="head", conversation=speaker.conversation, window="auto")
        prompts = [messages_of(each) for each in server.bodies]
        assert len(prompts) == 4
        for shorter, longer in pairwise(prompts):
            assert longer.startswith(shorter + b",")


@pytest.mark.parametrize(
    ("kind", "usage", "timings"),
    [
        ("openai", {"prompt_tokens_details": {"cached_tokens": 7}}, None),
        ("vllm", {"prompt_tokens_details": {"cached_tokens": 7}}, None),
        ("sglang", {"prompt_tokens_details": {"cached_tokens": 7}}, None),
        ("other", {"prompt_tokens_details": {"cached_tokens": 7}}, None),
        ("together", {"cached_tokens": 7}, None),
        ("llama-server", {}, {"cache_n": 7, "prompt_n": 2, "predicted_n": 3}),
    ],
)
async def test_what_was_cached_is_told(tmp_path: Path, kind: Kind, usage: Any, timings: Any) -> None:
    async with before(tmp_path, kind) as (door, server):
        server.usage = {"prompt_tokens": 9, "completion_tokens": 3} | usage
        server.timings = timings
        speaker = talk(door)
        answer = await speaker.say("Hello there", context=True)
        assert answer["usage"]["cached_tokens"] == 7
        assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 7}
        receipt = await receipt_of(door, speaker.turn)
        for told in (receipt, answer["context"]):
            assert (told["prompt_tokens"], told["cached_tokens"], told["counted"]) == (9, 7, "engine")


@pytest.mark.parametrize(("usage", "cached"), [({}, None), ({"cached_tokens": 0}, 0)])
async def test_what_nobody_says_is_not_known(tmp_path: Path, usage: Any, cached: int | None) -> None:
    async with before(tmp_path, "together") as (door, server):
        server.usage = {"prompt_tokens": 9, "completion_tokens": 3} | usage
        speaker = talk(door)
        answer = await speaker.say("Hello there")
        assert answer["usage"].get("cached_tokens") == cached
        assert (await receipt_of(door, speaker.turn))["cached_tokens"] == cached
