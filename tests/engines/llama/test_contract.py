"""The contract of all engines, kept by this one: with the bundled model, with one that has tools, and with one that
makes vectors."""

import msgspec
import pytest

from palaver.core.parameters import Parameters
from palaver.engines.base import Engine, Options
from palaver.engines.llama import LlamaEngine
from tests.engines.contract import EngineContract, collect, finish_of, window
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.templates import HERMES


class TestLlama(EngineContract):
    @pytest.fixture
    def options(self) -> Options:
        return Options(model="pocket", parameters=Parameters(temperature=0.0, max_tokens=80))


class TestLlamaWithTools(EngineContract):
    """Its weights are random, so what it says where it is free to is noise, the same for the same prompt."""

    @pytest.fixture
    def engine(self, make_engine: MakeEngine, model_of: ModelOf) -> LlamaEngine:
        return make_engine(model_of(HERMES), context=2048)

    @pytest.fixture
    def options(self) -> Options:
        return Options(model="hermes", parameters=Parameters(temperature=0.0, max_tokens=40))

    async def test_a_cut_reply_goes_on(self, engine: Engine, options: Options) -> None:
        """Noise has other tokens when it is read again, so only where it goes on can be seen."""
        parameters = msgspec.structs.replace(options.parameters, echo=True)
        cut = msgspec.structs.replace(options, parameters=parameters, prefill=True)
        finish = finish_of(await collect(engine, window(self.QUESTION, "The castle"), cut))
        assert (finish.prompt or "").endswith("<|im_start|>assistant\nThe castle")
