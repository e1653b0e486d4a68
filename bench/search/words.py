"""What is said and looked for in this benchmark: words as often as in real text, drawn alike in every run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

VOCABULARY = 30_000
OPENINGS = ("b", "br", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
CLOSINGS = ("", "", "n", "r", "s", "l", "m")
QUESTION, REPLY = 35, 105
"""Words of a message on the mean; the two make a turn of 0.8 kB."""
MIDDLE = (150, 10_000)
"""The ranks of the words that people look for: neither what stands in every sentence nor what stands nowhere else."""
MOST_WORDS = 5
PHRASE = (2, 3)


def vocabulary() -> list[str]:
    """Words that can be said, the most frequent first; no two are alike."""
    syllables = ["".join(parts) for parts in itertools.product(OPENINGS, VOWELS, CLOSINGS)]
    some = random.Random(1)
    some.shuffle(syllables)
    two = (a + b for a, b in itertools.product(syllables, syllables))
    return list(itertools.islice(dict.fromkeys(two), 0, VOCABULARY * 7, 7))


class Talk:
    """Draws texts by Zipf's law, the nth word a nth as often as the first, and queries from these texts."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._words = vocabulary()
        self._ranks = {word: rank for rank, word in enumerate(self._words, 1)}
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def text(self, mean: int) -> str:
        """A message of about so many words; most are shorter, a few are much longer."""
        count = max(3, min(mean * 8, int(self._random.expovariate(1 / mean))))
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=count))

    def turns(self) -> Iterator[tuple[str, str]]:
        """Questions with their replies, without end."""
        while True:
            yield self.text(QUESTION), self.text(REPLY)

    def words_of(self, text: str) -> str:
        """A query of some words that somebody remembers of a text."""
        told = [word for word in dict.fromkeys(text.split()) if MIDDLE[0] <= self._ranks[word] <= MIDDLE[1]]
        count = self._random.randint(1, MOST_WORDS)
        return " ".join(self._random.sample(told, min(count, len(told))) or [self._words[MIDDLE[0]]])

    def phrase_of(self, text: str) -> str:
        """A query of some words of a text as they follow each other, in quotes."""
        words = text.split()
        count = min(len(words), self._random.choice(PHRASE))
        start = self._random.randint(0, len(words) - count)
        return f'"{" ".join(words[start : start + count])}"'

    def one_of(self, texts: list[str]) -> str:
        return self._random.choice(texts)
