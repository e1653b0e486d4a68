"""Which model makes vectors of messages, by the settings."""

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from palaver.config import Config
from palaver.core.errors import ConfigError
from palaver.wiring.embeddings import embedding_name
from palaver.wiring.models import catalog_of
from tests.engines.llama.models import random_encoder, random_model
from tests.engines.llama.templates import PLAIN

UPSTREAM = {"house": "http://localhost:1"}


@pytest.mark.parametrize("name", ["scripted", "house/small", "mine", "also"])
async def test_a_model_that_can_may_be_named(tmp_path: Path, name: str) -> None:
    alias = {"mine": "house/small", "also": "scripted"}
    config = Config(
        data_dir=str(tmp_path), model="scripted", upstream=UPSTREAM, alias=alias, embedding_model=name
    )
    catalog, _ = catalog_of(config)
    assert embedding_name(config) == name
    await catalog.close()


async def test_a_file_may_be_named(tmp_path: Path) -> None:
    path = random_encoder(tmp_path / "Small Encoder.gguf")
    config = Config(data_dir=str(tmp_path), model="scripted", embedding_model=str(path))
    catalog, default = catalog_of(config)
    name = embedding_name(config)
    assert name is not None
    assert (await catalog.find(name)).kind == "embedding"
    assert default == "scripted"
    await catalog.close()


def test_none_is_the_default(tmp_path: Path) -> None:
    assert embedding_name(Config(data_dir=str(tmp_path))) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nobody", "there is no model 'nobody'"),
        ("other/small", "there is no model 'other/small'"),
        ("pocket", "pocket makes no embeddings"),
        ("demo", "demo makes no embeddings"),
    ],
)
def test_others_may_not(tmp_path: Path, name: str, why: str) -> None:
    config = Config(
        data_dir=str(tmp_path),
        model="scripted",
        upstream=UPSTREAM,
        alias={"demo": "pocket"},
        embedding_model=name,
    )
    with pytest.raises(ConfigError, match=why) as caught:
        catalog_of(config)
    assert caught.value.setting == "embedding_model"


def test_a_file_of_a_model_that_chats_may_not(tmp_path: Path) -> None:
    path = random_model(tmp_path / "random.gguf", PLAIN)
    config = Config(data_dir=str(tmp_path), model="scripted", embedding_model=str(path))
    with pytest.raises(ConfigError, match="makes no embeddings"):
        catalog_of(config)
    gone = Config(data_dir=str(tmp_path), model="scripted", embedding_model=str(tmp_path / "gone.gguf"))
    with pytest.raises(ConfigError):
        catalog_of(gone)


def test_without_numpy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without_numpy(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "numpy" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_numpy)
    config = Config(data_dir=str(tmp_path), model="scripted", embedding_model="scripted")
    with pytest.raises(ConfigError, match=r"pip install 'palaver\[embeddings\]'"):
        catalog_of(config)
    catalog_of(Config(data_dir=str(tmp_path), model="scripted"))


def test_numpy_is_loaded_only_to_compare() -> None:
    code = "import sys, palaver.wiring.assembly, palaver.finding.meaning; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
