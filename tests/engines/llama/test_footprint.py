"""How much memory a model takes, and which context fits."""

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import ConfigError
from palaver.engines.llama import LlamaEngine
from palaver.engines.llama.footprint import fitting_context, footprint, told
from palaver.engines.llama.gguf import Gguf, inspect
from palaver.engines.llama.machine import resident_bytes
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.settings import LlamaSettings
from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import gguf
from tests.engines.llama.models import random_model
from tests.engines.llama.talk import HAS_PROC, worker_of

GB = 10**9
LLAMA_1B = Gguf(
    architecture="llama",
    context_length=131_072,
    vocabulary=128_256,
    size=770_000_000,
    width=2048,
    cache_numbers=16_384,
)
"""16 layers with 8 heads of 64 numbers, twice: 32 kB a token."""
PLAIN = LlamaSettings(Path("m.gguf"), "m")


def limits(**settings: Any) -> LlamaSettings:
    return LlamaSettings(Path("m.gguf"), "m", **settings)


def test_what_a_token_takes_is_told_by_the_header(tmp_path: Path) -> None:
    shape = {
        "llama.block_count": 16,
        "llama.embedding_length": 2048,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
    }
    found = inspect(gguf(tmp_path / "m.gguf", shape))
    assert (found.cache_numbers, found.width) == (16_384, 2048)
    assert found.size == (tmp_path / "m.gguf").stat().st_size
    lengths = {"llama.attention.key_length": 128, "llama.attention.value_length": 32}
    assert inspect(gguf(tmp_path / "m.gguf", shape | lengths)).cache_numbers == 16 * 8 * 160
    some = {"llama.attention.head_count_kv": [8, 0, 8, 0]}  # layers without attention keep nothing
    assert inspect(gguf(tmp_path / "m.gguf", shape | some)).cache_numbers == 2 * 8 * 128
    del shape["llama.attention.head_count_kv"]
    assert inspect(gguf(tmp_path / "m.gguf", shape)).cache_numbers == 16 * 32 * 128


@pytest.mark.parametrize("odd", [-1, 0, "x", 2**31 - 1, [1, 2], []])
def test_a_header_that_says_odd_things_of_its_shape(tmp_path: Path, odd: object) -> None:
    for key in ("block_count", "embedding_length", "attention.head_count", "attention.head_count_kv"):
        found = inspect(gguf(tmp_path / "m.gguf", {"llama.block_count": 2, f"llama.{key}": odd}))
        assert found.cache_numbers >= 0
        assert found.width >= 0


def test_all_parts_of_a_split_model_count(tmp_path: Path) -> None:
    first = gguf(tmp_path / "m-00001-of-00002.gguf", {"split.count": 2, "split.no": 0})
    second = gguf(tmp_path / "m-00002-of-00002.gguf", {"split.count": 2, "split.no": 1}, data=b"\0" * 999)
    assert inspect(first).size == first.stat().st_size + second.stat().st_size


def test_the_cache_is_counted_exactly() -> None:
    one = footprint(LLAMA_1B, limits(slots=1), 8192)
    two = footprint(LLAMA_1B, limits(slots=2), 8192)
    assert one.cache == 8192 * 32_768
    assert two.total - one.total == one.cache
    assert one.weights == LLAMA_1B.size


@pytest.mark.parametrize(
    ("settings", "limit", "context"),
    [
        (PLAIN, 100 * GB, 32_768),  # enough for most, however much memory there is
        (PLAIN, 2 * GB, 15_104),
        (PLAIN, 1_200_000_000, 3_072),
        (limits(slots=1), 2 * GB, 29_952),
        (limits(slots=8), 2 * GB, 3_840),
        (limits(context=4000), 100 * GB, 4096),
        (limits(context=40_000), 100 * GB, 40_192),
        (limits(context=2**31), 100 * GB, 131_072),
    ],
)
def test_as_much_context_as_fits(settings: LlamaSettings, limit: int, context: int) -> None:
    found = fitting_context(LLAMA_1B, settings, limit)
    assert found == context
    assert footprint(LLAMA_1B, settings, found).total <= limit
    if settings.context is None and found < 32_768:
        assert footprint(LLAMA_1B, settings, found + 256).total > limit


@pytest.mark.parametrize(
    ("trained", "context", "slot"),
    [
        (2048, None, 2048),
        (0, None, 8192),
        (1000, None, 1000),
        (2048, 4000, 2048),
        (2048, 1, 256),
        (1000, 1000, 1000),
    ],
)
def test_the_model_s_own_context_is_the_most(trained: int, context: int | None, slot: int) -> None:
    small = Gguf(architecture="llama", context_length=trained, cache_numbers=1024, size=1)
    assert fitting_context(small, LlamaSettings(Path("m.gguf"), "m", context=context), GB) == slot


def test_where_even_a_short_context_does_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"needs about 1\.\d GB with a context of 2,048 tokens") as caught:
        fitting_context(LLAMA_1B, PLAIN, GB)
    assert caught.value.setting == "memory"
    needed = footprint(LLAMA_1B, PLAIN, 2048).total
    assert f"({needed} and 1000000000 bytes)" in caught.value.message


def test_a_context_that_does_not_fit_is_told_the_largest_that_would() -> None:
    with pytest.raises(ConfigError, match=r"largest context that fits is 15104\.") as caught:
        fitting_context(LLAMA_1B, limits(context=100_000), 2 * GB)
    assert caught.value.setting == "context"
    with pytest.raises(ConfigError, match="memory") as caught:
        fitting_context(LLAMA_1B, limits(context=100_000), GB // 2)
    assert caught.value.setting == "memory"


def test_a_model_that_does_not_fit_is_refused_before_a_worker_starts() -> None:
    with pytest.raises(ConfigError, match="The model pocket needs about"):
        LlamaEngine(LlamaSettings(POCKET, "pocket"), ModelMemory(10**6))


@pytest.mark.parametrize(
    ("size", "words"),
    [(1_234_567_890, "1.2 GB"), (9_960_000_000, "10.0 GB"), (25_000_000, "25.0 MB"), (900, "1 kB")],
)
def test_sizes_for_people(size: int, words: str) -> None:
    assert told(size) == words


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
@pytest.mark.parametrize("context", [2048, 65_536])
async def test_a_real_worker_takes_about_what_was_said(temporary: Path, tmp_path: Path, context: int) -> None:
    """What cannot be taken from it: its own pages. Those of the file are the system's to drop."""
    path = random_model(tmp_path / "m.gguf", None, context_length=context)
    settings = LlamaSettings(path, "m", threads=1, context=context)
    engine = LlamaEngine(settings)
    try:
        await engine.start()
        pid = worker_of(engine).pid
        said = footprint(engine.gguf, settings, context)
        own = own_bytes(pid)
        assert said.cache < own < said.total
        assert own > 0.4 * (said.cache + said.working)  # some of it only with a long prompt
        resident = resident_bytes(pid)
        assert resident is not None
        assert resident >= own
    finally:
        await engine.close()


def own_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024
