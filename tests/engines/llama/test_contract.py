"""The contract of all engines, kept by this one."""

import pytest

from palaver.core.turn import Sampling
from palaver.engines.base import Options
from tests.engines.contract import EngineContract


class TestLlama(EngineContract):
    @pytest.fixture
    def options(self) -> Options:
        return Options(model="pocket", sampling=Sampling(temperature=0.0, max_tokens=80))
