"""Texts that are gone on with, and vectors, through a server over a socket."""

import base64
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    PalaverError,
    UnsupportedParameter,
)
from palaver.core.parameters import Parameters
from palaver.engines.base import Options
from palaver.engines.upstream import retries
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.engines.upstream.kinds import Kind
from palaver.engines.upstream.vectors import vectors_of
from tests.engines.contract import all_of, finish_of, replies_of, text_of, window
from tests.engines.fake_upstream import KEY, FakeUpstream
from tests.engines.upstream.recorded import LLAMA_SERVER, LM_STUDIO, SGLANG, VLLM, Recorded, playing

OPTIONS = Options(model="wordy")


async def test_a_text(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    events = await all_of(upstream.complete("Once", None, window(), OPTIONS))
    assert text_of(events) == "And so it went on: Once"
    assert finish_of(events).reason == "stop"
    (request,) = server.requests
    assert request["prompt"] == "Once"
    assert server.asked[-1] == "POST /v1/completions"


async def test_several_texts_of_a_server_that_gives_one_at_a_time(server: FakeUpstream) -> None:
    engine = UpstreamEngine("house", server.url, kind="llama-server")
    options = Options(model="wordy", parameters=Parameters(n=3, seed=7))
    events = await all_of(engine.complete("Once", None, window(), options))
    assert [reply.content for reply in replies_of(events)] == ["And so it went on: Once"] * 3
    assert sorted(request["seed"] for request in server.requests) == [7, 8, 9]
    assert all("n" not in request for request in server.requests)
    await engine.close()


async def test_a_text_that_is_too_long(upstream: UpstreamEngine) -> None:
    with pytest.raises(ContextLengthExceeded):
        await all_of(upstream.complete("word " * 500, None, window(), OPTIONS))


async def test_a_server_that_completes_no_texts(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    server.behaviour = "no route"
    with pytest.raises(UnsupportedParameter, match="house completes no texts") as refused:
        await all_of(upstream.complete("Once", None, window(), OPTIONS))
    assert refused.value.param == "model"
    server.behaviour = "404"
    with pytest.raises(EngineRefused, match="not found"):
        await all_of(upstream.complete("Once", None, window(), OPTIONS))


async def test_vectors(server: FakeUpstream, upstream: UpstreamEngine) -> None:
    embedded = await upstream.embed(["one two", "three"], None, window(), OPTIONS)
    assert [len(vector) for vector in embedded.vectors] == [8, 8]
    assert embedded.prompt_tokens == 3
    assert server.requests[0]["encoding_format"] == "float"
    assert server.headers["Authorization"] == f"Bearer {KEY}"
    short = await upstream.embed(["one two"], 4, window(), OPTIONS)
    assert [len(vector) for vector in short.vectors] == [4]
    numbers = await upstream.embed([[1, 2]], None, window(), OPTIONS)
    assert len(numbers.vectors) == 1


async def test_vectors_are_asked_for_again(
    server: FakeUpstream, upstream: UpstreamEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    server.next_behaviours = ["503", "429"]
    assert (await upstream.embed(["one"], None, window(), OPTIONS)).vectors
    assert len(server.requests) == 3
    server.behaviour = "500"
    with pytest.raises(EngineUnavailable):
        await upstream.embed(["one"], None, window(), OPTIONS)
    assert len(server.requests) == 6


@pytest.mark.parametrize("behaviour", ["no route", "501"])
async def test_a_server_that_makes_no_vectors(
    server: FakeUpstream, upstream: UpstreamEngine, behaviour: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(UnsupportedParameter, match="house makes no embeddings") as refused:
        await upstream.embed(["one"], None, window(), OPTIONS)
    assert refused.value.param == "model"
    assert len(server.requests) == 1


NOT_EMBEDDING = (
    "This model does not appear to be an embedding model by default. Please add `--is-embedding` when launching "
    "the server or try another model."
)


@pytest.mark.parametrize(
    ("recorded", "kind", "answer", "error", "words"),
    [
        (VLLM, "vllm", (404, {"detail": "Not Found"}), UnsupportedParameter, "makes no embeddings"),
        (
            VLLM,
            "vllm",
            (404, {"error": {"message": "The model `x` does not exist.", "param": "model", "code": 404}}),
            EngineRefused,
            "The model `x` does not exist.",
        ),
        (
            SGLANG,
            "sglang",
            (400, {"object": "error", "message": NOT_EMBEDDING, "type": "BadRequest", "code": 400}),
            EngineRefused,
            "embedding model",
        ),
        (
            LLAMA_SERVER,
            "llama-server",
            (
                501,
                {
                    "error": {
                        "code": 501,
                        "message": "This server does not support embeddings. Start it with `--embeddings`",
                        "type": "not_supported_error",
                    }
                },
            ),
            UnsupportedParameter,
            "makes no embeddings",
        ),
        (
            LLAMA_SERVER,
            "llama-server",
            (
                500,
                {
                    "error": {
                        "code": 500,
                        "message": "input (2622 tokens) is too large to process. increase the physical batch "
                        "size (current batch size: 512)",
                        "type": "server_error",
                    }
                },
            ),
            ContextLengthExceeded,
            "2622 tokens",
        ),
        (
            LM_STUDIO,
            "lmstudio",
            (200, {"error": "Unexpected endpoint or method. (POST /v1/embeddings)"}),
            EngineRefused,
            "Unexpected endpoint",
        ),
        (LM_STUDIO, "lmstudio", (200, "<html>Welcome</html>"), EngineBroke, "no vectors"),
    ],
    ids=[
        "vLLM",
        "vLLM, no such model",
        "SGLang",
        "llama-server",
        "llama-server, too long",
        "LM Studio",
        "a page",
    ],
)
async def test_refusals_in_each_servers_words(
    recorded: Recorded,
    kind: Kind,
    answer: tuple[int, Any],
    error: type[PalaverError],
    words: str,
) -> None:
    answers = {**recorded.answers, "POST /v1/embeddings": answer}
    async with playing(msgspec.structs.replace(recorded, answers=answers)) as player:
        engine = UpstreamEngine("house", player.url, kind=kind)
        with pytest.raises(error, match=words):
            await engine.embed(["one"], None, window(), Options(model="x"))
        assert player.asked == ["POST /v1/embeddings"]
        await engine.close()


def answer_of(*vectors: Any, **others: Any) -> bytes:
    data = [each if isinstance(each, dict) else {"embedding": each} for each in vectors]
    return msgspec.json.encode({"object": "list", "data": data, **others})


def test_vectors_come_in_the_order_of_their_texts() -> None:
    body = answer_of({"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]})
    assert vectors_of(body, 2, None).vectors == [[1.0], [2.0]]
    assert vectors_of(answer_of([1, 2], [3, 4]), 2, 2).vectors == [[1.0, 2.0], [3.0, 4.0]]


def test_vectors_as_text() -> None:
    packed = base64.b64encode(struct.pack("<3f", 0.5, -0.25, 1.0)).decode()
    assert vectors_of(answer_of(packed), 1, None).vectors == [[0.5, -0.25, 1.0]]


@pytest.mark.parametrize(
    ("usage", "counted"),
    [({"prompt_tokens": 7}, 7), (None, 0), ({"prompt_tokens": -1}, 0), ({"prompt_tokens": "7"}, 0), ({}, 0)],
)
def test_counts_of_vectors(usage: Any, counted: int) -> None:
    assert vectors_of(answer_of([1], usage=usage), 1, None).prompt_tokens == counted


@pytest.mark.parametrize(
    "body",
    [
        answer_of(),
        answer_of([1]),
        answer_of([1], [2], [3]),
        answer_of({"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}),
        answer_of({"index": 5, "embedding": [1]}, {"index": 0, "embedding": [2]}),
        answer_of([1], [1, 2]),
        answer_of([], []),
        answer_of([1], ["x"]),
        answer_of("!", "!"),
        answer_of("AAA=", "AAA="),
        b'{"data": [{"embedding": [1e999]}, {"embedding": [1]}]}',
        b"<html>",
        b"",
        b"[]",
    ],
)
def test_answers_that_hold_no_vectors(body: bytes) -> None:
    with pytest.raises(EngineBroke):
        vectors_of(body, 2, None)


def test_dimensions_that_a_server_ignores() -> None:
    with pytest.raises(UnsupportedParameter, match="have 2 dimensions") as refused:
        vectors_of(answer_of([1, 2]), 1, 64)
    assert refused.value.param == "dimensions"


@given(st.binary(max_size=60))
def test_no_answer_is_too_strange(body: bytes) -> None:
    with pytest.raises(EngineBroke):
        vectors_of(body, 1, None)
