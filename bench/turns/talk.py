"""What is said in this benchmark: sentences out of a few patterns, drawn by a seed, so that every run says the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

SHORTEST = 5
"""Words of a text, at least."""
QUESTION, REPLY = 34, 54
"""Words that are aimed at, at most; a text ends with the sentence that reaches its aim."""
SENTENCES = (
    "My name is {name}.",
    "I live in {city} with {name}.",
    "My {pet} is called {name}, and it likes {food}.",
    "On {day} I am going to {city} for {number} days.",
    "{name} wants to know what there is to see in {city}.",
    "Do you remember what I told you about {city}?",
    "I had {food} on {day}, and it was {mood}.",
    "Where does {name} live?",
    "Please put {food} and {food} on my list.",
    "What is the capital of the country that {city} is in?",
    "The code of my {thing} is {number}{number}.",
    "I think that {day} was {mood}, but {name} does not agree with me at all.",
    "Tell me something about the {pet}.",
    "Actually, I lost my {thing} in {city} on {day}, and {name} found it again.",
    "How are you today?",
)
WORDS = {
    "name": ("Anna", "Bruno", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kira", "Liam"),
    "city": ("Paris", "Rome", "Berlin", "Madrid", "Vienna", "Oslo", "Lisbon", "Prague", "Cairo", "Tokyo", "Lima"),
    "pet": ("cat", "dog", "horse", "parrot", "rabbit", "turtle", "owl", "fox", "goat", "otter"),
    "food": ("apples", "bread", "cheese", "rice", "soup", "pears", "noodles", "olives", "cake", "beans"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "mood": ("good", "bad", "cold", "long", "quiet", "fun", "strange", "lovely"),
    "thing": ("bike", "key", "phone", "bag", "locker", "umbrella", "camera"),
    "number": ("12", "27", "31", "45", "58", "63", "74", "86", "99"),
}  # fmt: skip


def questions(seed: int) -> Iterator[str]:
    """What the user says, without end."""
    return _texts(random.Random(f"questions {seed}"), QUESTION)


def replies(seed: int) -> Iterator[str]:
    """What a model without weights answers."""
    return _texts(random.Random(f"replies {seed}"), REPLY)


def _texts(draw: random.Random, most: int) -> Iterator[str]:
    while True:
        yield _text(draw, draw.randint(SHORTEST, most))


def _text(draw: random.Random, words: int) -> str:
    said: list[str] = []
    while sum(len(sentence.split()) for sentence in said) < words:
        said.append(draw.choice(SENTENCES).format_map(_Drawn(draw.choice)))
    return " ".join(said)


class _Drawn(dict[str, str]):
    """A word for each place of a pattern, drawn anew for each."""

    def __init__(self, choice: Callable[[tuple[str, ...]], str]) -> None:
        super().__init__()
        self._choice = choice

    def __missing__(self, place: str) -> str:
        return self._choice(WORDS[place])
