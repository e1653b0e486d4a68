"""Code in colours: spans with classes, whose colours are in ``static/code.css``."""

from __future__ import annotations

import re
import time
from functools import cache
from html import escape

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.lexers._mapping import LEXERS
from pygments.token import STANDARD_TYPES, _TokenType

LENGTH = 32_000
"""Longer code is shown without colours."""
SECONDS = 0.3
"""And so is what takes longer: patterns of some lexers look through certain code time and again."""
# Most of them look through a line only, or through spaces: what has none that is long needs no clock.
_SLOW = re.compile(r"[^\n]{1000}|\s{200}")

# The languages that are coloured, by a name that Pygments knows. It has some six hundred: of most nobody has tried
# what text without end does to them.
LANGUAGES = (
    "abap ada apl awk bash bat c clojure cmake cobol cpp csharp css cuda d dart diff docker elixir elm erlang "
    "fortran fsharp glsl go graphql groovy haskell hcl html http ini java javascript json jsx julia kotlin common-lisp "
    "lua make matlab nginx nim nix objective-c ocaml output pascal perl php powershell prolog "
    "properties protobuf python pytb pycon r racket ruby rust sass scala scheme scss sql svelte swift systemverilog "
    "tcl tex toml typescript vb.net verilog vhdl vue xml yaml zig console postgresql mysql django jinja"
)
CLASSES = frozenset(STANDARD_TYPES.values()) - {""}


def highlighted(code: str, language: str) -> str:
    """`code` as HTML, in colours where its language is known and it is not too long."""
    lexer = _lexer(language.lower()) if 0 < len(code) <= LENGTH else None
    if lexer is None or _SLOW.search(code):
        return escape(code, quote=False)
    pieces: list[str] = []
    before, run, until = "", "", time.monotonic() + SECONDS
    # Without a line break at their end comments, too, take quadratic time.
    for kind, text in lexer.get_tokens(code if code.endswith("\n") else code + "\n"):
        if time.monotonic() > until:
            return escape(code, quote=False)
        css = _class(kind)
        if css == before:
            run += text
            continue
        pieces.append(_span(before, run))
        before, run = css, text
    coloured = "".join((*pieces, _span(before, run)))
    return coloured if code.endswith("\n") else _unbroken(coloured)


def _unbroken(coloured: str) -> str:
    """Without the line break at the end, which may be within the last span."""
    before, _, behind = coloured.rpartition("\n")
    return before + behind


def _span(css: str, text: str) -> str:
    shown = escape(text, quote=False)
    return f'<span class="{css}">{shown}</span>' if css and text else shown


@cache
def _class(kind: _TokenType) -> str:
    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    found = STANDARD_TYPES.get(kind, "")
    return "" if found in ("n", "w", "p", "x", "err", "ge") else found


@cache
def _names() -> dict[str, str]:
    """Every name of a language that is coloured, with the one of ours."""
    ours = set(LANGUAGES.split())
    return {
        alias: known[0]
        for _, _, aliases, *_ in LEXERS.values()
        if (known := [alias for alias in aliases if alias in ours])
        for alias in aliases
    }


def _lexer(language: str) -> Lexer | None:
    name = _names().get(language)
    if name is None:
        return None
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)
