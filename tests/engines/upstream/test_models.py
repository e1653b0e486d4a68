"""What model servers tell of their models, and where they are asked."""

import asyncio
import json
from typing import Any

import pytest

from palaver.core.errors import EngineRefused, EngineUnavailable
from palaver.engines.base import Options
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.models import (
    OLLAMA_DEFAULT,
    ListedModel,
    listed_models,
    props_context,
    shown_context,
)
from tests.engines.contract import window
from tests.engines.fake_upstream import CONTEXT, FakeUpstream

OPTIONS = Options(model="wordy")
HELLO = window("Hello there, how are you?")


async def test_the_list_of_models(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    assert await upstream.models() == [ListedModel("wordy", CONTEXT)]
    server.models = None
    with pytest.raises(EngineRefused):
        await upstream.models()
    server.models = {"hello": "world"}
    with pytest.raises(EngineRefused, match="no list of models"):
        await upstream.models()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([{"id": "a", "type": "chat", "context_length": 8192}, {"id": "b", "type": "image"}], [("a", 8192)]),
        ({"object": "list", "data": [{"id": "a", "max_model_len": 4096}]}, [("a", 4096)]),
        ({"data": [{"id": "a", "context_window": 1, "context_length": None}]}, [("a", 1)]),
        (
            {"data": [{"id": "a", "context_length": "8k"}, {"id": "b", "context_length": 0}]},
            [("a", None), ("b", None)],
        ),
        ({"data": []}, []),
        ({"data": [{"name": "a"}]}, None),
        ({"error": "no"}, None),
        ("a", None),
    ],
)
def test_lists_of_models(body: Any, expected: list[tuple[str, int | None]] | None) -> None:
    models = listed_models(json.dumps(body).encode())
    assert (None if models is None else [(model.id, model.context_size) for model in models]) == expected


def test_ollamas_context_of_a_model_that_is_not_loaded() -> None:
    info = {"general.architecture": "llama", "vision.context_length": 77, "llama.context_length": 131072}
    shown: dict[str, Any] = {"model_info": info}
    assert shown_context(json.dumps(shown).encode()) == OLLAMA_DEFAULT
    assert shown_context(json.dumps(shown).encode(), "gpt-oss:120b-cloud") == 131072
    shown["parameters"] = 'stop                           "<|end|>"\nnum_ctx                        8192'
    assert shown_context(json.dumps(shown).encode()) == 8192
    assert shown_context(json.dumps(shown).encode(), "gpt-oss:120b-cloud") == 8192
    shown["parameters"] = "num_ctx 999999"
    assert shown_context(json.dumps(shown).encode()) == 131072
    assert shown_context(json.dumps({"model_info": {"bert.context_length": 512}}).encode()) == 512
    assert shown_context(b"404 page not found") is None
    assert shown_context(b'{"error":"model \'x\' not found"}') is None


def test_llama_servers_context() -> None:
    assert props_context(b'{"default_generation_settings": {"n_ctx": 4096, "params": {}}}') == 4096
    assert props_context(b'{"default_generation_settings": {"n_ctx": 0}}') is None
    assert props_context(b"<html>") is None


async def test_the_context_is_asked_for_where_it_can_be_known(server: FakeUpstream) -> None:
    server.models = {"data": [{"id": "wordy"}]}
    server.props = {"default_generation_settings": {"n_ctx": 4096}}
    server.shown = {"model_info": {"llama.context_length": 2048}}
    engine = UpstreamEngine("house", server.url, kind="other")
    assert await engine.context_size("wordy") == 4096
    server.props = None
    assert await engine.context_size("other") == 2048
    server.shown = None
    assert await engine.context_size("third") is None
    await engine.close()


async def test_the_context_is_asked_for_once(server: FakeUpstream) -> None:
    engine = UpstreamEngine("house", server.url, kind="other")
    for _ in range(3):
        assert await engine.context_size("wordy") == CONTEXT
        assert await engine.context_size("unknown") is None
    assert server.asked == ["GET /v1/models", "GET /v1/models", "GET /props", "POST /api/show"]
    await engine.close()


async def test_a_list_that_breaks_off() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    engine = UpstreamEngine("house", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    with pytest.raises(EngineUnavailable, match="broke off"):
        await engine.models()
    await engine.close()
    listener.close()


async def test_a_server_that_is_slow_to_tell_its_context(
    server: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = UpstreamEngine("house", server.url, kind="other")
    monkeypatch.setattr("palaver.engines.upstream.contexts.ASKING_SECONDS", 0.05)
    server.behaviour = "slow"
    assert await engine.context_size("wordy") is None
    server.behaviour = "normal"
    assert await engine.context_size("wordy") is None  # not asked again so soon
    assert len(server.asked) == 1
    await engine.close()


async def test_it_cannot_count(upstream: UpstreamEngine) -> None:
    assert await upstream.count(HELLO, OPTIONS) is None
