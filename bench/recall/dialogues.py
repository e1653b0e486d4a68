"""Long dialogues in which facts are told once, and the questions that ask for them in other words.

Everything follows from a seed. A fact is told in one of four ways: in a sentence of the user; in a bare answer to a
question that has the subject; some messages after the user said of whom it is, who is "she" by then; or by the reply.
Around it there is talk of the same person and the same subject, in which the fact is not.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Literal

import msgspec

from bench.recall import chatter
from bench.recall.facts import KINDS, Kind

Way = Literal["told", "answered", "later", "advised"]
WAYS: tuple[Way, ...] = ("told", "answered", "later")
OFTEN = (9, 6, 5)
"""How often each of these ways is taken, of 20 times."""
ASIDES, OPENED, NAMED, ECHOED, BY_ROLE = 0.5, 0.3, 0.6, 0.5, 0.25
"""Parts of the facts with an aside, with an opening before them, whose bare answer has the name, that are echoed; and
of the times that a person is not called by name."""


class Plan(msgspec.Struct, frozen=True):
    """How much is generated: so many dialogues of `least` to `most` messages, each with `facts`, and around each of
    these at most so many exchanges that only sound like it."""

    dialogues: int = 60
    least: int = 300
    most: int = 600
    facts: int = 10
    near: int = 6
    seed: int = 1


QUICK = Plan(dialogues=2, least=60, most=80, facts=4, near=2)


class Line(msgspec.Struct, frozen=True):
    """A message. `fact` is the number of the fact that it states."""

    role: Literal["user", "assistant"]
    text: str
    fact: int | None = None


class Question(msgspec.Struct, frozen=True):
    """What is asked, and the places of the messages that answer it. `value` stands in each of them."""

    text: str
    evidence: tuple[int, ...]
    value: str
    way: Way


class Dialogue(msgspec.Struct, frozen=True):
    lines: list[Line]
    questions: list[Question]


Scene = list[Line]
"""Messages that stay together: the first is the user's, the last a reply."""


def dialogues(plan: Plan) -> list[Dialogue]:
    """All of them. Each has a seed of its own, so that the first of them are the same in a plan with more."""
    return [_Writer(plan, random.Random(f"{plan.seed} {i}")).dialogue() for i in range(plan.dialogues)]


class _Person(msgspec.Struct, frozen=True):
    name: str
    role: str = ""
    pronouns: tuple[str, str] = ("she", "her")

    @property
    def in_full(self) -> str:
        return f"{self.role} {self.name}".strip()


