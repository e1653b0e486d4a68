"""A file that outgrows one screenful of ideas becomes a folder: no module is longer than 300 lines."""

from pathlib import Path

from tests.house.files import ROOT

LIMIT = 300


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_longer_than_300_lines() -> None:
    modules = sorted((ROOT / "palaver").rglob("*.py"))
    assert modules
    too_long = [f"{path.relative_to(ROOT)}: {lines(path)}" for path in modules if lines(path) > LIMIT]
    assert not too_long, f"longer than {LIMIT} lines:\n" + "\n".join(too_long)


def test_contributing_can_be_held_in_the_head() -> None:
    assert lines(ROOT / "CONTRIBUTING.md") <= 60
