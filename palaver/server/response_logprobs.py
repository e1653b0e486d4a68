"""Log probabilities of a response's tokens, as the Responses API has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palaver.core.turn import TokenLogprob, TopLogprob
from palaver.server.completion_logprobs import finite


def response_logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """One for each token. The API always has bytes: where the engine does not tell them, they are the text's."""
    return [{**_shown(token), "top_logprobs": [_shown(top) for top in token.top]} for token in tokens]


def _shown(token: TopLogprob) -> dict[str, Any]:
    known = token.bytes if token.bytes is not None else list(token.token.encode())
    return {"token": token.token, "bytes": known, "logprob": finite(token)}
