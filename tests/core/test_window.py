from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import Message, canonical
from palaver.core.path import Step
from palaver.core.tree import Instruction, read_history
from palaver.core.window import composed, rendered
from tests.core.messages import messages

ROOT = bytes(16)


@given(st.lists(messages, max_size=8))
def test_a_request_read_and_woven_is_the_request(sent: list[Message]) -> None:
    history = read_history(sent, ROOT)
    steps = [Step(depth, message) for depth, message in enumerate(history.messages)]
    assert composed(history.instructions, steps) == tuple(sent)


@given(st.lists(messages, max_size=8))
def test_instructions_are_what_comes_before_the_first_user_message(sent: list[Message]) -> None:
    history = read_history(sent, ROOT)
    first_user = next((i for i, m in enumerate(sent) if m.role == "user"), len(sent))
    before = [m for m in sent[:first_user] if m.role in ("system", "developer")]
    assert [i.message for i in history.instructions] == before
    assert len(history.messages) + len(before) == len(sent)
    assert history.forms == [canonical(m) for m in history.messages]


def test_a_clock_in_the_instructions_changes_no_key() -> None:
    sent = [
        read_history([Message("system", f"It is {hour} o'clock."), Message("user", "hi")], ROOT)
        for hour in (1, 2)
    ]
    assert sent[0].keys == sent[1].keys


def test_system_text_after_the_first_user_message_is_a_message() -> None:
    sent = [Message("user", "hi"), Message("system", "Be brief."), Message("user", "now")]
    history = read_history(sent, ROOT)
    assert history.instructions == []
    assert len(history.keys) == 3


def test_instructions_go_where_they_stood() -> None:
    greeting = [
        Message("system", "a"),
        Message("assistant", "Welcome."),
        Message("developer", "b"),
        Message("user", "c"),
    ]
    history = read_history(greeting, ROOT)
    assert history.instructions == [Instruction(0, greeting[0]), Instruction(1, greeting[2])]
    steps = [Step(depth, message) for depth, message in enumerate(history.messages)]
    assert composed(history.instructions, steps) == tuple(greeting)


@given(messages, messages)
def test_a_message_is_rendered_as_stored_with_the_reasoning_that_was_sent(
    stored: Message, sent: Message
) -> None:
    seen = rendered(stored, sent)
    assert (seen.reasoning, seen.reasoning_content) == (sent.reasoning, sent.reasoning_content)
    assert (
        msgspec.structs.replace(seen, reasoning=stored.reasoning, reasoning_content=stored.reasoning_content)
        == stored
    )
    assert rendered(stored, None) == stored
