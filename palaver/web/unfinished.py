"""The end of a text that is still coming: what has begun is shown as if it were closed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from palaver.web import markdown
from palaver.web.lines import plain

_MARK = re.compile(r"\s*(?:[-+*_=#>~`$|:]+|\d{1,9}[.)]?|\\|[-*+] \[[ xX]?\]?)[ \t]*")
_CODE = re.compile(r"(?<!`)(`+)(?!`)")


def is_mark(line: str) -> bool:
    """Whether this beginning of a line may be a mark of what it becomes, as ``-`` of an item or of a heading."""
    return bool(line) and _MARK.fullmatch(line) is not None


def html(lines: Sequence[str], references: markdown.References) -> str:
    """Lines that are the block in the making as HTML, without colours."""
    found = markdown.parts(lines)
    tokens = [token for part in found for token in part.tokens]
    known = dict(references)
    for part in found:
        known = {**part.references, **known}
    last = next((token for token in reversed(tokens) if token.nesting >= 0), None)
    if last is not None and last.type == "inline":
        last.content = closed(last.content)
    try:
        return markdown.html(tokens, known, colours=False)
    except markdown.TooDeep:
        return plain(lines)


def closed(text: str) -> str:
    """`text` with the code or the strong words closed that it ends in."""
    mark, bare, at = "", list[str](), 0
    for found in _CODE.finditer(text):
        if not mark:
            mark = found[1]
            bare.append(text[at : found.start()])
        elif found[1] == mark:
            mark, at = "", found.end()
    if mark:
        return text if text.endswith(mark) else text.rstrip() + mark
    bare.append(text[at:])
    words = text.rstrip()
    is_open = sum(part.count("**") for part in bare) % 2 == 1
    return words + "**" if is_open and not words.endswith("**") else text
