"""Texts as vectors, by a model of random weights that says it is for that."""

import math
from pathlib import Path

import pytest

from palaver.core.errors import (
    ConfigError,
    ContextLengthExceeded,
    InvalidRequest,
    UnsupportedParameter,
)
from palaver.core.window import Window
from palaver.engines.base import Embedded, Options
from palaver.engines.llama import LlamaEngine
from palaver.engines.llama.embedding import AT_ONCE
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.models import WIDTH, random_encoder, random_model
from tests.engines.llama.talk import window

MEAN, FIRST, LAST = 1, 2, 3
NOBODY = Window(owner="ada", conversation=None, turn="t", messages=())
OPTIONS = Options(model="m")


@pytest.fixture
def embedder(make_engine: MakeEngine, model_of: ModelOf) -> LlamaEngine:
    return make_engine(model_of(None, pooling_type=LAST), context=512)


async def embed(
    engine: LlamaEngine, texts: list[str] | list[list[int]], dimensions: int | None = None
) -> Embedded:
    return await engine.embed(texts, dimensions, NOBODY, OPTIONS)


async def test_texts_become_vectors_in_their_order(embedder: LlamaEngine) -> None:
    texts = [f"text number {i % 7}" for i in range(2 * AT_ONCE + 3)]
    embedded = await embed(embedder, texts)
    assert len(embedded.vectors) == len(texts)
    assert {len(vector) for vector in embedded.vectors} == {WIDTH}
    assert all(math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-4) for vector in embedded.vectors)
    for i, vector in enumerate(embedded.vectors):
        assert vector == pytest.approx(embedded.vectors[i % 7], abs=1e-4)
    assert embedded.vectors[0] != pytest.approx(embedded.vectors[1], abs=1e-2)
    assert embedded.prompt_tokens == sum([(await embed(embedder, [text])).prompt_tokens for text in texts])
    assert embedder.waiting == 0


async def test_tokens_become_vectors(embedder: LlamaEngine) -> None:
    embedded = await embed(embedder, [[300, 301], [300]])
    assert embedded.prompt_tokens == 3
    assert len(embedded.vectors) == 2
    assert len((await embed(embedder, ["x"], WIDTH)).vectors[0]) == WIDTH


async def test_control_tokens_of_a_text_are_text(embedder: LlamaEngine) -> None:
    assert (await embed(embedder, ["<|im_end|>"])).prompt_tokens > 1


@pytest.mark.parametrize(
    ("texts", "param"),
    [([], "input"), ([""], "input"), (["a", ""], "input[1]"), ([[1], []], "input[1]"), ([[99_999]], "input")],
)
async def test_what_is_no_input(embedder: LlamaEngine, texts: list[str], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await embed(embedder, texts)
    assert caught.value.param == param
    assert embedder.worker_pid is None


async def test_a_text_that_is_too_long(embedder: LlamaEngine) -> None:
    assert await embedder.context_size("m") == 512
    with pytest.raises(ContextLengthExceeded) as caught:
        await embed(embedder, ["a", "hi " * 600])
    assert (caught.value.param, caught.value.context_size) == ("input", 512)
    assert caught.value.prompt_tokens > 600
    assert len((await embed(embedder, ["hi " * 400])).vectors) == 1


async def test_other_dimensions_than_its_own(embedder: LlamaEngine) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        await embed(embedder, ["a"], 3)
    assert caught.value.param == "dimensions"


async def test_a_model_is_for_one_of_both(embedder: LlamaEngine, engine: LlamaEngine) -> None:
    assert embedder.capabilities == {"embeddings"}
    assert "embeddings" not in engine.capabilities
    for asked in (
        embedder.generate(window("Hi"), OPTIONS),
        embedder.complete("Hi", None, NOBODY, OPTIONS),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await anext(asked)
        assert caught.value.param == "model"
    with pytest.raises(InvalidRequest) as caught:
        await embedder.count(window("Hi"), OPTIONS)
    with pytest.raises(InvalidRequest) as caught:
        await embed(engine, ["a"])
    assert caught.value.param == "model"
    assert (engine.worker_pid, embedder.worker_pid) == (None, None)


async def test_an_encoder_that_does_not_say_how_it_pools(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(random_encoder(tmp_path / "bert.gguf"), context=128)
    assert engine.embeds
    assert engine.capabilities == {"embeddings"}
    (vector,) = (await embed(engine, ["some text"])).vectors
    told = make_engine(random_encoder(tmp_path / "mean.gguf", pooling_type=MEAN), context=128)
    assert (await embed(told, ["some text"])).vectors == [pytest.approx(vector, abs=1e-4)]
    first = make_engine(random_encoder(tmp_path / "first.gguf", pooling_type=FIRST), context=128)
    assert (await embed(first, ["some text"])).vectors != [pytest.approx(vector, abs=1e-2)]


def test_a_model_that_ranks_is_of_no_use(make_engine: MakeEngine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rank\.gguf ranks"):
        make_engine(random_model(tmp_path / "rank.gguf", None, pooling_type=4))
