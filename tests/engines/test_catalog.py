"""The catalog: what a name stands for, what is started when, and upstreams that come and go."""

from collections.abc import AsyncIterator

import pytest

from palaver.core.errors import ConfigError, EngineError, EngineUnavailable, ModelNotFound
from palaver.core.parameters import Sampling
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Catalog, Options
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.catalog.catalog import NAMES_TOLD
from palaver.engines.catalog.names import Names
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.upstream.engine import UpstreamEngine
from tests.engines.contract import collect, text_of, window
from tests.engines.fake_upstream import CONTEXT, FakeUpstream, fake_upstream


def spec(name: str, **settings: object) -> ModelSpec:
    return ModelSpec(name=name, engine=ScriptedEngine(context=100), **settings)  # type: ignore[arg-type]


# Names


def test_what_names_stand_for() -> None:
    names = Names(
        ["pocket", "hf:me/mine:q4"],
        {"small": "pocket", "gpt-4o": "small", "big": "house/llama", "*": "small"},
        ["house"],
    )
    assert {name: names.target(name) for name in ("pocket", "hf:me/mine:q4", "small", "gpt-4o", "big")} == {
        "pocket": "pocket",
        "hf:me/mine:q4": "hf:me/mine:q4",
        "small": "pocket",
        "gpt-4o": "pocket",
        "big": "house/llama",
    }
    assert names.target("house/meta/llama") == "house/meta/llama"
    assert [names.target(name) for name in ("anything", "else/where", "house", "house/", "*", "")] == [
        "pocket"
    ] * 6
    assert names.aliases("pocket") == ("small", "gpt-4o")
    assert names.aliases("house/llama") == ("big",)


@pytest.mark.parametrize("name", ["/etc/passwd", "../pocket", "Pocket", "hf:a/b", "house", "http://h/v1", ""])
def test_what_is_no_name(name: str) -> None:
    assert Names(["pocket"], {"small": "pocket"}, ["house"]).target(name) is None


def test_a_configured_name_comes_before_an_upstream() -> None:
    names = Names(["house/llama"], {}, ["house"])
    assert names.target("house/llama") == "house/llama"
    assert names.upstream("house/llama") is None
    assert names.upstream("house/other") == "house"


