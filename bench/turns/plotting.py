"""The figures as a drawing. Needs the package `matplotlib` (the extra `bench`)."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from bench.drawing import DASHES, GREY, drawing, thinned
from bench.turns.figures import Run

COLOURS = {"sliding": "#b3261e", "keep 75 %": "#c77700", "keep 50 %": "#1b6e3c", "keep 25 %": "#2457a6"}
MODELS = {"pocket": "with pocket, the bundled model", "scripted": "on the scripted engine"}
CLOSELY = 200
"""So many turns are shown one by one."""


def draw(run: Run, path: Path) -> None:
    """Draw one model's figures into a file, by its suffix."""
    plan = run.found.plan
    title = f"{plan.turns:,} turns {MODELS[plan.model]}, in a window of {plan.size:,} tokens"
    with drawing(path, title) as (left, right):
        _cumulative(left, run)
        _by_turn(right, run)


def _cumulative(axes: Axes, run: Run) -> None:
    """All ways, each with its end named, and what the formula says of those that it is about."""
    for played, cost in zip(run.played, run.found.costs, strict=True):
        colour = COLOURS[cost.way]
        sums = list(accumulate(turn.prefilled for turn in played.turns))
        xs = thinned(len(sums))
        axes.plot([x + 1 for x in xs], [sums[x] for x in xs], color=colour, linewidth=1.6)
        name = f"{cost.way}: {sums[-1]:,}"
        axes.annotate(
            name, (len(sums), sums[-1]), (6, 0), textcoords="offset points", color=colour, va="center"
        )
        if cost.formula is not None:
            ys = [cost.formula * (x + 1) / cost.turns for x in xs]
            axes.plot([x + 1 for x in xs], ys, color=colour, linestyle=DASHES, linewidth=0.9)
    axes.plot([], [], color=GREY, linestyle=DASHES, linewidth=0.9, label="formula: u + m·X/(1−X) a turn")
    axes.set(title="Prefilled tokens in all", xlabel="turn", ylabel="tokens", yscale="log")
    axes.set_xlim(0, len(run.played[0].turns))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="lower right")
    axes.grid(True, color="#dddddd", linewidth=0.6)


def _by_turn(axes: Axes, run: Run) -> None:
    """The first turns of palaver's own way one by one, beside the means of it and of a sliding window."""
    turns, ours, sliding = run.played[0].turns[:CLOSELY], run.found.costs[0], run.found.costs[-1]
    ys = [turn.prefilled for turn in turns]
    axes.plot(range(1, len(ys) + 1), ys, color=COLOURS[ours.way], linewidth=1)
    for cost in (sliding, ours):
        label = f"{cost.way}, on average: {cost.a_turn:,.0f}"
        axes.axhline(cost.a_turn, color=COLOURS[cost.way], linewidth=0.9, linestyle=DASHES, label=label)
    axes.set(title=f"Each turn of {ours.way}, the first {len(ys)}", xlabel="turn", ylabel="tokens")
    axes.set_xlim(0, len(ys))
    axes.set_ylim(0, max(sliding.a_turn, *ys) * 1.3)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper left", frameon=True, framealpha=1, edgecolor="white")
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.6)
