"""Results of tools, and the calls that they answer."""

from __future__ import annotations

import pytest

from palaver.core.calls import check_results, unasked_result
from palaver.core.errors import InvalidRequest
from palaver.core.message import FunctionCall, Message, ToolCall

ASK = Message("user", "What time is it?")


def calling(*ids: str) -> Message:
    return Message("assistant", tool_calls=[ToolCall(FunctionCall("now"), id) for id in ids])


def result(id: str | None) -> Message:
    return Message("tool", "noon", tool_call_id=id)


OLD_CALL = Message("assistant", function_call=FunctionCall("now"))
HISTORIES: list[tuple[list[Message], int | None]] = [
    ([ASK], None),
    ([ASK, calling("a", "b"), result("b"), result("a")], None),
    ([ASK, calling("a"), result("a"), calling("b"), result("b"), result("a")], None),
    ([ASK, result("a")], 1),
    ([ASK, calling("a"), result("b")], 2),
    ([ASK, result("a"), calling("a")], 1),
    ([ASK, calling("a"), result(None)], 2),
    ([calling("a"), ASK, result("a")], None),
    ([Message("user", tool_calls=[ToolCall(FunctionCall("now"), "a")]), result("a")], 1),
    ([ASK, OLD_CALL, Message("function", "noon", name="now")], None),
    ([ASK, calling("a"), Message("function", "noon", name="now")], None),
    ([ASK, OLD_CALL, Message("function", "noon", name="later")], 2),
]


@pytest.mark.parametrize(("history", "place"), HISTORIES)
def test_the_first_result_that_nobody_asked_for(history: list[Message], place: int | None) -> None:
    assert unasked_result(history) == place


def test_what_is_stored_above_may_hold_the_call_and_is_not_judged() -> None:
    stored = [ASK, result("lost"), calling("a")]
    assert unasked_result([*stored, result("a")], 3) is None
    assert unasked_result([*stored, result("a"), result("c")], 3) == 4


def test_the_error_names_the_place_in_what_was_sent() -> None:
    with pytest.raises(InvalidRequest, match="'c'") as wrong:
        check_results([ASK, calling("a"), result("a"), result("c")], 2, 1)
    assert wrong.value.param == "messages[2].tool_call_id"
    with pytest.raises(InvalidRequest) as wrong:
        check_results([ASK, Message("function", "noon", name="now")])
    assert wrong.value.param == "messages[1].name"
    check_results([ASK, calling("a"), result("a")])
