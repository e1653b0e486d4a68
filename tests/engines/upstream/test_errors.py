"""What the refusals of model servers mean, in the words of each."""

import json

import pytest

from palaver.core.errors import (
    ContextLengthExceeded,
    EngineRefused,
    EngineUnavailable,
    UnsupportedParameter,
)
from palaver.engines.base import Options
from palaver.engines.upstream.errors import come_again, refusal
from tests.engines.contract import window
from tests.engines.fake_upstream import KEY

OPTIONS = Options(model="wordy")
HELLO = window("Hello there, how are you?")


OVERLONG = [
    (
        "request (1358 tokens) exceeds the available context size (512 tokens), try increasing it",
        1358,
        512,
        None,
    ),
    ("The input (99 tokens) is longer than the model's context length (64 tokens).", 99, 64, None),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32769. "
        "Given: 30 `inputs` tokens and 999999999 `max_new_tokens`",
        30,
        32769,
        999999999,
    ),
    (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 6164 tokens. "
        "Please reduce the length of the messages.",
        6164,
        4097,
        None,
    ),
    (
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
        "(112946 in the messages, 10000 in the completion).",
        112946,
        16384,
        10000,
    ),
    (
        "This model's maximum context length is 2048 tokens. However, your request has 8 input tokens plus "
        "2045 'max_tokens'. Please reduce one or the other.",
        8,
        2048,
        2045,
    ),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your "
        "prompt contains at least 4097 input tokens, for a total of at least 4097 tokens.",
        4097,
        4096,
        None,
    ),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 4000 output tokens and "
        "your prompt contains 900 input tokens, for a total of 4900 tokens.",
        900,
        4096,
        4000,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is "
        "4096 tokens and your request has 12 input tokens (5000 > 4096 - 12).",
        12,
        4096,
        5000,
    ),
    (
        "You passed 4097 input tokens and requested 0 output tokens. However, the model's context length is "
        "only 4096 tokens, resulting in a maximum input length of 4096 tokens.",
        4097,
        4096,
        None,
    ),
    ("The decoder prompt (length 8357) is longer than the maximum model length of 8192.", 8357, 8192, None),
    (
        "Requested token count exceeds the model's maximum context length of 64000 tokens. You requested a "
        "total of 71897 tokens: 7897 tokens from the input messages and 64000 tokens for the completion.",
        7897,
        64000,
        64000,
    ),
    ("prompt is too long: 213462 tokens > 200000 maximum", 213462, 200000, None),
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
        "context length",
        40000,
        32768,
        None,
    ),
    ("The maximum prompt length is 1000 but the request contains 5378 tokens.", 5378, 1000, None),
    ("The input token count (11) exceeds the maximum number of tokens allowed (10).", 11, 10, None),
]


@pytest.mark.parametrize("status", [400, 403, 413, 422])
@pytest.mark.parametrize(("words", "prompt", "size", "limit"), OVERLONG)
def test_overlong_prompts_in_every_servers_words(
    words: str, prompt: int, size: int, limit: int | None, status: int
) -> None:
    raised = refusal("house", status, json.dumps({"error": {"message": words}}).encode())
    assert isinstance(raised, ContextLengthExceeded)
    assert (raised.prompt_tokens, raised.context_size) == (prompt, size)
    assert limit is None or str(limit) in raised.message


def test_llama_servers_numbers_beside_the_message() -> None:
    error = {
        "message": "too long",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 1358,
        "n_ctx": 512,
    }
    raised = refusal("house", 400, json.dumps({"error": error}).encode())
    assert isinstance(raised, ContextLengthExceeded)
    assert (raised.prompt_tokens, raised.context_size) == (1358, 512)


@pytest.mark.parametrize(
    ("status", "message", "kind", "seen"),
    [
        (400, "maximum context length exceeded", EngineRefused, 400),
        (403, "context_length_exceeded", EngineRefused, 400),
        (422, "prompt is too long", EngineRefused, 400),
        (
            400,
            "The model's context length is 4096 tokens. Your request has 12 input tokens.",
            EngineRefused,
            400,
        ),
        (402, "spending cap", EngineRefused, 402),
        (403, "your country", EngineRefused, 502),
        (413, "too large a body", EngineRefused, 413),
        (422, "no such tool", EngineRefused, 422),
        (301, "", EngineRefused, 502),
        (204, "", EngineRefused, 502),
    ],
)
def test_other_refusals(status: int, message: str, kind: type[EngineRefused], seen: int) -> None:
    raised = refusal("house", status, json.dumps({"error": {"message": message}}).encode())
    assert isinstance(raised, kind)
    assert raised.status == seen
    assert message in raised.message


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ("tools[0].function.name", "tools[0].function.name"),
        (None, None),
        ("", None),
        (5, None),
        ("x" * 300, None),
        (f"messages {KEY}", "messages …"),
    ],
)
def test_the_field_that_a_server_names_is_passed_on(told: object, param: str | None) -> None:
    raised = refusal("house", 400, json.dumps({"error": {"message": "no", "param": told}}).encode(), KEY)
    assert isinstance(raised, EngineRefused)
    assert (raised.message, raised.param) == ("no", param)


@pytest.mark.parametrize("what", ["image", "audio", "video"])
def test_what_llama_server_has_no_projector_for(what: str) -> None:
    """It tells so with status 500, which is no reason to send the request again."""
    words = f"{what} input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    raised = refusal("house", 500, json.dumps({"error": {"code": 500, "message": words}}).encode())
    assert isinstance(raised, UnsupportedParameter)
    assert (raised.message, raised.param) == (words, "messages")


@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b"\xff\xfe", b"[]", b"{", b"x" * 5000])
def test_refusals_without_words(body: bytes) -> None:
    raised = refusal("house", 400, body)
    assert isinstance(raised, EngineRefused)
    assert len(raised.message) < 100


def test_a_key_that_a_server_repeats_is_not_passed_on() -> None:
    raised = refusal("house", 403, f"key {KEY} is not for this model".encode(), KEY)
    assert KEY not in raised.message
    assert "is not for this model" in raised.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 1.2 "}, 2),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "3601"}, 3600),
        ({"Retry-After": "9" * 400}, 3600),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 40),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 1),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 -0000", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 40),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 GMT", "Date": "yesterday"}, None),
    ],
)
def test_when_to_come_again(headers: dict[str, str], seconds: int | None) -> None:
    assert come_again(headers) == seconds


@pytest.mark.parametrize(("status", "kind"), [(429, EngineRefused), (503, EngineUnavailable)])
def test_a_refusal_says_when_to_come_again(
    status: int, kind: type[EngineRefused] | type[EngineUnavailable]
) -> None:
    raised = refusal("house", status, b"", retry_after=30)
    assert isinstance(raised, kind)
    assert raised.retry_after == 30
