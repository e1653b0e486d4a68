"""The catalog asks engines what they hold, and has them forget it."""

from __future__ import annotations

import pytest

from palaver.core.errors import EngineError, EngineUnavailable, ModelNotFound
from palaver.engines.base import Catalog
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.upstream.engine import UpstreamEngine
from tests.engines.fake_upstream import FakeUpstream
from tests.holding import Holds, held, in_slot


class Holding(Holds, ScriptedEngine):
    pass


def holding(conversation: str) -> Holding:
    engine = Holding()
    engine.hold(in_slot("ann", conversation), held("ann", conversation), held("bob", "conv_b"))
    return engine


def catalog_of(**engines: ScriptedEngine) -> ModelCatalog:
    return ModelCatalog(
        [ModelSpec(name=name, engine=engine) for name, engine in engines.items()], {"small": "a"}
    )


async def test_what_engines_hold_stands_under_the_names_of_their_models() -> None:
    first, other = holding("conv_1"), holding("conv_2")
    catalog: Catalog = catalog_of(a=first, again=first, b=other, c=ScriptedEngine())
    caches = await catalog.kv_caches()
    assert list(caches) == ["a", "b"], (
        "one that is shared is asked once, and one that does not know is left out"
    )
    assert (caches["a"], caches["b"]) == (first.cache, other.cache)
    await catalog.close()


async def test_one_that_fails_to_say_keeps_the_others_from_nothing() -> None:
    broken, other = holding("conv_1"), holding("conv_2")
    broken.failure = EngineUnavailable("restarting")
    catalog = catalog_of(a=broken, b=other)
    assert list(await catalog.kv_caches()) == ["b"]
    broken.failure = OSError("a bug")
    with pytest.raises(OSError, match="a bug"):
        await catalog.kv_caches()
    await catalog.close()


async def test_every_engine_forgets_once() -> None:
    first, other = holding("conv_1"), holding("conv_2")
    catalog = catalog_of(a=first, again=first, b=other, c=ScriptedEngine())
    assert await catalog.forget("ann", "conv_1") == 2
    assert first.forgotten == other.forgotten == [("ann", "conv_1")]
    assert await catalog.forget("ann") == 2
    assert await catalog.forget() == 2
    assert first.forgotten[1:] == other.forgotten[1:] == [("ann", None), (None, None)]
    assert await catalog.forget() == 0
    await catalog.close()


@pytest.mark.parametrize("name", ["a", "small"])
async def test_only_a_models_own_engine_forgets(name: str) -> None:
    first, other = holding("conv_1"), holding("conv_2")
    catalog = catalog_of(a=first, b=other)
    assert await catalog.forget("ann", model=name) == 2
    assert (first.forgotten, other.forgotten) == ([("ann", None)], [])
    with pytest.raises(ModelNotFound):
        await catalog.forget(model="nobody")
    assert (len(first.forgotten), other.forgotten) == (1, [])
    await catalog.close()


async def test_one_that_cannot_forget_is_told_when_the_others_have() -> None:
    broken, other = holding("conv_1"), holding("conv_2")
    broken.failure = EngineUnavailable("restarting")
    catalog = catalog_of(a=broken, b=other)
    with pytest.raises(EngineError, match="restarting"):
        await catalog.forget("ann")
    assert other.forgotten == [("ann", None)]
    await catalog.close()


async def test_an_upstream_of_the_same_name_as_a_model_is_another_engine(server: FakeUpstream) -> None:
    engine = holding("conv_1")
    catalog = ModelCatalog(
        [ModelSpec(name="house", engine=engine)], upstreams=[UpstreamEngine("house", server.url)]
    )
    assert await catalog.kv_caches() == {"house": engine.cache}
    assert await catalog.forget() == 3
    assert server.asked == []
    await catalog.close()
