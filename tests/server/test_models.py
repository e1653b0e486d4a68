"""The list of models, which Together and OpenAI have in shapes that exclude each other."""

from __future__ import annotations

import msgspec
import openai
import pytest

from palaver.engines.base import Model
from tests.server.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPTED = {
    "id": "scripted",
    "object": "model",
    "created": 0,
    "owned_by": "palaver",
    "type": "chat",
    "display_name": "scripted",
    "organization": "palaver",
    "description": "Answers without a model.",
    "aliases": ["gpt"],
    "input_modalities": ["text", "image", "audio", "video", "file"],
    "reasoning": True,
}


@pytest.mark.parametrize(
    "agent",
    ["OpenAI/Python 3.54.0", "AsyncOpenAI/Python 3.54.0", "OpenAI/JS 7.57.0", "curl/8", "python-requests"],
)
async def test_everybody_gets_openais_list(shared_door: Door, agent: str) -> None:
    response, body = await shared_door.get("/v1/models", {"user-agent": agent})
    assert response.status == 200
    assert body["object"] == "list"
    assert body["data"][0] == SCRIPTED
    assert [model["id"] for model in body["data"]] == ["scripted", "test/hand"]


@pytest.mark.parametrize("agent", ["Together/Python 2.0", "AsyncTogether/Python 3.1.1", "Together/JS 0.52.0"])
async def test_togethers_sdks_get_the_bare_array(shared_door: Door, agent: str) -> None:
    for path in ("/models", "/v1/models", "/v1/v1/models/"):
        _, body = await shared_door.get(path, {"user-agent": agent})
        assert [model["id"] for model in body] == ["scripted", "test/hand"]
        assert body[0] == SCRIPTED


async def test_a_context_length_is_told_where_it_is_known(shared_door: Door) -> None:
    _, body = await shared_door.get("/v1/models/test/hand")
    assert body["context_length"] == 4096


@pytest.mark.parametrize("form", ["test/hand", "test%2Fhand", "test%2fhand", "/test//hand"])
async def test_one_model_by_a_name_with_a_slash(shared_door: Door, form: str) -> None:
    response, body = await shared_door.get(f"/v1/models/{form}")
    assert response.status == 200
    assert body["id"] == "test/hand"


async def test_one_model_by_its_alias(shared_door: Door) -> None:
    _, body = await shared_door.get("/v1/models/gpt")
    assert body["id"] == "scripted"


async def test_what_a_model_is_for_and_how_far_it_is_loaded(
    shared_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = shared_door.chat.catalog
    plain = await catalog.find("test/hand")
    embedder = msgspec.structs.replace(plain, kind="embedding", loading=0.25)

    async def models() -> list[Model]:
        return [plain, embedder]

    monkeypatch.setattr(catalog, "models", models)
    _, body = await shared_door.get("/v1/models")
    assert [(model["type"], model.get("loading")) for model in body["data"]] == [
        ("chat", None),
        ("embedding", 0.25),
    ]


async def test_whether_the_kv_cache_of_a_model_is_kept(
    shared_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = shared_door.chat.catalog
    plain = await catalog.find("test/hand")
    windowed = msgspec.structs.replace(plain, unkept="it attends to a sliding window")
    embedder = msgspec.structs.replace(windowed, kind="embedding")
    keeping = msgspec.structs.replace(plain, unkept="")

    async def models() -> list[Model]:
        return [plain, windowed, embedder, keeping]

    monkeypatch.setattr(catalog, "models", models)
    _, body = await shared_door.get("/v1/models")
    assert [model.get("kv_cache") for model in body["data"]] == [
        None,
        {"kept": False, "reason": "it attends to a sliding window"},
        None,
        {"kept": True},
    ]


async def test_a_model_that_makes_embeddings_answers_nothing(
    shared_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = msgspec.structs.replace(await shared_door.chat.catalog.find("test/hand"), kind="embedding")

    async def find(name: str) -> Model:
        return embedder

    monkeypatch.setattr(shared_door.chat.catalog, "find", find)
    response, body = await shared_door.ask(model="test/hand")
    assert (response.status, body["error"]["param"]) == (400, "model")
    assert "makes embeddings" in body["error"]["message"]


async def test_no_such_model(shared_door: Door) -> None:
    response, body = await shared_door.get("/v1/models/nobody%2Fknows")
    assert response.status == 404
    assert body["error"]["code"] == "model_not_available"
    assert "nobody/knows" in body["error"]["message"]


async def test_openais_sdk_lists_and_retrieves(shared_door: Door) -> None:
    async with openai.AsyncOpenAI(
        base_url=shared_door.address + "/v1", api_key="any", _strict_response_validation=True
    ) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["scripted", "test/hand"]
        assert (await sdk.models.retrieve("test/hand")).owned_by == "palaver"


async def test_a_model_that_takes_only_text_says_so(shared_door: Door) -> None:
    _, body = await shared_door.get("/v1/models/test/hand")
    assert (body["input_modalities"], body["reasoning"]) == (["text"], False)
