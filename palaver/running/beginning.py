"""What a turn starts from: the path that its window is chosen of."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from palaver.core.epoch import Above
from palaver.core.message import Message
from palaver.core.path import Step
from palaver.core.recall import Note
from palaver.core.summaries import Summary, SummaryRef, best
from palaver.core.tree import Instruction
from palaver.core.window import besides, rendered
from palaver.core.window_settings import WindowSettings

Reach = Callable[[str, int], Awaitable[Sequence[Step]]]
"""Reads the path to a message (its id) from a depth on."""


class Beginning:
    """What a turn starts from once its time has come: the end of the path to its question, with a way to the rest.

    `sent` are the messages that came with the request, the last ones of the path, after so many `sent_instructions`;
    a client may have left out the depths of the `gap`. `exact` says that the turn named the message that it hangs
    below, `is_sent` that nothing is stored, and the path is what was sent. `above` is what it may go on with, `beside`
    another turn that answered the same, `window` how its conversation's windows are chosen. `continues` is the reply
    that it goes on with. `opening` are the messages of the path that are shown as instructions are, in every window.
    `summaries` are those of the path that windows may show. `notes` are what was recalled on the path in the epoch
    `above`, `continued` what was for the reply that it goes on with; `conversation` is the id of what is stored.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        sent: Sequence[Message] = (),
        sent_instructions: int = 0,
        instructions: Sequence[Instruction] = (),
        gap: tuple[int, int] | None = None,
        exact: bool = False,
        is_sent: bool = False,
        above: Above | None = None,
        beside: Above | None = None,
        window: WindowSettings | None = None,
        continues: Step | None = None,
        opening: Sequence[Step] = (),
        summaries: Sequence[Summary] = (),
        notes: Sequence[Note] = (),
        continued: Sequence[Note] = (),
        conversation: str | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._path = list(steps)
        self._told = instructions
        self._show(opening)
        self.sent = sent
        self.sent_instructions = sent_instructions
        self.gap = gap
        self.exact = exact
        self.is_sent = is_sent
        self.above = above
        self.beside = beside
        self.window = window or WindowSettings()
        self.continues = continues
        self.summaries = summaries
        self.notes = notes
        self.continued = continued
        self.conversation = conversation
        self._reach = reach

    def _show(self, opening: Sequence[Step]) -> None:
        """Have this shown as instructions are."""
        self.opening = opening
        self._opening = {step.depth for step in opening}
        self.steps = self._without_opening(self._path)
        told = besides(opening, self._told)
        self.instructions = [*told, *(Instruction(0, step.message) for step in opening)]

    def as_left_out(self) -> Beginning:
        """What a window starts from that shows what was sent: without what the client left out of the opening."""
        start, stop = self.gap or (0, 0)
        left = [step for step in self.opening if not start <= step.depth < stop]
        if len(left) == len(self.opening):
            return self
        other = copy.copy(self)
        other._show(left)
        return other

    def with_summaries(self, summaries: Sequence[Summary]) -> Beginning:
        """The same with these summaries."""
        other = copy.copy(self)
        other.summaries = summaries
        return other

    def summary(self, start: int) -> Summary | None:
        """What a window that starts at this depth shows of what stands before."""
        return best(self.summaries, start) if start > len(self.opening) else None

    def summary_ref(self, start: int) -> SummaryRef | None:
        shown = self.summary(start)
        return shown.ref if shown is not None else None

    def lacks_summary(self, start: int) -> bool:
        """Whether a window that starts at this depth leaves out what is in no summary."""
        shown = self.summary(start)
        stop = shown.stop if shown is not None else len(self.opening)
        unread = stop < min(self.top, start)
        return unread or any(not step.deleted for step in self.steps if stop <= step.depth < start)

    @property
    def length(self) -> int:
        """How many messages the path has."""
        return self.steps[-1].depth + 1 if self.steps else 0

    @property
    def top(self) -> int:
        """The depth of the first message that has been read."""
        return self.steps[0].depth if self.steps else 0

    @property
    def bytes(self) -> int:
        """About how many bytes a template shows of what has been read."""
        calls = (call.function.arguments for step in self.steps for call in step.message.tool_calls or ())
        return sum(len(step.message.text.encode()) + 1 for step in self.steps) + sum(map(len, calls))

    def thinks_otherwise(self, above: Above) -> bool:
        """Whether the turn above may have shown thoughts otherwise: as its client sent them, not as they are stored."""
        return above.is_strict and any(
            step.message.reasoning or step.message.reasoning_content
            for step in self.steps
            if step.depth <= above.asked
        )

    async def reach(self, depth: int) -> None:
        """Have read the path from this depth on. Raises StoreError, and MessageNotFound for one that is gone."""
        if depth < self.top and self._reach is not None:
            above = await self._reach(self.steps[0].id, depth)
            self._path = [*above[:-1], *self._path]
            self.steps = self._without_opening(self._path)

    def _without_opening(self, steps: Sequence[Step]) -> list[Step]:
        """In windows their places are empty, as those of deleted messages are."""
        if not self._opening:
            return list(steps)
        return [
            Step(step.depth, step.message, step.id, deleted=True) if step.depth in self._opening else step
            for step in steps
        ]

    def as_sent(self) -> list[Step]:
        """What the client sent and what stands above it, in the stored form with the reasoning as sent.

        Something that was deleted meanwhile is shown as the client sent it. The whole path is to be read before.
        """
        if self.is_sent:
            return self.steps
        there = self.steps
        if self.gap is not None:
            there = [s for s in there if not self.gap[0] <= s.depth < self.gap[1]]
        above = len(there) - len(self.sent)
        return there[:above] + [
            step if step.depth in self._opening else _as_sent(step, sent)
            for step, sent in zip(there[above:], self.sent, strict=True)
        ]


def _as_sent(step: Step, sent: Message) -> Step:
    message = sent if step.deleted else rendered(step.message, sent)
    return step if message is step.message else Step(step.depth, message, step.id)


class Told(msgspec.Struct, frozen=True):
    """What an engine said of a window that it refused as too long: how long its prompt was, and how long it may be.

    `steps` are the messages that it showed, `times` how often one was refused.
    """

    prompt_tokens: int
    context_size: int
    steps: list[Step]
    times: int
