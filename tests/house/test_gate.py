"""A test that needs a program is skipped where there is none, but not where CI is set."""

import sys
from pathlib import Path

import pytest

from tests.conftest import environment, require_program


def test_a_program_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    name = Path(sys.executable).name
    assert Path(require_program(name)).name == name


def test_without_it_a_test_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require_program("no-such-program")


def test_with_ci_set_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require_program("no-such-program")


def test_a_child_gets_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PALAVER_PORT", "OPENAI_API_KEY", "TOGETHER_BASE_URL", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "1")
    child = environment(PALAVER_DATA_DIR="data")
    assert child["KEPT"] == "1"
    assert child["PALAVER_DATA_DIR"] == "data"
    assert not child.keys() & {"PALAVER_PORT", "OPENAI_API_KEY", "TOGETHER_BASE_URL", "PYTHONPATH"}
