"""The window: what the model sees of a path.

From its beginning on, each part may only grow at its end, as long as an epoch lasts:

    instructions and tools | summary | messages from a start onward | notes for this turn

`palaver.core.fit` says which messages these are, `palaver.core.receipt` what they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from palaver.core.message import Message, TextPart, canonical
from palaver.core.parameters import Tool
from palaver.core.path import Step
from palaver.core.tree import Instruction


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt for an engine, with whose it is, so that an engine can place and isolate it.

    `conversation` and `turn` are ids; `conversation` is None for a turn that is not stored. `tools` are what the
    model may call. `epoch_began` is when the epoch of this window began, in seconds since 1970: what a template says
    of the day is said as of then, so that its prompts stay alike. None is now. `epoch` is its id, empty where there is
    none. `kept` says that what is computed of it may be kept on disk: not for what is not stored, nor for what an app
    asks once on its own account.
    """

    owner: str
    conversation: str | None
    turn: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    epoch_began: int | None = None
    epoch: str = ""
    kept: bool = False


def composed(
    instructions: Sequence[Instruction],
    steps: Sequence[Step],
    *,
    summary: Message | None = None,
    notes: Sequence[Message] = (),
) -> tuple[Message, ...]:
    """The messages of a window in their order.

    Instructions are where the client had put them among the first messages of the path; those whose place is not
    shown come first. A summary of what is not shown any more stands before the words of the first message that is, in
    it: there are templates that take system messages only at the beginning, or want user and assistant to alternate.
    Notes go with this turn.
    """
    if not instructions and summary is None:
        return (*[step.message for step in steps], *notes)
    result: list[Message] = []
    waiting = list(instructions)
    begun = False
    for step in steps:
        while waiting and waiting[0].at <= step.depth:
            result.append(waiting.pop(0).message)
        if not begun and summary is not None:
            result.extend(_begun_with(summary, step.message))
        else:
            result.append(step.message)
        begun = True
    result.extend(instruction.message for instruction in waiting)
    if not begun and summary is not None:
        result.append(summary)
    return (*result, *notes)


def _begun_with(summary: Message, first: Message) -> list[Message]:
    return [before_words(first, summary.text)] if first.role == "user" else [summary, first]


def before_words(message: Message, text: str) -> Message:
    """A message with a text before its words, an empty line between the two.

    >>> before_words(Message("user", "Hi"), "Once more:").text
    'Once more:\\n\\nHi'
    """
    begun = text + "\n\n"
    if isinstance(message.content, list):
        return msgspec.structs.replace(message, content=[TextPart(begun), *message.content])
    return msgspec.structs.replace(message, content=begun + (message.content or ""))


def besides(opening: Iterable[Step], instructions: Sequence[Instruction]) -> list[Instruction]:
    """The instructions that the messages which a path begins with do not say, too: who resends the history of a
    conversation that has such an opening sends it as instructions, and nothing is to be told twice.

    >>> opening = [Step(0, Message("developer", "Be brief."))]
    >>> told = [Instruction(0, Message("system", text)) for text in ("Be brief.", "Be kind.")]
    >>> [each.message.text for each in besides(opening, told)]
    ['Be kind.']
    """
    said = {canonical(step.message) for step in opening}
    return [each for each in instructions if not said or canonical(each.message) not in said]


def rendered(stored: Message, sent: Message | None) -> Message:
    """The form of a message that the model sees: as stored, but with the reasoning the client sent."""
    if sent is None or (stored.reasoning, stored.reasoning_content) == (
        sent.reasoning,
        sent.reasoning_content,
    ):
        return stored
    return Message(
        role=stored.role,
        content=stored.content,
        name=stored.name,
        tool_calls=stored.tool_calls,
        tool_call_id=stored.tool_call_id,
        function_call=stored.function_call,
        reasoning=sent.reasoning,
        reasoning_content=sent.reasoning_content,
    )
