"""What a server says of a reply, held against what was sent: prompts it cut, and none that it did not."""

import base64
import json
import random
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.core.estimate import least_tokens, texts_of
from palaver.core.message import ImagePart, ImageUrl, Message, TextPart
from palaver.core.parameters import Format, Parameters, Tool
from palaver.core.turn import Finish, Usage
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.checking import (
    Checks,
    count_is_off,
    cut_warning,
    is_same_model,
    model_warning,
)
from palaver.engines.upstream.ratios import Ratios

OPTIONS = Options(model="m")

ENGLISH = (
    "The gateway keeps every conversation, so that it can be found again and gone on with years later. It doesn't "
    "matter which model answered: what was said stays where it was said, with 3 dates, 2 names and the rest.\n\n"
)
GERMAN = (
    "Das Donaudampfschifffahrtsgesellschaftskapitänspatent wurde gestern ordnungsgemäß verlängert; die "
    "Zuständigkeitsverordnung sieht Übergangsbestimmungen vor. "
)
CODE = (
    "def least_tokens(texts: Iterable[str]) -> int:\n    every = [text for text in texts if text]\n"
    "    return sum(map(_pieces, every))  # O(n)\n\n\nclass A_B(Base):\n\tx_y = {'a': [1, 2.5], \"b\": None}\n"
)
CHINESE = "我们把每一次对话都保存下来，这样以后还可以找到并继续。哪个模型回答并不重要：说过的话都留在原处。"  # noqa: RUF001
JAPANESE = (
    "会話はすべて保存され、後で見つけて続けることができます。どのモデルが答えたかは問題ではありません。"
)
KOREAN = (
    "모든 대화를 보관하여 나중에 다시 찾아 이어갈 수 있습니다. 어떤 모델이 답했는지는 중요하지 않습니다. "
)
THAI = "เราเก็บทุกบทสนทนาไว้เพื่อให้คุณค้นหาและสนทนาต่อได้ในภายหลัง"
HINDI = "हम हर बातचीत को सहेजते हैं ताकि आप उसे बाद में फिर से ढूँढ सकें और जारी रख सकें। "
RUSSIAN = "Мы сохраняем каждый разговор, чтобы потом его можно было найти и продолжить. "  # noqa: RUF001
EMOJI = "👩‍👩‍👧‍👦🎉🚀 "
TABLE = "| 2024-01-01 | 3.14159 | -17 |\n|---|---:|:--|\n"
BASE64 = base64.b64encode(random.Random(7).randbytes(3000)).decode()
HEX = random.Random(7).randbytes(400).hex() + " "
JSON = json.dumps({"id": 7, "name": "Ada", "tags": ["a", "b"], "nested": {"x": None, "y": True}})
TEXTS = {
    "English": ENGLISH,
    "German": GERMAN,
    "code": CODE,
    "Chinese": CHINESE,
    "Japanese": JAPANESE,
    "Korean": KOREAN,
    "Thai": THAI,
    "Hindi": HINDI,
    "Russian": RUSSIAN,
    "emoji": EMOJI,
    "table": TABLE,
    "base 64": BASE64,
    "hexadecimal": HEX,
    "JSON": JSON,
    "one letter": "a" * 300,
    "one word": "ha " * 100,
    "spaces": "x" + " " * 200,
    "lines": "\n" * 300,
    "a rule": "=" * 200 + "\n",
    "laughter": "哈" * 200,
}

# A tokenizer that knows every word, in the cuts that those in use make (o200k's): none makes fewer tokens. Of
# scripts without spaces, the longest average of any.
CUTS = re.compile(
    r"[^\r\n\w]?(?:[^\W\d_\u2e80-\ua4cf\uac00-\ud7a3\uff00-\uffef]|[\u0300-\u036f\u0900-\u0e7f\u200d])+"
    r"(?:'[a-z]{1,2})?"
    r"|[^\r\n\w]?[\uac00-\ud7a3]+"
    r"|[\u2e80-\ua4cf\uff00-\uffef]{1,2}|\d{1,3}| ?[^\s\w]+[\r\n/]*|_+|\s+"
)


def fewest(text: str) -> int:
    """What the tokenizer that makes the fewest tokens of this text counts."""
    text = re.sub(r"(.)\1{15,}", r"\1", text, flags=re.DOTALL)  # such runs are a token, or a few
    return len(CUTS.findall(text))


def window(*texts: str, conversation: str | None = "c", **others: Any) -> Window:
    messages = tuple(Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts))
    return Window(owner="ada", conversation=conversation, turn="t", messages=messages, **others)


def cut(checks: Checks, text: str, counted: int) -> int | None:
    return checks.cut([text], Usage(counted, 1), "m")


