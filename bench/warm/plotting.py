"""The figures as a drawing. Needs the package `matplotlib` (the extra `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from bench.drawing import DASHES, GREY, drawing, thinned
from bench.warm.crowd import Crowd
from bench.warm.figures import Results
from bench.warm.turns import Long

COLOURS = {"with pauses": "#1b6e3c", "at once": "#2457a6"}
KEPT, NONE = "#1b6e3c", "#b3261e"
BAR = 0.38


def draw(results: Results, path: Path) -> None:
    """Draw the turns and the crowd into a file, by its suffix."""
    with drawing(path, f"What {results.model} prefills while somebody waits") as (left, right):
        _waited_for(left, results.turns)
        _over_new(right, results.crowd)


def _waited_for(axes: Axes, found: Sequence[Long]) -> None:
    """Tokens of a long conversation, added up, between what is new and what the formula says."""
    turns = len(found[0].turns)
    xs = thinned(turns)
    for each in found:
        colour = COLOURS[each.way]
        sums = list(accumulate(turn.prefilled for turn in each.turns))
        axes.plot([x + 1 for x in xs], [sums[x] for x in xs], color=colour, linewidth=1.6)
        _name(axes, turns, sums[-1], each.way, colour)
    first = found[0]
    new = list(accumulate(turn.own for turn in first.turns))
    axes.plot([x + 1 for x in xs], [new[x] for x in xs], color=GREY, linewidth=0.9, label="new tokens")
    axes.plot(
        [x + 1 for x in xs],
        [first.formula * (x + 1) for x in xs],
        color=GREY,
        linestyle=DASHES,
        linewidth=0.9,
        label="formula: u + m·X/(1−X) a turn",
    )
    axes.set(title=f"One conversation of {turns:,} turns", xlabel="turn", ylabel="tokens")
    axes.set_xlim(0, turns)
    axes.set_ylim(0, None)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper left")
    axes.grid(True, color="#dddddd", linewidth=0.6)


def _name(axes: Axes, turns: int, tokens: int, way: str, colour: str) -> None:
    axes.annotate(
        f"{way}: {tokens:,}", (turns, tokens), (6, 0), textcoords="offset points", color=colour, va="center"
    )


def _over_new(axes: Axes, found: Sequence[Crowd]) -> None:
    """Prefilled over new tokens, with snapshots and without, for each crowd."""
    kept, none = ([each for each in found if each.kept is keeps] for keeps in (True, False))
    for side, (crowds, colour, label) in enumerate(((kept, KEPT, "with snapshots"), (none, NONE, "without"))):
        places = [number + (side - 0.5) * BAR for number in range(len(crowds))]
        bars = axes.barh(places, [each.over_new for each in crowds], BAR, color=colour, label=label)
        axes.bar_label(bars, fmt="{:.2f}", padding=3, color=colour)
    axes.axvline(1, color=GREY, linestyle=DASHES, linewidth=0.9)
    axes.set(title="Prefilled over new tokens", xlim=(0, max(each.over_new for each in found) * 1.15))
    axes.set_yticks(range(len(kept)), [_called(each) for each in kept])
    axes.invert_yaxis()
    axes.legend(loc="right")


def _called(crowd: Crowd) -> str:
    shared = f"\nwith {crowd.system:,} tokens in common" if crowd.system else ""
    return f"{crowd.conversations} conversations\non {crowd.slots} slots{shared}"
