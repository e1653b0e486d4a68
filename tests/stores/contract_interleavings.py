"""The contract: in whatever order turns are asked, begin, end and die, nothing is lost and nothing is twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.stores.contract_base import Part
from tests.stores.interleaved import Step, play, steps

UNHURRIED = [HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large]


class Interleavings(Part):
    @settings(max_examples=25, suppress_health_check=UNHURRIED)
    @given(steps)
    def test_any_order_of_things(self, script: list[Step]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            play(Path(folder), script, self.opened, self.tables)

    @pytest.mark.slow
    @settings(max_examples=500, suppress_health_check=UNHURRIED)
    @given(steps)
    def test_many_orders_of_things(self, script: list[Step]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            play(Path(folder), script, self.opened, self.tables)
