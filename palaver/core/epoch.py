"""Epochs: stretches of turns over which the window only grows at its end.

An epoch hangs on a turn: a turn goes on with the epoch of the turn above it on its path, whose reply it answers, and
belongs to one model. Where the window cannot grow at its end any more a new epoch begins, for one of `Reason`:

    start         the first turn of a path
    model         another model answers
    instructions  the system and developer messages before the first question are others
    tools         the tools are others
    deletion      a message that the model saw, or the summary, was deleted
    overflow      there is no more room
    user          whoever asks shows other messages: all of them (`strict`), or without others than before; or the
                  summary was edited, made again, switched on or off
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from palaver.core.path import Span, Step
from palaver.core.summaries import Failure, SummaryRef

Reason = Literal["start", "model", "instructions", "tools", "deletion", "overflow", "user"]


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch. `span` is what of the path its turns show, as far as the path goes. `began` is in milliseconds since
    1970. `summary` is what its windows show of the rest, None for nothing; `summary_failed` why that does not cover all
    of it although it should."""

    id: str
    model: str
    reason: Reason
    span: Span
    began: int
    summary: SummaryRef | None = None
    summary_failed: Failure | None = None


class Above(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn may go on with: the turn above it that has an epoch, by its id.

    `same_instructions` and `same_tools` say whether the new turn has them too. `asked` is the depth of the message
    that it answered, which its prompt ended in; `seen` are the depths (from, up to) that this showed. Its
    `prompt_tokens` and `completion_tokens` are what its engine counted, None where nobody did. `is_strict` says
    that it showed what its client sent, and `is_cut` that this had left something out. `notes` is how many notes of
    what was recalled its prompt had in the end, and `offers_recall` says that it offered the tool for that.
    """

    epoch: Epoch
    turn: str = ""
    same_instructions: bool
    same_tools: bool
    asked: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seen: list[tuple[int, int]] = []
    is_strict: bool = False
    is_cut: bool = False
    notes: int = 0
    offers_recall: bool = False


def break_reason(above: Above | None, model: str) -> Reason | None:
    """Why a turn cannot go on with the epoch above, whatever it shows; None where it can."""
    if above is None:
        return "start"
    if above.epoch.model != model:
        return "model"
    if not above.same_instructions:
        return "instructions"
    return None if above.same_tools else "tools"


def summary_reason(shown: SummaryRef | None, now: SummaryRef | None) -> Reason | None:
    """Why windows cannot go on that show a summary, where they would show another, or none, `now`; None where they can.

    >>> summary_reason(SummaryRef("", 1, 0), None), summary_reason(SummaryRef("sum_1", 1, 4), SummaryRef("sum_1", 2, 4))
    ('deletion', 'user')
    """
    if shown == now:
        return None
    return "deletion" if shown is not None and not shown.id else "user"


def is_grown(above: Above, steps: Sequence[Step], opening: Sequence[Step] = ()) -> bool:
    """Whether a window that shows these messages, after the path's `opening`, begins with all that the turn above
    showed, and no others.

    Its reply, and what came after that, are new.
    """
    before = [step.depth for step in (*opening, *steps) if step.depth <= above.asked]
    return before == [depth for start, stop in above.seen for depth in range(start, stop)]
