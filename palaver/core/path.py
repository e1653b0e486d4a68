"""A path as a window may hold it: its messages in their places, and which of them can be shown without the others.

Two rules hold for every window. It starts at a user message, or with the conversation itself. And a call never
parts from its results: where one of them was deleted, or is not shown, neither are the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from palaver.core.message import RESULTS, Message


class Step(msgspec.Struct, frozen=True):
    """A message of a path. `depth` is 0 for the first; `id` is empty where it is not stored.

    Of a `deleted` one only the role is left.
    """

    depth: int
    message: Message
    id: str = ""
    deleted: bool = False


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a path is shown: from the depth `start` on, without the depths of the `gap` (from, up to)."""

    start: int
    gap: tuple[int, int] | None = None

    def holds(self, depth: int) -> bool:
        """Whether the message at this depth is shown, if anything of it is left.

        >>> [depth for depth in range(9) if Span(2, (4, 7)).holds(depth)]
        [2, 3, 7, 8]
        """
        return depth >= self.start and not (self.gap and self.gap[0] <= depth < self.gap[1])

    @classmethod
    def without(cls, gap: tuple[int, int] | None) -> Span:
        """A whole path but for this gap.

        >>> Span.without((0, 5)), Span.without((3, 5))
        (Span(start=5), Span(start=0, gap=(3, 5)))
        """
        return cls(gap[1]) if gap and gap[0] == 0 else cls(0, gap)


def shown(path: Sequence[Step], span: Span) -> list[Step]:
    """The messages that a window with this span shows, in their order."""
    within = [step for step in path if span.holds(step.depth)]
    parted = _parted(within)
    return [step for i, step in enumerate(within) if not step.deleted and i not in parted]


def _parted(steps: Sequence[Step]) -> set[int]:
    """The places of calls and results that have lost their other part to a deletion."""
    if not any(step.deleted for step in steps):
        return set()
    parted: set[int] = set()
    for call, results in _calls(steps):
        group = [call, *results]
        if any(steps[i].deleted for i in group):
            parted.update(group)
    answered = {i for _, results in _calls(steps) for i in results}
    orphans = {i for i, step in enumerate(steps) if step.message.role in RESULTS and i not in answered}
    return parted | {i for i in orphans if _follows_deleted(steps, i)}


def _follows_deleted(steps: Sequence[Step], place: int) -> bool:
    """Whether a result stands below a message that was deleted, with nothing but results between the two."""
    while place >= 0 and steps[place].message.role in RESULTS and not steps[place].deleted:
        place -= 1
    return place >= 0 and steps[place].deleted


def _calls(steps: Sequence[Step]) -> list[tuple[int, list[int]]]:
    """The places of messages with calls, each with those of its results.

    A deleted result has no id any more: it is taken for one of the calls that it follows.
    """
    found: list[tuple[int, list[int]]] = []
    by_id: dict[str, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    last: list[int] | None = None
    for i, step in enumerate(steps):
        message = step.message
        if message.role == "assistant":
            last = None
            if message.tool_calls or message.function_call:
                last = []
                found.append((i, last))
                by_id.update({call.id: last for call in message.tool_calls or ()})
                by_name.update({call.function.name: last for call in message.tool_calls or ()})
                if message.function_call is not None:
                    by_name[message.function_call.name] = last
        elif message.role in RESULTS:
            key, table = (message.tool_call_id, by_id) if message.role == "tool" else (message.name, by_name)
            results = last if step.deleted else table.get(key or "")
            if results is not None:
                results.append(i)
        else:
            last = None
    return found


def whole_from(steps: Sequence[Step]) -> list[bool]:
    """For each place whether what is shown can start there: no result from there on answers a call before it."""
    whole = [True] * len(steps)
    for call, results in _calls(steps):
        if results:
            for i in range(call + 1, results[-1] + 1):
                whole[i] = False
    return whole


def starts(steps: Sequence[Step]) -> list[int]:
    """The places at which a window of these messages may start: user messages, and the path's own first one."""
    whole = whole_from(steps)
    return [
        i for i, step in enumerate(steps) if whole[i] and (step.message.role == "user" or step.depth == 0)
    ]
