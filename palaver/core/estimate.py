"""How many tokens a prompt has at the least, by its text alone.

Every tokenizer in use first cuts a text between words, numbers and signs, and merges nothing across those cuts; so
a text has at least as many tokens as such pieces. Scripts without spaces have no such cuts: there a token is taken
to hold no more characters than it does in the tokenizers that know most words of them. What may or may not reach
the model (thinking, tools, media) is not counted.

    English, most tokenizers    1.1 to 1.4 tokens a piece
    code, small vocabularies    1.3 to 3
"""

from __future__ import annotations

import re
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
"""Tokens a piece, where nothing is known of a model's own."""


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
