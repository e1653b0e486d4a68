"""Whether and how much a model thinks, in the words of its chat template.

Templates know of thinking in one of three ways: a switch that they read, tags that the model writes by itself, or
not at all. How much is a word for some; for the others it is a number of tokens, after which the worker closes the
thoughts.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.parameters import Parameters
from palaver.core.thinking import OPEN
from palaver.engines.llama.tools import Escape, escaped

SWITCHES = ("enable_thinking", "thinking")
"""What templates call the switch: Qwen's and GLM's, and DeepSeek's and Granite's."""
EFFORT = "reasoning_effort"
BUDGETS = {"minimal": 512, "low": 2048, "medium": 8192}
"""Tokens of thoughts where a template does not know of efforts; what is not here has no end set."""
EFFORTS = frozenset({"none", "high", "xhigh", "max", *BUDGETS})
OWN_NAMES = frozenset(
    {"messages", "tools", "documents", "chat_template", "add_generation_prompt", "bos_token", "eos_token"}
)
"""What a template gets from the worker itself."""
CHANNEL = "<|channel|>"
"""Marks the parts of a reply for models that write all of it in parts (gpt-oss)."""
FINAL = CHANNEL + "final<|message|>"
"""Begins the part that is the reply's text."""


def reads(template: str, name: str) -> bool:
    """Whether a template's code reads a variable of this name."""
    code = " ".join(re.findall(r"\{[{%].*?[%}]\}", template, re.DOTALL))
    return re.search(rf"(?<![\w.'\"]){name}\b(?!['\"])", code) is not None


class Thinks(msgspec.Struct, frozen=True):
    """What a chat template knows of thinking.

    `switches` are the names under which it reads whether to, `tags` whether thoughts stand in ``<think>``,
    `effort` whether it reads how much, `in_parts` whether replies have named parts.
    """

    switches: tuple[str, ...] = ()
    tags: bool = False
    effort: bool = False
    in_parts: bool = False

    @classmethod
    def of(cls, template: str) -> Thinks:
        """
        >>> Thinks.of("{% if enable_thinking is false %}<think></think>{% endif %}").switches
        ('enable_thinking',)
        """
        return cls(
            tuple(name for name in SWITCHES if reads(template, name)),
            OPEN in template or "</think>" in template,
            reads(template, EFFORT),
            CHANNEL in template,
        )

    @property
    def at_all(self) -> bool:
        return bool(self.switches or self.tags or self.effort or self.in_parts)

    def fields(self, parameters: Parameters, escape: Escape) -> dict[str, Any]:
        """The worker's fields for what was asked for.

        Raises UnsupportedParameter for what this model cannot do, InvalidRequest for names in
        `chat_template_kwargs` that are no client's.
        """
        fields: dict[str, Any] = {}
        named = _kwargs(parameters.chat_template_kwargs or {}, escape)
        wanted = self.wanted(parameters)
        if wanted is not None:
            named = dict.fromkeys(self.switches, wanted) | named
        effort = parameters.reasoning_effort
        if effort not in (None, "none"):
            fields |= self._effort(effort)
        if wanted is False and self.effort and not self.switches:
            raise UnsupportedParameter("This model always thinks.", param="reasoning")
        if named:
            fields["chat_template_kwargs"] = named
        return fields

    def wanted(self, parameters: Parameters) -> bool | None:
        """Whether thinking was asked for; None leaves it to the model. Raises UnsupportedParameter."""
        name, wanted = "reasoning", parameters.reasoning
        if wanted is None and parameters.reasoning_effort == "none":
            name, wanted = EFFORT, False
        if wanted and not self.at_all:
            raise UnsupportedParameter("This model does not think before it answers.", param=name)
        if wanted is False and self.at_all and not self.switches:
            raise UnsupportedParameter("This model always thinks: it has no setting for that.", param=name)
        return wanted

    def _effort(self, effort: str | None) -> dict[str, Any]:
        if effort not in EFFORTS:
            known = ", ".join(sorted(EFFORTS))
            raise InvalidRequest(f"`{EFFORT}` must be one of {known}, not {effort!r}.", param=EFFORT)
        if self.effort:
            return {EFFORT: effort}
        if not self.at_all:
            raise UnsupportedParameter("This model does not think before it answers.", param=EFFORT)
        return {"reasoning_budget_tokens": BUDGETS[effort]} if effort in BUDGETS else {}


def _kwargs(named: dict[str, Any], escape: Escape) -> dict[str, Any]:
    if taken := OWN_NAMES.intersection(named):
        name = min(taken)
        raise InvalidRequest(
            f"`chat_template_kwargs` may not hold `{name}`: that comes from elsewhere in the request.",
            param=f"chat_template_kwargs.{name}",
        )
    try:
        filled: dict[str, Any] = escaped(named, escape)
    except RecursionError:
        raise InvalidRequest(
            "`chat_template_kwargs` is nested too deeply.", param="chat_template_kwargs"
        ) from None
    for name in SWITCHES:
        if not isinstance(filled.get(name, True), bool):
            param = f"chat_template_kwargs.{name}"
            raise InvalidRequest(f"`{param}` must be true or false.", param=param)
    return filled
