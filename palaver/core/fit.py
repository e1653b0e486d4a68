"""`fit`: which part of a path the model sees. Pure: it is told how long everything is, and what there is room for.

A window grows at its end only, turn by turn, so that the prompt of each turn begins with the one before and the
engine need not compute that again. When it would outgrow its room a new one is begun, which keeps the newest part
(`Room.keep`, half by default). That costs one long prefill now and then: with a share of X kept and exchanges of m
tokens it is m·X/(1−X) tokens a turn in the long run, however large the window is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from palaver.core.path import Span, Step, shown, starts, whole_from


class Room(msgspec.Struct, frozen=True):
    """How many tokens there are for messages, and what share of that a new window keeps.

    What stands before the messages (instructions, tools, what the template adds once) is taken off already.
    """

    tokens: int
    keep: float = 0.5


class Fitted(msgspec.Struct, frozen=True):
    """What is shown, and how many tokens its messages have by the counts that were given."""

    span: Span
    steps: list[Step]
    tokens: int


class TooLong(msgspec.Struct, frozen=True):
    """Not even the least that could be shown has room: these `steps`, of this `span`.

    `longest` is the longest message of them, and `longest_tokens` how long that one is.
    """

    span: Span
    steps: list[Step]
    longest: Step
    longest_tokens: int


def fit(path: Sequence[Step], tokens: Sequence[int], room: Room) -> Fitted | TooLong:
    """The window that is begun anew: of the path whatever fits the share that is kept, at least its newest exchange.

    An exchange that is itself too long (a question, and a hundred calls) keeps its question and its newest calls;
    that leaves a gap. A path whose last message has no room is `TooLong`.
    `tokens` says how long each message of the path is, which may have been read in part; that all of it has room is
    for the caller to see.
    """
    lengths = {step.depth: count for step, count in zip(path, tokens, strict=True)}
    steps = shown(path, Span(path[0].depth if path else 0))
    if not steps:
        return Fitted(Span(path[0].depth if path else 0), [], 0)
    after = _after(steps, lengths)
    possible = starts(steps) or [0]
    aim = int(room.tokens * room.keep)
    start = next((i for i in possible if after[i] <= aim), possible[-1])
    if after[start] > room.tokens:
        return _with_gap(steps, lengths, after, start, room, aim)
    return Fitted(Span(steps[start].depth), steps[start:], after[start])


def settled(path: Sequence[Step], span: Span) -> Span | None:
    """The same span, from the next place where a window may start: what it started with may be deleted.

    None where there is no such place.
    """
    steps = shown(path, span)
    place = next(iter(starts(steps)), None)
    if place is None:
        return None
    start = steps[place].depth
    if start == span.start:
        return span
    return Span(start, span.gap if span.gap and span.gap[0] > start else None)


def replayed(path: Sequence[Step], tokens: Sequence[int], room: Room) -> Span:
    """The span that a path's last turn has if all its turns were asked here, one after the other.

    For what is not stored: the same history, grown at its end, gives a window grown at its end. Turns are taken to
    have ended before each assistant message.
    """
    steps = shown(path, Span(0))
    if not steps:
        return Span(0)
    lengths = {step.depth: count for step, count in zip(path, tokens, strict=True)}
    sums = list(accumulate((lengths[step.depth] for step in steps), initial=0))
    possible, whole = starts(steps) or [0], whole_from(steps)
    start, after_gap = possible[0], possible[0] + 1
    aim = int(room.tokens * room.keep)
    for end in range(1, len(steps) + 1):
        is_prompt = end == len(steps) or steps[end].message.role == "assistant"
        question = sums[start + 1] - sums[start]
        if not is_prompt or question + sums[end] - sums[min(after_gap, end)] <= room.tokens:
            continue
        later = possible[bisect_right(possible, start) : bisect_left(possible, end)]
        if later:
            first = bisect_left(sums, sums[end] - aim)
            start = later[min(bisect_left(later, first), len(later) - 1)]
            after_gap = start + 1
            question = sums[start + 1] - sums[start]
        if question + sums[end] - sums[min(after_gap, end)] > room.tokens:
            after_gap = _gap_end(steps, whole, sums, after_gap, end, room.tokens - question, aim - question)
    depth = steps[start].depth
    if after_gap == start + 1:
        return Span(depth)
    return Span(depth, (depth + 1, steps[after_gap].depth))


def _gap_end(
    steps: Sequence[Step],
    whole: Sequence[bool],
    sums: Sequence[int],
    now: int,
    end: int,
    room: int,
    aim: int,
) -> int:
    """Where an exchange that has no room goes on after its question: at the calls from which on there is."""
    later = [i for i in range(now + 1, end) if whole[i] and steps[i].message.role == "assistant"]
    fitting = [i for i in later if sums[end] - sums[i] <= room]
    if not fitting:
        return later[-1] if later else now
    return next((i for i in fitting if sums[end] - sums[i] <= aim), fitting[-1])


def _after(steps: Sequence[Step], lengths: dict[int, int]) -> list[int]:
    """For each place how many tokens there are from it on."""
    return list(accumulate(lengths[step.depth] for step in reversed(steps)))[::-1]


def _with_gap(
    steps: Sequence[Step], lengths: dict[int, int], after: Sequence[int], start: int, room: Room, aim: int
) -> Fitted | TooLong:
    """The newest exchange without its middle: its question, then as many of its newest calls as there is room for."""
    question = lengths[steps[start].depth]
    whole = whole_from(steps)
    later = [i for i in range(start + 2, len(steps)) if whole[i] and steps[i].message.role == "assistant"]
    fitting = [i for i in later if question + after[i] <= room.tokens]
    at = next((i for i in fitting if question + after[i] <= aim), (fitting or later or [start + 1])[-1])
    span = Span(steps[start].depth)
    if at > start + 1:
        span = Span(span.start, (span.start + 1, steps[at].depth))
    kept = [steps[start], *steps[at:]]
    if fitting:
        return Fitted(span, kept, question + after[at])
    longest = max(kept, key=lambda step: lengths[step.depth])
    return TooLong(span, kept, longest, lengths[longest.depth])
