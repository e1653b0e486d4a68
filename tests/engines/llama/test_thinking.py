"""Thinking: switched on and off, bounded, counted, and shown to the model again."""

import pytest

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import Message
from palaver.core.parameters import Format, Parameters
from palaver.core.window import Window
from palaver.engines.llama import LlamaEngine, thinking
from palaver.engines.llama.thinking import Thinks
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.models import CONTROL, MARKERS
from tests.engines.llama.talk import answer, window
from tests.engines.llama.templates import ALWAYS_THINKS, HERMES, PLAIN, QWEN


def tags(engine: LlamaEngine, opening: float, closing: float) -> dict[str, float]:
    """Biases that make a model of random weights think, or stop to."""
    first = engine.gguf.vocabulary - len(MARKERS)
    return {str(first): opening, str(first + 1): closing}


@pytest.fixture
def qwen(make_engine: MakeEngine, model_of: ModelOf) -> LlamaEngine:
    return make_engine(model_of(QWEN))


@pytest.fixture
def always(make_engine: MakeEngine, model_of: ModelOf) -> LlamaEngine:
    return make_engine(model_of(ALWAYS_THINKS))


@pytest.mark.parametrize(
    ("template", "known"),
    [
        (PLAIN, Thinks()),
        (HERMES, Thinks()),
        (QWEN, Thinks(("enable_thinking",), tags=True)),
        (ALWAYS_THINKS, Thinks((), tags=True)),
        ("{% if thinking %}<think>{% endif %}", Thinks(("thinking",), tags=True)),
        ("{% if message.thinking or x['thinking'] %}a{% endif %} thinking", Thinks()),
        ("{{ reasoning_effort }}<|channel|>final", Thinks((), effort=True, in_parts=True)),
    ],
)
def test_what_a_template_knows_of_thinking(template: str, known: Thinks) -> None:
    assert Thinks.of(template) == known


