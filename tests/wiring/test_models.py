"""The models of a palaver: what its settings and the record of added models make of names."""

from pathlib import Path

import pytest

from palaver.config import Config
from palaver.core.errors import ConfigError, EngineUnavailable
from palaver.core.parameters import Parameters
from palaver.core.window import Window
from palaver.engines.base import Engine, Options
from palaver.engines.catalog.added import AddedFile, AddedModel, AddedModels
from palaver.engines.catalog.gone import GoneEngine
from palaver.engines.pocket import POCKET
from palaver.wiring.models import catalog_of
from tests.engines.llama.gguf_file import F32, gguf, tensor


def added(folder: Path, name: str, path: Path = POCKET, source: str = "") -> None:
    AddedModels(folder).add(
        AddedModel(
            name=name, files=[AddedFile(str(path), 1, "ab" * 32)], source=source, licence="mit", about="small"
        )
    )


async def names(config: Config) -> tuple[list[str], str]:
    catalog, default = catalog_of(config)
    try:
        return [model.name for model in await catalog.models()], default
    finally:
        await catalog.close()


@pytest.mark.parametrize(
    ("model", "found", "default"),
    [
        ("pocket", ["one", "pocket"], "pocket"),
        ("one", ["one", "pocket"], "one"),
        ("hf:a/b:x-Q4_K_M.gguf", ["one", "pocket"], "one"),
        ("hf:a/b:Q4_K_M", ["one", "pocket"], "one"),
        ("https://huggingface.co/a/b", ["one", "pocket"], "one"),
        ("small", ["one", "pocket"], "small"),
        ("house/llama", ["one", "pocket"], "house/llama"),
        ("scripted", ["scripted", "one", "pocket"], "scripted"),
        (str(POCKET), ["pocket", "one"], "pocket"),
    ],
)
async def test_what_the_default_may_be(tmp_path: Path, model: str, found: list[str], default: str) -> None:
    added(tmp_path, "one", source="hf:a/b:x-Q4_K_M.gguf")
    config = Config(
        data_dir=str(tmp_path), model=model, alias={"small": "one"}, upstream={"house": "http://127.0.0.1:9"}
    )
    assert await names(config) == (found, default)


@pytest.mark.parametrize("model", ["hf:a/b:Q8_0", "hf:a/c", "nothing", "qwen3:4b", "elsewhere/llama", ""])
async def test_what_it_may_not_be(tmp_path: Path, model: str) -> None:
    added(tmp_path, "one", source="hf:a/b:x-Q4_K_M.gguf")
    with pytest.raises(ConfigError) as refused:
        catalog_of(Config(data_dir=str(tmp_path), model=model))
    assert refused.value.setting == "model"


async def test_a_llama_server_answers_where_nothing_else_is_named(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path), llama_server="http://127.0.0.1:9")
    assert await names(config) == (["llama-server", "pocket"], "llama-server")
    scripted = Config(data_dir=str(tmp_path), llama_server="http://127.0.0.1:9", model="scripted")
    assert await names(scripted) == (["scripted", "llama-server", "pocket"], "scripted")


async def test_an_added_model_says_what_it_is(tmp_path: Path) -> None:
    added(tmp_path, "one")
    catalog, _ = catalog_of(Config(data_dir=str(tmp_path)))
    model = await catalog.find("one")
    assert (model.description, model.kind, model.loading) == ("small (mit)", "chat", None)
    await catalog.close()


async def test_a_model_says_why_its_kv_cache_is_not_kept(tmp_path: Path) -> None:
    added(tmp_path, "one")
    added(tmp_path, "two", gguf(tmp_path / "two.gguf", {"general.architecture": "mamba"}))
    catalog, _ = catalog_of(Config(data_dir=str(tmp_path), llama_server="http://127.0.0.1:9"))
    told = {model.name: model.unkept for model in await catalog.models()}
    assert told == {"one": "", "two": "it has recurrent layers", "llama-server": None, "pocket": ""}
    assert (await catalog.find("two")).unkept == "it has recurrent layers"
    await catalog.close()


async def test_one_whose_file_has_gone_says_so_to_whoever_asks(tmp_path: Path) -> None:
    added(tmp_path, "one", tmp_path / "gone.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(POCKET.read_bytes()[:-1])
    added(tmp_path, "two", damaged)
    catalog, _ = catalog_of(Config(data_dir=str(tmp_path), fallback={"one": "pocket"}))
    for name, why in (("one", "its file is not there any more."), ("two", "damaged.gguf is truncated")):
        engine: Engine = (await catalog.find(name)).engine
        assert isinstance(engine, GoneEngine)
        window, options = (
            Window(messages=(), owner="o", conversation=None, turn="t"),
            Options(model=name, parameters=Parameters()),
        )
        with pytest.raises(EngineUnavailable, match=why) as refused:
            await anext(engine.generate(window, options))
        assert str(tmp_path) not in refused.value.message, "clients need not know our folders"
        with pytest.raises(EngineUnavailable):
            await anext(engine.complete("x", None, window, options))
        with pytest.raises(EngineUnavailable):
            await engine.embed(["x"], None, window, options)
        with pytest.raises(EngineUnavailable):
            await engine.count(window, options)
        with pytest.raises(EngineUnavailable):
            await engine.context_size(name)
    assert [each.name for each in (await catalog.find("one")).fallbacks] == ["pocket"], (
        "which answers in its place"
    )
    assert {model.name for model in await catalog.models()} == {"one", "two", "pocket"}
    await catalog.close()


@pytest.mark.parametrize(
    ("architecture", "more", "kind"),
    [
        ("llama", {}, "chat"),
        ("bert", {}, "embedding"),
        ("nomic-bert", {"nomic-bert.pooling_type": 0}, "embedding"),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding"),
        ("qwen3", {"qwen3.pooling_type": 0}, "chat"),
    ],
)
async def test_what_a_model_is_for_is_what_its_engine_does(
    tmp_path: Path, architecture: str, more: dict[str, int], kind: str
) -> None:
    values = {"general.architecture": architecture, f"{architecture}.context_length": 2048}
    added(
        tmp_path, "one", gguf(tmp_path / "m.gguf", values | more, (tensor("t", (32,), F32, 0),), bytes(128))
    )
    catalog, _ = catalog_of(Config(data_dir=str(tmp_path)))
    model = await catalog.find("one")
    assert model.kind == kind
    assert ("embeddings" in model.engine.capabilities) == (kind == "embedding")
    await catalog.close()


async def test_one_that_does_not_fit_says_what_stands_in_the_way(tmp_path: Path) -> None:
    added(tmp_path, "one")
    catalog, _ = catalog_of(Config(data_dir=str(tmp_path), memory=10**7))
    engine: Engine = (await catalog.find("one")).engine
    assert isinstance(engine, GoneEngine)
    assert engine.setting == "memory"
    assert engine.why.startswith("The model one cannot be used: it needs about ")
    await catalog.close()
