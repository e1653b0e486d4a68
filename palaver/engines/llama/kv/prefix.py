"""What a prompt begins with, so that two can be compared without asking a tokenizer.

A prompt is taken apart into what stands before its messages and the messages, each with a hash. Two prompts begin
alike as far as their hashes do. That is an estimate: templates may move or drop things. Nothing but the choice of a
slot depends on it, for llama.cpp compares the tokens themselves before it reuses any.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import msgspec

DIGEST = 12
"""Bytes of a hash."""
PIECE = 512
"""Characters of a text without messages that have a hash of their own."""
NOT_OF_THE_BEGINNING = frozenset(
    {"messages", "add_generation_prompt", "continue_final_message", "tool_choice"}
)

_encode = msgspec.json.Encoder(order="sorted").encode


class Prefix(msgspec.Struct, frozen=True, dict=True):
    """The hashes of a prompt's parts, in their order, and how many bytes each part has.

    >>> one, two = (Prefix.of_text(1100 * "a" + end) for end in ("b", "c"))
    >>> one.size, one.shared(two), one.begins(two), Prefix().begins(two)
    (1101, 1024, False, True)
    """

    digests: tuple[bytes, ...] = ()
    sizes: tuple[int, ...] = ()

    @classmethod
    def of_parts(cls, parts: Sequence[bytes]) -> Prefix:
        return cls(
            tuple(blake2b(part, digest_size=DIGEST).digest() for part in parts), tuple(map(len, parts))
        )

    @classmethod
    def of_prompt(cls, fields: dict[str, Any]) -> Prefix:
        """Of the fields that a worker makes a prompt of."""
        before = {name: value for name, value in fields.items() if name not in NOT_OF_THE_BEGINNING}
        return cls.of_parts([_encode(before), *(_encode(message) for message in fields["messages"])])

    @classmethod
    def of_text(cls, text: str | Sequence[Any]) -> Prefix:
        """Of a text, or of tokens and texts, that are gone on with as they stand."""
        cuts = range(0, len(text) + PIECE, PIECE)
        pieces = [text[start:end] for start, end in pairwise(cuts)]
        return cls.of_parts([p.encode() if isinstance(p, str) else _encode(p) for p in pieces if p])

    @cached_property
    def size(self) -> int:
        return sum(self.sizes)  # once: each turn compares its prompt with every snapshot

    def shared(self, other: Prefix) -> int:
        """How many bytes both begin with."""
        alike = 0
        for size, mine, theirs in zip(self.sizes, self.digests, other.digests, strict=False):
            if mine != theirs:
                break
            alike += size
        return alike

    def share(self, other: Prefix, tokens: int) -> int:
        """About how many of this prompt's `tokens` both begin with.

        >>> Prefix.of_parts([b"ab", b"cd"]).share(Prefix.of_parts([b"ab", b"x"]), 10)
        5
        """
        return tokens * self.shared(other) // self.size if self.size else 0

    def begins(self, other: Prefix) -> bool:
        """Whether the other begins with all of this."""
        return other.digests[: len(self.digests)] == self.digests
