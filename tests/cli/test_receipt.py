"""How a receipt is told in lines of text."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from palaver.cli.receipt import REASONS, WHY, lines_of
from palaver.core.epoch import Reason
from palaver.core.receipt import Why

BODY = "01m83b7md2rnkwj4tp1b4r"


def seen(place: int, **more: Any) -> dict[str, Any]:
    role = "assistant" if place % 2 else "user"
    return {
        "place": place,
        "id": f"msg_{BODY}{place:04d}",
        "role": role,
        "tokens": 10,
        "deleted": False,
    } | more


def left_out(first: int, last: int, why: str = "window") -> dict[str, Any]:
    return {"first": first, "last": last, "messages": last - first + 1, "why": why}


def receipt(*messages: dict[str, Any], out: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "turn": "chatcmpl-01m83b7md2rnkwj4tp1b4r0001",
        "model": "pocket",
        "window": "auto",
        "epoch": {"id": f"epoch_{BODY}abcd", "reason": "overflow", "began": False},
        "context_size": 2048,
        "reserved": 512,
        "prompt_tokens": 1204,
        "counted": "engine",
        "instructions": 0,
        "tools": 0,
        "messages": list(messages),
        "left_out": list(out),
        "continues": False,
        "warnings": [],
    } | more


def test_what_was_seen_and_what_not_stands_in_the_order_of_the_path() -> None:
    told = receipt(seen(4), seen(8), seen(9), out=(left_out(5, 7), left_out(0, 3)), instructions=1, tools=2)
    assert lines_of(told) == [
        "pocket  auto  1,204 of 2,048 tokens (59 %)  512 kept free for the reply",
        "epoch abcd  goes on; it began because there was no more room",
        "before the messages: 1 instruction, 2 tools",
        "  1–4  left out: 4 messages; the window begins after them",
        "    5  user       0004  10 tokens",
        "  6–8  left out: 3 messages; the window skips them",
        "    9  user       0008  10 tokens",
        "   10  assistant  0009  10 tokens",
    ]


def test_the_middle_of_a_long_run_is_counted() -> None:
    messages = [seen(place) for place in range(1003)]
    assert lines_of(receipt(*messages))[3:] == [
        "     1  user       0000  10 tokens",
        "     2  assistant  0001  10 tokens",
        "        … 999 messages, 9,990 tokens …",
        "  1002  assistant  1001  10 tokens",
        "  1003  user       1002  10 tokens",
    ]
    assert len(lines_of(receipt(*messages), whole=True)) == 3 + 1003


@pytest.mark.parametrize("count", range(6))
def test_short_runs_are_shown(count: int) -> None:
    lines = lines_of(receipt(*(seen(place) for place in range(count))))
    assert len(lines) == 3 + count
    assert "…" not in "".join(lines)


def test_runs_are_collapsed_each_by_itself() -> None:
    messages = [seen(place) for place in (*range(6), *range(8, 14))]
    lines = lines_of(receipt(*messages, out=(left_out(6, 7, "client"),)))[3:]
    assert [line.split("  ")[-1].strip() for line in lines].count("… 2 messages, 20 tokens …") == 2
    assert "  7–8  left out: 2 messages; the client did not send them" in lines
    assert len(lines) == 11


def test_what_was_deleted_since_is_shown_wherever_it_stood() -> None:
    gone = seen(4, id=None, role=None, tokens=None, deleted=True)
    lines = lines_of(receipt(*(gone if place == 4 else seen(place) for place in range(12))))[3:]
    assert lines[2:5] == [
        "      … 2 messages, 20 tokens …",
        "   5  (deleted)",
        "      … 5 messages, 50 tokens …",
    ]
    assert len(lines) == 7


def test_what_is_not_known_is_not_made_up() -> None:
    unknown = receipt(
        *(seen(place, id=None, tokens=None) for place in range(7)),
        context_size=None,
        prompt_tokens=None,
        counted=None,
        reserved=0,
    )
    assert lines_of(unknown)[0] == "pocket  auto  a prompt of unknown length"
    assert lines_of(unknown)[3:] == [
        "  1  user",
        "  2  assistant",
        "     … 3 messages …",
        "  6  assistant",
        "  7  user",
    ]
    sized = receipt(seen(0), prompt_tokens=None, counted=None)
    assert lines_of(sized)[0].startswith("pocket  auto  a prompt of unknown length, of at most 2,048 tokens")
    counted = receipt(seen(0), context_size=None, reserved=0)
    assert lines_of(counted)[0] == "pocket  auto  1,204 tokens of an unknown number"
    assert "about 1,204 of 2,048" in lines_of(receipt(seen(0), counted="estimate"))[0]


def test_what_was_deleted_since_and_what_is_said_besides() -> None:
    told = receipt(
        seen(0, id=None, role=None, tokens=None, deleted=True),
        seen(3),
        out=(left_out(1, 2, "deleted"),),
        continues=True,
        warnings=["The prompt\nwas cut \x1b[2J."],
    )
    assert lines_of(told)[3:] == [
        "    1  (deleted)",
        "  2–3  left out: 2 messages; deleted, or a call or a result whose other part is",
        "    4  assistant  0003  10 tokens",
        "The prompt ends in the beginning of the reply, which goes on from there.",
        "warning: The prompt was cut [2J.",
    ]


def test_one_message_is_one() -> None:
    assert lines_of(receipt(seen(1), out=(left_out(0, 0),)))[3] == (
        "  1  left out: 1 message; the window begins after it"
    )


def test_an_epoch_that_begins() -> None:
    epoch = {"id": f"epoch_{BODY}abcd", "reason": "model", "began": True}
    assert lines_of(receipt(seen(0), epoch=epoch))[1] == (
        "epoch abcd  begins here because another model answered before"
    )
    foreseen = receipt(seen(0), epoch=epoch, turn=None)
    assert lines_of(foreseen)[1] == "a new epoch  begins here because another model answered before"
    assert lines_of(receipt(seen(0), epoch=epoch | {"prepared": False})) == lines_of(
        receipt(seen(0), epoch=epoch)
    )


def test_an_epoch_that_was_prepared() -> None:
    epoch = {"id": f"epoch_{BODY}abcd", "reason": "overflow", "began": True, "prepared": True}
    assert lines_of(receipt(seen(0), epoch=epoch))[1] == (
        "epoch abcd  begins here because there was no more room, prepared while idle"
    )
    gone_on = receipt(seen(0), epoch=epoch | {"began": False})
    assert lines_of(gone_on)[1] == "epoch abcd  goes on; it began because there was no more room"


def test_how_much_of_the_prompt_was_cached() -> None:
    told = receipt(seen(0), prompt_tokens=4100, cached_tokens=4012, context_size=None, reserved=0)
    assert lines_of(told)[:2] == [
        "pocket  auto  4,100 tokens of an unknown number",
        "4,012 of 4,100 prompt tokens were cached",
    ]
    assert lines_of(receipt(seen(0), cached_tokens=0))[1] == "0 of 1,204 prompt tokens were cached"
    assert lines_of(receipt(seen(0), cached_tokens=None)) == lines_of(receipt(seen(0)))


def test_there_are_words_for_every_reason() -> None:
    assert set(REASONS) == set(get_args(Reason))
    assert set(WHY) == set(get_args(Why))
