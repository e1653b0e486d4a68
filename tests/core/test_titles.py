"""Titles as models say them, and what of that is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.titles import TITLE_CHARACTERS, shortened, title_in

TITLE = "A weekend in Rome"


@pytest.mark.parametrize(
    "answer",
    [
        TITLE,
        f'"{TITLE}."',
        f"\n  {TITLE}  \n",
        f"**{TITLE}**",
        f"# {TITLE}",
        f"Title: {TITLE}",
        f'**Title:** "{TITLE}"',
        f"Here is a title:\n\n{TITLE}.",
        f"{TITLE}\n\nIt says where and when.",
        f"<think>Rome. Or a trip?</think>\n\n{TITLE}",
        f"Rome. Or a trip?</think>\n\n{TITLE}",
        f"\u201c{TITLE}\u201d",
        f"\u00ab{TITLE}\u00bb",
        "A  weekend\tin Rome",
    ],
)
def test_what_stands_around_a_title_is_taken_away(answer: str) -> None:
    assert title_in(answer) == TITLE


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("What is it?", "What is it?"),
        ("C++ and C#", "C++ and C#"),
        ("Titles: what are they", "Titles: what are they"),
        ("Version 1.5", "Version 1.5"),
        ("\u6771\u4eac\u306e\u9031\u672b\u3002", "\u6771\u4eac\u306e\u9031\u672b"),
        ("word " * 30, "word " * 11 + "word…"),
    ],
)
def test_what_it_says_stays(answer: str, title: str) -> None:
    assert title_in(answer) == title


@pytest.mark.parametrize(
    "answer",
    ["", "\n", "...", '""', "-", "<think>Rome, or a", "<|im_start|>assistant", "a\x00b", "\ufffd is"],
)
def test_what_says_nothing_is_none(answer: str) -> None:
    assert title_in(answer) is None


def test_one_that_was_cut_off_is_none() -> None:
    assert title_in("A weekend in the mid", is_whole=False) is None
    assert title_in(f"{TITLE}\nIt says wh", is_whole=False) == TITLE


@given(st.text(), st.booleans())
def test_a_title_is_one_short_line_of_text(answer: str, is_whole: bool) -> None:
    title = title_in(answer, is_whole=is_whole)
    if title is not None:
        assert 0 < len(title) <= TITLE_CHARACTERS
        assert title == shortened(title)
        assert title.splitlines() == [title]
