"""Engines with the bundled model, in a folder for temporary files that is looked at afterwards."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from palaver.engines.llama import LlamaEngine, LlamaSettings
from palaver.engines.pocket import POCKET
from tests.engines.llama.models import random_model
from tests.engines.llama.warm import Houses


class MakeEngine(Protocol):
    def __call__(self, path: Path = POCKET, **settings: Any) -> LlamaEngine: ...


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go. Its path is short: that of a Unix socket has no room for a test's name."""
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    left = [path.name for path in folder.iterdir()]
    shutil.rmtree(folder)
    assert left == []


@pytest.fixture
async def make_engine(temporary: Path) -> AsyncIterator[MakeEngine]:
    """Makes engines that are closed afterwards, and leave nothing."""
    made = []

    def make(path: Path = POCKET, **settings: Any) -> LlamaEngine:
        # One thread: several that wait for each other are slower where the machine is busy with other tests.
        engine = LlamaEngine(LlamaSettings(path, "pocket", **{"threads": 1} | settings))
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
async def houses(tmp_path: Path, temporary: Path) -> AsyncIterator[Houses]:
    made = Houses(tmp_path / "kv")
    yield made
    await made.close()


class ModelOf(Protocol):
    def __call__(self, template: str | None, **more: Any) -> Path: ...


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelOf:
    """Models with random weights and this template, each made once."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def model(template: str | None, **more: Any) -> Path:
        key = repr((template, sorted(more.items())))
        if key not in made:
            made[key] = random_model(folder / f"{len(made)}.gguf", template, **more)
        return made[key]

    return model


@pytest.fixture
def engine(make_engine: MakeEngine) -> LlamaEngine:
    return make_engine()
