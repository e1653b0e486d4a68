"""What an examination finds. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Word = Literal["ok", "note", "broken"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at: ``ok``, a ``note`` worth knowing, or ``broken``.

    `what` is a word for the part it is about, `text` what was found, `do` what can be done about it.
    """

    word: Word
    what: str
    text: str
    do: str = ""


def ok(what: str, text: str) -> Finding:
    return Finding("ok", what, text)


def note(what: str, text: str, do: str = "") -> Finding:
    return Finding("note", what, text, do)


def broken(what: str, text: str, do: str) -> Finding:
    return Finding("broken", what, text, do)
