"""How much memory a model needs, and whether a machine has it."""

import pytest

from palaver.engines.catalog.need import WORKING, Need, fit_of, need_by_header, need_by_size, room_for_models
from palaver.engines.llama import LlamaSettings
from palaver.engines.llama.footprint import footprint
from palaver.engines.llama.gguf import inspect
from palaver.engines.llama.machine import machine_memory
from palaver.engines.pocket import POCKET

GB = 1_000_000_000


def test_what_a_model_needs_that_is_not_here() -> None:
    assert need_by_size(2 * GB, 100_000, 2, 4096) == Need(*[2 * GB + WORKING + 819_200_000] * 2)
    assert need_by_size(2 * GB, 100_000, 2, 0) == Need(
        2 * GB + WORKING + 2 * 2048 * 100_000, 2 * GB + WORKING + 2 * 8192 * 100_000
    )
    assert need_by_size(GB, 0, 2, 0) == Need(GB + WORKING, GB + WORKING), "embeddings keep no context"
    assert need_by_size(5 * GB, None, 1, 1000).usual == 5 * GB + WORKING + 131_072_000
    assert need_by_size(4_000_000, None, 1, 1000).usual < 5_000_000 + WORKING, (
        "a small model's context is small"
    )


def test_what_a_model_needs_that_is_here() -> None:
    gguf, settings = inspect(POCKET), LlamaSettings(POCKET, "pocket")
    need = need_by_header(gguf, settings)
    assert need.least == need.usual == footprint(gguf, settings, 2048).total, (
        "it was trained for 2,048 tokens"
    )


@pytest.mark.parametrize(("room", "fit"), [(4 * GB, "fits"), (3 * GB, "tight"), (2 * GB, "too large")])
def test_whether_it_fits(room: int, fit: str) -> None:
    assert fit_of(Need(3 * GB, 4 * GB), room) == fit


def test_how_much_room_there_is() -> None:
    assert room_for_models(7) == 7
    assert 0 < room_for_models(0) < machine_memory().total
