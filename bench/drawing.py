"""What all drawings of figures have in common. Needs the package `matplotlib` (the extra `bench`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise SystemExit(
        f"{error}: run `.venv/bin/pip install -c constraints.txt -e '.[bench]'` first"
    ) from error

GREY = "#666666"
DASHES = (0, (4, 3))
POINTS = 250
"""As many points has a line: more cannot be seen, and make a large file."""


@contextmanager
def drawing(path: Path, title: str) -> Iterator[tuple[Axes, Axes]]:
    """Two drawings side by side, written into a file at the end of the block, by its suffix."""
    style = matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "palaver",  # else every drawing has other ids, and differs from the one before
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
        }
    )
    with style:
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(5, 4))
        yield left, right
        figure.suptitle(title, fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def thinned(count: int) -> list[int]:
    """The places of so many points that are drawn."""
    return sorted({round(i * (count - 1) / (POINTS - 1)) for i in range(POINTS)})
