"""Summaries: short accounts of what stands before a window, which orient the model where messages have no room.

A summary is of the path to a message from its beginning on. What is exact stands in the messages, which stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Literal

import msgspec

from palaver.core.message import INSTRUCTING, Message
from palaver.core.path import Step
from palaver.core.thinking import CLOSE, split_thinking

INSTRUCTION = (
    "You keep the summary of a conversation, for whoever goes on with it when its beginning is not shown any more. Of "
    "the summary so far and the messages that follow it, write one that stands for both: who said, asked, decided and "
    "promised what; names, numbers, dates; what is still open. In the language of the conversation, in at most 250 "
    "words. Do not answer the messages. Write the summary only."
)
CUT = "…"

Failure = Literal["empty", "too_long", "failed", "none_yet"]
"""Why what a window leaves out is in no summary: the model said nothing, or more than it may; asking it failed; there
was no time yet, or nobody to ask."""


class SummaryRef(msgspec.Struct, frozen=True):
    """The summary that windows show, in one version. It covers the depths up to `stop`, excluded.

    The `id` is empty, and `stop` 0, where it was deleted since.
    """

    id: str
    version: int
    stop: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of the path to a `message` of a `conversation` (ids): of all depths up to `stop`, excluded.

    `version` is 1 at first, and one more with each change of its text. `model` wrote that; None for a person. No
    window shows one that `is_off`. `is_stale` says that its message is not on the path to the conversation's head any
    more: something in it was edited. Times are in milliseconds since 1970.
    """

    id: str
    conversation: str
    message: str
    stop: int
    version: int
    text: str
    model: str | None
    is_off: bool = False
    is_stale: bool = False
    created_at: int
    updated_at: int

    @property
    def ref(self) -> SummaryRef:
        return SummaryRef(self.id, self.version, self.stop)


def best(summaries: Iterable[Summary], start: int) -> Summary | None:
    """The summary that a window shows which starts at this depth: of those that end before it the one that covers
    most, and of these the last that was made. None where there is none."""
    fitting = (each for each in summaries if not each.is_off and 0 < each.stop <= start)
    return max(fitting, key=lambda each: (each.stop, each.created_at, each.id), default=None)


def message_of(summary: Summary) -> Message:
    """A summary as models see it, before the words of the first message that they are shown."""
    by = f"written by {summary.model}" if summary.model else "edited by the user"
    text = summary.text.replace("</summary", "< /summary")  # what was said cannot end it
    return Message(
        "user",
        f"<summary>\nSummary of the earlier conversation, up to message {summary.stop} ({by}). It is for orientation: "
        f"what is exact stands in the messages.\n\n{text}\n</summary>",
    )


def summary_in(answer: str) -> str:
    """The summary that a model was asked for, without its thinking; empty where it says nothing.

    >>> summary_in("<think>Hm.</think>\\n\\nThey baked bread.\\n"), summary_in("...")
    ('They baked bread.', '')
    """
    text = split_thinking(answer)[1].rpartition(CLOSE)[2].strip()
    return text if any(character.isalnum() for character in text) else ""


def uncovered(steps: Sequence[Step], before: Summary | None, start: int) -> list[Step]:
    """What of a path is to be summed up before the depth `start`, after the summary `before`. Not what it begins with
    as instructions: every window shows that."""
    opening = sum(1 for _ in takewhile(lambda step: step.message.role in INSTRUCTING, steps))
    since = max(before.stop if before is not None else 0, opening)
    return [step for step in steps if since <= step.depth < start and not step.deleted]


def pieces(steps: Sequence[Step], bound: int, length: Callable[[str], int]) -> Iterator[str]:
    """Messages as they are told to whoever sums them up, as many at a time as have about `bound` tokens, by `length`.
    One that has more by itself is cut."""
    piece, used = "", 0
    for step in steps:
        told = _told(step.message)
        tokens = length(told)
        if tokens > bound:
            told, tokens = told[: len(told) * bound // tokens] + CUT, bound
        if piece and used + tokens > bound:
            yield piece
            piece, used = "", 0
        piece, used = f"{piece}\n\n{told}" if piece else told, used + tokens
    if piece:
        yield piece


def asked_for(before: str, piece: str) -> str:
    """What a model is asked that sums up: with the summary so far, where there is one."""
    so_far = f"The summary so far:\n\n{before}\n\n" if before else ""
    return f"{so_far}The messages:\n\n{piece}\n\nThe new summary:"


def _told(message: Message) -> str:
    calls = [f"[calls {call.function.name} {call.function.arguments}]" for call in message.tool_calls or ()]
    text = split_thinking(message.text)[1] if message.role == "assistant" else message.text
    return f"{message.role}: " + " ".join([text.strip(), *calls]).strip()
