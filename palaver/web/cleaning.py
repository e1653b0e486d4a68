"""What may stand in HTML that was made of a reply. The last step of all: nothing reaches a browser that is not here."""

from __future__ import annotations

import nh3

from palaver.web.highlighting import CLASSES

_MATH = (
    "math mrow mi mn mo mtext mspace ms mfrac msqrt mroot mstyle merror mpadded mphantom menclose msub msup msubsup "
    "munder mover munderover mmultiscripts mprescripts none mtable mtr mtd"
)
_HTML = (
    "a blockquote br code del div em figure h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead "
    "tr ul"
)
_MATH_ATTRIBUTES = {
    "accent",
    "accentunder",
    "columnspacing",
    "columnlines",
    "display",
    "displaystyle",
    "fence",
    "form",
    "frame",
    "height",
    "depth",
    "linebreak",
    "linethickness",
    "lspace",
    "rspace",
    "mathvariant",
    "maxsize",
    "minsize",
    "movablelimits",
    "notation",
    "rowlines",
    "rowspacing",
    "scriptlevel",
    "separator",
    "stretchy",
    "symmetric",
    "voffset",
    "width",
    "xmlns",
}
_ALIGNED = {"align-left", "align-center", "align-right"}

_cleaner = nh3.Cleaner(
    tags={*_HTML.split(), *_MATH.split()},
    clean_content_tags={"script", "style"},
    attributes={
        "a": {"href", "target"},
        "div": {"data-start", "data-stop"},
        "figure": {"data-language"},
        "ol": {"start"},
        "span": {"aria-label", "role", "data-tex"},
        **dict.fromkeys(_MATH.split(), _MATH_ATTRIBUTES),
    },
    allowed_classes={
        "a": {"image"},
        "div": {"block", "table"},
        "figure": {"code"},
        "li": {"task"},
        "mtd": _ALIGNED,
        "pre": {"plain"},
        "span": {"math", "display", "checkbox", "checked", *CLASSES},
        "td": _ALIGNED,
        "th": _ALIGNED,
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    strip_comments=True,
)


def cleaned(html: str) -> str:
    """`html` without all that is not allowed."""
    return _cleaner.clean(html)
