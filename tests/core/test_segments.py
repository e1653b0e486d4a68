"""A tree with its long runs drawn together: nothing is lost, and nothing that branches is hidden."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from palaver.core.segments import Entry, path_of, segments, telling


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Messages of a conversation in the order in which they came; a few begin it anew."""
    entries: list[Entry] = []
    for number in range(draw(st.integers(0, 40))):
        above = draw(st.sampled_from([None, *range(max(0, number - 6), number)]))
        role = draw(st.sampled_from(["user", "assistant"]))
        entries.append(Entry(number, above, role, draw(st.booleans())))
    return entries


@given(trees())
def test_a_segment_is_a_run_and_ends_where_it_branches(entries: list[Entry]) -> None:
    drawn = segments(entries)
    assert sorted(entry for segment in drawn for entry in segment) == sorted(entries)
    assert [segment[0] for segment in drawn] == sorted(segment[0] for segment in drawn)
    below = Counter(entry.above for entry in entries)
    ends = {segment[-1].number for segment in drawn}
    for segment in drawn:
        for entry, after in pairwise(segment):
            assert after.above == entry.number
            assert below[entry.number] == 1
        assert below[segment[-1].number] != 1, "it goes on"
        assert segment[0].above is None or segment[0].above in ends


@given(trees())
def test_a_path_leads_to_the_beginning(entries: list[Entry]) -> None:
    above = {entry.number: entry.above for entry in entries}
    for end in (None, *above):
        path, at = set(), end
        while at is not None:
            path.add(at)
            at = above[at]
        assert path_of(entries, end) == path


def test_what_tells_of_a_segment_is_what_a_user_said_first() -> None:
    system, gone, reply = (
        Entry(1, None, "system"),
        Entry(2, 1, "user", is_deleted=True),
        Entry(3, 2, "assistant"),
    )
    question = Entry(4, 3, "user")
    assert telling([system, gone, reply, question]) == question
    assert telling([system, gone, reply]) == system
    assert telling([gone, reply]) == reply
    assert telling([gone]) is None
