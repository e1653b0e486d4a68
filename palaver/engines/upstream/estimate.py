"""How many tokens a prompt has at the least, by its text alone, and about how many, by what its model counted
before. Pure.

Every tokenizer in use first cuts a text between words, numbers and signs, and merges nothing across those cuts; so
a text has at least as many tokens as such pieces. Scripts without spaces have no such cuts: there a token is taken
to hold no more characters than it does in the tokenizers that know most words of them. What may or may not reach
the model (thinking, tools, media) is not counted.

    English, most tokenizers    1.1 to 1.4 tokens a piece
    code, small vocabularies    1.3 to 3
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from palaver.core.message import Message, TextPart
from palaver.core.thinking import split_thinking

PIECE = re.compile(
    r"[A-Za-z\u0080-\u2e7f\ua4d0-\uf8ff\ufb00-\ufeff\U00010000-\U0001ffff]+(?:'[a-z]{1,2}(?![a-z]))?"
    r"|[0-9]+"
    r"|[!-/:-@\[-`{-~]{2,}"
    r"|[!-/:-@\[-`{-~](?![A-Za-z\u0080-\uffff\U00010000-\U0010ffff])"
)
"""A word (or characters whose cuts are not known), a number, a run of signs; a single sign may go with a word."""
IDEOGRAPHS = re.compile(r"([\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff])(?!\1)")
"""Characters of the scripts without spaces, one after another; of the same repeated, one."""
IDEOGRAPHS_A_TOKEN = 3.0
SAMPLED = 120_000
"""Characters of a prompt that are looked at; of a longer one so many, evenly spread."""
SLICE = 1_000

TYPICAL = 1.25
"""Tokens a piece where a model has not counted enough prompts yet."""
LOWEST, HIGHEST = 0.5, 1.35
"""What is learnt stays between these: a conversation full of rare words says nothing of the next."""
LEARNT_FROM = 16
"""The last counts of a model that are kept."""
ENOUGH = 3
"""Counts of at least so many prompts are needed to learn."""
LEAST_PIECES = 50
"""A shorter prompt says more of the template than of the tokenizer."""
MODELS_KNOWN = 256


def least_tokens(texts: Iterable[str]) -> int:
    """The least tokens that these texts together can have, in any tokenizer."""
    every = "\n".join(texts)
    if len(every) <= SAMPLED:
        return _pieces(every)
    step = SLICE * len(every) // SAMPLED
    looked = [every[at : at + SLICE] for at in range(0, len(every), step)]
    seen = sum(map(len, looked))
    pieces = sum(map(_pieces, looked)) - 2 * len(looked)  # a slice cuts a word at either end
    return max(0, int(pieces * len(every) / seen))


def _pieces(text: str) -> int:
    pieces = sum(1 for _ in PIECE.finditer(text))
    if not text.isascii():
        pieces += int(len(IDEOGRAPHS.findall(text)) / IDEOGRAPHS_A_TOKEN)
    return pieces


def texts_of(messages: Sequence[Message]) -> list[str]:
    """The texts that every template shows the model: of thinking before a reply, none."""
    texts: list[str] = []
    for message in messages:
        if isinstance(message.content, str):
            found = [message.content]
        else:
            found = [part.text for part in message.content or () if isinstance(part, TextPart)]
        if message.role == "assistant":
            found = [split_thinking(text)[1] for text in found]
        texts += found
    return texts


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
