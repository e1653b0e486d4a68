"""Formulas in Markdown: ``$…$``, ``$$…$$``, ``\\(…\\)`` and ``\\[…\\]``.

A block of them ends with its closing mark or with a blank line, whichever is first, and begins by its first line alone:
so a block that has ended stays what it is, whatever follows.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

INLINE = 1_000
"""How far the end of a formula within a line is looked for."""

_CLOSING = {"$$": "$$", "\\[": "\\]"}
_TEX = re.compile(r"[\\^_={}+<>*/]|^\s*[A-Za-z]\s*$")
"""What tells a formula in ``\\[…\\]`` from words in brackets that are none of a link."""


def formulas(md: MarkdownIt) -> None:
    """Have `md` read formulas, as tokens `math_inline` and `math_block`; `markup` is what they began with."""
    md.inline.ruler.before("escape", "math_inline", _inline)
    alt = ["paragraph", "reference", "blockquote", "list"]
    md.block.ruler.before("fence", "math_block", _block, {"alt": alt})


def _inline(state: StateInline, silent: bool) -> bool:
    src, start = state.src, state.pos
    if src[start] == "$":
        mark = "$$" if src.startswith("$$", start) else "$"
        stop = _dollar(src, start, state.posMax) if mark == "$" else src.find("$$", start + 2, start + INLINE)
        closing = mark
    elif src[start : start + 2] in ("\\(", "\\["):
        mark, closing = src[start : start + 2], "\\)" if src[start + 1] == "(" else "\\]"
        stop = src.find(closing, start + 2, start + INLINE)
    else:
        return False
    content = src[start + len(mark) : stop]
    if stop < 0 or stop + len(closing) > state.posMax or not content.strip():
        return False
    if mark == "\\[" and not _TEX.search(content):
        return False
    if not silent:
        token = state.push("math_inline", "", 0)
        token.content, token.markup = content, mark
    state.pos = stop + len(closing)
    return True


def _dollar(src: str, start: int, end: int) -> int:
    """Where the formula that begins with a dollar sign ends; -1 where it is money, or the name of a variable."""
    if (start > 0 and (src[start - 1].isalnum() or src[start - 1] == "$")) or src[
        start + 1 : start + 2
    ].isspace():
        return -1
    stop = start
    while (stop := src.find("$", stop + 1, min(end, start + INLINE))) >= 0:
        before, after = src[stop - 1], src[stop + 1 : stop + 2]
        if before == "\\":
            continue
        if before.isspace() or after.isalnum() or after == "$" or stop == start + 1:
            return -1
        return stop
    return -1


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.is_code_block(start):
        return False
    first = _line(state, start)
    opening = first[:2]
    if opening not in _CLOSING:
        return False
    closing, content = _CLOSING[opening], first[2:]
    closed = content.find(closing)
    # What goes on behind the formula, or holds none, is a paragraph like any other.
    if closed >= 0 and (content[closed + 2 :].strip() or not content[:closed].strip()):
        return False
    if closed >= 0 and opening == "\\[" and not _TEX.search(content[:closed]):
        return False
    if silent:
        return True
    line, inner, behind = start, [content[:closed] if closed >= 0 else content], ""
    while closed < 0 and line + 1 < end and not state.isEmpty(line + 1):
        if state.sCount[line + 1] < state.blkIndent:
            break
        line += 1
        text = _line(state, line)
        closed = text.find(closing)
        inner.append(text if closed < 0 else text[:closed])
        behind = text[closed + 2 :].strip() if closed >= 0 else ""
    state.line = line + 1
    if closed >= 0 and behind in ("", ".", ",", ";"):
        token = state.push("math_block", "", 0)
        token.content, token.markup, token.map = "\n".join(inner) + behind, opening, [start, line + 1]
    else:  # no formula after all, or one among words
        words = "\n".join(_line(state, each) for each in range(start, line + 1))
        _paragraph(state, words, [start, line + 1])
    return True


def _paragraph(state: StateBlock, content: str, lines: list[int]) -> None:
    state.push("paragraph_open", "p", 1).map = lines
    token = state.push("inline", "", 0)
    token.content, token.map, token.children = content, lines, []
    state.push("paragraph_close", "p", -1)


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
