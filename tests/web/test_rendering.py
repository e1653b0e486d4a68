"""Markdown as HTML that can be trusted: what it looks like, that pieces do not matter, that nothing gets in."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.web.rendering import Rendering, render
from tests.page.script import ATTACK, BROKEN, MARKDOWN

HOSTILE = [
    "[" * 50_000,
    "*a `" * 20_000,
    ">" * 5_000 + " deep",
    "".join(" " * (2 * n) + "- x\n" for n in range(400)),
    "$" * 20_000,
    "`" * 20_000,
    "<" * 50_000,
    "|" + " a |" * 2_000 + "\n|" + "---|" * 2_000 + "\n|" + " b |" * 2_000,
    "![" * 20_000,
    "a**b" * 20_000,
    "$\\frac{" * 3_000 + "$",
    "$$" + "{" * 5_000 + "x" + "}" * 5_000 + "$$",
    "a" * 1_000_000,
    "&" * 50_000,
    "[a](" * 20_000,
    "```\n" + "x" * 500_000,
]


class Tags(HTMLParser):
    """Which tags there are, with which attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def inner(text: str) -> str:
    """The HTML of the blocks alone."""
    return re.sub(r'<div class="block"[^>]*>|\n</div>(?=<div class="block|$)', "", render(text)).strip()


def is_harmless(html: str) -> None:
    found = Tags(html)
    assert not found.tags & {
        "script",
        "style",
        "iframe",
        "img",
        "svg",
        "object",
        "form",
        "input",
        "link",
        "base",
    }
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name not in ("style", "src", "srcdoc", "id", "name")
        if name in ("href", "xlink:href"):
            assert value.startswith(("http://", "https://", "mailto:"))


def told(text: str, pieces: list[str]) -> tuple[list[str], str]:
    """The finished blocks of a text that comes in these pieces, and all of it at its end."""
    rendering = Rendering()
    blocks = [block for piece in pieces for block in rendering.feed(piece)]
    final = {block.index: block.html for block in blocks}
    final |= {block.index: block.html for block in rendering.end()}
    return [block.html for block in blocks], "".join(final[index] for index in sorted(final))


def test_what_people_write_is_shown() -> None:
    html = render(MARKDOWN)
    for part in (
        "<h1>Rye bread</h1>",
        "<strong>dense</strong>",
        "<em>caraway</em>",
        "<code>salt</code>",
        "<s>sugar</s>",
    ):
        assert part in html
    assert 'class="align-right"' in html
    assert '<figure class="code" data-language="python">' in html
    assert '<span class="k">def</span>' in html
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert "<blockquote>" in html
    is_harmless(html)


@pytest.mark.parametrize(
    ("text", "has_math"),
    [
        ("It costs $5 and $10.", False),
        ("$x$ is", True),
        ("\\(x\\) is", True),
        ("\\[x\\]", True),
        ("$$x$$", True),
        ("`$x$`", False),
        ("a $ b $ c", False),
    ],
)
def test_money_is_no_mathematics(text: str, has_math: bool) -> None:
    assert ("<math" in render(text)) is has_math


@pytest.mark.parametrize(
    "tex", ["\\frac{1", "\\nosuchcommand{x}", "{{{{", "\\left(", "^^^", "\\begin{matrix} a"]
)
def test_bad_tex_is_shown_as_it_is_or_as_far_as_it_goes(tex: str) -> None:
    html = render(f"Before ${tex}$ after.")
    assert "Before" in html
    assert "after." in html
    is_harmless(html)


def test_raw_html_is_text_and_links_go_nowhere_bad() -> None:
    html = render(ATTACK)
    is_harmless(html)
    assert "&lt;script&gt;window.attacked = 1" in html
    html = render("[a](https://example.org) [b](javascript:alert(1)) ![c](https://example.org/x.png)")
    assert 'href="https://example.org" target="_blank" rel="noopener noreferrer nofollow"' in html
    assert "javascript:" not in html.replace("[b](javascript:alert(1))", "")
    assert "<img" not in html
    assert "https://example.org/x.png" in html


def test_control_characters_and_reversed_text_are_visible() -> None:
    html = render(BROKEN)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html.replace("\r", ""))
    is_harmless(html)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_nothing_takes_for_ever(number: int) -> None:
    text = HOSTILE[number]
    html = render(text)
    is_harmless(html)
    assert len(html) < 20 * len(text) + 1000
    rendering = Rendering()
    for start in range(0, len(text), 5000):
        rendering.feed(text[start : start + 5000])
    assert rendering.open is None or len(rendering.open.html) < 20 * len(text) + 1000


def test_where_blocks_come_from_is_told_as_javascript_counts() -> None:
    text = "# 🥖 bread\n\nA loaf.\n"
    starts = [(int(a), int(b)) for a, b in re.findall(r'data-start="(\d+)" data-stop="(\d+)"', render(text))]
    units = text.encode("utf-16-le")
    sources = [units[2 * a : 2 * b].decode("utf-16-le").strip() for a, b in starts]
    assert sources == ["# 🥖 bread", "A loaf."]


def test_a_definition_that_comes_last_changes_what_it_defines() -> None:
    text = "See [the recipe][r].\n\nMore.\n\n[r]: https://example.org\n"
    rendering = Rendering()
    first = rendering.feed(text)[0]
    assert "href" not in first.html
    again = {block.index: block.html for block in rendering.end()}
    assert "https://example.org" in again[first.index]


LINES = st.sampled_from(
    ["# Title", "text *of* it", "- item", "  - inner", "1. one", "```python", "```", "    code", "> quote", "| a | b |",
     "|---|---:|", "$$", "x^2", "---", "===", "", "", "[r]: https://example.org", "see [r]", "~~~", "<b>x</b>", "é🥖"]
)  # fmt: skip


@given(st.lists(LINES, max_size=25), st.data())
def test_pieces_do_not_matter(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    finished, whole = told(text, pieces)
    assert whole == render(text)
    assert finished == told(text, list(text))[0]
    is_harmless(whole)


@given(st.text(max_size=300))
def test_any_text_is_harmless(text: str) -> None:
    is_harmless(render(text))


@given(st.lists(LINES, max_size=20))
def test_the_open_block_is_harmless_at_any_time(lines: list[str]) -> None:
    rendering = Rendering()
    for line in lines:
        rendering.feed(line + "\n")
        if rendering.open is not None:
            is_harmless(rendering.open.html)
