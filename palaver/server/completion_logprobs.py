"""Log probabilities in the two shapes that are about: OpenAI's and Together's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from palaver.core.turn import TokenLogprob, TopLogprob

LogprobShape = Literal["openai", "together"]
IMPOSSIBLE = -9999.0
"""OpenAI's value for what is so unlikely that it has no number; JSON knows no infinity."""


class TopToken(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None


class ShownToken(msgspec.Struct, frozen=True):
    """A token of the reply. `bytes` is its UTF-8, null where the engine does not tell it; `top_logprobs` are the
    likeliest ones in its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopToken]


class Logprobs(msgspec.Struct, frozen=True, kw_only=True):
    """In OpenAI's shape `content` and `refusal`; in Together's the lists, one entry a token.

    Together's `top_logprobs` has room for one token's alternatives, the first one's; where they were asked for,
    `content` holds them all, here too.
    """

    content: list[ShownToken] | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    tokens: list[str] | UnsetType = UNSET
    token_logprobs: list[float] | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET
    top_logprobs: dict[str, float] | UnsetType = UNSET


def shown_logprobs(tokens: Sequence[TokenLogprob], shape: LogprobShape) -> Logprobs:
    """Those of a whole reply, or in OpenAI's shape of a piece of it."""
    if shape == "openai":
        return Logprobs(content=[_shown(token) for token in tokens], refusal=None)
    ids = [token.id for token in tokens if token.id is not None]
    has_tops = any(token.top for token in tokens)
    return Logprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=[finite(token) for token in tokens],
        token_ids=ids if len(ids) == len(tokens) else UNSET,
        top_logprobs=tops_by_token(tokens[0]) if has_tops else UNSET,
        content=[_shown(token) for token in tokens] if has_tops else UNSET,
    )


def tops_by_token(token: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens in the place of one, as Together has them."""
    return {top.token: finite(top) for top in token.top}


def token_pieces(text: str, tokens: Sequence[TokenLogprob]) -> list[tuple[str, TokenLogprob]]:
    """A piece of text cut into its tokens; where they do not make it up, all of it comes with the last one."""
    if "".join(token.token for token in tokens) == text:
        return [(token.token, token) for token in tokens]
    return [*(("", token) for token in tokens[:-1]), (text, tokens[-1])]


def together_piece(text: str, token: TokenLogprob) -> dict[str, Any]:
    """One token as Together streams it: a choice's fields besides its index."""
    delta: dict[str, Any] = {"role": "assistant", "content": text}
    if token.id is not None:
        delta["token_id"] = token.id
    piece: dict[str, Any] = {"delta": delta, "logprobs": finite(token)}
    if token.top:
        piece["top_logprobs"] = tops_by_token(token)
    return piece


def _shown(token: TokenLogprob) -> ShownToken:
    tops = [TopToken(top.token, finite(top), top.bytes) for top in token.top]
    return ShownToken(token.token, finite(token), token.bytes, tops)


def finite(token: TopLogprob) -> float:
    """A token's log probability as JSON can say it."""
    return max(token.logprob, IMPOSSIBLE)
