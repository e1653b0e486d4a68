"""The figures as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.tables import Cell, table
from bench.turns.figures import CACHED, Cost, Found, Resent

MEASURED = {
    "pocket": "The real engine with the bundled model; slots: {slots}. Prefilled is what its worker computed of a "
    "prompt.",
    "scripted": "The engine without a model. It has no cache: prefilled is what would not be found in a perfect one, "
    "message by message.",
}


def told(found: Found) -> str:
    plan, costs = found.plan, found.costs
    head = (
        f"{plan.model}: {plan.turns:,} turns, prompt and reply in {plan.size:,} tokens, replies of at most "
        f"{plan.reply}\n{MEASURED[plan.model].format(slots=plan.slots)}"
    )
    return "\n\n".join(
        [head, _prefill(costs), _epochs(costs), _formula(costs), _prices(costs), _resent(found.resent)]
    )


def _prefill(costs: Sequence[Cost]) -> str:
    header = ("way", "in all", "a turn", "median", "p99", "most", "of prompts", "sliding over it", "seconds")
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            f"{each.prefilled:,}",
            f"{each.a_turn:,.1f}",
            f"{each.median:,.0f}",
            f"{each.p99:,}",
            f"{each.most:,}",
            f"{each.prefilled / each.prompt:.1%}",
            f"{costs[-1].prefilled / each.prefilled:.2f}",
            f"{each.seconds:.0f}",
        )
        for each in costs
    ]
    return table("Prefilled tokens", header, rows)


def _epochs(costs: Sequence[Cost]) -> str:
    header = ("way", "epochs", "their first prompt, of the room", "reasons")
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            sum(each.epochs.values()),
            "" if each.after_epoch is None else f"{each.after_epoch:.1%}",
            ", ".join(f"{reason} {count}" for reason, count in sorted(each.epochs.items())),
        )
        for each in costs[:-1]
    ]
    return table("Epochs", header, rows)


def _formula(costs: Sequence[Cost]) -> str:
    header = ("way", "u", "m", "formula", "over it", "replies again", "turns", "their last", "over all")
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            f"{each.own:.1f}",
            f"{each.exchange:.1f}",
            f"{each.formula / each.turns:.1f}",
            f"{each.over_formula:.3f}",
            f"{each.again:,}",
            f"{each.again_turns:,}",
            f"{each.cut:,}",
            f"{each.over_all:.3f}",
        )
        for each in costs
        if each.formula is not None
    ]
    title = (
        "Over the formula u + m·X/(1−X) (u a turn's own tokens, m those of an exchange, X the share kept), and over "
        "all:\nwith tokens of replies that came out as others when they were read again, and the last ones of "
        "replies that were cut off"
    )
    return table(title, header, rows)


def _prices(costs: Sequence[Cost]) -> str:
    names = [f"1/{round(1 / price)}" for price in CACHED]
    header = ("a cached token at", *(cell for name in names for cell in (name, "sliding over it")))
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            *(
                cell
                for units, sliding in zip(each.units, costs[-1].units, strict=True)
                for cell in (f"{units:,.0f}", f"{sliding / units:.2f}")
            ),
        )
        for each in costs
    ]
    return table("The price of all prompts, in tokens that are not cached", header, rows)


def _resent(found: Sequence[Resent]) -> str:
    header = ("client", "turns", "same prompts", "first other", "windows", "at head", "prefilled", "at head")
    rows: list[Sequence[Cell]] = [
        (
            each.way,
            f"{each.turns:,}",
            f"{each.alike:,}",
            "" if each.apart is None else each.apart,
            len(each.began),
            len(each.began_at_head),
            f"{each.prefilled:,}",
            f"{each.prefilled_at_head:,}",
        )
        for each in found
    ]
    return table(
        "The same questions from clients that resend their histories, beside keep 50 % at the head",
        header,
        rows,
    )
