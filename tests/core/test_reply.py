"""Replies put together from their deltas, stored as JSON, and cut into the same deltas again."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.reply import Reply, deltas_of, replies
from palaver.core.turn import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)

MOST = 3
"""Replies of one turn, and calls of one reply, in these tests."""

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
maybe = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(max_value=0.0, min_value=-100.0)
ids = st.none() | st.integers(0, 1 << 20)
tops = st.builds(TopLogprob, words, numbers, st.none() | st.binary(max_size=4).map(list), ids)
tokens = st.builds(
    TokenLogprob, words, numbers, st.none() | st.binary(max_size=4).map(list), ids, st.lists(tops, max_size=2)
)
choices = st.integers(0, MOST - 1)
reasons: st.SearchStrategy[FinishReason | None] = st.sampled_from(
    ["stop", "length", "tool_calls", "content_filter", None]
)


@st.composite
def streams(draw: st.DrawFn) -> list[Delta]:
    """Deltas of several replies, mixed, as engines give them: a call's id and name come first, and once."""
    found: list[Delta] = []
    begun: dict[int, int] = {}
    for _ in range(draw(st.integers(0, 20))):
        choice, kind = draw(choices), draw(st.sampled_from(["text", "thought", "call", "more"]))
        calls = begun.setdefault(choice, 0)
        if kind == "text":
            found.append(ContentDelta(draw(words), choice, draw(st.lists(tokens, max_size=2))))
        elif kind == "thought":
            found.append(ReasoningDelta(draw(words), choice))
        elif kind == "call" and calls < MOST:
            found.append(ToolCallDelta(calls, draw(words), draw(words), draw(maybe), choice))
            begun[choice] += 1
        elif kind == "more" and calls:
            found.append(ToolCallDelta(draw(st.integers(0, calls - 1)), arguments=draw(maybe), choice=choice))
    return found


def as_stored(said: list[Delta], choice: int) -> list[Delta]:
    """One reply's deltas as late readers hear them."""
    theirs = [delta for delta in said if delta.choice == choice]
    logprobs = [token for delta in theirs if isinstance(delta, ContentDelta) for token in delta.logprobs]
    written: dict[int, str] = {}
    for delta in theirs:
        if isinstance(delta, ToolCallDelta):
            written[delta.index] = written.get(delta.index, "") + delta.arguments
    heard: list[Delta] = []
    content = "".join(delta.text for delta in theirs if isinstance(delta, ContentDelta))
    begins: list[tuple[int, TokenLogprob]] = []
    end = 0
    for token in logprobs:
        begins.append((end if content == "".join(each.token for each in logprobs) else 0, token))
        end += len(token.token)
    end = 0
    for delta in theirs:
        if isinstance(delta, ContentDelta):
            start, end = end, end + len(delta.text)
            is_last = end == len(content)  # what has no text comes with the last
            its = [token for at, token in begins if start <= at < end or (is_last and at >= end)]
            delta = ContentDelta(delta.text, choice, its)
        elif isinstance(delta, ToolCallDelta) and delta.name and not written[delta.index]:
            delta = msgspec.structs.replace(delta, arguments="{}")
        heard.append(delta)
    return heard


def through_json(reply: Reply) -> Reply:
    """As a store keeps it: the message, and what belongs to it, apart."""
    message = msgspec.json.decode(msgspec.json.encode(reply.message), type=Message)
    kept = Reply(
        content=message.text,
        reasoning=message.reasoning or "",
        tool_calls=message.tool_calls or [],
        finish_reason=reply.finish_reason,
        logprobs=reply.logprobs,
        deltas=reply.deltas,
    )
    return msgspec.json.decode(msgspec.json.encode(kept), type=Reply)


@given(streams())
def test_deltas_come_back_from_what_is_stored_of_them(said: list[Delta]) -> None:
    for choice, reply in enumerate(replies(said, ["tool_calls"] * 4)):
        assert deltas_of(through_json(reply), choice) == as_stored(said, choice)


