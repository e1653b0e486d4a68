"""The receipt of a turn: what the model saw of its path, and what not, and why.

It names messages by their depth on the path to what the turn answered, and quotes none: what is deleted later is not
in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from palaver.core.epoch import Reason
from palaver.core.path import Span, Step
from palaver.core.recall import Recalled
from palaver.core.summaries import Failure, SummaryRef
from palaver.core.window_settings import Mode

Why = Literal["window", "client", "deleted"]


class LeftOut(msgspec.Struct, frozen=True):
    """Messages that the model did not see, by their depths: `start` up to `stop`, excluded.

    The `window` starts after them, for want of room or because it starts at a question; the `client` did not send
    them, and strict windows show what was sent; they are `deleted`, or are a call or a result whose other part is.
    """

    start: int
    stop: int
    why: Why


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model saw, by its path of `path` messages: the depths `seen` (from, up to) but for those `left_out`.

    `instructions` and `tools` are how many there were. `context_size` is the most that prompt and reply may have in
    tokens, None where that is not known; `reserved` of it were kept free for the reply. `prompt_tokens` is how long
    the prompt was: as the engine `counted` it, or by an estimate; None where neither was needed. `cached_tokens` of it
    were not prefilled again; None where the engine does not say. `began` says that the turn began its epoch; `prepared`
    says that this epoch was begun, and its beginning prefilled, while nobody waited. `tokenizer` is by what single
    messages are counted, None where they are not. `continues` is whether the prompt ended in the beginning of the
    reply. `summary` is what stood for what the window left out; `summary_failed` says why that was not all of it,
    although it should have been.

    `recalled` is what was quoted of messages that the window does not show, for this turn and before in its epoch;
    `offers_recall` says that the model was offered the tool for that, which is not counted among the `tools`.
    """

    model: str
    mode: Mode
    epoch: str
    reason: Reason
    began: bool
    prepared: bool = False
    path: int
    seen: list[tuple[int, int]]
    left_out: list[LeftOut] = []
    instructions: int = 0
    tools: int = 0
    context_size: int | None = None
    reserved: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    counted: Literal["engine", "estimate"] | None = None
    tokenizer: str | None = None
    continues: bool = False
    summary: SummaryRef | None = None
    summary_failed: Failure | None = None
    recalled: list[Recalled] = []
    offers_recall: bool = False
    warnings: list[str] = []

    def saw(self, depth: int) -> bool:
        """Whether the message at this depth was in the prompt."""
        return any(start <= depth < stop for start, stop in self.seen)


def seen_and_left_out(
    length: int, span: Span, steps: Iterable[Step], *, by_client: bool, opening: Iterable[Step] = ()
) -> tuple[list[tuple[int, int]], list[LeftOut]]:
    """The runs of a path of this `length` that are shown, and those that are not; `by_client` says whose the span is.
    The path's `opening` is shown before all others.

    >>> from palaver.core.message import Message
    >>> steps = [Step(depth, Message("user", "hi")) for depth in (2, 3, 6)]
    >>> seen_and_left_out(7, Span(2, (4, 6)), steps, by_client=False)
    ... # doctest: +NORMALIZE_WHITESPACE
    ([(2, 4), (6, 7)], [LeftOut(start=0, stop=2, why='window'), LeftOut(start=4, stop=6, why='window')])
    """
    seen = _runs([step.depth for step in (*opening, *steps)])
    edges = [0, *(edge for run in seen for edge in run), length]
    why: Why = "client" if by_client else "window"
    left_out = [
        out
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        for out in _told_apart(start, stop, span, why)
    ]
    return seen, left_out


def _told_apart(start: int, stop: int, span: Span, why: Why) -> list[LeftOut]:
    """The messages of one run that is not shown: those outside the span are its reason, others are gone."""
    edges = sorted({start, stop, *(e for e in (span.start, *(span.gap or ())) if start < e < stop)})
    return [
        LeftOut(here, there, "deleted" if span.holds(here) else why)
        for here, there in pairwise(edges)
        if here < there
    ]


def _runs(depths: Sequence[int]) -> list[tuple[int, int]]:
    if depths and depths[-1] - depths[0] == len(depths) - 1:
        return [(depths[0], depths[-1] + 1)]  # as nearly always
    runs: list[tuple[int, int]] = []
    for depth in depths:
        if runs and runs[-1][1] == depth:
            runs[-1] = (runs[-1][0], depth + 1)
        else:
            runs.append((depth, depth + 1))
    return runs
