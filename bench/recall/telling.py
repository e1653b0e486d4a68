"""The figures as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.recall.measuring import Figure, Found
from bench.tables import table


def told(found: Found) -> str:
    plan = found.plan
    said = (
        f"{plan.dialogues} dialogues with {found.messages:,} messages (seed {plan.seed}), each asked "
        f"{plan.facts} questions: {found.questions:,} in all.\nRecall is in percent, ±{found.margin:.1f}. "
        f"Of the evidence {found.matching:.0f} % has any word of its question but stop words; the\n"
        "mean rank is of this part. The last columns have recall@10 by how the fact was told."
    )
    tables = [
        _table("Ranking, step by step", found.steps),
        _table("Other values, all else as it is", found.sweeps),
        _table("Other blends", found.blends),
    ]
    return "\n\n".join([said, *(each for each in tables if each)])


def _table(title: str, figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    header = ("", "recall@3", "recall@10", "mean rank", *figures[0].by_way)
    rows = [
        (
            each.step.name,
            *(f"{value:.1f}" for value in (each.at_3, each.at_10, each.rank, *each.by_way.values())),
        )
        for each in figures
    ]
    return table(title, header, rows)
