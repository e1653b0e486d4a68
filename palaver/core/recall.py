"""Recall: what left the window is quoted again, where it is asked for.

Quotes stand in the prompt once more, with ids and dates, before the words of the question (`Note`), or as what the
tool `recall` answered. They stay where they stood until the epoch ends, so that prompts go on growing at their ends.
What is kept of them is which messages were quoted, and which characters of them: never a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.message import Message, ToolCall
from palaver.core.parameters import Tool
from palaver.core.path import Step
from palaver.core.searching import MOST_CHARACTERS
from palaver.core.window import before_words

RecalledBy = Literal["tool", "setting", "user"]
"""Who had it recalled: the model by its tool, a setting, or the request itself."""

NAME = "recall"
MOST_QUOTES = 6
QUOTE_CHARACTERS = 600
"""A longer message is quoted in part."""
DAY = 24 * 3600 * 1000

TOOL = Tool(
    name=NAME,
    description="Search earlier messages that are not shown here any more, and quote those that fit. Use it when the "
    "user refers to something that you cannot see in this conversation.",
    parameters={
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "description": "The words to look for, such as names, places, topics.",
            },
            "conversation": {
                "type": "string",
                "enum": ["this", "all"],
                "description": "Where to look: in this conversation, or in all conversations with this user.",
            },
            "since": {"type": "string", "description": "Only from this day on: YYYY-MM-DD."},
            "until": {"type": "string", "description": "Only up to this day: YYYY-MM-DD."},
        },
        "required": ["query"],
    },
)
"""What models that call tools are offered, where messages are out of their sight."""


class Quote(msgspec.Struct, frozen=True):
    """A part of a message (its id): the characters of its text from `start` up to `stop`, excluded."""

    message: str
    start: int
    stop: int


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """What was recalled at one time. `call` is the model's call, where it was one, and `answer` what that got where
    there were no quotes. Before it the model had said so many characters of its reply since the call before."""

    by: RecalledBy
    quotes: list[Quote] = []
    call: ToolCall | None = None
    answer: str = ""
    said: int = 0


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """A quote with what it says. `conversation` is the id of another conversation, None for this one; `created_at` is
    in milliseconds since 1970."""

    quote: Quote
    role: str
    text: str
    created_at: int
    conversation: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What was recalled for the message at a depth of a path; it stands there until the epoch ends.

    `answer` is what a model's call got in the place of quotes. What the model had `said` before its call is the
    beginning of its reply: prompts show it there, and of the reply the rest.
    """

    depth: int
    by: RecalledBy
    quoted: list[Quoted] = []
    call: ToolCall | None = None
    answer: str = ""
    said: str = ""

    @property
    def recall(self) -> Recall:
        """What is kept of it."""
        quotes = [each.quote for each in self.quoted]
        return Recall(by=self.by, quotes=quotes, call=self.call, answer=self.answer, said=len(self.said))


class Recalled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a receipt says of a note: for the message at which depth of the path, by whom, and what was quoted."""

    depth: int
    by: RecalledBy
    quotes: list[Quote] = []


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What a model asks its tool for. Times are in milliseconds since 1970, `before` excluded."""

    query: str
    everywhere: bool = False
    since: int | None = None
    before: int | None = None


class _Arguments(msgspec.Struct, frozen=True):
    query: str
    conversation: str | None = None
    since: str | None = None
    until: str | None = None


def lookup_of(arguments: str) -> Lookup:
    """What a call asks for. Raises InvalidRequest, in words for the model, for arguments that make no sense.

    >>> lookup_of('{"query": "dog", "conversation": "all", "until": "1970-01-02"}')
    Lookup(query='dog', everywhere=True, since=None, before=172800000)
    """
    try:
        asked = msgspec.json.decode(arguments or "{}", type=_Arguments)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"These arguments cannot be read: {str(error)[:200]}") from None
    if asked.conversation not in (None, "", "this", "all"):
        raise InvalidRequest('`conversation` is "this" or "all".')
    since, until = _day("since", asked.since), _day("until", asked.until)
    return Lookup(
        query=asked.query[:MOST_CHARACTERS],
        everywhere=asked.conversation == "all",
        since=since,
        before=None if until is None else until + DAY,
    )


