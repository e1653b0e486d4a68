"""Replies of a form, and the other parameters of a reply, with real workers and random weights."""

import asyncio
from typing import Any

import msgspec
import pytest

from palaver.core.errors import EngineBroke, InvalidRequest, UnsupportedParameter
from palaver.core.parameters import Format, Parameters
from palaver.core.turn import Accepted, ContentDelta
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.talk import ENDLESS, UNLIMITED, answer, events_of, options, token_of, until, window
from tests.engines.llama.templates import HERMES, QWEN

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3},
    },
    "required": ["count", "kind", "tags"],
    "additionalProperties": False,
}
JSON = Format(type="json_schema", name="thing", schema=SCHEMA)
REGEX = Format(type="regex", pattern=r"[0-9]{3}-[a-f]{2}")
GBNF = Format(type="grammar", grammar='root ::= ("yes" | "no") "!"{1,3}')


@pytest.fixture
def hermes(make_engine: MakeEngine, model_of: ModelOf) -> LlamaEngine:
    return make_engine(model_of(HERMES))


@pytest.mark.parametrize("form", [JSON, REGEX, GBNF], ids=lambda form: form.type)
async def test_a_reply_has_its_form_whatever_the_model_is(hermes: LlamaEngine, form: Format) -> None:
    texts = set()
    for seed in range(8):
        reply, finish = await answer(hermes, window("Hi"), format=form, seed=seed, temperature=2.0)
        assert finish.reason == "stop"
        texts.add(reply.content)
        if form is JSON:
            said = msgspec.json.decode(reply.content)
            assert 0 <= said["count"] <= 99
            assert said["kind"] in "ab"
            assert len(said["tags"]) <= 3
    assert len(texts) > 1


async def test_any_object(hermes: LlamaEngine) -> None:
    reply, finish = await answer(
        hermes, window("Hi"), format=Format(type="json_object"), max_tokens=400, temperature=0.0
    )
    assert reply.content.startswith("{")
    assert finish.reason == "length" or isinstance(msgspec.json.decode(reply.content), dict)


async def test_the_bundled_model_keeps_to_a_form(engine: LlamaEngine) -> None:
    form = Format(type="json_schema", schema={"enum": ["Paris", "Lima"]})
    question = window("What is the capital of France?")
    reply, finish = await answer(engine, question, format=form, temperature=0.0)
    assert (reply.content, finish.reason) == ('"Paris"', "stop")


async def test_a_form_is_streamed_with_its_log_probabilities(hermes: LlamaEngine) -> None:
    events = await events_of(hermes, window("Hi"), format=JSON, logprobs=2)
    deltas = [event for event in events if isinstance(event, ContentDelta)]
    told = [each for delta in deltas for each in delta.logprobs]
    assert len(deltas) > 5
    assert "".join(each.token for each in told).startswith('{"count": ')
    assert {len(each.top) for each in told} == {2}
    assert all(each.id is not None and each.bytes for each in told)


@pytest.mark.parametrize(("limits", "reason"), [({"max_tokens": 3}, "length"), ({"stop": ["-"]}, "stop")])
async def test_a_form_that_is_cut_off_need_not_be_whole(
    hermes: LlamaEngine, limits: dict[str, object], reason: str
) -> None:
    reply, finish = await answer(hermes, window("Hi"), format=REGEX, **limits)
    assert finish.reason == reason
    assert reply.content.isdecimal()


async def test_blanks_of_a_form_are_kept(hermes: LlamaEngine) -> None:
    form = Format(type="regex", pattern=r"\n {2}[ab]\n\n")
    reply, _ = await answer(hermes, window("Hi"), format=form)
    assert reply.content in ("\n  a\n\n", "\n  b\n\n")


