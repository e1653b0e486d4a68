"""Calls of tools that a reply has to make, or may make in place of a text of a given form.

llama.cpp knows `tool_choice` "required", but lets the model talk first for as long as it likes, and knows no choice
of one tool. So the reply is begun for the model, with what its chat template writes before a call, and a grammar
leaves open only what comes then: which tool, and arguments that fit its schema.

    <|im_start|>assistant\\n<tool_call>\\n{"name": "get_weather", "arguments": {"city": "Oslo"}
    |------ opening -----||------ before --------||-- name --||-- between --||-- arguments --|

How a template writes a call is found out by having the worker render one, and looking what is new in the prompt.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import NamedTool, Tool, ToolChoice
from palaver.core.schema_bounds import check_schema
from palaver.core.turn import ToolCallDelta
from palaver.engines.llama.grammar import Grammar, json_rule, literal
from palaver.engines.llama.tools import NO_ARGUMENTS

PROBE, MARK = "n4me_0f_4_t00l", "m4rk"
"""A tool and an argument of it that stand in no template."""
_TOKEN = re.compile(r"<[^<>\s]+>|\[[A-Z_]+\]")
"""How a token looks that must not be cut in two."""


class CallForm(msgspec.Struct, frozen=True):
    """How a chat template writes a call. `opening` begins the message, `before` is what comes only before a call;
    `special` are the model's tokens that are never text, with their numbers."""

    opening: str
    before: str
    between: str
    special: Mapping[str, int] = {}

    def rule(self, text: str) -> str:
        """A text that may hold special tokens, for a grammar of the worker's."""
        pieces = [piece for piece in self._pieces(text) if piece]
        return " ".join(
            f"<[{self.special[piece]}]>" if piece in self.special else literal(piece) for piece in pieces
        )

    def visible(self, text: str) -> str:
        """What is seen of a text that the model writes: special tokens are not."""
        return "".join(piece for piece in self._pieces(text) if piece not in self.special)

    def _pieces(self, text: str) -> list[str]:
        tokens = sorted((token for token in self.special if token and token in text), key=len, reverse=True)
        return re.split("(" + "|".join(map(re.escape, tokens)) + ")", text) if tokens else [text]


