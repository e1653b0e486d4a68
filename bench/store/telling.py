"""The figures as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.store.figures import Appended, PeerFigures, Results
from bench.store.measuring import Measured
from bench.tables import Cell, table

DEAREST = 6
PHASES = ("parse", "keys", "ask", "answer", "commits", "prompt")


def told(results: Results) -> str:
    return "\n\n".join(
        [
            _machine(results),
            _appends("Append a turn at the head, and read no prompt", results.kept),
            _appends("Append a turn: its question at the head, then its reply", results.head),
            _queries(results),
            _appends("Append a turn whose client resends its history", results.resent),
            _reads(results.reads),
            *_peers(results),
        ]
    )


def _machine(results: Results) -> str:
    before, after = results.sync_before, results.sync_after
    return (
        f"Python {results.python}, SQLite {results.sqlite} ({results.durability}), {results.cores} cores, load "
        f"{results.load_before[0]:.1f} before and {results.load_after[0]:.1f} after.\n"
        f"4 kB appended to a file and synced: {before.median:.2f} ms before (p95 {before.p95:.2f}), "
        f"{after.median:.2f} ms after (p95 {after.p95:.2f}).\nAll times are medians in ms."
    )


def _appends(title: str, found: list[Appended]) -> str:
    header = ("messages", "beside", "turn", "p95", "without prompt", "over first", "least", "over least")
    rows: list[Sequence[Cell]] = [
        (
            f"{each.size:,}",
            f"{each.others:,}",
            each.turn.median,
            each.turn.p95,
            each.unread.median,
            each.over_few,
            each.least.median,
            each.over_least,
            each.all_rows.median,
            each.over_all_rows,
            each.turn.times,
        )
        for each in found
    ]
    split: list[Sequence[Cell]] = [
        (f"{each.size:,}", f"{each.others:,}", *(each.phases.get(phase, 0.0) for phase in PHASES))
        for each in found
    ]
    return (
        table(title, (*header, "all rows", "over all rows", "times"), rows)
        + "\n\n"
        + table("  of which", ("messages", "beside", *PHASES), split)
    )


def _queries(results: Results) -> str:
    rows: list[Sequence[Cell]] = [
        (
            f"{size:,}",
            sum(found.values()),
            ", ".join(f"{name} {found[name]:.0f}" for name in list(found)[:DEAREST]),
        )
        for size, found in results.queries.items()
    ]
    return table("Queries of such a turn, in µs: all, and the dearest", ("messages", "all", "dearest"), rows)


def _reads(found: dict[str, Measured]) -> str:
    rows: list[Sequence[Cell]] = [(name, each.median, each.p95, each.times) for name, each in found.items()]
    return table("Read", ("what", "median", "p95", "times"), rows)


def _peers(results: Results) -> list[str]:
    sizes = results.plan.peers
    header = ("", *(f"{size:,}" for size in sizes), "transactions", "durability")
    append: list[Sequence[Cell]] = [
        (each.name, *(each.append[size].median for size in sizes), each.commits, each.durability)
        for each in results.peers
    ]
    read: list[Sequence[Cell]] = [
        (each.name, *(each.read[size].median for size in sizes), each.page.median, _megabytes(each))
        for each in results.peers
    ]
    disk = f"{results.plan.turns:,} turns, MB"
    return [
        table("Others: append a turn, without reading its prompt", header, append),
        table("Others: read all messages", (*header[: len(sizes) + 1], "last 20 of the most", disk), read),
    ]


def _megabytes(figures: PeerFigures) -> float:
    return figures.bytes / 1e6
