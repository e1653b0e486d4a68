"""Which parameters of chat completions are known here but not honoured, and what becomes of them.

A parameter that is known and cannot be honoured is an error that names it, never silently dropped: whoever
sets it relies on it. Only values that change nothing are let through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palaver.core.errors import UnsupportedParameter
from palaver.core.turn import Sampling
from palaver.engines.base import SAMPLING
from palaver.server.body import plain

WITHOUT_EFFECT: Mapping[str, str] = {
    "compliance": "nothing leaves this server",
    "parallel_tool_calls": "there are no tools yet",
    "prompt_cache_options": "prompts are cached anyway",
    "prompt_cache_retention": "prompts are cached anyway",
    "service_tier": "there is one",
    "stream_options": "usage always comes with the last chunk",
    "verbosity": "models here have no such setting",
}
"""Accepted with any value, and why it makes no difference."""

NO_THINKING = {"enabled": False}
"""The one setting of `reasoning` that is honoured: an answer without thinking first."""

ONLY: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "chat_template_kwargs": ({},),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "reasoning": ({}, NO_THINKING),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "safety_model": (),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Known, and not possible yet: accepted as null and with these values, which ask for nothing."""

NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "top_p": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
"""Values of sampling parameters that change nothing, so that an engine need not honour the parameter."""


def unknown_parameters(
    fields: Mapping[str, msgspec.Raw], known: frozenset[str], max_depth: int
) -> dict[str, Any]:
    """Those parameters of a request that palaver does not know.

    Raises UnsupportedParameter for one that it knows and cannot honour, InvalidRequest for one that nests
    deeper than `max_depth`.
    """
    unknown: dict[str, Any] = {}
    for name, raw in fields.items():
        if name in known or name in WITHOUT_EFFECT:
            continue
        value = plain(name, raw, max_depth)
        if name in ONLY:
            _check_asks_for_nothing(name, value)
        else:
            unknown[name] = value
    return unknown


def _check_asks_for_nothing(name: str, value: Any) -> None:
    allowed = ONLY[name]
    # 1 == True and 0 == False in Python; in JSON they are not the same.
    if value is None or any(type(value) is type(each) and value == each for each in allowed):
        return
    others = "".join(f" or {msgspec.json.encode(each).decode()}" for each in allowed)
    raise UnsupportedParameter(
        f"`{name}` is not supported yet: leave it out, or send null{others}.", param=name
    )


def check_sampling(sampling: Sampling, capabilities: frozenset[str], model: str) -> Sampling:
    """The sampling as an engine with these capabilities takes it. Raises UnsupportedParameter."""
    dropped: dict[str, None] = {}
    for name in sorted(SAMPLING - capabilities):
        value = getattr(sampling, name)
        if value is not None and value not in NEUTRAL.get(name, ()):
            raise UnsupportedParameter(f"The model {model} does not support `{name}`.", param=name)
        dropped[name] = None
    return msgspec.structs.replace(sampling, **dropped)
