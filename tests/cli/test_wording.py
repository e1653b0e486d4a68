"""What is printed is safe to print, and stands in columns."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.cli.wording import ago, columns, counted, harmless, line, moment, size


@given(st.text())
def test_nothing_that_is_printed_steers_the_terminal(text: str) -> None:
    shown = harmless(text)
    assert not [c for c in shown if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    assert shown.encode().decode() == shown  # no lone surrogates either


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\x08"])
def test_escape_sequences_lose_what_makes_them_work(text: str) -> None:
    assert not set(harmless(text)) & set("\x1b\x07\x9b\r\x08")


def test_plain_text_stays_as_it_is() -> None:
    assert harmless("Zoë said: 日本 👋\n\tok") == "Zoë said: 日本 👋\n\tok"


def test_a_line_is_one_line() -> None:
    assert line("trip\nto\x1b[2J\tRome ") == "trip to[2J Rome"


def test_columns_stand_below_each_other() -> None:
    assert columns([["a", "bb", "c"], ["aaa", "b", ""]]) == ["a    bb  c", "aaa  b"]
    assert columns([]) == []


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (122_880, "123 kB"), (4_300_000, "4.3 MB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_times_are_local_and_to_the_minute() -> None:
    assert moment(datetime(2026, 11, 23, 14, 2, 59).timestamp()) == "2026-11-23 14:02"
    assert moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "just now"), (59, "just now"), (60, "1 minute ago"), (3599, "59 minutes ago")),
        *((3600, "1 hour ago"), (86_399, "23 hours ago"), (86_400, "1 day ago"), (4e7, "462 days ago")),
    ],
)
def test_how_long_ago_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_things_are_counted() -> None:
    assert [counted(number, "tool") for number in (0, 1, 2, 1204)] == [
        "no tools",
        "1 tool",
        "2 tools",
        "1,204 tools",
    ]