def call_form(without: str, text: str, call: str, special: Mapping[str, int]) -> CallForm | None:
    """The form of a call, from three prompts: without a reply, with a text for one, and with a call.

    None where calls are not written as a name and then one JSON object.
    """
    if not call.startswith(without):
        return None
    written, marked, _ = call[len(without) :].partition(f'"{MARK}"')
    written, brace, inside = written.rpartition("{")
    if not marked or not brace or inside.strip() or written.count(PROBE) != 1:
        return None
    head, _, between = written.partition(PROBE)
    same = _same(head, text[len(without) :])
    for token in _TOKEN.finditer(head):
        if token.start() < same < token.end():
            same = token.start()
    return CallForm(head[:same], head[same:], between, special)


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning."""
    differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


class ToolRules(msgspec.Struct, frozen=True):
    """Calls of some tools as rules: `rules` for the worker, `seen` for what is seen of it.

    `heads` are the names of the tools by what is seen before their arguments. `warnings` tell of what a schema asks
    for in vain.
    """

    rules: str
    seen: str
    heads: dict[str, str]
    warnings: list[str]

    def reader(self, *, texts: bool = False) -> CallReader:
        """`texts` says that the reply may be a text, too."""
        return CallReader(self.heads, texts)


def forced_tools(choice: ToolChoice | None, tools: Sequence[Tool]) -> list[tuple[int, Tool]]:
    """The tools of which one has to be called, with their numbers in the request; none where none has to be.

    Raises InvalidRequest where the tool that is asked for is not among them.
    """
    if choice == "required":
        if not tools:
            raise InvalidRequest(
                "`tool_choice` requires a call, but there are no tools.", param="tool_choice"
            )
        return list(enumerate(tools))
    if isinstance(choice, NamedTool):
        found = [(number, tool) for number, tool in enumerate(tools) if tool.name == choice.name]
        if not found:
            raise InvalidRequest(
                f"`tool_choice` names the tool {choice.name!r}, which is not among the tools.",
                param="tool_choice",
            )
        return found[:1]
    return []


def tool_rules(form: CallForm, tools: Sequence[tuple[int, Tool]], before: str, *, named: bool) -> ToolRules:
    """The rule `calls`: one call of one of these tools. `before` is what the model has to write before a name; a
    tool that is `named` stands in the prompt already.

    Raises InvalidRequest for a schema that cannot be kept to, with its place.
    """
    warnings: list[str] = []
    rules, heads, seen_heads = [], {}, []
    for i, (number, tool) in enumerate(tools):
        head = "" if named else before + tool.name + form.between
        heads[form.visible(head)] = tool.name
        seen_heads.append((form.visible(head), f"arguments{i}"))
        rules.append((form.rule(head), f"arguments{i}", _arguments(number, tool, warnings)))
    arguments = "".join(f"\n{name}: {rule}" for _, name, rule in rules)
    sent = " | ".join(f"{head} {name}" for head, name, _ in rules)
    seen = " | ".join(f"{literal(head) if head else ''} {name}" for head, name in seen_heads)
    return ToolRules(f"calls: {sent}{arguments}", f"calls: {seen}{arguments}", heads, warnings)


def _arguments(number: int, tool: Tool, warnings: list[str]) -> str:
    """The rule of a tool's arguments. Where a schema has keywords that cannot be kept to, only a tool with `strict`
    is refused."""
    param = f"tools[{number}].function.parameters"
    schema = arguments_schema(tool, param)
    rule = json_rule(schema)
    fault = Grammar(f"start: {rule}").fault()
    if fault is None:
        return rule
    if not tool.strict:
        loose = json_rule(schema, lenient=True, coerce_one_of=True)
        if Grammar(f"start: {loose}").fault() is None:
            warnings.append(f"The arguments of {tool.name} may not fit its schema in everything: {fault}")
            return loose
    raise InvalidRequest(f"`{param}` cannot be kept to: {fault}", param=param)


def arguments_schema(tool: Tool, param: str) -> dict[str, Any]:
    """The schema of a tool's arguments: of an object, and where it lists properties and says nothing of others,
    without others. Raises InvalidRequest."""
    schema = tool.parameters or NO_ARGUMENTS
    check_schema(schema, param)
    if schema.get("type", "object") != "object":
        raise InvalidRequest(f"`{param}` must be the schema of an object.", param=f"{param}.type")
    closed = {"additionalProperties": False} if _is_plain(schema) else {}
    return {"type": "object"} | closed | schema


def _is_plain(schema: dict[str, Any]) -> bool:
    others = (
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "patternProperties",
        "unevaluatedProperties",
        "minProperties",
    )
    return "properties" in schema and not any(keyword in schema for keyword in others)


def new_call_id() -> str:
    """An id that no other call has: models have none, and the worker's are of its own form."""
    return "call_" + secrets.token_hex(12)


class CallReader:
    """Makes a call of the text that the model writes; where `texts` may come too, what is no call is one.

    Arguments begin with a brace, so that a name is not taken for a longer one.
    """

    def __init__(self, heads: Mapping[str, str], texts: bool) -> None:
        self._heads = {head + "{": name for head, name in heads.items()}
        self._texts = texts
        self._held = ""
        self._is_text = False
        self.called = False

    def feed(self, text: str) -> Iterator[ToolCallDelta | str]:
        """A piece of the call, or of a text."""
        if self.called:
            yield ToolCallDelta(0, arguments=text)
        elif self._is_text:
            yield text
        else:
            self._held += text
            yield from self._decide()

    def end(self) -> Iterator[str]:
        """What was held back and came to be no call."""
        if self._texts and self._held and not self.called:
            yield self._held
            self._held = ""

    def _decide(self) -> Iterator[ToolCallDelta | str]:
        for head, name in self._heads.items():
            if self._held.startswith(head):
                self.called = True
                yield ToolCallDelta(0, new_call_id(), name, self._held[len(head) - 1 :])
                return
        if self._texts and not any(head.startswith(self._held) for head in self._heads):
            self._is_text = True
            held, self._held = self._held, ""
            yield held
