"""What prompts have in common, told by the hashes of their parts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palaver.engines.llama.kv.prefix import PIECE, Prefix

parts = st.lists(st.binary(min_size=1, max_size=3), max_size=6)


def fields(*texts: str, **before: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts], **before}


def prompt(*texts: str, **before: Any) -> Prefix:
    return Prefix.of_prompt(fields(*texts, **before))


@given(parts, parts, parts)
def test_two_prompts_share_the_parts_that_both_begin_with(
    common: list[bytes], mine: list[bytes], theirs: list[bytes]
) -> None:
    one, other = Prefix.of_parts(common + mine), Prefix.of_parts(common + theirs)
    alike = 0
    while alike < min(len(mine), len(theirs)) and mine[alike] == theirs[alike]:
        alike += 1
    assert one.shared(other) == other.shared(one) == sum(map(len, common + mine[:alike]))
    assert one.size == sum(map(len, common + mine))
    assert one.begins(other) == (mine == theirs[: len(mine)])
    if one.begins(other):
        assert one.shared(other) == one.size


@given(st.text(max_size=3 * PIECE), st.text(max_size=2 * PIECE), st.text(max_size=2 * PIECE))
def test_texts_share_whole_pieces(common: str, mine: str, theirs: str) -> None:
    one, other = Prefix.of_text(common + mine), Prefix.of_text(common + theirs)
    assert one.size == len((common + mine).encode())
    shared = one.shared(other)
    assert shared >= len(common[: len(common) // PIECE * PIECE].encode())
    assert (common + mine).encode()[:shared] == (common + theirs).encode()[:shared]


def test_a_conversation_that_goes_on_begins_as_before() -> None:
    first, second = prompt("hi"), prompt("hi", "hello", "how are you?")
    assert first.begins(second)
    assert not second.begins(first)
    assert second.shared(first) == first.size
    assert not prompt("hi", "hello", "who are you?").begins(second)


def test_what_stands_before_the_messages_counts_and_its_order_does_not() -> None:
    tools = [{"name": "look"}]
    assert prompt("hi", tools=tools).shared(prompt("hi")) == 0
    assert prompt("hi", tools=tools, a=1) == prompt("hi", a=1, tools=tools)
    one = Prefix.of_prompt({"messages": [{"role": "user", "content": "hi"}]})
    assert one == Prefix.of_prompt({"messages": [{"content": "hi", "role": "user"}]})


def test_how_a_reply_is_to_begin_is_not_of_the_beginning() -> None:
    asked = prompt("hi", add_generation_prompt=False, continue_final_message=True, tool_choice="required")
    assert asked == prompt("hi")


def test_a_message_is_alike_as_a_whole_or_not() -> None:
    assert prompt("hi", "a" * 999 + "b").shared(prompt("hi", "a" * 999 + "c")) == prompt("hi").size


def test_numbers_of_tokens_are_compared_too() -> None:
    tokens = list(range(PIECE)) * 2
    one, other = Prefix.of_text([*tokens, 1]), Prefix.of_text([*tokens, 2])
    assert one.shared(other) == Prefix.of_text(tokens).size
    assert not one.begins(other)
    assert Prefix.of_text([1, "a"]) != Prefix.of_text([1, "b"])


def test_nothing_shares_nothing_and_begins_everything() -> None:
    nothing = Prefix.of_text("")
    assert nothing == Prefix() == Prefix.of_text([])
    assert (nothing.size, nothing.shared(prompt("hi")), prompt("hi").shared(nothing)) == (0, 0, 0)
    assert nothing.begins(prompt("hi"))
