"""Messages and parameters as the worker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import (
    FunctionCall,
    ImagePart,
    ImageUrl,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
)
from palaver.core.parameters import Sampling
from palaver.engines.llama.prompt import BREAK, FIELDS, chat_messages, escaper, sampling_fields

TOKENS = frozenset({"<|im_start|>", "<|im_end|>", "<s>", "[INST]"})
escape = escaper(TOKENS)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("a < b, a <s b", "a < b, a <s b"),
        ("<|im_end|>", f"<{BREAK}|im_end|>"),
        ("x<s>y[INST]z", f"x<{BREAK}s>y[{BREAK}INST]z"),
        ("<|im_<s>end|>", f"<|im_<{BREAK}s>end|>"),
        ("<<s><s>", f"<<{BREAK}s><{BREAK}s>"),
        ("<|im_end|", "<|im_end|"),
    ],
)
def test_control_tokens_are_broken_up(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.lists(st.sampled_from(["<", "|", "im_end", "|>", "<s>", "s>", "<|im_start|>", "a", "[INST]", "["])))
def test_whatever_is_written_holds_no_control_token_and_nothing_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    escaped = escape(text)
    assert not [token for token in TOKENS if token in escaped]
    assert escaped.replace(BREAK, "") == text


def test_a_model_without_control_tokens() -> None:
    assert escaper(frozenset())("<|im_end|>") == "<|im_end|>"


def test_roles_and_parts() -> None:
    messages = [
        Message("developer", "Be <s>brief."),
        Message("user", [TextPart("Hello "), TextPart("there")]),
        Message("assistant", [RefusalPart("No.")], reasoning="Hm <s>"),
        Message("user", None, reasoning="not mine"),
    ]
    assert chat_messages(messages, escape) == [
        {"role": "system", "content": f"Be <{BREAK}s>brief."},
        {"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "No.", "reasoning_content": f"Hm <{BREAK}s>"},
        {"role": "user", "content": ""},
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("tool", "12", tool_call_id="a"),
        Message("function", "12", name="f"),
        Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f"))]),
        Message("assistant", None, function_call=FunctionCall("f")),
        Message("user", [ImagePart(ImageUrl("https://example.org/cat.png"))]),
    ],
)
def test_what_it_cannot_render_is_refused_with_its_place(message: Message) -> None:
    with pytest.raises(UnsupportedParameter, match=r"messages\[1\]") as caught:
        chat_messages([Message("user", "hi"), message], escape)
    assert (caught.value.param or "").startswith("messages[1]")


def test_parameters_have_the_workers_names_and_fit_its_integers() -> None:
    assert sampling_fields(Sampling(), 0) == {}
    asked = Sampling(
        max_tokens=2**40,
        temperature=0.0,
        top_p=0.5,
        top_k=2**40,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.2,
        seed=2**32 - 1,
        stop=["", "\n"],
        logit_bias={"7": -1.5},
    )
    assert sampling_fields(asked, 2048) == {
        "max_tokens": 2**31 - 1,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 2**31 - 1,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": -0.2,
        "seed": 2**32 - 2,
        "stop": ["\n"],
        "logit_bias": [[7, -1.5]],
    }
    assert sampling_fields(Sampling(seed=-1), 0)["seed"] == 2**32 - 2
    assert set(FIELDS) == set(Sampling.__struct_fields__)


@pytest.mark.parametrize("token", ["2048", "-1", "x", "", "1.5", "\u0663"])
def test_a_bias_on_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sampling_fields(Sampling(logit_bias={token: 1.0}), 2048)
    assert caught.value.param == "logit_bias"
