"""What an operator may set, and what follows from it."""

import os
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import ConfigError
from palaver.engines.llama import settings as module
from palaver.engines.llama.settings import LlamaSettings, cores, loading_seconds

PLAIN = LlamaSettings(Path("m.gguf"), "m")


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("slots", 0),
        ("slots", 257),
        ("context", 0),
        ("context", -1),
        ("threads", 0),
        ("threads", 513),
        ("batch", 0),
        ("batch", 8193),
        ("stall_timeout", 0.0),
        ("stall_timeout", float("nan")),
        ("start_timeout", -1.0),
    ],
)
def test_values_that_cannot_be_used_are_named(field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        LlamaSettings(Path("m.gguf"), "m", **{field: bad}).check()
    assert caught.value.setting == field


def test_a_path_that_cannot_be_told_to_the_worker() -> None:
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        LlamaSettings(Path("m\udce9.gguf"), "m").check()
    assert caught.value.setting == "model"


def test_the_defaults_can_be_used() -> None:
    PLAIN.check()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("400000 100000", 4), ("50000 100000", 1), ("6400000 100000", 8), ("?", 8)],
)
def test_a_container_has_only_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "CPU_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota)
    assert cores() == expected


def test_without_control_groups_all_cores_are_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "CPU_QUOTA", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores() == 3


def test_a_large_file_may_take_longer_to_load() -> None:
    assert loading_seconds(4_000_000) < 121
    assert 1400 < loading_seconds(40_000_000_000) < 1500
