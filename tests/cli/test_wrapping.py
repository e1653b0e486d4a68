"""Lines break between words, nothing is lost, and no word waits longer than for its end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from palaver.cli.wrapping import Wrapping

WORDS = st.lists(st.text("abcé", min_size=1, max_size=12), min_size=1, max_size=30)


def wrapped(text: str, width: int = 20) -> str:
    wrapping = Wrapping(width)
    return wrapping.add(text) + wrapping.end()


@given(WORDS, st.integers(12, 40))
def test_no_line_is_too_long_and_every_word_is_there(words: list[str], width: int) -> None:
    text = wrapped(" ".join(words), width)
    assert text.split() == words
    assert all(cell_len(line) <= width for line in text.split("\n"))


@given(WORDS, st.integers(12, 40))
def test_a_line_breaks_only_where_the_next_word_does_not_fit(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width).split("\n")
    for line, following in pairwise(lines):
        assert cell_len(line) + 1 + cell_len(following.split(" ")[0]) > width


@given(st.text("ab \n\t日", max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_how_the_text_is_cut_into_pieces_changes_nothing(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    wrapping = Wrapping(10)
    pieces = [wrapping.add(text[a:b]) for a, b in pairwise(places)]
    assert "".join(pieces) + wrapping.end() == wrapped(text, 10)


@given(st.text("ab \n\t日", max_size=60))
def test_where_the_lines_are_long_enough_text_stays_as_it_is(text: str) -> None:
    assert wrapped(text, 1000) == text


def test_a_finished_word_is_shown_at_once() -> None:
    wrapping = Wrapping(20)
    assert wrapping.add("one tw") == "one"
    assert wrapping.add("o ") == " two"


@pytest.mark.parametrize("text", ["x" * 50, "日本語" * 10])
def test_what_has_no_spaces_is_left_whole_or_broken_at_the_edge(text: str) -> None:
    assert wrapped(text).replace("\n", "") == text


def test_indentation_is_kept() -> None:
    assert wrapped("def f():\n    return 1\n") == "def f():\n    return 1\n"
