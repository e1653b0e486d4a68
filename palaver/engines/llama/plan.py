"""What the worker is asked for one reply, and how its answer is to be read.

    no tools          the format, if there is one, is a grammar; a model that thinks may think before it
    tools, "none"     the same, with the tools in the prompt
    tools, "auto"     the worker finds calls in what the model says; with a format the grammar says: that, or a call
    a forced call     the reply is begun and a grammar leaves open the rest (`calls`); where the model's template
                      writes calls in another way, the worker's own "required"

A reply with a grammar is asked for as the continuation of a text, the prompt: the worker's chats take a text apart
by rules of their own, and break off where one does not follow them.

Everything that a request may have wrong is found here, before anything is sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from palaver.core.errors import UnsupportedParameter
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.thinking import CLOSE, OPEN
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama.calls import CallForm, ToolRules, forced_tools, tool_rules
from palaver.engines.llama.counting import countable
from palaver.engines.llama.gguf import Gguf
from palaver.engines.llama.grammar import Grammar, after_thinking, form_grammar, nested
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.prompt import PREFILL, chat_messages, escaper, sampling_fields
from palaver.engines.llama.thinking import FINAL, Thinks, reads
from palaver.engines.llama.tools import tool_fields
from palaver.engines.llama.weight import check_weight

DATE_STRING, DATE = "date_string", "%d %b %Y"
"""What templates (Llama's) call the day that they tell the model, and how they write it. Left to themselves they tell
the day it is, and at midnight no prompt begins as before."""
BROKEN_UP = "control tokens of this model in the text of messages were broken up"
NO_TOOLS = "This model has no tools: its chat template does not show them."


class Plan(msgspec.Struct, kw_only=True):
    """`prompt` are the fields of which the worker makes the prompt, `fields` the others.

    `way` says how it is sent: as a ``chat``, as the text of its prompt, ``rendered``, with `tail` after it, or as a
    ``text`` that was given. With a `start` the reply is held to that, which the rules `sent` define for the worker,
    and `seen` for what is seen of the reply. Its text is a call where `calls` know it for one, and may be another
    where `texts` may come too. With `thoughts` it may think first. `one_call` ends a reply after its first call.
    `thinks` says whether thoughts are counted, `stops` whether a text may end anywhere.
    """

    prompt: dict[str, Any]
    fields: dict[str, Any] = {}
    way: Literal["chat", "rendered", "text"] = "chat"
    tail: str = ""
    start: str = ""
    sent: str = ""
    seen: str = ""
    calls: ToolRules | None = None
    texts: bool = False
    thoughts: bool = False
    one_call: bool = False
    thinks: bool = False
    stops: bool = False
    top: int | None = None
    warnings: list[str] = []

    @property
    def prefix(self) -> Prefix:
        """What the prompt begins with."""
        if self.way == "text":
            return Prefix.of_text(self.prompt["prompt"])
        return Prefix.of_prompt(self.prompt)

    @property
    def checked(self) -> Grammar | None:
        """What the finished text is held against."""
        return Grammar(f"start: {self.start}\n{self.seen}") if self.start else None

    def grammar(self, *, begun: bool) -> Grammar | None:
        """What the worker holds the reply to; `begun` says that the template begins thoughts.

        Raises UnsupportedParameter where those could not be told from the reply.
        """
        if not self.start:
            return None
        if self.thoughts:
            return after_thinking(self.start, self.sent, begun=begun)
        if begun:
            raise UnsupportedParameter(
                "This model always thinks first and takes no `response_format`.", param="response_format"
            )
        return Grammar(f"start: {self.start}\n{self.sent}")


class Planner:
    """Makes plans for one model."""

    def __init__(self, model: Gguf) -> None:
        self.model = model
        self.escape = escaper(model.control_tokens)
        self.thinks = Thinks.of(model.chat_template)
        self.has_tools = reads(model.chat_template, "tools")
        self._has_date = reads(model.chat_template, DATE_STRING)

    def prompt(self, window: Window, options: Options) -> dict[str, Any]:
        """The fields of a prompt without a call that is forced.

        Raises UnsupportedParameter and InvalidRequest.
        """
        if window.tools and not self.has_tools:
            raise UnsupportedParameter(NO_TOOLS, param="tools")
        messages = chat_messages(window.messages, self.escape, tools=self.has_tools)
        fields: dict[str, Any] = {"messages": messages}
        if window.tools:
            fields["tools"] = tool_fields(window.tools, self.escape)
        if options.prefill:
            fields |= PREFILL
        fields |= self.thinks.fields(options.parameters, self.escape)
        if self._has_date and window.epoch_began is not None:
            day = time.strftime(DATE, time.localtime(window.epoch_began))
            fields["chat_template_kwargs"] = {DATE_STRING: day} | fields.get("chat_template_kwargs", {})
        return fields

    def marks(self, window: Window) -> list[str]:
        """What the receipt is to say of how this model is shown the messages."""
        texts = (countable(message, lambda text: text) for message in window.messages)
        return [BROKEN_UP] if any(self.escape(text) != text for text in texts) else []

    def plan(self, window: Window, options: Options, form: CallForm | None) -> Plan:
        """The plan of a reply. `form` is that of the model's calls, where it is asked for and there is one.

        Raises UnsupportedParameter and InvalidRequest.
        """
        parameters = options.parameters
        plan = Plan(
            prompt=self.prompt(window, options),
            fields=sampling_fields(parameters, self.model.vocabulary),
            thinks=self.thinks.at_all,
            stops=bool(parameters.stop),
            top=parameters.logprobs,
        )
        grammar = form_grammar(parameters.format) if parameters.format is not None else None
        forced = forced_tools(parameters.tool_choice, window.tools)
        if forced and form is not None:
            self._force(plan, forced, form, prefill=options.prefill)
        elif window.tools:
            self._offer(plan, window.tools, parameters)
        if plan.calls is None and parameters.format is not None and grammar is not None and not forced:
            self._hold(plan, grammar, parameters, options)
            if plan.prompt.get("tool_choice") == "auto":
                self._allow_calls(plan, window.tools, form)
        _add_logprobs(plan, window.tools)
        if plan.thinks or plan.one_call:
            plan.fields["timings_per_token"] = True  # to count what there was so far
        return plan

    def _force(
        self, plan: Plan, forced: Sequence[tuple[int, Tool]], form: CallForm, *, prefill: bool
    ) -> None:
        """The reply is a call: of the only tool, or of one of several."""
        named = len(forced) == 1
        plan.calls = tool_rules(form, forced, "", named=named)
        plan.tail = ("" if prefill else form.opening) + form.before
        if named:
            plan.tail += forced[0][1].name + form.between
        plan.prompt |= {"tool_choice": "none"} | ({} if prefill else {"add_generation_prompt": False})
        plan.start, plan.sent, plan.seen = "calls", plan.calls.rules, plan.calls.seen
        plan.warnings += plan.calls.warnings
        plan.way = "rendered"
        plan.fields.pop("stop", None)  # that is for the text of a reply
        plan.stops = False

    def _offer(self, plan: Plan, tools: Sequence[Tool], parameters: Parameters) -> None:
        """The worker finds the calls, or sees to it that there is one."""
        choice = parameters.tool_choice
        forced = forced_tools(choice, tools)
        plan.prompt["tool_choice"] = "required" if forced else choice or "auto"
        if choice == "none":
            return
        plan.one_call = parameters.parallel_tool_calls is False
        if isinstance(choice, NamedTool):
            plan.prompt["tools"] = [plan.prompt["tools"][number] for number, _ in forced]
            plan.one_call = True
        if parameters.format is None or forced:
            check_weight(tools)

    def _hold(self, plan: Plan, grammar: Grammar, parameters: Parameters, options: Options) -> None:
        """The reply's text has a form."""
        if options.prefill:
            raise _unsupported("cannot go on with a reply that has one")
        if self.thinks.in_parts:
            if FINAL not in self.model.chat_template or self.thinks.wanted(parameters):
                raise _unsupported("has replies with parts of their own")
            plan.tail = FINAL
        plan.start, plan.way = "form", "rendered"
        plan.sent = plan.seen = nested("form", grammar)
        visible = not {OPEN, CLOSE} & set(self.model.special_tokens)
        plan.thoughts = self.thinks.tags and visible and self.thinks.wanted(parameters) is not False
        if budget := plan.prompt.get("reasoning_budget_tokens"):
            plan.fields |= {
                "reasoning_budget_tokens": budget,
                "reasoning_budget_start_tag": OPEN,
                "reasoning_budget_end_tags": [CLOSE],
                "reasoning_budget_message": "",
            }

    def _allow_calls(self, plan: Plan, tools: Sequence[Tool], form: CallForm | None) -> None:
        """The reply may be a call in place of a text of its form."""
        if form is None or plan.tail:
            raise _unsupported("cannot keep to one while it may call tools (send a `tool_choice` of none)")
        plan.prompt["tool_choice"] = "none"  # the prompt is the same
        plan.calls = tool_rules(form, list(enumerate(tools)), form.before, named=False)
        plan.warnings += plan.calls.warnings
        plan.start = "form | calls"
        plan.sent += "\n" + plan.calls.rules
        plan.seen += "\n" + plan.calls.seen
        plan.texts = True
        plan.one_call = False


def _unsupported(reason: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"This model takes no `response_format` here: it {reason}.", param="response_format"
    )


def _add_logprobs(plan: Plan, tools: Sequence[Tool]) -> None:
    if plan.top is None:
        return
    if plan.calls is not None or (tools and plan.way == "chat"):
        raise UnsupportedParameter("This model tells no `logprobs` where there are tools.", param="logprobs")
    # Asked for none at each place it tells nothing at all.
    asked = max(plan.top, 1)
    plan.fields |= {"logprobs": asked} if plan.way != "chat" else {"logprobs": True, "top_logprobs": asked}


def text_plan(prompt: str | list[Any], parameters: Parameters, form: Format | None, vocabulary: int) -> Plan:
    """The plan of a text that is gone on with as it stands. Raises InvalidRequest."""
    plan = Plan(
        prompt={"prompt": prompt},
        fields=sampling_fields(parameters, vocabulary),
        way="text",
        stops=bool(parameters.stop),
        top=parameters.logprobs,
    )
    if form is not None:
        plan.start = "form"
        plan.sent = plan.seen = nested("form", form_grammar(form))
    _add_logprobs(plan, ())
    return plan
