"""TeX as MathML."""

from __future__ import annotations

import re
from html import escape, unescape
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element

LENGTH = 4_000
"""Longer formulas stay as their source."""
DEPTH = 40
"""And so do those whose braces and environments lie deeper in one another."""

# What the converter knows by another name, or not at all.
_ALIASES = {
    "aligned": "split",
    "alignedat": "split",
    "gathered": "split",
    "gather": "split",
    "gather*": "split",
    "multline": "split",
    "multline*": "split",
    "dcases": "cases",
}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-z]+\*?)\}")
# A macro may stand for many others: what it grows to is not bounded.
_MACROS = re.compile(
    r"\\(?:[exg]?def|let|(?:re)?newcommand|providecommand|newenvironment|DeclareMathOperator)\b"
)


def math(source: str, *, display: bool) -> str:
    """A formula as MathML, beside its source in `data-tex`; one that cannot be read as its source. Never raises."""
    tex = source.strip()
    kind = "math display" if display else "math"
    try:
        shown = _mathml(tex, display)
    except Exception:  # it raises what it likes, KeyError and RecursionError too
        shown = f"<code>{escape(source.strip(), quote=False)}</code>"
    return f'<span class="{kind}" data-tex="{escape(tex)}">{shown}</span>'


def _mathml(tex: str, display: bool) -> str:
    if not tex or len(tex) > LENGTH or _depth(tex) > DEPTH or _MACROS.search(tex):
        raise ValueError
    tree = convert_to_element(_ENVIRONMENT.sub(_known, tex), display="block" if display else "inline")
    for each in tree.iter():
        _amend(each)
    return tostring(tree, encoding="unicode")


def _amend(element: Element) -> None:
    # The converter writes entities as text, and text as it is: both are escaped once it is serialised.
    element.text = unescape(element.text) if element.text else element.text
    if align := element.attrib.pop("columnalign", None):
        element.set("class", f"align-{align.split()[0]}" if align.strip() else "")


def _known(found: re.Match[str]) -> str:
    which, name = found[1], found[2]
    if name in ("equation", "equation*", "math", "displaymath"):
        return ""
    return f"\\{which}{{{_ALIASES.get(name, name)}}}"


def _depth(tex: str) -> int:
    deepest = depth = 0
    for found in re.finditer(r"\\.|[{}]", tex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        deepest = max(deepest, depth)
    return max(deepest, tex.count("\\left"), tex.count("\\begin"), tex.count("\\sqrt") // 4)
