"""What is made to take long takes no longer than its length lets expect."""

import re
import time
from html import unescape

import pytest

from palaver.web.highlighting import LANGUAGES, highlighted
from palaver.web.rendering import Rendering, render

SECONDS = 4.0
"""On a busy machine; on a quiet one none of these takes a half."""

EVIL = {
    "brackets": "[" * 50_000,
    "pictures": "![" * 25_000,
    "links": "[a](" * 15_000,
    "stars": "*a " * 20_000,
    "strong": "**a" * 20_000,
    "underscores": "__a " * 15_000,
    "ticks": "".join("`" * n + " " for n in range(350)),
    "angles": "<" * 50_000,
    "backslashes": "\\" * 50_000,
    "dollars": "$a " * 20_000,
    "parentheses": "\\(" * 25_000,
    "addresses": "http://a" * 7_000,
    "address": "http://a" + ")" * 30_000,
    "quotes": "> " * 5_000 + "x\n" + ("> " * 300 + "x\n") * 100,
    "lists": "".join("  " * n + "- x\n" for n in range(300)),
    "a megabyte": "a" * 1_000_000,
    "entities": "&" * 50_000,
    "cells": "|a" * 2_000 + "|\n" + "|-" * 2_000 + "|\n" + "|a" * 2_000,
    "definitions": "".join(f"[a{n}]: http://x\n" for n in range(3_000)),
    "nested brackets": ("[" * 90 + "]" * 90 + "\n\n") * 100,
    "just short enough": (("[" * 90 + "*a " * 2_500) + "\n\n") * 6,
    "formulas": "$x^{2}$ " * 900,
    "deep formulas": "$" + "{" * 39 + "x" + "}" * 39 + "$\n",
}


@pytest.mark.parametrize("name", EVIL)
def test_evil_text_is_bounded(name: str) -> None:
    began = time.process_time()
    render(EVIL[name])
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("name", ["brackets", "stars", "dollars", "a megabyte"])
def test_evil_paragraphs_grow_no_faster_than_their_number(name: str) -> None:
    paragraph = EVIL[name][:7_900] + "\n\n"

    def seconds(count: int) -> float:
        began = time.process_time()
        render(paragraph * count)
        return time.process_time() - began

    seconds(1)
    assert seconds(40) < 8 * max(0.05, seconds(10))


def test_a_long_block_of_code_that_comes_line_by_line_is_read_once() -> None:
    rendering = Rendering()
    rendering.feed("```py\n")
    began = time.process_time()
    for _ in range(6_000):
        rendering.feed("x = 1\n")
    assert time.process_time() - began < SECONDS


def colours_are_bounded(language: str) -> None:
    for seed in ("/", "a ", "a\n ", "\n", "<", "<?", "{", "#\n", "--", '"', "\\"):
        for code in (seed * 10_000, (seed * 900)[:900] * 10, ((seed * 150)[:150] + "\n") * 200):
            began = time.process_time()
            highlighted(code[:31_000], language)
            assert time.process_time() - began < SECONDS / 2, (seed, len(code))


@pytest.mark.parametrize("language", ["c", "java", "html", "diff"])
def test_evil_code_is_bounded(language: str) -> None:
    colours_are_bounded(language)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES.split())
def test_evil_code_is_bounded_in_every_language(language: str) -> None:
    colours_are_bounded(language)


@pytest.mark.parametrize("code", ["x", "x\n", "x\n\n", "\nx", "\n", "'''a", "# a"])
def test_colours_lose_nothing(code: str) -> None:
    html = highlighted(code, "python")
    assert unescape(re.sub("<[^>]*>", "", html)) == code
