"""Where each kind of server tells the real size of a model's context."""

import pytest

from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.kinds import Kind
from palaver.engines.upstream.models import ListedModel
from tests.engines.upstream.recorded import (
    LLAMA_MODEL,
    LLAMA_ROUTER,
    LLAMA_SERVER,
    LM_STUDIO,
    OLD_LM_STUDIO,
    OLLAMA,
    OPENAI,
    SGLANG,
    TOGETHER,
    VLLM,
    Recorded,
    playing,
)


@pytest.mark.parametrize(
    ("recorded", "kind", "model", "size"),
    [
        (TOGETHER, None, "meta-llama/Llama-3.3-70B-Instruct-Turbo", 131072),
        (TOGETHER, None, "unlisted", None),
        (OPENAI, "openai", "gpt-4o", None),
        (VLLM, None, "m", 4096),
        (VLLM, None, "adapter", 4096),
        (SGLANG, None, "m", 19989),
        (LLAMA_SERVER, None, LLAMA_MODEL, 4096),
        (LLAMA_SERVER, None, "any name", 4096),
        (LLAMA_ROUTER, None, "qwen", 2048),
        (LLAMA_ROUTER, None, "asleep", None),
        (OLLAMA, None, "qwen3:8b", 16384),
        (OLLAMA, None, "llama3", 4096),
        (LM_STUDIO, None, "qwen/qwen3.5-9b", 4096),
        (LM_STUDIO, None, "asleep", None),
        (OLD_LM_STUDIO, None, "qwen/qwen3.5-9b", 8192),
        (OLD_LM_STUDIO, None, "asleep", None),
    ],
    ids=lambda value: str(value) if not isinstance(value, Recorded) else "",
)
async def test_the_real_size(recorded: Recorded, kind: Kind | None, model: str, size: int | None) -> None:
    async with playing(recorded) as player:
        engine = UpstreamEngine("house", player.url, kind=kind)
        assert await engine.context_size(model) == size
        await engine.close()


async def test_ollama_is_asked_again_once_the_model_is_loaded() -> None:
    """Before, only what most servers give a model is known."""
    loaded = OLLAMA.answers["GET /api/ps"]
    recorded = Recorded({**OLLAMA.answers, "GET /api/ps": (200, {"models": []})}, OLLAMA.unknown)
    async with playing(recorded) as player:
        engine = UpstreamEngine("house", player.url)
        assert await engine.context_size("qwen3:8b") == 4096
        assert engine._contexts.is_supposed("qwen3:8b")
        recorded.answers["GET /api/ps"] = loaded
        assert await engine.context_size("qwen3:8b") == 4096, "kept a while"
        engine._contexts.forget("qwen3:8b")
        assert await engine.context_size("qwen3:8b") == 16384
        await engine.close()


@pytest.mark.parametrize(
    ("recorded", "listed"),
    [
        (
            TOGETHER,
            [
                ListedModel("meta-llama/Llama-3.3-70B-Instruct-Turbo", 131072),
                ListedModel("BAAI/bge-large-en-v1.5", 512, "embedding"),
            ],
        ),
        (OPENAI, [ListedModel("gpt-4o"), ListedModel("text-embedding-3-small", None, "embedding")]),
        (VLLM, [ListedModel("m", 4096), ListedModel("adapter", 4096)]),
        (LLAMA_SERVER, [ListedModel(LLAMA_MODEL, 8192)]),
        (OLLAMA, [ListedModel("qwen3:8b"), ListedModel("nomic-embed-text:latest", None, "embedding")]),
        (
            LM_STUDIO,
            [
                ListedModel("qwen/qwen3.5-9b"),
                ListedModel("text-embedding-nomic-embed-text-v1.5", None, "embedding"),
            ],
        ),
        (Recorded({"GET /v1/models": (200, {"object": "list", "data": None})}, (404, "")), []),
    ],
    ids=["Together", "OpenAI", "vLLM", "llama-server", "Ollama", "LM Studio", "none"],
)
async def test_models_for_chats_and_embeddings(recorded: Recorded, listed: list[ListedModel]) -> None:
    async with playing(recorded) as player:
        engine = UpstreamEngine("house", player.url)
        assert await engine.models() == listed
        await engine.close()
