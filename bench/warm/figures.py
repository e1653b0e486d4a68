"""All figures of a run."""

from __future__ import annotations

import msgspec

from bench.warm.crowd import Crowd
from bench.warm.others import Others
from bench.warm.plan import Plan
from bench.warm.restart import Restart
from bench.warm.turns import Long


class Results(msgspec.Struct, kw_only=True):
    """What was measured, section by section; `model` is what the first three are about, `random` what the last is."""

    plan: Plan
    model: str
    random: str = ""
    restart: Restart | None = None
    turns: list[Long] = []
    crowd: list[Crowd] = []
    others: Others | None = None

    @property
    def holds(self) -> bool:
        """Whether a reply after a restart is the one that there would have been, and costs no more than it may."""
        return self.restart is None or (self.restart.is_alike and self.restart.is_within)
