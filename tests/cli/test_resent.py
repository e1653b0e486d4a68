"""What the API shows of a conversation becomes the messages that a client resends."""

from typing import Any

from palaver.cli.resent import resent, text_of


def item(role: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "content": list(parts), "deleted": False, **more}


def asked(text: str) -> dict[str, Any]:
    return item("user", {"type": "input_text", "text": text})


def answered(text: str) -> dict[str, Any]:
    return item("assistant", {"type": "output_text", "text": text, "annotations": []})


def test_text_is_resent_as_text() -> None:
    assert resent([asked("a"), answered("b")]) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_questions_at_the_end_that_nobody_answered_are_left_out() -> None:
    assert resent([asked("a"), answered("b"), asked("c"), asked("d")]) == resent([asked("a"), answered("b")])
    assert resent([asked("a")]) == []
    assert resent([]) == []


def test_what_was_deleted_is_left_out() -> None:
    gone = item("assistant", deleted=True)
    assert resent([asked("a"), gone, asked("b"), answered("c")]) == resent(
        [asked("a"), asked("b"), answered("c")]
    )


def test_a_question_in_the_middle_stays() -> None:
    assert [message["content"] for message in resent([asked("a"), asked("b"), answered("c")])] == [
        "a",
        "b",
        "c",
    ]


def test_parts_keep_their_number_and_become_what_chat_completions_take() -> None:
    message = item(
        "user",
        {"type": "input_text", "text": "what is"},
        {"type": "input_image", "image_url": "https://example.org/x.png", "detail": "auto"},
        {"type": "input_image", "image_url": "https://example.org/y.png", "detail": "low"},
        {"type": "input_file", "file_id": "f1"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    )
    assert resent([message, answered("b")])[0]["content"] == [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/y.png", "detail": "low"}},
        {"type": "file", "file": {"file_id": "f1"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    assert text_of(message) == "what is[input_image][input_image][input_file][input_audio]"


def test_tool_calls_and_their_results_go_along() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = item("tool", {"type": "input_text", "text": "42"}, tool_call_id="c1")
    sent = resent([asked("a"), item("assistant", tool_calls=[call]), result, answered("b")])
    assert sent[1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    assert sent[2] == {"role": "tool", "content": "42", "tool_call_id": "c1"}