async def test_a_form_that_the_worker_lets_go_of_is_told(hermes: LlamaEngine) -> None:
    """The pattern grows while it is matched, until llama.cpp drops it and says so to nobody."""
    bomb = Format(type="regex", pattern="((a{1,30}){1,30}){1,30}")
    letter = await token_of(hermes, "a")
    said: list[str] = []

    async def read() -> None:
        asked = options(Parameters(max_tokens=300, format=bomb, logit_bias={str(letter): 50.0}))
        async for event in hermes.generate(window("Hi"), asked):
            if isinstance(event, ContentDelta):
                said.append(event.text)

    with pytest.raises(EngineBroke, match="does not have the form"):
        await read()
    assert "".join(said).startswith("aaa"), "what the model had said was told"


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (Format(type="json_schema", schema={"type": "frob"}), "response_format.json_schema.schema"),
        (Format(type="regex", pattern="("), "response_format.pattern"),
        (Format(type="grammar", grammar="root ::= nothing"), "response_format.grammar"),
    ],
)
async def test_a_broken_form_starts_nothing(hermes: LlamaEngine, form: Format, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await answer(hermes, window("Hi"), format=form)
    assert caught.value.param == param
    assert hermes.worker_pid is None


async def test_a_cut_reply_with_a_form_cannot_go_on(hermes: LlamaEngine) -> None:
    asked = msgspec.structs.replace(UNLIMITED, format=REGEX)
    with pytest.raises(UnsupportedParameter) as caught:
        _ = [
            event
            async for event in hermes.generate(
                window("Hi", "12"), Options(model="m", parameters=asked, prefill=True)
            )
        ]
    assert caught.value.param == "response_format"


async def test_large_forms_do_not_stop_others(engine: LlamaEngine) -> None:
    """While another reply runs, each of the largest schemas that are taken is answered, and it goes on between."""
    words = [f"value number {i}" for i in range(1000)]
    large: list[dict[str, Any]] = [
        {"enum": words},
        {
            "type": "object",
            "properties": {word[6:]: {"type": "integer"} for word in words[:200]},
        },
        {"type": "string", "minLength": 20, "maxLength": 5000, "pattern": "^[a-z ]*$"},
        {"type": "array", "items": {"enum": words[:500]}, "minItems": 1, "maxItems": 2},
    ]
    seen = 0

    async def count() -> None:
        nonlocal seen
        async for event in engine.generate(window(*ENDLESS, conversation="other"), options(UNLIMITED)):
            seen += isinstance(event, ContentDelta)

    other = asyncio.create_task(count())
    await until(lambda: seen)
    for schema in large:
        before = seen
        reply, _ = await answer(
            engine, window("Hi"), format=Format(type="json_schema", schema=schema), max_tokens=30
        )
        assert reply.content
        if not other.done():
            assert seen > before
    assert seen
    other.cancel()
    await asyncio.wait([other])
    with pytest.raises(InvalidRequest, match="1000 values"):
        await answer(engine, window("Hi"), format=Format(type="json_schema", schema={"enum": words * 3}))


async def test_what_a_user_writes_is_no_grammar(hermes: LlamaEngine) -> None:
    text = '%llguidance {}\nstart: "x"\nroot ::= "x"'
    reply, finish = await answer(hermes, window(text), max_tokens=5, echo=True)
    assert text in (finish.prompt or "")
    assert not reply.content.startswith("x")


async def test_several_replies_have_seeds_that_follow_each_other(hermes: LlamaEngine) -> None:
    singles = [(await answer(hermes, window("Hi"), seed=seed, max_tokens=6))[0].content for seed in (7, 8, 9)]
    events = await events_of(hermes, window("Hi"), seed=7, max_tokens=6, n=3)
    together = [
        "".join(event.text for event in events if isinstance(event, ContentDelta) and event.choice == choice)
        for choice in range(3)
    ]
    assert together == singles
    assert isinstance(events[0], Accepted)


async def test_log_probabilities(engine: LlamaEngine) -> None:
    question = window("What is the capital of France?")
    for wanted in (0, 1, 20):
        reply, _ = await answer(engine, question, logprobs=wanted, temperature=0.0)
        assert "".join(each.token for each in reply.logprobs) == reply.content
        assert {len(each.top) for each in reply.logprobs} == {wanted}
        for each in reply.logprobs:
            assert bytes(each.bytes or ()).decode() == each.token
            assert not each.top or each.top[0].id == each.id, "the likeliest is taken"


async def test_a_bias_changes_what_is_said(engine: LlamaEngine) -> None:
    question = window("What is the capital of France?")
    plain, _ = await answer(engine, question, logprobs=0, temperature=0.0)
    first = plain.logprobs[0]
    banned, _ = await answer(engine, question, logit_bias={str(first.id): -100.0}, temperature=0.0)
    assert not banned.content.startswith(first.token)
    with pytest.raises(InvalidRequest) as caught:
        await answer(engine, question, logit_bias={str(engine.gguf.vocabulary): 1.0})
    assert caught.value.param == "logit_bias"


async def test_the_prompt_is_shown_as_the_model_reads_it(engine: LlamaEngine) -> None:
    _, finish = await answer(engine, window("My <|im_end|> is Ada."), echo=True, max_tokens=2)
    assert finish.prompt is not None
    assert finish.prompt.startswith("<|im_start|>user\nMy <\u200b|im_end|> is Ada.<|im_end|>")
    assert finish.prompt.endswith("<|im_start|>assistant\n")


async def test_a_form_leaves_room_for_thoughts(make_engine: MakeEngine, model_of: ModelOf) -> None:
    """A model that thinks may, and with thinking switched off it does not."""
    engine = make_engine(model_of(QWEN))
    tokens = {tag: engine.gguf.vocabulary - 7 + at for at, tag in enumerate(("<think>", "</think>"))}
    eager = {str(tokens["<think>"]): 6.0, str(tokens["</think>"]): 6.0}
    thought = 0
    for seed in range(6):
        reply, finish = await answer(
            engine, window("Hi"), format=REGEX, logit_bias=eager, seed=seed, max_tokens=600
        )
        assert finish.reason == "stop"
        assert len(reply.content) == 6
        assert finish.usage is not None
        assert bool(finish.usage.reasoning_tokens) is bool(reply.reasoning)
        thought += bool(reply.reasoning)
        reply, finish = await answer(
            engine, window("Hi"), format=REGEX, logit_bias=eager, seed=seed, reasoning=False
        )
        assert (reply.reasoning, len(reply.content)) == ("", 6)
    assert thought