class _Writer:
    def __init__(self, plan: Plan, draw: random.Random) -> None:
        self._plan = plan
        self._draw = draw
        women = zip(draw.sample(chatter.WOMEN, len(chatter.HER_ROLES)), chatter.HER_ROLES, strict=True)
        men = zip(draw.sample(chatter.MEN, len(chatter.HIS_ROLES)), chatter.HIS_ROLES, strict=True)
        self._people = [_Person(name, role) for name, role in women]
        self._people += [_Person(name, role, ("he", "him")) for name, role in men]
        self._others = [_Person(name) for name in chatter.OTHERS]

    def dialogue(self) -> Dialogue:
        draw, plan = self._draw, self._plan
        kinds = draw.sample(KINDS, plan.facts)
        facts = [(kind, draw.choice(self._people), draw.choice(kind.values)) for kind in kinds]
        ways = [self._way(kind) for kind in kinds]
        scenes = [self._telling(i, *fact, way) for i, (fact, way) in enumerate(zip(facts, ways, strict=True))]
        for kind, who, _ in facts:
            scenes += [self._near(kind, who) for _ in range(draw.randint(plan.near // 2, plan.near))]
        size = draw.randint(plan.least, plan.most)
        while sum(map(len, scenes)) < size:
            scenes.append(self._mention() if draw.random() < 0.4 else self._small())
        draw.shuffle(scenes)
        lines = [line for scene in scenes for line in scene]
        questions = []
        for i, ((kind, who, value), way) in enumerate(zip(facts, ways, strict=True)):
            places = tuple(place for place, line in enumerate(lines) if line.fact == i)
            questions.append(Question(self._said(kind.asks, who), places, value, way))
        return Dialogue(lines, questions)

    def _way(self, kind: Kind) -> Way:
        return "advised" if kind.advised else self._draw.choices(WAYS, OFTEN)[0]

    def _telling(self, fact: int, kind: Kind, who: _Person, value: str, way: Way) -> Scene:
        draw = self._draw
        aside = self._said([kind.aside], who) if draw.random() < ASIDES else ""
        opening, lead = self._opening(who), self._said(kind.leads, who)
        tell, bare = self._said(kind.tells, who, value), self._said(kind.bare, who, value)
        if way == "advised":
            told = self._joined(draw.choice((tell, bare)), aside, self._some(chatter.ABOUT, who, 2))
            return [Line("user", lead), Line("assistant", told, fact)]
        if way == "told":
            before = opening if draw.random() < OPENED else ""
            first = [Line("user", self._joined(before, tell, aside), fact)]
        elif way == "answered":
            asked = self._joined(draw.choice(chatter.NODS), lead)
            named = f"{_capital(self._named(who))}?" if draw.random() < NAMED else ""
            short = self._joined(named, bare, aside)
            first = [Line("user", opening), Line("assistant", asked), Line("user", short, fact)]
        else:
            tells = [each for each in kind.tells if " of {who}" not in each]
            short = self._joined(self._said(tells, who, value, she=True), aside)
            nudge = draw.choice(chatter.NUDGES)
            first = [Line("user", opening), Line("assistant", nudge), Line("user", short, fact)]
        last = self._said([kind.echo], who, value) if draw.random() < ECHOED else draw.choice(chatter.NODS)
        return [*first, self._reply(last, self._lectures([kind], 2))]

    def _near(self, kind: Kind, who: _Person) -> Scene:
        """Words of the question, but not the answer: of others mostly, in a quarter of the times of whom it asks."""
        draw = self._draw
        them = (
            [who] if draw.random() < 0.25 else [each for each in self._others + self._people if each != who]
        )
        other = draw.choice(them)
        reply = self._reply(
            self._some(chatter.ABOUT, other, 2), self._lectures([kind], 2), self._lectures(KINDS, 3)
        )
        return [Line("user", self._said(kind.near, other)), reply]

    def _mention(self) -> Scene:
        who = self._draw.choice(self._people)
        reply = self._reply(self._some(chatter.ABOUT, who, 3), self._lectures(KINDS, 2))
        return [Line("user", self._said(chatter.MENTIONS, who)), reply]

    def _small(self) -> Scene:
        draw = self._draw
        reply = self._reply(draw.choice(chatter.REPLIES), self._lectures(KINDS, 2))
        return [Line("user", draw.choice(chatter.SMALL)), reply]

    def _opening(self, who: _Person) -> str:
        return self._said(chatter.OPENINGS, who, name=who.in_full if self._draw.random() < 0.5 else None)

    def _some(self, templates: tuple[str, ...], who: _Person, most: int) -> str:
        count = self._draw.randint(0, most)
        return self._joined(*(self._said([each], who) for each in self._draw.sample(templates, count)))

    def _lectures(self, kinds: Iterable[Kind], most: int) -> str:
        sentences = [each for kind in kinds for each in kind.lectures]
        return self._joined(*self._draw.sample(sentences, self._draw.randint(0, most)))

    def _said(
        self,
        templates: Iterable[str],
        who: _Person,
        value: str = "",
        *,
        name: str | None = None,
        she: bool = False,
    ) -> str:
        """One of the sentences, with the person by name or by what they are to the user."""
        name = name or self._named(who)
        subject, object_ = who.pronouns if she else (name, name)
        words = {"who": object_, "Who": _capital(subject), "whose": f"{name}'s", "value": value}
        return _capital(self._draw.choice(list(templates)).format_map(words))

    def _named(self, who: _Person) -> str:
        return who.role if who.role and self._draw.random() < BY_ROLE else who.name

    @staticmethod
    def _joined(*parts: str) -> str:
        return " ".join(part for part in parts if part)

    def _reply(self, *parts: str) -> Line:
        return Line("assistant", self._joined(*parts) or self._draw.choice(chatter.NODS))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
