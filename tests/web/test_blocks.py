"""Blocks of Markdown: what each becomes, what gets in, where they are cut, and the one in the making."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.web.rendering import CODE, PROSE, Rendering, render


def inner(html: str) -> str:
    """What stands in the blocks of some HTML."""
    return re.sub(
        r'<div class="block"[^>]*>(.*?)</div>(?=<div class="block"|$)', r"\1", html, flags=re.DOTALL
    )


def streamed(pieces: Sequence[str]) -> tuple[list[tuple[int, str]], str]:
    """The finished blocks of a text that came in pieces, with those of the end; and all of them, joined."""
    rendering = Rendering()
    finished = []
    for piece in pieces:
        finished += [(block.index, block.html) for block in rendering.feed(piece)]
        _ = rendering.open
    final = dict(finished)
    final.update((block.index, block.html) for block in rendering.end())
    assert sorted(final) == list(range(len(final)))
    return finished, "".join(final[index] for index in sorted(final))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# Hi *there*", "<h1>Hi <em>there</em></h1>\n"),
        ("~~gone~~", "<p><s>gone</s></p>\n"),
        (
            "- [ ] a\n- [x] b",
            '<li class="task"><span class="checkbox" role="img" aria-label="to do"></span> a</li>',
        ),
        ("|a|b|\n|:-:|--:|\n|1|2|", '<td class="align-center">1</td>\n<td class="align-right">2</td>'),
        (
            "[a](https://b.example/c?d=1&e=2)",
            '<a href="https://b.example/c?d=1&amp;e=2" target="_blank" rel="noopener noreferrer nofollow">a</a>',
        ),
        ("See https://a.example/b_(c).", '<a href="https://a.example/b_(c)" target="_blank"'),
        ("(https://a.example)", ">https://a.example</a>)"),
        ("`https://a.example`", "<p><code>https://a.example</code></p>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>'),
        ("```c++ title=x\na\n```", '<figure class="code" data-language="c++"><pre><code>'),
        ("    a <b>", '<figure class="code" data-language=""><pre><code>a &lt;b&gt;\n</code></pre></figure>'),
    ],
)
def test_markdown_is_shown(text: str, html: str) -> None:
    assert html in inner(render(text))


def test_code_is_coloured_by_classes() -> None:
    html = render("```py\ndef f(): return 1\n```")
    assert '<span class="k">def</span> <span class="nf">f</span>' in html
    assert "style=" not in html


@pytest.mark.parametrize(
    "text",
    [
        "$x^2$ and $$y$$",
        r"\(x^2\)",
        "\\[\n\\frac{1}{2}\n\\]",
        "a:\n$$\nx\n$$\nb",
        "$$\nx\n$$ where it is known",
        "- a\n\n  $$\n  x\n  $$\n",
        "$$\n\\begin{aligned} a &= 1 \\\\ b &= 2 \\end{aligned}\n$$",
    ],
)
def test_formulas_are_mathml(text: str) -> None:
    html = render(text)
    assert "<math" in html
    assert "data-tex=" in html
    assert "$" not in inner(html)


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10.",
        "US$5 or A$7",
        "from $5-$10",
        "the variables $HOME and $PATH",
        r"\[see below\]",
        r"`$x$` and `\(y\)`",
        "$$",
    ],
)
def test_money_and_names_are_no_formulas(text: str) -> None:
    assert "<math" not in render(text)


@pytest.mark.parametrize(
    "tex", [r"\frac", "{" * 3000, r"\def\a{\a\a}\a", "x" * 5000, r"\left(" * 100, "a_b_c", "&&&"]
)
def test_a_formula_that_cannot_be_read_is_its_source(tex: str) -> None:
    html = render(f"$$\n{tex}\n$$")
    assert tex[:50].replace("&", "&amp;") in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onclick='x'>b</b>\n\n<div style='color:red'>\n\n<style>*{}</style>",
        "[a](javascript:alert(1))",
        "[a](java&#10;script:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](vbscript:x)",
        "[a](/v1/conversations) [b](#x) [c](//evil.example) [d](file:///etc/passwd)",
        "<javascript:alert(1)>",
        "![a](javascript:alert(1)) ![b](data:image/svg+xml,x)",
        "[a]: javascript:alert(1)\n\n[a]",
        '```"><img/src=x>\na\n```',
        "```x\n</code></pre></figure><script>alert(1)</script>\n```",
        r"$\text{<img src=x onerror=alert(1)>}$ $\href{javascript:alert(1)}{x}$ $\text{</math><script>1</script>}$",
        r"$\text{&lt;script&gt;}$ $\class{evil}{x}$ $\style{color:red}{x}$ $\unicode{x3c}script>$",
        '[a](https://a.example "<script>")',
        "|<script>|\n|---|\n|<img src=x>|",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ],
)
def test_nothing_runs_and_nothing_is_loaded(text: str) -> None:
    html = render(text)
    tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z][^\s>/]*)", html)}
    assert not tags & {
        "script",
        "style",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "meta",
        "base",
        "form",
        "svg",
        "input",
    }
    for tag in re.findall(r"<[^>]*>", html):
        names = re.findall(r'\s([a-zA-Z:-]+)="', tag)
        assert not [
            name
            for name in names
            if name.startswith("on") or name in ("style", "src", "id", "srcset", "formaction")
        ]
        for address in re.findall(r'href="([^"]*)"', tag):
            assert re.match(r"(?:https?://[^/]|mailto:)", address), address


def test_pictures_of_replies_are_links() -> None:
    html = render("![a cat](https://cats.example/?q=secret) ![](https://b.example)")
    assert "<img" not in html
    assert '<a class="image" href="https://cats.example/?q=secret" target="_blank"' in html
    assert ">a cat</a>" in html
    assert ">picture</a>" in html


def test_what_a_reader_would_not_see_is_shown() -> None:
    html = render("a\x00b\x1bc\x7fd\x85e\u202ef\u2066g")
    assert "a\u2400b\u241bc\u2421d\ufffde\u2039U+202E\u203af\u2039U+2066\u203ag" in html
    assert "a\u2400b" in render("```\na\x00b\n```")


def test_blocks_say_where_their_source_is() -> None:
    text = "# 😀 a\r\n\r\n\r\nb\nc\n\n[x]: https://a.example\n\n```\nd\n```\n"
    html = render(text)
    units = text.encode("utf-16-le")
    places = [(int(a), int(b)) for a, b in re.findall(r'data-start="(\d+)" data-stop="(\d+)"', html)]
    shown = [units[a * 2 : b * 2].decode("utf-16-le") for a, b in places]
    assert shown == ["# 😀 a\r\n", "b\nc\n", "```\nd\n```\n"]


BITS = st.sampled_from(
    ["\n", "\n", "\n\n", " ", "  ", "    ", "a", "b c", "- ", "1. ", "2) ", "> ", "# ", "```", "```py\n", "~~~\n", "$",
     "$$", "\\[", "\\]", "\\(", "\\)", "*", "**", "_", "`", "|", "|-|-|\n", "a|b\n", "---\n", "===\n", "[x]", "[x]:\n",
     "'t\n", "[x]: https://a.example\n", "[y]: <https://b.example> 'u'\n", "[y]", "!", "(https://c.example)",
     "\\", "&amp;", "<b>", "😀", "\r\n", "\r", "\t", "- [x] ", "***\n", "+ ",
     "\x00", "\u202e", "https://d.example/", "~~"]
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["~~~\n~~~\na\n", "$$\n$$|-|-|\n|-|-|\n", "[x]: https://a.example\n'ti\ntle'\n[x]\n\nb", "a|b\n-|-\nc"],
)
def test_pieces_of_these_make_no_difference(text: str) -> None:
    finished, whole = streamed(text)
    assert whole == render(text)
    assert finished == streamed([text])[0]


@settings(max_examples=300, deadline=None)
@given(bits=st.lists(BITS, max_size=40), data=st.data())
def test_pieces_make_no_difference(bits: list[str], data: st.DataObject) -> None:
    text = "".join(bits)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    finished, whole = streamed(pieces)
    assert whole == render(text)
    assert finished == streamed([text])[0]
    by_one, whole = streamed(text)
    assert whole == render(text)
    assert by_one == finished


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pieces_of_what_is_cut_make_no_difference(data: st.DataObject) -> None:
    bits = st.sampled_from(
        [
            "- item\n",
            "word " * 30 + "\n",
            "```\n",
            "```py\nx = 1\n",
            "> quote\n",
            "\n",
            "   more\n",
            "x" * 999,
            "a|b\n",
        ]
    )
    text = "".join(
        bit * data.draw(st.sampled_from([1, 7, 400, 4000])) for bit in data.draw(st.lists(bits, max_size=5))
    )
    finished, whole = streamed([text[at : at + 5000] for at in range(0, len(text), 5000)])
    assert whole == render(text)
    assert finished == streamed([text])[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(BITS, max_size=30))
def test_the_block_in_the_making_is_safe_and_no_error(bits: list[str]) -> None:
    rendering = Rendering()
    for bit in bits:
        rendering.feed(bit)
        block = rendering.open
        assert block is None or block.html.startswith('<div class="block" data-start="')
        assert block is None or "<b>" not in block.html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a **bold", "<p>a <strong>bold</strong></p>"),
        ("a `code", "<p>a <code>code</code></p>"),
        ("```py\ndef f", '<figure class="code" data-language="py"><pre><code>def f'),
        ("Such as:\n-", "<p>Such as:</p>"),
        ("Such as:\n- ", "<p>Such as:</p>"),
        ("a\n\n1.", "<p>a</p>"),
    ],
)
def test_what_has_begun_is_shown_as_if_it_were_closed(text: str, shown: str) -> None:
    rendering = Rendering()
    rendering.feed(text)
    block = rendering.open
    assert block is not None
    assert shown in block.html


def test_a_finished_block_of_code_differs_in_colours_only() -> None:
    rendering = Rendering()
    rendering.feed("```py\nx = 'a'\n")
    before = rendering.open
    after = [*rendering.feed("```\n"), *rendering.end()]
    assert before is not None
    bare = re.sub(r"</?span[^>]*>| data-stop=\"\d+\"", "", after[0].html)
    assert before.html.replace("\n</div>", "</div>") == bare.replace("\n</div>", "</div>")


def test_long_blocks_are_cut() -> None:
    lists = render("- one *two*\n" * 5000)
    assert len(re.findall('<div class="block"', lists)) > 60_000 // PROSE
    assert lists.count("<em>two</em>") == 5000
    code = render("```py\n" + "x = 'a'\n" * 20_000 + "```\nafter\n")
    assert len(re.findall("<figure", code)) >= 160_000 // CODE
    assert code.count("x = 'a'\n") == 20_000
    assert "<p>after</p>" in code


def test_what_is_too_deep_is_shown_as_it_was_written() -> None:
    assert '<pre class="plain">' in render("> " * 60 + "end\n")
    assert "end" in render("".join("  " * depth + "- x\n" for depth in range(60)) + "end")
