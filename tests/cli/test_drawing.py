"""How a tree of messages is drawn, and how its messages are named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.cli.drawing import drawing
from palaver.cli.messages import found, short_ids
from palaver.core.errors import InvalidRequest, MessageNotFound

BODY = "01m83b7md2rnkwj4tp1b4r"


def named(number: int) -> str:
    return f"msg_{BODY}{number:04d}"


def item(number: int, parent: int | None, role: str = "user", **more: Any) -> dict[str, Any]:
    """A message whose number is its text and its short id."""
    return {
        "id": named(number),
        "parent": None if parent is None else named(parent),
        "role": role,
        "content": [{"type": "input_text", "text": f"number {number}"}],
        "status": "completed",
        "finish_reason": None,
        "deleted": False,
    } | more


def test_the_heads_branch_goes_straight_down() -> None:
    tree = [
        item(0, None),
        item(1, 0, "assistant"),
        item(2, 1),
        item(3, 1),
        item(4, 2, "assistant"),
        item(5, 2, "assistant"),
        item(6, 1),
    ]
    assert drawing(tree, named(3)) == [
        "  0000  user       number 0",
        "  0001  assistant  number 1",
        "  ├─ 0002  user       number 2",
        "  │  ├─ 0005  assistant  number 5",
        "  │  0004  assistant  number 4",
        "  ├─ 0006  user       number 6",
        "* 0003  user       number 3",
    ]


def test_several_first_messages() -> None:
    assert drawing([item(0, None), item(1, None), item(2, 1)], named(2)) == [
        "  ├─ 0000  user       number 0",
        "  0001  user       number 1",
        "* 0002  user       number 2",
    ]


def test_a_long_run_is_counted_but_for_its_ends_and_what_matters() -> None:
    tree = [item(i, i - 1 if i else None) for i in range(1000)]
    tree[500] = item(500, 499, "assistant", status="incomplete")
    assert drawing(tree, named(700)) == [
        "  0000  user       number 0",
        "  0001  user       number 1",
        "  ⋮ 498 more",
        "  0500  assistant  (cut off) number 500",
        "  ⋮ 199 more",
        "* 0700  user       number 700",
        "  ⋮ 297 more",
        "  0998  user       number 998",
        "  0999  user       number 999",
    ]
    assert len(drawing(tree, named(700), whole=True)) == 1000


def test_one_message_is_not_worth_counting() -> None:
    lines = drawing([item(i, i - 1 if i else None) for i in range(5)], None)
    assert [line.split()[0] for line in lines] == ["0000", "0001", "0002", "0003", "0004"]


def test_nothing_at_all() -> None:
    assert drawing([], None) == []


def test_what_is_no_text_is_told_and_nothing_steers_the_terminal() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    tree = [
        item(0, None, content=[], deleted=True),
        item(1, 0, "assistant", content=[], tool_calls=[call]),
        item(2, 1, content=[{"type": "input_text", "text": "a\n\x1b[2Jb " + "x" * 90}]),
        item(3, 2, "assistant", finish_reason="length"),
    ]
    words = [line.split("  ", 3)[3].strip() for line in drawing(tree, None)]
    assert words == ["(deleted)", "calls now", "a [2Jb " + "x" * 52 + "…", "(cut off) number 3"]


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(0, 60))
def test_every_message_has_its_line_and_no_line_goes_far_to_the_right(places: list[int], at: int) -> None:
    parents = [([None, *range(number)])[place % (number + 1)] for number, place in enumerate(places)]
    tree = [item(number, parent) for number, parent in enumerate(parents)]
    head = named(at) if at < len(tree) else None
    lines = drawing(tree, head, whole=True)
    assert sorted(line.split("number ")[1] for line in lines) == sorted(str(i) for i in range(len(tree)))
    assert [line for line in lines if line.startswith("*")] == [
        line for line in lines if head and at_head(line, at)
    ]
    assert max((line.count("│") + line.count("├") for line in lines), default=0) <= 1 + len(tree).bit_length()


def at_head(line: str, at: int) -> bool:
    return line.endswith(f"number {at}")


def test_short_ids_are_as_long_as_they_must_be() -> None:
    assert short_ids(["msg_aaaa1111", "msg_aaab1111"]) == {"msg_aaaa1111": "a1111", "msg_aaab1111": "b1111"}
    assert short_ids(["msg_aaaa1111"]) == {"msg_aaaa1111": "1111"}
    assert short_ids([]) == {}


@pytest.mark.parametrize(
    "given_", ["0002", "R0002", "msg_01m83b7md2rnkwj4tp1b4r0002", "4r0002", "02m8", "msg_02m8"]
)
def test_an_end_or_a_beginning_names_a_message(given_: str) -> None:
    messages = [named(1), named(2), named(3)]
    if "02m8" in given_:
        messages[1] = named(2).replace("msg_01", "msg_02")
    assert found(given_, messages) == messages[1]


def test_too_little_none_or_several_are_told() -> None:
    messages = [named(number) for number in range(9)]
    for little in ("002", "msg_", "msg_002", ""):
        with pytest.raises(InvalidRequest, match="4 characters"):
            found(little, messages)
    with pytest.raises(MessageNotFound, match="begins with 9999"):
        found("9999", messages)
    with pytest.raises(InvalidRequest, match=f"any of 9 messages: {named(0)}, {named(1)}.* …"):
        found("01m8", messages)
    with pytest.raises(InvalidRequest, match=f"any of 2 messages: {named(0)}, {named(1)}$"):
        found("01m8", messages[:2])
