"""Whose KV cache is kept, by headers alone: in doubt, nobody's."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from palaver.engines.llama.architectures import OTHERS, PLAIN, PLAIN_WITHOUT_WINDOW, UNKNOWN, VECTORS
from palaver.engines.llama.gguf import ENCODERS, inspect
from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import gguf

WINDOW = "it attends to a sliding window"
RECURRENT = "it has recurrent layers"
ENCODES = "it encodes its input first"
MEDIA = "it reads more than text"
SPARSE = "it chooses what it attends to"
CACHELESS = "it has no KV cache"


def unkept(path: Path, architecture: str, **values: Any) -> str:
    """Why the cache of a model is not kept whose header holds these values below its architecture."""
    held = {f"{architecture}.{key}": value for key, value in values.items()}
    return inspect(gguf(path / "m.gguf", {"general.architecture": architecture, **held})).unkept


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "qwen3moe", "phi3", "deepseek2", "mistral3"]
)
def test_a_plain_cache_is_kept(tmp_path: Path, architecture: str) -> None:
    assert unkept(tmp_path, architecture) == ""


def test_that_of_the_bundled_model_is_kept() -> None:
    assert inspect(POCKET).unkept == ""


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("gemma2", WINDOW),
        ("gemma3", WINDOW),
        ("gpt-oss", WINDOW),
        ("llama4", WINDOW),
        ("cohere2", WINDOW),
        ("mamba", RECURRENT),
        ("rwkv7", RECURRENT),
        ("jamba", RECURRENT),
        ("lfm2", RECURRENT),
        ("qwen3next", RECURRENT),
        ("qwen35moe", RECURRENT),
        ("granitehybrid", RECURRENT),
        ("nemotron_h", RECURRENT),
        ("t5", ENCODES),
        ("qwen2vl", MEDIA),
        ("qwen3vl", MEDIA),
        ("chameleon", MEDIA),
        ("glm-dsa", SPARSE),
        ("llada", CACHELESS),
    ],
)
def test_architectures_whose_cache_is_another(tmp_path: Path, architecture: str, reason: str) -> None:
    """By their names: not all of their files have the keys that would tell."""
    assert unkept(tmp_path, architecture) == reason


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    assert unkept(tmp_path, "llama9") == UNKNOWN
    assert unkept(tmp_path, "nanbeige") == UNKNOWN


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("ssm.state_size", 16, RECURRENT),
        ("ssm.conv_kernel", 4, RECURRENT),
        ("wkv.head_size", 64, RECURRENT),
        ("token_shift_count", 2, RECURRENT),
        ("shortconv.l_cache", 3, RECURRENT),
        ("full_attention_interval", 4, RECURRENT),
        ("attention.recurrent_layers", [1, 0, 1], RECURRENT),
        ("kda.head_dim", 128, RECURRENT),
        ("decoder_block_count", 12, ENCODES),
        ("rope.dimension_sections", [16, 24, 24, 0], MEDIA),
        ("vision.block_count", 24, MEDIA),
        ("audio.block_count", 24, MEDIA),
        ("n_deepstack_layers", 3, MEDIA),
        ("attention.indexer.top_k", 2048, SPARSE),
        ("attention.causal", False, "it reads its prompt in both directions"),
    ],
)
def test_a_key_tells_it_whatever_the_architecture(tmp_path: Path, key: str, value: Any, reason: str) -> None:
    assert unkept(tmp_path, "llama", **{key: value}) == reason
    assert unkept(tmp_path, "llama9", **{key: value}) == reason


@pytest.mark.parametrize(
    "values",
    [
        {"ssm.state_size": 0},
        {"rope.dimension_sections": [0, 0, 0, 0]},
        {"attention.recurrent_layers": [0, 0]},
        {"attention.causal": True},
        {"decoder_block_count": 0},
    ],
)
def test_a_key_of_zeros_tells_nothing(tmp_path: Path, values: dict[str, Any]) -> None:
    assert unkept(tmp_path, "llama", **values) == ""


@pytest.mark.parametrize("window", [4096, [0, 4096, 0, 4096]])
@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("qwen2", ""),  # llama.cpp passes it over
        ("phi3", ""),
        ("llama", ""),
        ("olmo2", WINDOW),
        ("smallthinker", WINDOW),
        ("exaone4", WINDOW),
        ("llama9", WINDOW),
    ],
)
def test_a_sliding_window(tmp_path: Path, architecture: str, window: Any, reason: str) -> None:
    assert unkept(tmp_path, architecture, **{"attention.sliding_window": window}) == reason


@pytest.mark.parametrize("window", [0, [0, 0]])
def test_a_sliding_window_of_nothing(tmp_path: Path, window: Any) -> None:
    assert unkept(tmp_path, "olmo2", **{"attention.sliding_window": window}) == ""
    assert unkept(tmp_path, "gemma3", **{"attention.sliding_window": window}) == WINDOW


def test_a_model_that_makes_vectors(tmp_path: Path) -> None:
    assert unkept(tmp_path, "llama", pooling_type=3) == VECTORS
    assert unkept(tmp_path, "bert") == VECTORS


def test_no_architecture_stands_in_two_lists() -> None:
    for one, other in combinations(
        [PLAIN, PLAIN_WITHOUT_WINDOW, ENCODERS - {"t5encoder"}, *OTHERS.values()], 2
    ):
        assert one.isdisjoint(other)
