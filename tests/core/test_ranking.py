"""Ranking: who said it and what was said around it count, and nothing that was found is lost or lowered by it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.ranking import NEXT_SHARE, SECOND_SHARE, USER_WEIGHT, blended, ranked, smoothed


class Found(msgspec.Struct, frozen=True):
    number: int
    parent: int | None = None
    depth: int = 0
    role: str = "assistant"
    score: float = 1.0
    conversation: str = "conv_1"


SCORES = st.floats(0, 1e6)


@st.composite
def found(draw: st.DrawFn) -> list[Found]:
    """Some messages of two trees, in any order."""
    numbers = range(1, draw(st.integers(1, 30)) + 1)
    trees: dict[str, list[Found]] = {"conv_1": [], "conv_2": []}
    for number in numbers:
        name = draw(st.sampled_from(sorted(trees)))
        above = draw(st.sampled_from(trees[name])) if trees[name] else None
        trees[name].append(
            Found(
                number,
                above.number if above else None,
                above.depth + 1 if above else 0,
                draw(st.sampled_from(["user", "assistant", "tool"])),
                draw(SCORES),
                name,
            )
        )
    every = [each for tree in trees.values() for each in tree]
    return draw(st.lists(st.sampled_from(every), unique_by=lambda each: each.number))


def numbers(matches: Sequence[Found]) -> list[int]:
    return [match.number for match in matches]


@given(found(), st.randoms())
def test_the_order_in_which_they_come_does_not_count(matches: list[Found], random: st.DataObject) -> None:
    shuffled = matches.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ranked(shuffled) == ranked(matches)
    assert smoothed(shuffled) == smoothed(matches)


@given(found())
def test_all_are_there_once_and_count_at_least_what_they_are(matches: list[Found]) -> None:
    counts = smoothed([*matches, *matches])
    assert sorted(numbers(ranked([*matches, *matches]))) == sorted(numbers(matches)) == sorted(counts)
    assert all(math.isfinite(count) for count in counts.values())
    assert all(counts[match.number] >= match.score for match in matches)
    order = [(counts[match.number], match.number) for match in ranked(matches)]
    assert order == sorted(order, reverse=True)


@given(found(), st.data())
def test_a_neighbour_never_lowers_another(matches: list[Found], data: st.DataObject) -> None:
    if not matches:
        return
    left_out = data.draw(st.sampled_from(matches))
    without, counts = smoothed([match for match in matches if match != left_out]), smoothed(matches)
    assert all(counts[number] >= count for number, count in without.items())


@given(st.lists(st.tuples(SCORES, st.sampled_from(["user", "assistant"])), max_size=20))
def test_who_has_no_neighbours_keeps_its_place(said: list[tuple[float, str]]) -> None:
    """Three steps apart nobody is a neighbour."""
    alone = [Found(3 * i + 1, 3 * i or None, 3 * i, role, score) for i, (score, role) in enumerate(said)]
    weights = {match.number: match.score * (USER_WEIGHT if match.role == "user" else 1) for match in alone}
    assert smoothed(alone) == weights
    assert ranked(alone) == sorted(alone, key=lambda match: (-weights[match.number], -match.number))


@given(SCORES.filter(bool))
def test_a_user_comes_before_a_reply_that_fits_as_well(score: float) -> None:
    reply, user = Found(9, score=score), Found(2, role="user", score=score, conversation="conv_2")
    assert numbers(ranked([reply, user])) == [2, 9]
    assert smoothed([reply, user]) == {9: score, 2: USER_WEIGHT * score}


def test_of_the_same_the_newer_comes_first() -> None:
    assert numbers(ranked([Found(1), Found(3, depth=7), Found(2, depth=14)])) == [3, 2, 1]


def test_an_answer_has_a_share_of_its_question_and_a_question_of_its_answer() -> None:
    asked, told = Found(1, score=10.0), Found(2, 1, 1, score=2.0)
    assert smoothed([asked, told]) == {1: 10 + NEXT_SHARE * 2, 2: 2 + NEXT_SHARE * 10}


def test_two_steps_away_the_one_between_need_not_be_found() -> None:
    said, later = Found(1, score=4.0), Found(3, 2, 2, score=2.0)
    assert smoothed([said, later]) == {1: 4 + SECOND_SHARE * 2, 3: 2 + SECOND_SHARE * 4}


def test_elsewhere_at_the_same_depth_nobody_is_a_neighbour() -> None:
    here, there = Found(1, score=4.0), Found(2, depth=2, score=2.0, conversation="conv_2")
    assert smoothed([here, there]) == {1: 4, 2: 2}


def test_being_answered_often_brings_a_question_no_more_than_its_best_answer() -> None:
    asked = Found(1, score=1.0)
    replies = [Found(number, 1, 1, score=float(number)) for number in range(2, 60)]
    assert smoothed([asked, *replies])[1] == smoothed([asked, replies[-1]])[1]


@given(found(), found())
def test_what_is_found_also_has_shares_and_gives_none(matches: list[Found], also: list[Found]) -> None:
    matches = [match for match in matches if match.number not in {each.number for each in also}]
    counts, alone = smoothed(matches, also=also), smoothed(matches)
    assert counts.keys() == {each.number for each in [*matches, *also]}
    assert {number: counts[number] for number in alone} == alone
    assert smoothed([], also=also) == {each.number: 0 for each in also}


def test_what_is_found_also_is_lifted_by_its_question() -> None:
    asked, told = Found(1, score=10.0), Found(2, 1, 1, score=0.9)
    assert smoothed([asked], also=[told]) == {1: 10, 2: NEXT_SHARE * 10}
    assert smoothed([asked], also=[asked]) == {1: 10}


def test_steps_can_be_left_out() -> None:
    matches = [Found(1, score=1.0), Found(2, 1, 1, "user", 2.0)]
    assert smoothed(matches, user_weight=1, next_share=0, second_share=0) == {1: 1, 2: 2}


NUMBERS = st.dictionaries(st.integers(1, 20), st.floats(-1, 1e6), max_size=20)


@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_a_blend_has_all_of_both_between_nothing_and_1(
    words: dict[int, float], vectors: dict[int, float], weight: float
) -> None:
    both = blended(words, vectors, vector_weight=weight)
    assert both.keys() == words.keys() | vectors.keys()
    assert all(0 <= count <= 1 + 1e-9 for count in both.values())


@given(st.dictionaries(st.integers(1, 20), st.floats(0.01, 1e6), min_size=1), NUMBERS)
def test_at_its_ends_a_blend_is_one_of_both(words: dict[int, float], vectors: dict[int, float]) -> None:
    best = max(words.values())
    assert blended(words, {}, vector_weight=0) == pytest.approx({n: c / best for n, c in words.items()})
    assert {n: blended(words, vectors, vector_weight=0)[n] for n in words} == blended(
        words, {}, vector_weight=0
    )
    assert blended({}, words, vector_weight=1) == blended(words, {}, vector_weight=0)


def test_nothing_to_blend_is_nothing() -> None:
    assert blended({}, {}) == {}
    assert ranked([]) == []
    assert blended({1: 0.0}, {2: -0.5}) == {1: 0, 2: 0}
