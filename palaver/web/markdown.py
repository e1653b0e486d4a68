"""Markdown: the blocks of a text, and each of them as HTML.

CommonMark with tables, strikethrough, task lists, formulas and bare addresses; HTML in it is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping, Sequence
from html import escape
from typing import Any

import msgspec
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore, text_join
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from palaver.web.cleaning import cleaned
from palaver.web.formulas import formulas
from palaver.web.highlighting import highlighted
from palaver.web.tex import math

NESTING = 40
"""What lies deeper in lists and quotes is shown as it was written."""
INLINE = 8_000
"""A longer paragraph is shown as it was written, but for its line breaks."""
BRACKETS = 100
"""So is one with more of them: for each that is open, the parser looks for its end anew."""

References = dict[str, Any]
"""What link reference definitions define: markdown-it's own, by label."""

_ADDRESS = re.compile(r"https?://[^\s<>\"'`{}|\\^\x00-\x1f\u2400-\u2421\u2039\u203a]+")
_PUNCTUATION = ".,;:!?*_~"
_TASK = re.compile(r"\[([ xX])\]\s+")
_LINK = re.compile(r"(?:https?://[^/]|mailto:.)", re.IGNORECASE)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A block at the top level: its lines, and what they define for links. `fence` is its first line where it is a
    block of code between fences. Without tokens it shows nothing."""

    start: int
    stop: int
    tokens: list[Token]
    references: References
    fence: bool = False

    @property
    def closing(self) -> re.Pattern[str] | None:
        """What a line begins with that may end the block of code; None where that has ended, or is none."""
        if not self.fence or self.tokens[0].content.count("\n") < self.stop - self.start - 1:
            return None
        return re.compile(r" {0,3}" + re.escape(self.tokens[0].markup[:3]))

    def in_code(self, line: int) -> bool:
        """Whether it would be within a block of code that one cut before `line`."""
        return any(
            token.type == "fence" and token.map and token.map[0] < line < token.map[1]
            for token in self.tokens
        )


def parts(lines: Sequence[str]) -> list[Part]:
    """The blocks of some lines, without what stands in them. All but the last stay the same whatever lines follow."""
    env: dict[str, Any] = {}
    tokens = _md.parse_blocks("\n".join(lines) + "\n", env)
    defined: References = env.get("references", {})
    found: list[Part] = []
    for start, stop, some in _regions(tokens, lines):
        own = {name: each for name, each in defined.items() if start <= each["map"][0] < stop}
        adjacent = found and not found[-1].tokens and found[-1].stop == start
        if adjacent:  # the title of a definition may go on over what looks like a paragraph
            before = found.pop()
            start, own = before.start, {**before.references, **own}
        is_fence = len(some) == 1 and some[0].type == "fence" and not adjacent
        found.append(Part(start=start, stop=stop, tokens=some, references=own, fence=is_fence))
    return found


def html(part: Sequence[Token], references: References, *, colours: bool = True) -> str:
    """Blocks of `parts` as HTML that can be trusted. `colours` are those of code."""
    if max((token.level for token in part), default=0) >= NESTING - 1:
        raise TooDeep
    env: dict[str, Any] = {"references": dict(references), "colours": colours}
    return cleaned(_md.rendered(part, env))


class TooDeep(Exception):
    """A block whose lists and quotes are nested so deep that a part of it would not be shown."""


class _Markdown(MarkdownIt):
    def __init__(self) -> None:
        options = {"html": False, "maxNesting": NESTING}
        super().__init__("commonmark", options, renderer_cls=_Html)
        self.enable(["table", "strikethrough"])
        self.disable(["html_block", "html_inline"])
        formulas(self)

    def validateLink(self, url: str) -> bool:
        return _LINK.match(url) is not None

    def parse_blocks(self, text: str, env: MutableMapping[str, Any]) -> list[Token]:
        tokens: list[Token] = []
        self.block.parse(text, self, env, tokens)
        return tokens

    def rendered(self, tokens: Sequence[Token], env: MutableMapping[str, Any]) -> str:
        some = list(tokens)
        for place, token in enumerate(some):
            if token.type == "inline":
                task = (
                    _TASK.match(token.content)
                    if place > 1 and some[place - 2].type == "list_item_open"
                    else None
                )
                token.children = self._inline(token.content[task.end() if task else 0 :], env)
                if task:
                    some[place - 2].attrSet("class", "task")
                    token.children.insert(0, Token("checkbox", "", 0, markup=task[1]))
        text_join(StateCore("", self, env, some))
        for token in some:
            if token.children:
                token.children = list(_linked(token.children))
        shown: str = self.renderer.render(some, self.options, env)
        return shown

    def _inline(self, text: str, env: MutableMapping[str, Any]) -> list[Token]:
        if len(text) > INLINE or text.count("[") > BRACKETS:
            return [Token("text", "", 0, content=text)]
        children: list[Token] = []
        self.inline.parse(text, self, env, children)
        return children


class _Html(RendererHTML):
    """How tokens are written where it is not CommonMark's way. Methods are found by the names of tokens."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        language = tokens[idx].info.split(maxsplit=1)[0] if tokens[idx].info.strip() else ""
        return _code(tokens[idx].content, language.strip("{}.").partition(",")[0], env)

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _code(tokens[idx].content, "", env)

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return math(tokens[idx].content, display=tokens[idx].markup in ("$$", "\\["))

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return math(tokens[idx].content, display=True)

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _anchor(str(tokens[idx].attrGet("href") or ""))

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        # A picture that were loaded would tell its server what stands in its address: it is a link, and no more.
        token = tokens[idx]
        text = self.renderInlineAsText(token.children or [], options, env).strip() or "picture"
        return f"{_anchor(str(token.attrGet('src') or ''), 'image')}{escape(text, quote=False)}</a>"

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return '<div class="table"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _cell(tokens[idx])

    td_open = th_open

    def checkbox(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        done = bool(tokens[idx].markup.strip())
        words, css = ("done", "checkbox checked") if done else ("to do", "checkbox")
        return f'<span class="{css}" role="img" aria-label="{words}"></span> '


def _code(code: str, language: str, env: Any) -> str:
    shown = highlighted(code, language) if env["colours"] else escape(code, quote=False)
    # A line break right after <pre> is none for a browser.
    return f'<figure class="code" data-language="{escape(language[:40])}"><pre><code>{shown}</code></pre></figure>\n'


def _anchor(href: str, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<a{kind} href="{escape(href)}" target="_blank">'


def _cell(token: Token) -> str:
    align = str(token.attrGet("style") or "").removeprefix("text-align:")
    return f'<{token.tag} class="align-{align}">' if align else f"<{token.tag}>"


def _linked(children: Sequence[Token]) -> Iterator[Token]:
    """The tokens of a paragraph, in which bare addresses are links."""
    inside = 0
    for token in children:
        inside += token.nesting if token.type in ("link_open", "link_close") else 0
        if token.type != "text" or inside or "://" not in token.content:
            yield token
            continue
        at, text = 0, token.content
        for found in _ADDRESS.finditer(text):
            address = _trimmed(found[0])
            if not _LINK.match(address):
                continue
            yield Token("text", "", 0, content=text[at : found.start()])
            yield Token("link_open", "a", 1, attrs={"href": address})
            yield Token("text", "", 0, content=address)
            yield Token("link_close", "a", -1)
            at = found.start() + len(address)
        yield Token("text", "", 0, content=text[at:])


def _trimmed(address: str) -> str:
    """An address without the punctuation of the sentence around it."""
    address = address.rstrip(_PUNCTUATION)
    for opening, closing in ("()", "[]"):
        bare = address.rstrip(closing + _PUNCTUATION)
        spare = address.count(closing) - address.count(opening)
        if spare > 0:
            behind = address[len(bare) :]
            kept = max(behind.count(closing) - spare, 0)
            address = bare + closing * kept
    return address


def _regions(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[tuple[int, int, list[Token]]]:
    """The blocks at the top level, and the lines between them that hold more than spaces."""
    at, some = 0, list[Token]()
    for token in tokens:
        some.append(token)
        if token.level != 0 or token.nesting > 0:
            continue
        start, stop = some[0].map or [at, at]
        while stop - 1 > start and not lines[stop - 1].strip(" \t") and some[0].type != "fence":
            stop -= 1
        yield from _between(lines, at, start)
        yield start, stop, some
        at, some = stop, []
    yield from _between(lines, at, len(lines))


def _between(lines: Sequence[str], start: int, stop: int) -> Iterator[tuple[int, int, list[Token]]]:
    filled = [line for line in range(start, stop) if lines[line].strip(" \t")]
    if filled:
        yield filled[0], filled[-1] + 1, []


_md = _Markdown()