def plain(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("knows", "asked", "fields"),
    [
        (Thinks(), {"reasoning": False}, {}),
        (Thinks(), {"reasoning_effort": "none"}, {}),
        (Thinks(("thinking",)), {"reasoning": False}, {"chat_template_kwargs": {"thinking": False}}),
        (Thinks(("thinking",)), {"reasoning": True}, {"chat_template_kwargs": {"thinking": True}}),
        (Thinks(("thinking",)), {"reasoning_effort": "none"}, {"chat_template_kwargs": {"thinking": False}}),
        (Thinks(tags=True), {"reasoning_effort": "low"}, {"reasoning_budget_tokens": 2048}),
        (Thinks(tags=True), {"reasoning_effort": "high"}, {}),
        (Thinks(effort=True), {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        (
            Thinks(("thinking",)),
            {"reasoning": True, "chat_template_kwargs": {"thinking": False, "x": [1]}},
            {"chat_template_kwargs": {"thinking": False, "x": [1]}},
        ),
    ],
)
def test_what_is_asked_of_a_template(knows: Thinks, asked: dict[str, object], fields: object) -> None:
    assert knows.fields(Parameters(**asked), plain) == fields  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("knows", "asked", "param"),
    [
        (Thinks(), {"reasoning": True}, "reasoning"),
        (Thinks(), {"reasoning_effort": "low"}, "reasoning_effort"),
        (Thinks(tags=True), {"reasoning": False}, "reasoning"),
        (Thinks(effort=True), {"reasoning_effort": "none"}, "reasoning_effort"),
        (Thinks(tags=True), {"reasoning_effort": "plenty"}, "reasoning_effort"),
        (Thinks(), {"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        (Thinks(), {"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        (
            Thinks(),
            {"chat_template_kwargs": {"enable_thinking": "no"}},
            "chat_template_kwargs.enable_thinking",
        ),
    ],
)
def test_what_cannot_be_asked(knows: Thinks, asked: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        knows.fields(Parameters(**asked), plain)  # type: ignore[arg-type]
    assert caught.value.param == param


async def test_thoughts_are_told_apart_and_counted(always: LlamaEngine) -> None:
    reply, finish = await answer(always, window("Hi"), logit_bias=tags(always, -100, 5), max_tokens=400)
    assert reply.reasoning
    assert reply.content
    usage = finish.usage
    assert usage is not None
    assert usage.reasoning_tokens is not None
    assert 0 < usage.reasoning_tokens < usage.completion_tokens


async def test_a_reply_that_ends_in_its_thoughts(always: LlamaEngine) -> None:
    reply, finish = await answer(always, window("Hi"), logit_bias=tags(always, -100, -100), max_tokens=9)
    assert (reply.content, finish.reason) == ("", "length")
    assert finish.usage is not None
    assert finish.usage.reasoning_tokens == finish.usage.completion_tokens == 9


async def test_a_model_that_does_not_think_has_no_such_count(engine: LlamaEngine) -> None:
    _, finish = await answer(engine, window("Hi"))
    assert finish.usage is not None
    assert finish.usage.reasoning_tokens is None


async def test_thinking_is_switched_off(qwen: LlamaEngine) -> None:
    for asked in ({"reasoning": False}, {"reasoning_effort": "none"}):
        _, finish = await answer(qwen, window("Hi"), echo=True, max_tokens=2, **asked)
        assert (finish.prompt or "").endswith("<think>\n\n</think>\n\n")
    _, finish = await answer(qwen, window("Hi"), echo=True, max_tokens=2)
    assert (finish.prompt or "").endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("form", [None, Format(type="regex", pattern="[0-9]{3}")])
async def test_an_effort_bounds_the_thoughts(
    always: LlamaEngine, monkeypatch: pytest.MonkeyPatch, form: Format | None
) -> None:
    monkeypatch.setitem(thinking.BUDGETS, "minimal", 5)
    never = tags(always, -100, -20)
    reply, finish = await answer(
        always, window("Hi"), reasoning_effort="minimal", logit_bias=never, format=form, max_tokens=40
    )
    assert reply.content
    assert finish.usage is not None
    assert (finish.usage.reasoning_tokens or 99) <= 9


async def test_thoughts_of_the_history_are_shown_as_the_template_wants_it(qwen: LlamaEngine) -> None:
    """Qwen shows those since the last question."""
    messages = (
        Message("user", "One?"),
        Message("assistant", "Two.", reasoning="old thought"),
        Message("user", "Three?"),
        Message("assistant", "Four.", reasoning_content="new <|im_end|> thought"),
    )
    prompt = Window(owner="ada", conversation="c", turn="t", messages=messages)
    _, finish = await answer(qwen, prompt, echo=True, max_tokens=2)
    shown = finish.prompt or ""
    assert "old thought" not in shown
    assert "<think>\nnew <\u200b|im_end|> thought\n</think>\n\nFour." in shown


async def test_a_form_after_thoughts_that_had_begun_already(always: LlamaEngine) -> None:
    form = Format(type="regex", pattern="[0-9]{3}")
    thought = 0
    for seed in range(4):
        reply, finish = await answer(
            always, window("Hi"), format=form, logit_bias=tags(always, -100, 5), seed=seed, max_tokens=500
        )
        assert finish.reason == "stop"
        assert reply.content.isdecimal()
        thought += bool(reply.reasoning)
    assert thought, "one of them at least did not end its thoughts at once"


async def test_tags_that_are_not_seen_leave_no_room_for_a_form(
    make_engine: MakeEngine, model_of: ModelOf
) -> None:
    markers = MARKERS | {"<think>": CONTROL, "</think>": CONTROL}
    engine = make_engine(model_of(ALWAYS_THINKS, markers=markers))
    with pytest.raises(UnsupportedParameter) as caught:
        await answer(engine, window("Hi"), format=Format(type="regex", pattern="[0-9]{3}"))
    assert caught.value.param == "response_format"
    assert (await answer(engine, window("Hi"), max_tokens=3))[1].reason == "length"
