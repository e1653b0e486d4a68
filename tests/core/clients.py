"""Clients of the stateless door that do to their histories what clients do, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st

from palaver.core.message import Message
from tests.core.trees import assistant, system, user

Action = Literal[
    "say",
    "regenerate",
    "edit",
    "edit in place",
    "few-shot",
    "new",
    "elsewhere",
    "slide",
    "pin",
    "drop",
    "repeat",
]
ACTIONS: tuple[Action, ...] = (
    "say", "say", "say", "regenerate", "edit", "edit in place", "few-shot", "new", "elsewhere", "slide",
    "pin", "drop", "repeat",
)  # fmt: skip
SPEAKERS = (None, None, "ann", "bob")
"""The end users of the clients: two of them say nothing about theirs, as behind one API key."""
WORDS = ("hi", "what?", "thanks")
REPLIES = ("hello", "sure")


@dataclass(frozen=True)
class Step:
    """One request: which client does what, and what it is answered (None: the turn fails)."""

    client: int
    action: Action
    word: str
    place: int
    other: int
    reply: str | None
    name: str | None


@dataclass
class Client:
    """An app with its own copy of the conversation."""

    speaker: str | None
    history: list[Message] = field(default_factory=list)

    def request(self, step: Step) -> list[Message]:
        """Do to the history what the step says; what is sent then."""
        getattr(self, "_" + step.action.replace("-", "_").replace(" ", "_"))(step)
        if step.action == "slide":
            return self.history[-(1 + step.other % len(self.history)) :]
        if step.action == "pin":
            start = step.place % len(self.history)
            return self.history[:start] + self.history[max(start, len(self.history) - 1 - step.other) :]
        return list(self.history)

    def hear(self, text: str) -> None:
        self.history.append(assistant(text))

    def _say(self, step: Step) -> None:
        self.history.append(user(step.word))

    _slide = _pin = _say

    def _repeat(self, step: Step) -> None:
        if not self.history:
            self._say(step)

    def _new(self, step: Step) -> None:
        self.history = [user(step.word)]

    def _few_shot(self, step: Step) -> None:
        self.history = [system("Be brief."), user("hi"), assistant("hello"), user(step.word)]

    def _elsewhere(self, step: Step) -> None:
        """Another server answered in between."""
        self.history += [user(step.word), assistant(REPLIES[step.place % 2]), user("what?")]

    def _regenerate(self, step: Step) -> None:
        while self.history and self.history[-1].role != "user":
            self.history.pop()
        self._repeat(step)

    def _edit(self, step: Step) -> None:
        asked = [i for i, m in enumerate(self.history) if m.role == "user"]
        if asked:
            self.history = self.history[: asked[step.place % len(asked)]]
        self._say(step)

    def _edit_in_place(self, step: Step) -> None:
        if self.history:
            place = step.place % len(self.history)
            self.history[place] = Message(self.history[place].role, step.word)
        self._say(step)

    def _drop(self, step: Step) -> None:
        start = step.place % (len(self.history) + 1)
        del self.history[start : start + step.other]
        self._say(step)


steps = st.lists(
    st.builds(
        Step,
        client=st.integers(0, len(SPEAKERS) - 1),
        action=st.sampled_from(ACTIONS),
        word=st.sampled_from(WORDS),
        place=st.integers(0, 7),
        other=st.integers(0, 7),
        reply=st.sampled_from((*REPLIES, *REPLIES, None)),
        name=st.sampled_from((None, None, None, "notes")),
    ),
    max_size=25,
)
"""What clients do, one after the other."""


def clients() -> list[Client]:
    return [Client(speaker) for speaker in SPEAKERS]
