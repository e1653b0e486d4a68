"""Tokens a piece (`palaver.core.estimate`), for each model of a server: learnt from what it counted."""

from __future__ import annotations

from collections import OrderedDict, deque

from palaver.core.estimate import TYPICAL

LOWEST, HIGHEST = 0.5, 1.35
"""What is learnt stays between these: a conversation full of rare words says nothing of the next."""
LEARNT_FROM = 16
"""The last counts of a model that are kept."""
ENOUGH = 3
"""Counts of at least so many prompts are needed to learn."""
LEAST_PIECES = 50
"""A shorter prompt says more of the template than of the tokenizer."""
MODELS_KNOWN = 256


class Ratios:
    """Tokens a piece, for each model of a server: learnt from what it counted. At most `MODELS_KNOWN` models."""

    def __init__(self) -> None:
        self._counted: OrderedDict[str, deque[float]] = OrderedDict()

    def typical(self, model: str) -> float:
        """About how many tokens a piece has: the middle of what was counted, so that one odd count is nothing."""
        counted = sorted(self._counted.get(model, ()))
        if len(counted) < ENOUGH:
            return TYPICAL
        return min(max(counted[len(counted) // 2], LOWEST), HIGHEST)

    def is_learnt(self, model: str) -> bool:
        return len(self._counted.get(model, ())) >= ENOUGH

    def learn(self, model: str, pieces: int, tokens: int) -> None:
        """A prompt of so many pieces was counted as so many tokens."""
        if pieces < LEAST_PIECES:
            return
        self._counted.setdefault(model, deque(maxlen=LEARNT_FROM)).append(tokens / pieces)
        self._counted.move_to_end(model)
        if len(self._counted) > MODELS_KNOWN:
            self._counted.popitem(last=False)