@pytest.mark.parametrize("name", TEXTS)
def test_no_whole_prompt_counts_as_cut(name: str) -> None:
    text = TEXTS[name] * (20_000 // len(TEXTS[name]) + 1)
    assert cut(Checks(), text, fewest(text)) is None


@given(st.lists(st.sampled_from(sorted(TEXTS)), min_size=1, max_size=6), st.integers(3_000, 12_000))
@settings(max_examples=25)
def test_no_mixture_counts_as_cut_whatever_was_learnt(names: list[str], length: int) -> None:
    """A model learns from one kind of text after the other, by the tokenizer that makes the fewest of each."""
    checks = Checks()
    for name in (*names, *names, *sorted(TEXTS)):
        text = TEXTS[name] * (length // len(TEXTS[name]) + 1)
        assert cut(checks, text, fewest(text)) is None, name


@given(
    st.sampled_from(["English", "code", "German", "Russian", "Chinese", "JSON"]),
    st.floats(1.0, 8.0),
    st.integers(3_000, 20_000),
)
@settings(max_examples=100)
def test_no_count_counts_as_cut_between_1_and_8_bytes_a_token(name: str, ratio: float, length: int) -> None:
    """Of real tokenizers; none has fewer tokens than the text has words."""
    text = TEXTS[name] * (length // len(TEXTS[name]) + 1)
    counted = max(int(len(text.encode()) / ratio), fewest(text))
    checks = Checks()
    for _ in range(5):
        assert cut(checks, text, counted) is None


@pytest.mark.parametrize("name", ["English", "code", "Russian", "JSON", "table"])
def test_a_prompt_that_was_cut_to_less_than_half(name: str) -> None:
    text = TEXTS[name] * (20_000 // len(TEXTS[name]) + 1)
    real = int(fewest(text) * 1.2)
    checks = Checks()
    about = cut(checks, text, real * 2 // 5)
    assert about is not None
    assert 0.6 * real < about < 1.6 * real
    for _ in range(4):
        assert cut(checks, text, real) is None
    learnt = cut(checks, text, real * 9 // 20)
    assert learnt is not None
    assert 0.75 * real < learnt < 1.25 * real, "what was counted before tells more"


def test_short_prompts_say_nothing() -> None:
    assert cut(Checks(), ENGLISH * 10, 5) is None


def test_one_odd_count_is_nothing() -> None:
    ratios = Ratios()
    for tokens in (1200, 1210, 90_000, 1190, 1205):
        ratios.learn("m", 1000, tokens)
    assert ratios.typical("m") == pytest.approx(1.205)
    assert ratios.typical("other") == 1.25


def test_of_few_models_something_is_learnt() -> None:
    ratios = Ratios()
    for number in range(1000):
        for _ in range(3):
            ratios.learn(f"m{number}", 1000, 1100)
    assert not ratios.is_learnt("m0")
    assert ratios.is_learnt("m999")


def test_long_prompts_are_looked_at_in_parts() -> None:
    whole = least_tokens([ENGLISH]) * 20_000
    assert 0.97 * whole < least_tokens([ENGLISH * 20_000]) <= whole
    many = least_tokens([ENGLISH] * 20_000)
    assert 0.97 * whole < many <= whole * 1.001


def test_what_may_not_reach_the_model_is_not_counted() -> None:
    messages = (
        Message("user", [TextPart("one two"), ImagePart(ImageUrl("data:image/png;base64," + BASE64))]),
        Message("assistant", "<think>three four</think>five", reasoning="six seven"),
        Message("assistant", None),
    )
    assert texts_of(messages) == ["one two", "five"]


# A conversation's next prompt


def shrunk(checks: Checks, prompt: Window, counted: int, **asked: Any) -> int | None:
    options = Options(model="m", parameters=Parameters(**asked))
    return checks.shrunk(prompt, options, Usage(counted, 1))


def test_a_longer_prompt_that_counts_less() -> None:
    checks = Checks()
    assert shrunk(checks, window("a", "b", "c"), 5000) is None
    assert shrunk(checks, window("a", "b", "c", "d", "e"), 4096) == 5000
    assert shrunk(checks, window("a", "b", "c", "d", "e", "f", "g"), 4096) == 5000, "still against the whole"
    assert shrunk(checks, window("a", "b", "c", "d", "e", "f", "g", "h", "i"), 5100) is None


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (window("a", "b"), {}),
        (window("x", "b", "c", "d", "e"), {}),
        (window("a", "b", "c", "d", "e", conversation=None), {}),
        (window("a", "b", "c", "d", "e", conversation="other"), {}),
        (window("a", "b", "c", "d", "e", tools=(Tool(name="t"),)), {}),
        (window("a", "b", "c", "d", "e"), {"format": Format(type="json_object")}),
        (window("a", "b", "c", "d", "e"), {"chat_template_kwargs": {"x": 1}}),
    ],
    ids=["shorter", "another beginning", "not stored", "another", "tools", "a form", "the template"],
)
def test_other_prompts_explain_a_smaller_count(prompt: Window, asked: dict[str, Any]) -> None:
    checks = Checks()
    shrunk(checks, window("a", "b", "c"), 5000)
    assert shrunk(checks, prompt, 1000, **asked) is None


def test_thinking_that_is_not_shown_again_explains_a_smaller_count() -> None:
    checks = Checks()
    thought = Message("assistant", "b", reasoning="Hm. " * 1000)
    before = msgspec.structs.replace(window(), messages=(Message("user", "a"), thought))
    after = msgspec.structs.replace(before, messages=(*before.messages, Message("user", "c")))
    assert shrunk(checks, before, 3000) is None
    assert shrunk(checks, after, 1000) is None


def test_media_explain_everything() -> None:
    checks = Checks()
    image = Message("user", [ImagePart(ImageUrl("data:image/png;base64,AAAA"))])
    before = msgspec.structs.replace(window(), messages=(image,))
    after = msgspec.structs.replace(
        window(), messages=(image, Message("assistant", "b"), Message("user", "c"))
    )
    assert shrunk(checks, before, 9000) is None
    assert shrunk(checks, after, 1000) is None


def test_of_few_conversations_the_count_is_kept() -> None:
    checks = Checks()
    for number in range(3000):
        shrunk(checks, window("a", conversation=f"c{number}"), 5000)
    assert len(checks._seen) == 1024
    assert shrunk(checks, window("a", "b", "c", conversation="c2999"), 1000) == 5000
    assert shrunk(checks, window("a", "b", "c", conversation="c0"), 1000) is None


# Words


def test_the_warning() -> None:
    assert cut_warning(4096, 8964) == "upstream cut this prompt: it counted 4,096 tokens of about 9,000"
    assert cut_warning(512, 1249) == "upstream cut this prompt: it counted 512 tokens of about 1,200"


@pytest.mark.parametrize(
    ("prompt", "counted", "warns"),
    [
        ("Hi", 0, "counted no tokens"),
        ("Hi", 30_000, "more tokens than the prompt can have"),
        ("Hi", 19_000, None),
        ("Hi " * 20_000, 60_000, None),
    ],
)
def test_counts_that_cannot_be(prompt: str, counted: int, warns: str | None) -> None:
    warning = count_is_off(window(prompt), Usage(counted, 1))
    assert (warns is None) == (warning is None)
    assert warns is None or warns in (warning or "")


def test_media_may_have_any_count() -> None:
    image = Message("user", [ImagePart(ImageUrl("https://example.com/cat.png"))])
    prompt = msgspec.structs.replace(window(), messages=(image,))
    assert count_is_off(prompt, Usage(90_000, 1)) is None


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-4o", "GPT-4o"),
        ("llama3", "llama3:latest"),
        ("llama3:latest", "llama3"),
        ("llama3", "llama3:8b-instruct-q4_K_M"),
        ("qwen3:8b", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B", "/models/Qwen3-8B-Q4_K_M.gguf"),
        ("Qwen3-8B", r"C:\models\Qwen3-8B-UD-Q4_K_XL.gguf"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Meta-Llama-3.3-70B-Instruct-FP8"),
        ("deepseek-v3", "deepseek-ai/DeepSeek-V3-0324"),
        ("big", "models/big-00001-of-00003.gguf"),
        ("mixtral", "mixtral:8x7b"),
        ("m", "m"),
        ("claude-sonnet-4", "claude-sonnet-4-20250514"),
        ("qwen3-30b-a3b", "Qwen3-30B-A3B-Instruct-2507"),
    ],
)
def test_names_that_may_mean_the_same_model(asked: str, answered: str) -> None:
    assert is_same_model(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-3.5-turbo"),
        ("gpt-4o", "gpt-4o-mini"),
        ("qwen3:8b", "qwen3:0.6b"),
        ("llama3.1", "llama3.2"),
        ("llama3", "mistral"),
        ("o4-mini", "qwen/qwen3.5-9b"),
        ("deepseek-r1", "deepseek-v3"),
    ],
)
def test_names_of_clearly_another_model(asked: str, answered: str) -> None:
    assert not is_same_model(asked, answered)
    warning = model_warning(asked, Finish("stop", None, answered))
    assert warning is not None
    assert asked in warning
    assert answered in warning


def test_a_server_that_names_no_model() -> None:
    assert model_warning("m", Finish("stop")) is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_two_names_can_be_held_against_each_other(asked: str, answered: str) -> None:
    assert is_same_model(asked, asked)
    assert is_same_model(asked, answered) == is_same_model(answered, asked)
