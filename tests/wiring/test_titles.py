"""Which model makes titles, by the settings."""

from pathlib import Path

import pytest

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.engines.llama import LlamaEngine
from palaver.engines.pocket import POCKET
from palaver.wiring.models import catalog_of
from tests.engines.llama.models import random_model
from tests.engines.llama.templates import PLAIN

UPSTREAM = {"house": "http://localhost:1"}


@pytest.mark.parametrize("name", ["house/wordy", "mine", "also", "random"])
async def test_a_model_that_can_may_be_named(tmp_path: Path, name: str) -> None:
    path = random_model(tmp_path / "random.gguf", PLAIN)
    alias = {"mine": "house/wordy", "also": "mine"}
    config = Config(data_dir=str(tmp_path), model=str(path), upstream=UPSTREAM, alias=alias, title_model=name)
    catalog, _ = catalog_of(config)
    await catalog.close()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nobody", "there is no model 'nobody'"),
        ("other/wordy", "there is no model 'other/wordy'"),
        ("pocket", "pocket makes no titles"),
        ("demo", "demo makes no titles"),
        ("scripted", "scripted makes no titles"),
    ],
)
def test_others_may_not(tmp_path: Path, name: str, why: str) -> None:
    config = Config(
        data_dir=str(tmp_path),
        model="scripted",
        upstream=UPSTREAM,
        alias={"demo": "pocket"},
        title_model=name,
    )
    with pytest.raises(ConfigError, match=why) as caught:
        catalog_of(config)
    assert caught.value.setting == "title_model"


@pytest.mark.parametrize("model", ["pocket", str(POCKET)])
async def test_the_bundled_model_makes_none_whatever_it_is_called(tmp_path: Path, model: str) -> None:
    catalog, default = catalog_of(Config(data_dir=str(tmp_path), model=model))
    engine = (await catalog.find(default)).engine
    assert isinstance(engine, LlamaEngine)
    assert "titles" not in engine.capabilities
    await catalog.close()