@pytest.mark.parametrize(
    "aliases",
    [
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"x": "a", "a": "b", "b": "c", "c": "a"},
        {"*": "*"},
        {"a": "*", "*": "a"},
        {"a": "nothing"},
        {"a": "elsewhere/llama"},
        {"a": "house"},
        {"pocket": "house/llama"},
        {"house/llama": "pocket"},
        {"": "pocket"},
    ],
)
def test_aliases_that_stand_for_nothing(aliases: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        Names(["pocket"], aliases, ["house"])
    assert refused.value.setting == "alias"


@pytest.mark.parametrize(
    ("models", "upstreams", "setting"),
    [(["a", "a"], [], "model"), ([""], [], "model"), (["*"], [], "model"), ([], ["h", "h"], "upstream")],
)
def test_names_that_are_taken(models: list[str], upstreams: list[str], setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Names(models, {}, upstreams)
    assert refused.value.setting == setting


NAMED = (["a", "b", "c", "d"], {"small": "a", "big": "house/llama", "*": "a"}, ["house"])


def test_fallbacks_in_their_order_and_then_theirs() -> None:
    names = Names(*NAMED, {"a": ["b", "big"], "b": ["c"], "big": ["d"]})
    assert names.fallbacks("a") == ("b", "house/llama", "c", "d")
    assert names.fallbacks("b") == ("c",)
    assert names.fallbacks("house/llama") == ("d",)
    assert names.fallbacks("d") == ()


def test_a_fallback_may_be_said_of_an_alias() -> None:
    assert Names(*NAMED, {"small": ["big", "house/llama", "b"]}).fallbacks("a") == ("house/llama", "b")


@pytest.mark.parametrize(
    "fallbacks",
    [
        {"a": ["a"]},
        {"a": ["small"]},
        {"a": ["b"], "b": ["a"]},
        {"a": ["b"], "b": ["c", "d"], "d": ["small"]},
        {"a": ["nothing"]},
        {"nothing": ["a"]},
        {"*": ["a"]},
        {"a": ["*"]},
        {"a": [""]},
        {"a": ["elsewhere/llama"]},
        {"a": ["b"], "small": ["c"]},
    ],
)
def test_fallbacks_that_cannot_be(fallbacks: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError) as refused:
        Names(*NAMED, fallbacks)
    assert refused.value.setting == "fallback"


def test_what_is_said_of_models_is_theirs_under_whichever_name() -> None:
    said = {"small": 1, "b": 2, "big": 3, "house/other": 4}
    assert Names(*NAMED).by_target(said, "said") == {"a": 1, "b": 2, "house/llama": 3, "house/other": 4}


@pytest.mark.parametrize(
    "said", [{"nothing": 1}, {"*": 1}, {"": 1}, {"elsewhere/llama": 1}, {"house/": 1}, {"a": 1, "small": 1}]
)
def test_what_is_said_of_no_model_or_twice(said: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as refused:
        Names(*NAMED).by_target(said, "window_of")
    assert refused.value.setting == "window_of"
    assert refused.value.message.startswith("window_of: ")


# Models that run here


async def test_a_model_is_found_under_its_name_and_its_aliases() -> None:
    settings = spec("pocket", served_as="pocket.gguf", description="small", defaults=Sampling(max_tokens=80))
    catalog: Catalog = ModelCatalog([settings], {"small": "pocket", "*": "small"})
    for name in ("pocket", "small", "gpt-4o"):
        model = await catalog.find(name)
        assert (model.name, model.served_as, model.description) == ("pocket", "pocket.gguf", "small")
        assert model.defaults == Sampling(max_tokens=80)
        assert model.aliases == ("small",)
        assert model.engine is settings.engine
    await catalog.close()


async def test_models_are_listed_in_their_order() -> None:
    catalog = ModelCatalog([spec("b"), spec("a")], {"z": "a", "*": "b"})
    assert [(model.name, model.served_as, model.aliases) for model in await catalog.models()] == [
        ("b", "b", ()),
        ("a", "a", ("z",)),
    ]


async def test_an_unknown_model_is_told_which_there_are() -> None:
    catalog = ModelCatalog([spec("pocket")], {"small": "pocket"})
    with pytest.raises(ModelNotFound) as refused:
        await catalog.find("gpt-4o")
    assert refused.value.param == "model"
    assert refused.value.code == "model_not_available"
    assert refused.value.message == "Unable to access model gpt-4o. There are: pocket, small."


async def test_the_error_for_an_unknown_model_has_bounds() -> None:
    catalog = ModelCatalog([spec(f"model-{i}") for i in range(NAMES_TOLD + 3)])
    with pytest.raises(ModelNotFound) as refused:
        await catalog.find("x" * 100_000)
    assert f"model-{NAMES_TOLD - 1} and 3 more." in refused.value.message
    assert len(refused.value.message) < 1000


async def test_a_model_brings_its_fallbacks() -> None:
    catalog = ModelCatalog([spec("a"), spec("b")], {"small": "a"}, fallbacks={"small": ["b"]})
    model = await catalog.find("small")
    assert [(each.name, each.served_as) for each in model.fallbacks] == [("b", "b")]
    assert model.fallbacks[0].engine is (await catalog.find("b")).engine
    assert (await catalog.find("b")).fallbacks == ()
    await catalog.close()


AUTO, QUARTER = WindowSettings(mode="auto"), WindowSettings(keep=0.25)


async def test_how_windows_are_chosen_for_a_model() -> None:
    catalog = ModelCatalog(
        [spec("a", window=WindowSettings(mode="strict", size=64)), spec("b"), spec("c")],
        {"small": "a"},
        fallbacks={"b": ["small"]},
        windows={"small": AUTO},
    )
    expected = WindowSettings(mode="auto", size=64)
    assert (await catalog.find("a")).window == (await catalog.find("small")).window == expected
    assert (await catalog.find("b")).window == WindowSettings()
    assert [model.window for model in (await catalog.find("b")).fallbacks] == [expected]
    assert {model.name: model.window for model in await catalog.models()} == {
        "a": expected,
        "b": WindowSettings(),
        "c": WindowSettings(),
    }
    await catalog.close()


async def test_what_a_model_is_for_and_how_much_of_it_is_loaded() -> None:
    loaded = [0.25]
    catalog = ModelCatalog([spec("a", kind="embedding", loading=lambda: loaded[0]), spec("b")])
    assert [(model.kind, model.loading) for model in await catalog.models()] == [
        ("embedding", 0.25),
        ("chat", None),
    ]
    loaded[0] = 0.5
    assert (await catalog.find("a")).loading == 0.5
    await catalog.close()


class Restarting(ScriptedEngine):
    async def context_size(self, model: str) -> int | None:
        raise EngineUnavailable("restarting")


async def test_a_model_that_is_restarting_is_listed_and_found_all_the_same() -> None:
    catalog = ModelCatalog([ModelSpec(name="pocket", engine=Restarting(), context_size=7)])
    assert [(model.name, model.context_size) for model in await catalog.models()] == [("pocket", 7)]
    assert (await catalog.find("pocket")).name == "pocket"


class Closing(ScriptedEngine):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.closed = 0
        self.error = error

    async def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


async def test_every_engine_is_closed_once() -> None:
    shared, bad, last = Closing(), Closing(OSError("busy")), Closing()
    engines = {"a": shared, "b": shared, "c": bad, "d": last}
    catalog = ModelCatalog([ModelSpec(name=name, engine=engine) for name, engine in engines.items()])
    await catalog.close()
    assert [engine.closed for engine in (shared, bad, last)] == [1, 1, 1]


# Upstreams


@pytest.fixture
async def catalog(server: FakeUpstream) -> AsyncIterator[ModelCatalog]:
    server.models = [{"id": "wordy", "context_length": CONTEXT}, {"id": "meta/llama"}, {"id": "qwen:latest"}]
    here = [spec("pocket")]
    aliases = {"big": "house/wordy", "*": "pocket"}
    catalog = ModelCatalog(here, aliases, [UpstreamEngine("house", server.url)])
    yield catalog
    await catalog.close()


async def test_an_upstreams_models(catalog: ModelCatalog) -> None:
    assert [
        (model.name, model.served_as, model.aliases, model.context_size) for model in await catalog.models()
    ] == [
        ("pocket", "pocket", (), 100),
        ("house/wordy", "wordy", ("big",), CONTEXT),
        ("house/meta/llama", "meta/llama", (), None),
        ("house/qwen:latest", "qwen:latest", (), None),
    ]


@pytest.mark.parametrize(
    ("name", "found", "served_as"),
    [
        ("house/wordy", "house/wordy", "wordy"),
        ("big", "house/wordy", "wordy"),
        ("house/meta/llama", "house/meta/llama", "meta/llama"),
        ("house/qwen", "house/qwen", "qwen"),
        ("elsewhere/wordy", "pocket", "pocket"),
    ],
)
async def test_a_model_of_an_upstream_is_found(
    catalog: ModelCatalog, name: str, found: str, served_as: str
) -> None:
    model = await catalog.find(name)
    assert (model.name, model.served_as) == (found, served_as)
    assert text_of(await collect(model.engine, window("Hi"), Options(model=model.served_as)))


async def test_a_model_that_the_upstream_does_not_list(catalog: ModelCatalog) -> None:
    with pytest.raises(ModelNotFound) as refused:
        await catalog.find("house/nothing")
    assert refused.value.message == (
        "Unable to access model house/nothing. There are: house/wordy, house/meta/llama, house/qwen:latest."
    )


async def test_an_upstreams_model_for_embeddings_is_one(server: FakeUpstream, catalog: ModelCatalog) -> None:
    server.models = [{"id": "e5", "type": "embedding"}, {"id": "wordy", "type": "chat"}]
    assert [model.kind for model in await catalog.models()] == ["chat", "embedding", "chat"]
    assert (await catalog.find("house/e5")).kind == "embedding"


async def test_a_fallback_at_an_upstream_is_not_asked_for(server: FakeUpstream) -> None:
    catalog = ModelCatalog(
        [spec("a")], upstreams=[UpstreamEngine("house", server.url)], fallbacks={"a": ["house/nothing"]}
    )
    assert [each.name for each in (await catalog.find("a")).fallbacks] == ["house/nothing"]
    assert server.asked == [], "it costs nothing until it is needed"
    await catalog.close()


async def test_how_windows_are_chosen_for_an_upstreams_model(server: FakeUpstream) -> None:
    server.models = [{"id": "wordy"}, {"id": "other"}]
    catalog = ModelCatalog(
        [spec("a")],
        {"big": "house/wordy"},
        [UpstreamEngine("house", server.url)],
        {"a": ["house/wordy"]},
        {"big": AUTO, "house/other": QUARTER},
    )
    assert (await catalog.find("house/wordy")).window == (await catalog.find("big")).window == AUTO
    assert [model.window for model in (await catalog.find("a")).fallbacks] == [AUTO]
    assert [model.window for model in await catalog.models()] == [WindowSettings(), AUTO, QUARTER]
    await catalog.close()


async def test_verifying_asks_the_upstream(server: FakeUpstream, catalog: ModelCatalog) -> None:
    await catalog.verify("big")
    with pytest.raises(ModelNotFound, match="house/nothing"):
        await catalog.verify("house/nothing")
    server.models = None
    with pytest.raises(EngineError):
        await catalog.verify("big")


async def test_a_model_that_the_upstream_has_only_now(
    server: FakeUpstream, catalog: ModelCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palaver.engines.catalog.catalog.RECHECK_AGE", 0.0)
    await catalog.find("house/wordy")
    server.models = [{"id": "new"}]
    assert (await catalog.find("house/new")).served_as == "new"


async def test_the_list_is_not_asked_for_with_every_turn(server: FakeUpstream, catalog: ModelCatalog) -> None:
    for _ in range(5):
        await catalog.find("house/wordy")
    assert server.asked.count("GET /v1/models") <= 2  # the list, and the context


async def test_models_are_listed_as_they_are_now(server: FakeUpstream, catalog: ModelCatalog) -> None:
    await catalog.models()
    server.models = [{"id": "new"}]
    assert [model.name for model in await catalog.models()] == ["pocket", "house/new"]


async def test_an_upstream_without_a_list_says_itself_what_it_has(
    server: FakeUpstream, catalog: ModelCatalog
) -> None:
    server.models = None
    assert (await catalog.find("house/anything")).served_as == "anything"
    assert [model.name for model in await catalog.models()] == ["pocket"]


async def test_an_upstream_that_is_not_there() -> None:
    async with fake_upstream() as gone:
        url = gone.url
    catalog = ModelCatalog([spec("pocket")], upstreams=[UpstreamEngine("house", url)])
    assert [model.name for model in await catalog.models()] == ["pocket"]
    assert (await catalog.find("house/wordy")).served_as == "wordy"  # it may be back for the turn
    with pytest.raises(ModelNotFound, match=r"There are: pocket\."):
        await catalog.find("gpt-4o")
    await catalog.close()


async def test_an_upstream_that_says_nothing(server: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.engines.catalog.catalog.LIST_SECONDS", 0.1)
    server.behaviour = "slow"
    async with fake_upstream() as other:
        catalog = ModelCatalog(
            [], upstreams=[UpstreamEngine("mute", server.url), UpstreamEngine("house", other.url)]
        )
        assert [model.name for model in await catalog.models()] == ["house/wordy"]
        await catalog.close()