@given(streams(), st.lists(reasons, max_size=4))
def test_each_reply_is_what_came_of_its_choice(said: list[Delta], why: list[FinishReason | None]) -> None:
    found = replies(said, why)
    assert len(found) == max([1, len(why), *(delta.choice + 1 for delta in said)])
    for choice, reply in enumerate(found):
        theirs = [delta for delta in said if delta.choice == choice]
        assert reply.content == "".join(d.text for d in theirs if isinstance(d, ContentDelta))
        assert reply.reasoning == "".join(d.text for d in theirs if isinstance(d, ReasoningDelta))
        assert reply.finish_reason == (why[choice] if choice < len(why) else None)
        assert reply.is_empty is (not theirs)
        firsts = [d for d in theirs if isinstance(d, ToolCallDelta) and d.name]
        assert [(call.id, call.function.name) for call in reply.tool_calls] == [
            (d.id, d.name) for d in firsts
        ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    said: list[Delta] = [
        ToolCallDelta(0, "call_1", "now"),
        ToolCallDelta(0),
        ToolCallDelta(1, "call_2", "then", "{}"),
    ]
    [reply] = replies(said, ["tool_calls"])
    assert reply.tool_calls == [
        ToolCall(FunctionCall("now", "{}"), "call_1"),
        ToolCall(FunctionCall("then", "{}"), "call_2"),
    ]
    assert deltas_of(reply) == [
        ToolCallDelta(0, "call_1", "now", "{}"),
        ToolCallDelta(0),
        ToolCallDelta(1, "call_2", "then", "{}"),
    ]


def test_a_call_that_was_cut_off_stays_as_far_as_it_came() -> None:
    [reply] = replies([ToolCallDelta(0, "call_1", "now")])
    assert reply.tool_calls == [ToolCall(FunctionCall("now", ""), "call_1")]
    assert deltas_of(reply) == [ToolCallDelta(0, "call_1", "now")]


def test_calls_are_told_by_their_place() -> None:
    """Whatever numbers an engine gives them."""
    said: list[Delta] = [
        ToolCallDelta(7, "b", "g", "[1"),
        ToolCallDelta(2, "a", "f", "[0]"),
        ToolCallDelta(7, arguments="]"),
    ]
    [reply] = replies(said)
    assert [call.id for call in reply.tool_calls] == ["a", "b"]
    assert deltas_of(reply) == [
        ToolCallDelta(1, "b", "g", "[1"),
        ToolCallDelta(0, "a", "f", "[0]"),
        ToolCallDelta(1, arguments="]"),
    ]


def test_what_no_length_tells_of_comes_in_one_piece_each() -> None:
    call = ToolCall(FunctionCall("f", "{}"), "call_1")
    logprobs = [TokenLogprob("so", -0.5)]
    reply = Reply(content="so", reasoning="hm", tool_calls=[call], logprobs=logprobs)
    assert deltas_of(reply, 2) == [
        ReasoningDelta("hm", 2),
        ContentDelta("so", 2, logprobs),
        ToolCallDelta(0, "call_1", "f", "{}", 2),
    ]
    partly = msgspec.structs.replace(reply, deltas=[1, (0, 1)])
    assert deltas_of(partly) == [
        ContentDelta("s", 0, logprobs),
        ToolCallDelta(0, "call_1", "f", "{"),
        ReasoningDelta("hm"),
        ContentDelta("o"),
        ToolCallDelta(0, arguments="}"),
    ]


def test_nothing_came() -> None:
    assert replies([]) == [Reply()]
    assert replies([], ["stop", None]) == [Reply(finish_reason="stop"), Reply()]
    assert deltas_of(Reply(finish_reason="stop")) == []


def test_the_message_has_no_empty_parts() -> None:
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Reply(content="so").message))
    assert fields == {"role": "assistant", "content": "so"}
