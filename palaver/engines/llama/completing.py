"""Texts that are gone on with, as they stand: no template, no tools, no thoughts.

Unlike in a chat, control tokens in the text act: whoever completes texts writes the template himself.
"""

from __future__ import annotations

from typing import Any

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.parameters import Parameters
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.plan import Plan, text_plan


def completion_plan(prompt: str | list[int], suffix: str | None, parameters: Parameters, model: Gguf) -> Plan:
    """Raises InvalidRequest for tokens that the model has not and a format that cannot be kept to,
    UnsupportedParameter for a suffix where it knows no gaps."""
    if isinstance(prompt, list):
        check_tokens(prompt, model.vocabulary, "prompt")
    given = prompt if suffix is None else _with_gap(prompt, suffix, model)
    return text_plan(given, parameters, parameters.format, model.vocabulary)


def check_tokens(tokens: list[int], vocabulary: int, param: str) -> None:
    """Raises InvalidRequest for one that the model has not, and where there are none."""
    if not tokens:
        raise InvalidRequest(f"`{param}` is empty.", param=param)
    for token in tokens:
        if token < 0 or (vocabulary and token >= vocabulary):
            raise InvalidRequest(
                f"`{param}` holds the token {token}; this model has {vocabulary}, numbered from 0.",
                param=param,
            )


def _with_gap(prompt: str | list[int], suffix: str, model: Gguf) -> list[Any]:
    """The beginning and the end of a text around a gap, as models that were trained to fill one read it."""
    if model.gap_tokens is None:
        raise UnsupportedParameter("This model cannot fill a gap before a `suffix`.", param="suffix")
    before, end, gap = model.gap_tokens
    beginning = prompt if isinstance(prompt, list) else [prompt]
    return [before, *beginning, end, suffix, gap]
