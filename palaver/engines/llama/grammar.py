"""What a text has to be: schemas, patterns and grammars, as llama.cpp's grammar engine reads them.

llama.cpp has two of those. Its own writes schemas out as rules in the thread that computes everybody's tokens: an
enumeration of 3,000 values stops it for four seconds, a pattern of 40 characters for thirty. The other, llguidance,
has none of these troubles, but where it cannot read a grammar llama.cpp writes a line into its log and goes on
without any. So all is sent in llguidance's notation, after the same library has read it here, and the finished text
is held against it here as well.

The notation: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import Format
from palaver.core.schema_bounds import check_pattern, check_schema
from palaver.core.thinking import OPEN

HEAD = "%llguidance {}\n"
"""How llama.cpp knows the notation."""
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line, with the blanks that chat templates write: what a model wrote reads the same in its next prompt."""
LARGEST_GRAMMAR = 32 * 1024
"""In characters."""
DEEPEST_GRAMMAR = 50
"""In levels of parentheses."""
STEPS = 8
"""How far a grammar is followed where it leaves no choice."""
PLACES = {
    "json_object": "response_format.schema",
    "json_schema": "response_format.json_schema.schema",
    "regex": "response_format.pattern",
    "grammar": "response_format.grammar",
}
"""Where in a request each type of form stands."""

_GBNF_PIECE = re.compile(r'#[^\n]*|\[(?:\\.|[^\]\\])*\]|"(?:\\.|[^"\\])*"', re.DOTALL)
_SHORT_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_KEPT_ESCAPES = frozenset('"\\/bfnrtu')
_BYTES = LLTokenizer("byte")


class Grammar:
    """A language that a text has to be of. `rules` are llguidance's, without their head; the first is `start`."""

    def __init__(self, rules: str) -> None:
        self.rules = rules

    @property
    def text(self) -> str:
        """What the worker gets."""
        return HEAD + self.rules

    def check(self, param: str) -> None:
        """Raises InvalidRequest that names `param`, with what is wrong."""
        if wrong := self.fault():
            raise InvalidRequest(f"`{param}` cannot be used: {wrong}", param=param)

    def fault(self) -> str | None:
        """What is wrong with it in a line; None where it can be used."""
        try:
            said = LLMatcher.validate_grammar(self.text) or self._first_fault()
        except BaseException as error:
            # llguidance panics over some texts. Its exception derives from BaseException and has no public name.
            if type(error).__name__ != "PanicException":
                raise
            said = "it cannot be read"
        if said.startswith("NoExtension"):
            return "no text fits it."
        return _one_line(said) if said else None

    def _first_fault(self) -> str:
        """What goes wrong at the beginning of any text: some faults show only there."""
        matcher = LLMatcher(_BYTES, self.text, log_level=0)
        for _ in range(STEPS):
            matcher.compute_bitmask()
            only = matcher.compute_ff_tokens()
            if matcher.is_error() or not only or matcher.try_consume_tokens(only) < len(only):
                break
        return matcher.get_error()

    def fits(self, text: str, *, whole: bool) -> bool:
        """Whether the text is of this language; if it need not be `whole`, whether it is how one begins."""
        matcher = LLMatcher(_BYTES, self.text, log_level=0)
        raw = list(text.encode())
        return matcher.try_consume_tokens(raw) == len(raw) and (not whole or matcher.is_accepting())


def json_rule(schema: dict[str, Any], **more: bool) -> str:
    """The right side of a rule for JSON that fits the schema."""
    styled = schema | {"x-guidance": JSON_STYLE | more}
    return f"%json {msgspec.json.encode(styled).decode()}"


def form_grammar(form: Format) -> Grammar:
    """The grammar of a reply's form. Raises InvalidRequest, which names the place of what is wrong."""
    param = PLACES[form.type]
    if form.type == "regex":
        grammar = Grammar(f"start: {_regex(form.pattern or '', param)}")
    elif form.type == "grammar":
        grammar = Grammar(_from_gbnf(form.grammar or "", param))
    else:
        schema = form.schema if form.schema is not None else {}
        check_schema(schema, param)
        if form.type == "json_object":
            schema = {"type": "object"} | schema
        grammar = Grammar(f"start: {json_rule(schema)}")
    grammar.check(param)
    return grammar


def literal(text: str) -> str:
    """A text as rules write it."""
    return msgspec.json.encode(text).decode()


def nested(name: str, grammar: Grammar) -> str:
    """A grammar as one rule of another; the names of its own rules do not count there."""
    return f"{name}: %lark {{\n{grammar.rules}\n}}"


def after_thinking(start: str, rules: str, *, begun: bool) -> Grammar:
    """What `start` says, after thoughts that may come or, where the prompt had `begun` them, have to."""
    # Lazy: they are over at the first closing tag, whatever follows.
    rule = "thoughts[lazy]: /(?s:.*)<\\/think>/"
    head = f"{literal(OPEN)} thoughts LINES"
    return Grammar(
        f"start: {head if begun else f'({head})?'} ({start})\n{rule}\nLINES: /\\n{{0,2}}/\n{rules}"
    )


def _regex(pattern: str, param: str) -> str:
    """A pattern between slashes. An empty one would begin a comment."""
    check_pattern(pattern, param)
    if not pattern:
        raise InvalidRequest(f"`{param}` is empty.", param=param)
    pieces = re.findall(r"\\.|[^\\]|\\$", pattern, re.DOTALL)
    if pieces[-1] == "\\":
        raise InvalidRequest(f"`{param}` ends in a lone backslash.", param=param)
    written = {"/": "\\/", "\n": "\\n", "\r": "\\r", "\\\n": "\\n"}
    return "/" + "".join(written.get(piece, piece) for piece in pieces) + "/"


def _from_gbnf(grammar: str, param: str) -> str:
    if len(grammar) > LARGEST_GRAMMAR:
        raise InvalidRequest(
            f"`{param}` has {len(grammar)} characters; a grammar may have {LARGEST_GRAMMAR}.", param=param
        )
    depth = 0
    for bracket in re.findall(r"[()]", _GBNF_PIECE.sub("", grammar)):
        depth += 1 if bracket == "(" else -1
        if depth > DEEPEST_GRAMMAR:
            raise InvalidRequest(f"`{param}` is nested more than {DEEPEST_GRAMMAR} levels deep.", param=param)
    try:
        rules = gbnf_to_lark(_GBNF_PIECE.sub(_as_json_text, grammar))
    except Exception as error:  # the library's own class, and plain ones for missing and repeated rules
        raise InvalidRequest(
            f"`{param}` is no grammar in GBNF: {_one_line(str(error))}", param=param
        ) from error
    return rules.removeprefix(HEAD).lstrip("\n")


def _as_json_text(match: re.Match[str]) -> str:
    """A quoted text of GBNF with JSON's escapes, which are the only ones that llguidance knows there."""
    piece = match[0]
    return _SHORT_ESCAPE.sub(_as_json_escape, piece) if piece.startswith('"') else piece


def _as_json_escape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        point = int(code[1:], 16)
        return literal(chr(point))[1:-1] if point < 0x110000 and not 0xD800 <= point < 0xE000 else match[0]
    return match[0] if code in _KEPT_ESCAPES else code


def _one_line(text: str) -> str:
    """The first lines of what llguidance says, without the grammar that it quotes after them."""
    said = [line.strip() for line in text.split("\n   1 | ")[0].splitlines()]
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(line for line in said if line))[:500]