def _day(name: str, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text[:10]).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise InvalidRequest(f"`{name}` is a day, such as 2026-03-31.") from None


def told(quoted: Iterable[Quoted]) -> str:
    """Quotes as models read them, the earliest first."""
    return "\n".join(_told(each) for each in sorted(quoted, key=lambda each: each.created_at))


def _told(quoted: Quoted) -> str:
    day = datetime.fromtimestamp(quoted.created_at / 1000, UTC).date().isoformat()
    place = f' conversation="{quoted.conversation}"' if quoted.conversation else ""
    head = f'<recalled id="{quoted.quote.message}" role="{quoted.role}" date="{day}"{place}>'
    # What was said cannot end its own quote.
    return f"{head}\n{quoted.text.replace('</recalled', '< /recalled')}\n</recalled>"


def shown_with(steps: Sequence[Step], notes: Sequence[Note]) -> list[Step]:
    """The messages of a window with what was recalled for them: before the words of a question, or as a call and its
    result after it, in front of the rest of the reply. What comes after a step has its depth, and no id."""
    if not notes:
        return list(steps)
    by_depth: dict[int, list[Note]] = {}
    for note in notes:
        by_depth.setdefault(note.depth, []).append(note)
    result: list[Step] = []
    for step in steps:
        here = by_depth.get(step.depth, [])
        step = _without_said(step, by_depth.get(step.depth - 1, []))
        before = [each for note in here if note.call is None for each in note.quoted]
        message = before_words(step.message, told(before)) if before else step.message
        result.append(step if message is step.message else Step(step.depth, message, step.id))
        for note in here:
            if note.call is not None:
                result += [Step(step.depth, each) for each in called(note)]
    return result


def _without_said(step: Step, notes: Sequence[Note]) -> Step:
    message = rest_of(step.message, notes)
    return step if message is step.message else Step(step.depth, message, step.id)


def rest_of(reply: Message, notes: Sequence[Note]) -> Message:
    """A reply without what was said before the calls in it, which stands there in prompts.

    >>> from palaver.core.message import FunctionCall
    >>> note = Note(depth=2, by="tool", call=ToolCall(FunctionCall("recall"), "call_1"), said="Let me look. ")
    >>> rest_of(Message("assistant", "Let me look. Rex."), [note]).text
    'Rex.'
    """
    said = "".join(note.said for note in notes if note.call is not None)
    if not said or reply.role != "assistant" or not isinstance(reply.content, str):
        return reply
    if not reply.content.startswith(said):
        return reply
    return msgspec.structs.replace(reply, content=reply.content[len(said) :] or None)


def called(note: Note) -> list[Message]:
    """A model's call of its tool, and the answer."""
    assert note.call is not None
    return [
        Message("assistant", content=note.said or None, tool_calls=[note.call]),
        Message("tool", content=told(note.quoted) or note.answer, tool_call_id=note.call.id),
    ]


def recalled(notes: Iterable[Note]) -> list[Recalled]:
    """What the receipt says of notes."""
    return [
        Recalled(depth=note.depth, by=note.by, quotes=[each.quote for each in note.quoted]) for note in notes
    ]


def part_around(text: str, word: str, most: int = QUOTE_CHARACTERS) -> tuple[int, int]:
    """The characters of a text that are quoted, `word` being what it was found by: all of a short one, else those
    around the word, at most so many, cut where words end.

    >>> part_around("My dog is called Rex.", "dog")
    (0, 21)
    """
    if len(text) <= most:
        return 0, len(text)
    at = max(text.find(word), 0) if word else 0
    start = max(0, min(at - most // 3, len(text) - most))
    stop = min(len(text), start + most)
    if start and (space := text.find(" ", start, start + most // 6)) >= 0:
        start = space + 1
    if stop < len(text) and (space := text.rfind(" ", stop - most // 6, stop)) >= 0:
        stop = space
    return start, stop
