from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.turn import (
    TRANSITIONS,
    ContentDelta,
    Delta,
    ReasoningDelta,
    Sampling,
    TurnState,
    Usage,
    decode_deltas,
    encode_deltas,
)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
deltas = st.lists(st.builds(ContentDelta, words) | st.builds(ReasoningDelta, words), max_size=20)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(TurnState)


@pytest.mark.parametrize("state", TurnState)
def test_what_has_ended_never_changes_again(state: TurnState) -> None:
    assert state.ended == (TRANSITIONS[state] == frozenset())
    assert state not in TRANSITIONS[state]


def test_every_turn_can_end_and_none_goes_back_to_wait() -> None:
    ends = {state for state in TurnState if state.ended}
    assert TRANSITIONS[TurnState.RUNNING] == ends
    assert TRANSITIONS[TurnState.QUEUED] == ends - {TurnState.COMPLETED} | {TurnState.RUNNING}
    assert TurnState.QUEUED not in frozenset().union(*TRANSITIONS.values())


@given(deltas)
def test_deltas_come_back_from_their_lengths_and_the_text(said: list[Delta]) -> None:
    content = "".join(d.text for d in said if isinstance(d, ContentDelta))
    reasoning = "".join(d.text for d in said if isinstance(d, ReasoningDelta))
    lengths = msgspec.json.decode(msgspec.json.encode(encode_deltas(said)))
    assert decode_deltas(lengths, content, reasoning) == said


def test_what_was_asked_goes_over_the_defaults() -> None:
    asked = Sampling(temperature=0.0, max_tokens=5)
    merged = asked.over(Sampling(temperature=0.7, top_p=0.9, stop=["END"]))
    assert merged == Sampling(temperature=0.0, max_tokens=5, top_p=0.9, stop=["END"])
    assert asked.over(Sampling()) == asked


def test_usage_adds_up() -> None:
    assert Usage(3, 4).total_tokens == 7
