"""Tables of figures as text."""

from __future__ import annotations

from collections.abc import Sequence

Cell = str | int | float


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Left the first column, right the others, the last one as it is where it is text."""
    cells = [list(header), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _cell(cell: Cell) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
