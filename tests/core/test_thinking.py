"""Thinking in the text of a reply, told apart from it."""

from __future__ import annotations

import random

import pytest

from palaver.core.message import ImagePart, ImageUrl, Message, Part, RefusalPart, TextPart
from palaver.core.thinking import Thinking, split_thinking, thought_apart

TEXTS = [
    ("<think>Hm.</think>Yes.", "Hm.", "Yes."),
    ("<think>\nHm.\n\nAh.\n</think>\n\nYes.\n", "Hm.\n\nAh.", "Yes.\n"),
    ("  \n<think>Hm.</think>Yes.", "Hm.", "Yes."),
    ("<think></think>Yes.", "", "Yes."),
    ("<think>\n\n</think>\n\nYes.", "", "Yes."),
    ("<think>Hm. And then", "Hm. And then", ""),
    ("<think>a < b </thin </think>c </think> d", "a < b </thin ", "c </think> d"),
    ("Yes <think>not this</think>", "", "Yes <think>not this</think>"),
    ("<thinking>no</thinking>", "", "<thinking>no</thinking>"),
    ("<thi", "", "<thi"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "thought", "said"), TEXTS)
def test_a_whole_text(text: str, thought: str, said: str) -> None:
    assert split_thinking(text) == (thought, said)


@pytest.mark.parametrize(("text", "thought", "said"), TEXTS)
def test_in_pieces_of_any_size_it_is_the_same(text: str, thought: str, said: str) -> None:
    chance = random.Random(text)
    for _ in range(50):
        cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randrange(6)))
        thinking, pieces = Thinking(), []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            pieces += thinking.feed(text[start:end])
        pieces += thinking.end()
        assert all(piece for _, piece in pieces)
        assert "".join(piece for is_thought, piece in pieces if is_thought) == thought
        assert "".join(piece for is_thought, piece in pieces if not is_thought) == said


PICTURE = ImagePart(ImageUrl("data:image/png;base64,AA=="))
MESSAGES: list[tuple[Message, Message]] = [
    (
        Message("assistant", "<think>Hm.</think>\n\nYes."),
        Message("assistant", "Yes.", reasoning="Hm."),
    ),
    (
        Message("assistant", [TextPart("<think>Hm.</think>Yes."), PICTURE]),
        Message("assistant", [TextPart("Yes."), PICTURE], reasoning="Hm."),
    ),
    (
        Message("assistant", [TextPart("<think>Hm.</think>")]),
        Message("assistant", None, reasoning="Hm."),
    ),
    (Message("assistant", "<think>Hm"), Message("assistant", None, reasoning="Hm")),
    (Message("assistant", "<think></think>Yes."), Message("assistant", "Yes.")),
    (
        Message("assistant", "<think>other</think>Yes.", reasoning="Hm."),
        Message("assistant", "Yes.", reasoning="Hm."),
    ),
    (
        Message("assistant", "<think>other</think>Yes.", reasoning_content="Hm."),
        Message("assistant", "Yes.", reasoning_content="Hm."),
    ),
]


@pytest.mark.parametrize(("sent", "kept"), MESSAGES)
def test_a_reply_that_comes_back_with_its_thinking(sent: Message, kept: Message) -> None:
    assert thought_apart(sent) == kept


ALIKE: list[str | list[Part] | None] = [
    None,
    "",
    "Yes.",
    "I <think> so.",
    [],
    [PICTURE],
    [RefusalPart("<think>")],
]


@pytest.mark.parametrize("content", ALIKE)
def test_what_has_no_thinking_stays_as_it_is(content: str | list[Part] | None) -> None:
    message = Message("assistant", content)
    assert thought_apart(message) is message


def test_only_a_reply_thinks() -> None:
    message = Message("user", "<think>What is this tag?</think>")
    assert thought_apart(message) is message


def test_text_after_something_else_is_left_alone() -> None:
    message = Message("assistant", [PICTURE, TextPart("<think>Hm.</think>")])
    assert thought_apart(message) is message
