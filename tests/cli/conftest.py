"""Terminals for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Terminals


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    made = Terminals(tmp_path)
    yield made
    made.close()
