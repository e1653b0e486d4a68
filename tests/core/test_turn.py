from __future__ import annotations

import msgspec
import pytest

from palaver.core.turn import (
    TRANSITIONS,
    ContentDelta,
    Delta,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    TurnState,
    Usage,
)


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


def test_usage_adds_up() -> None:
    assert Usage(3, 4).total_tokens == 7


def test_deltas_are_kept_as_json_and_told_apart() -> None:
    """So does the log of a running turn; what is as always takes no room."""
    token = TokenLogprob("hé", -0.25, [104, 195, 169], 5, [TopLogprob("he", -1.5)])
    said: list[Delta] = [
        ContentDelta("hé", 1, [token]),
        ReasoningDelta("hm"),
        ToolCallDelta(0, "call_1", "f", "{"),
        ToolCallDelta(0, arguments="}", choice=2),
    ]
    assert msgspec.json.decode(msgspec.json.encode(said), type=list[Delta]) == said
    assert msgspec.json.encode(ContentDelta("hi")) == b'{"type":"content","text":"hi"}'
