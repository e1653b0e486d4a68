"""The figures as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.tables import Cell, table
from bench.warm.crowd import Crowd
from bench.warm.figures import Results
from bench.warm.others import Others
from bench.warm.restart import Restart
from bench.warm.turns import LIMIT, Long

RESTART = (
    "",
    "prefilled",
    "TTFT ms",
    "cold prefilled",
    "TTFT ms",
    "over cold",
    "same tokens",
    "verified ms",
    "restored ms",
)
TURNS = (
    "way",
    "turns",
    "own",
    "prefilled",
    "over own",
    "ahead",
    "all over formula",
    "formula",
    "epochs while somebody waits",
    "prepared",
)
CROWD = (
    "conversations",
    "turns",
    "system",
    "slots",
    "snapshots",
    "new",
    "prefilled",
    "over new",
    "reused",
    "perfect",
    "ahead",
    "saved",
    "restored",
    "seconds",
)


def told(results: Results) -> str:
    parts: list[str] = []
    if results.restart is not None:
        parts.append(_restart(results.restart, results.model))
    if results.turns:
        parts.append(_turns(results.turns, results.model, results.plan.size))
        parts.append(_pauses([each for each in results.turns if each.pauses]))
        parts.append(_beside(results.turns))
    if results.crowd:
        parts.append(_crowd(results.crowd, results.model))
    if results.others is not None:
        parts.append(_others(results.others, results.random))
    return "\n\n\n".join(parts)


def _restart(found: Restart, model: str) -> str:
    rows: list[Sequence[Cell]] = [
        (
            f"lap {number}",
            lap.prefilled,
            _ms(lap.ttft),
            f"{lap.cold_prefilled:,}",
            _ms(lap.cold_ttft),
            f"{lap.over_cold:.3f}",
            f"{lap.alike} of {lap.reply}",
            _ms(lap.verify),
            _ms(lap.restore),
        )
        for number, lap in enumerate(found.laps, 1)
    ]
    return "\n".join(
        [
            table(
                f"The next turn after a restart, beside the same prompt without snapshots: {model}",
                RESTART,
                rows,
            ),
            f"A prompt of {found.prompt:,} tokens, {found.own} of them the turn's own. Prefilled were at most "
            f"{found.most_prefilled}; the limit is own and a batch of {found.block}: "
            f"{'kept' if found.is_within else 'NOT KEPT'}.",
            f"To the first token it takes {found.over_cold:.3f} times as long as cold (median).",
            f"Greedy replies, token by token: {'the same' if found.is_alike else 'NOT THE SAME'}.",
            f"Snapshots before the restart: {found.snapshots}, {found.bytes / 1e6:.1f} MB on disk; saved in "
            f"{_ms(found.save)} ms, written in {_ms(found.write)} ms.",
        ]
    )


def _turns(found: Sequence[Long], model: str, size: int) -> str:
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            f"{len(each.turns):,}",
            f"{each.own:.1f}",
            f"{each.prefilled / len(each.turns):.1f}",
            f"{each.over_own:.3f}",
            f"{each.ahead / len(each.turns):.1f}",
            f"{each.over_formula:.3f}",
            f"{each.formula:.1f}",
            _reasons(each),
            each.prepared,
        )
        for each in found
    ]
    title = (
        f"One conversation in a window of {size:,} tokens: {model}. Tokens a turn: its own, prefilled while somebody "
        "waits,\nprefilled ahead of it while nobody does, and what the formula u + m·X/(1−X) says of both"
    )
    return table(title, TURNS, rows)


def _reasons(found: Long) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(found.epochs.items())) or "none"


def _pauses(found: Sequence[Long]) -> str:
    header = ("way", "median ms", "longest ms", "a full window ms", "longest over that")
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            _ms(statistics.median(each.pauses)),
            _ms(max(each.pauses)),
            _ms(each.window),
            f"{max(each.pauses) / each.window:.2f}",
        )
        for each in found
    ]
    title = (
        "The pause that a turn needs after it, and how long a full window is prefilled while somebody waits"
    )
    return table(title, header, rows)


def _beside(found: Sequence[Long]) -> str:
    header = ("turns", "how many", "TTFT ms", "fresh ms", "over fresh", "prefilled", "fresh")
    rows: list[Sequence[Cell]] = [
        (
            f"{long.way}, {name}",
            len(each.ttft),
            _ms(statistics.median(each.ttft)),
            _ms(statistics.median(each.fresh)),
            f"{each.over_fresh:.3f}",
            f"{each.prefilled:,}",
            f"{each.fresh_prefilled:,}",
        )
        for long in found
        for name, each in long.beside.items()
    ]
    title = f"To the first token, beside fresh conversations with the same prompts (medians; the limit is {LIMIT})"
    return table(title, header, rows)


def _crowd(found: Sequence[Crowd], model: str) -> str:
    rows: list[Sequence[Cell]] = [
        (
            str(each.conversations),
            each.turns,
            f"{each.system:,}",
            each.slots,
            "kept" if each.kept else "none",
            f"{each.new:,}",
            f"{each.prefilled:,}",
            f"{each.over_new:.3f}",
            f"{each.reused:.1%}",
            f"{each.perfect:.1%}",
            f"{each.ahead:,}",
            each.saved,
            each.restored,
            f"{each.seconds:.1f}",
        )
        for each in found
    ]
    title = (
        f"Conversations of one owner in turn, each as soon as the one before has its reply: {model}.\n"
        "In tokens; reused is a share of the prompts, perfect that of a cache which forgets nothing, without work ahead"
    )
    return table(title, CROWD, rows)


def _others(found: Others, model: str) -> str:
    header = ("prefilled", "stream's longest gap ms", "short question TTFT ms", "long prompt TTFT ms")
    rows: list[Sequence[Cell]] = [
        (
            name,
            _ms(found.of(lambda met: met.gap, pieces=pieces)),
            _ms(found.of(lambda met: met.short, pieces=pieces)),
            _ms(found.of(lambda met: met.long, pieces=pieces)),
        )
        for name, pieces in (("all at once", False), ("in pieces", True))
    ]
    ratios = (lambda met: met.gap, lambda met: met.short, lambda met: met.long)
    rows.append(("at once over pieces", *(f"{found.over(read):.2f}" for read in ratios)))
    rows.append(("without the long prompt", _ms(found.usual_gap), _ms(found.usual_short), ""))
    title = f"A prompt of {found.tokens:,} tokens comes beside a stream, and then a short question: {model}"
    return table(title, header, rows)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}" if seconds < 1 else f"{seconds * 1000:,.0f}"
