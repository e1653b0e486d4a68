"""Which part of a path is shown: never more than there is room for, and never half of something."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palaver.core.fit import Fitted, Room, TooLong, fit, replayed, settled
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.path import Span, Step, shown, starts

Path = list[Step]


def user(text: str = "hi") -> Message:
    return Message("user", text)


def said(text: str = "hello") -> Message:
    return Message("assistant", text)


def call(*ids: str) -> Message:
    return Message("assistant", tool_calls=[ToolCall(FunctionCall("look"), id) for id in ids])


def result(id: str) -> Message:
    return Message("tool", "seen", tool_call_id=id)


def path_of(*messages: Message, deleted: Sequence[int] = ()) -> Path:
    return [
        Step(depth, Message(m.role) if depth in deleted else m, f"msg_{depth}", depth in deleted)
        for depth, m in enumerate(messages)
    ]


@st.composite
def exchanges(draw: st.DrawFn) -> list[Message]:
    """A question, some rounds of calls with all of their results, perhaps an answer."""
    number = draw(st.integers(0, 10**6))
    messages = [user()]
    for round_ in range(draw(st.integers(0, 3))):
        ids = [f"{number}_{round_}_{i}" for i in range(draw(st.integers(1, 3)))]
        messages += [call(*ids), *(result(id) for id in draw(st.permutations(ids)))]
    if draw(st.booleans()):
        messages.append(said())
    return messages


@st.composite
def paths(draw: st.DrawFn) -> tuple[Path, list[int]]:
    """A path with the lengths of its messages. Some of them may be deleted, but for the last."""
    messages = [m for each in draw(st.lists(exchanges(), min_size=1, max_size=8)) for m in each]
    if draw(st.booleans()):
        messages.insert(0, said("Welcome."))
    some = len(messages) > 1 and draw(st.booleans())
    deleted = draw(st.sets(st.integers(0, len(messages) - 2), max_size=3)) if some else set()
    lengths = draw(st.lists(st.integers(1, 60), min_size=len(messages), max_size=len(messages)))
    return path_of(*messages, deleted=sorted(deleted)), lengths


rooms = st.builds(Room, st.integers(0, 600), st.sampled_from([0.25, 0.5, 0.75]))


def total(steps: Sequence[Step], lengths: Sequence[int]) -> int:
    return sum(lengths[step.depth] for step in steps)


def check_whole(steps: Sequence[Step]) -> None:
    """Every result is shown after its call, and every call of which a result was ever there with all of them."""
    calls = {c.id for step in steps for c in step.message.tool_calls or ()}
    results = {step.message.tool_call_id for step in steps if step.message.role == "tool"}
    assert results <= calls
    for step in steps:
        of_this = {c.id for c in step.message.tool_calls or ()}
        assert not of_this & results or of_this <= results


@given(paths(), rooms)
def test_a_window_has_room_and_is_whole(given_path: tuple[Path, list[int]], room: Room) -> None:
    path, lengths = given_path
    fitted = fit(path, lengths, room)
    if isinstance(fitted, TooLong):
        assert total(fitted.steps, lengths) > room.tokens
        assert fitted.longest in fitted.steps
        assert fitted.longest_tokens == max(lengths[step.depth] for step in fitted.steps)
        return
    assert fitted.tokens == total(fitted.steps, lengths) <= room.tokens
    assert fitted.steps == shown(path, fitted.span)
    assert not any(step.deleted for step in fitted.steps)
    everything = shown(path, Span(0))
    assert everything[-1:] == fitted.steps[-1:]  # what is to be answered is always there
    check_whole(fitted.steps)
    if fitted.steps:
        assert fitted.steps[0].message.role == "user" or fitted.steps[0] == everything[0]


@given(paths(), rooms)
def test_it_keeps_no_more_than_its_share_unless_the_newest_exchange_is_longer(
    given_path: tuple[Path, list[int]], room: Room
) -> None:
    path, lengths = given_path
    fitted = fit(path, lengths, room)
    assume(isinstance(fitted, Fitted) and fitted.span.gap is None and fitted.steps)
    assert isinstance(fitted, Fitted)
    later = [i for i in starts(fitted.steps) if i > 0]
    assert fitted.tokens <= room.tokens * room.keep or not later
    earlier = [s for s in shown(path, Span(0)) if s.depth < fitted.span.start]
    possible = [i for i in starts(earlier + fitted.steps) if i < len(earlier)]
    if possible:  # one exchange more would be too much
        assert total(earlier[possible[-1] :], lengths) + fitted.tokens > int(room.tokens * room.keep)


@given(paths(), st.integers(0, 40))
def test_what_a_span_shows_is_whole(given_path: tuple[Path, list[int]], start: int) -> None:
    path, _ = given_path
    span = settled(path, Span(start))
    if span is None:
        return
    steps = shown(path, span)
    assert span.start >= start
    assert steps[0].message.role == "user" or steps[0].depth == 0
    check_whole(steps)


@given(paths(), rooms)
def test_a_history_that_grows_has_a_window_that_grows_at_its_end(
    given_path: tuple[Path, list[int]], room: Room
) -> None:
    """What is not stored: the same history always has the same windows, and they begin anew only for want of room."""
    path, lengths = given_path
    assume(not any(step.deleted for step in path))
    before: list[Step] | None = None
    for end in range(1, len(path) + 1):
        if end < len(path) and path[end].message.role != "assistant":
            continue
        span = replayed(path[:end], lengths[:end], room)
        steps = shown(path[:end], span)
        if before is not None and steps[: len(before)] != before:
            grown = [s for s in path[:end] if s.depth >= before[0].depth]
            assert total(grown, lengths) > room.tokens
        check_whole(steps)
        before = steps
    assert before is not None


def test_half_is_kept() -> None:
    path = path_of(*[user(), said()] * 10, user())
    fitted = fit(path, [10] * 21, Room(200, 0.5))
    assert isinstance(fitted, Fitted)
    assert (fitted.span, fitted.tokens) == (Span(12), 90)


@pytest.mark.parametrize(("keep", "start"), [(0.25, 16), (0.5, 12), (0.75, 6)])
def test_another_share(keep: float, start: int) -> None:
    path = path_of(*[user(), said()] * 10, user())
    fitted = fit(path, [10] * 21, Room(200, keep))
    assert isinstance(fitted, Fitted)
    assert fitted.span == Span(start)


def test_a_long_loop_of_calls_keeps_its_question_and_the_newest_calls() -> None:
    loop = [m for i in range(20) for m in (call(f"c{i}"), result(f"c{i}"))]
    path = path_of(user(), said(), user(), *loop)
    fitted = fit(path, [10] * len(path), Room(100, 0.5))
    assert isinstance(fitted, Fitted)
    assert fitted.span == Span(2, (3, 39))
    assert [step.depth for step in fitted.steps] == [2, 39, 40, 41, 42]


def test_a_newest_exchange_over_the_share_but_within_the_room_is_kept_whole() -> None:
    path = path_of(*[user(), said()] * 5, user())
    fitted = fit(path, [10] * 10 + [80], Room(100, 0.5))
    assert isinstance(fitted, Fitted)
    assert fitted.span == Span(10)


def test_a_message_that_is_too_long_is_named() -> None:
    path = path_of(user(), said(), user())
    too_long = fit(path, [1, 1, 101], Room(100))
    assert too_long == TooLong(Span(2), [path[2]], path[2], 101)


def test_a_deleted_result_takes_its_call_along() -> None:
    path = path_of(
        user(), call("a", "b"), result("a"), result("b"), said(), call("c"), result("c"), deleted=[2]
    )
    assert [step.depth for step in shown(path, Span(0))] == [0, 4, 5, 6]


def test_a_deleted_call_takes_its_results_along() -> None:
    path = path_of(user(), call("a", "b"), result("a"), result("b"), said(), user(), deleted=[1])
    assert [step.depth for step in shown(path, Span(0))] == [0, 4, 5]


def test_an_older_function_call_stays_with_its_result() -> None:
    asked = Message("assistant", function_call=FunctionCall("look"))
    path = path_of(user(), asked, user("wait"), Message("function", "seen", name="look"), user())
    assert starts(path) == [0, 4]


def test_a_window_does_not_start_between_a_call_and_a_late_result() -> None:
    path = path_of(user(), call("a"), user("and?"), result("a"), said(), user())
    assert starts(path) == [0, 5]


def test_a_span_whose_first_message_is_deleted_starts_at_the_next_question() -> None:
    path = path_of(user(), said(), user(), said(), user(), deleted=[2])
    assert settled(path, Span(2)) == Span(4)
    assert settled(path, Span(0)) == Span(0)


def test_an_empty_path_is_shown_empty() -> None:
    assert fit([], [], Room(10)) == Fitted(Span(0), [], 0)
    assert replayed([], [], Room(10)) == Span(0)


def test_steps_can_be_stored() -> None:
    span = Span(3, (5, 9))
    assert msgspec.json.decode(msgspec.json.encode(span), type=Span) == span
