"""The figures as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.search.figures import KINDS, Results, Spread
from bench.tables import Cell, table


def told(results: Results) -> str:
    plan = results.plan
    return "\n\n".join(
        [
            f"Python {results.python}, SQLite {results.sqlite}, {results.cores} cores, load {results.load[0]:.1f} "
            "after.\n"
            f"{plan.laps} searches of each kind, while {plan.rate:.0f} turns a second are written.\n"
            "All times are in ms: median / p99.",
            _searches(results),
            _writes(results),
            _sizes(results),
        ]
    )


def _searches(results: Results) -> str:
    rows: list[Sequence[Cell]] = [
        (f"{each.messages:,}", *(_both(each.searches[kind]) for kind in KINDS)) for each in results.sizes
    ]
    return table("A page of hits", ("messages", *KINDS), rows)


def _writes(results: Results) -> str:
    rows: list[Sequence[Cell]] = [
        (f"{each.messages:,}", _both(each.write), _both(each.write_beside)) for each in results.sizes
    ]
    return table("Write a turn", ("messages", "without searches", "while searched"), rows)


def _sizes(results: Results) -> str:
    rows: list[Sequence[Cell]] = [
        (f"{each.messages:,}", each.text, each.terms, each.copy, each.filled) for each in results.sizes
    ]
    header = ("messages", "what it says", "words in the index", "the index's copy", "filled in s")
    return table("Bytes a message", header, rows)


def _both(spread: Spread) -> str:
    return f"{spread.median:.1f} / {spread.p99:.1f}"
