"""Texts that are gone on with: as they stand, as numbers of tokens, and around a gap."""

import pytest

from palaver.core import reply as core_reply
from palaver.core.errors import ContextLengthExceeded, InvalidRequest, UnsupportedParameter
from palaver.core.parameters import Format, Parameters
from palaver.core.turn import Delta, Finish
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine, asking
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.models import GAPS, MARKERS
from tests.engines.llama.talk import worker_of
from tests.engines.llama.templates import HERMES

CHAT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def whose(owner: str = "ada") -> Window:
    return Window(owner=owner, conversation=None, turn="t", messages=())


async def complete(
    engine: LlamaEngine,
    prompt: str | list[int],
    suffix: str | None = None,
    owner: str = "ada",
    **parameters: object,
) -> tuple[core_reply.Reply, Finish]:
    asked = Parameters(**{"max_tokens": 20, "temperature": 0.0, "seed": 1} | parameters)  # type: ignore[arg-type]
    events = [
        event
        async for event in engine.complete(prompt, suffix, whose(owner), Options(model="m", parameters=asked))
    ]
    finish = events[-1]
    assert isinstance(finish, Finish)
    deltas = [event for event in events if isinstance(event, Delta)]
    return core_reply.replies(deltas, [finish.reason, *finish.others])[0], finish


async def tokens_of(engine: LlamaEngine, text: str) -> list[int]:
    await engine.start()
    worker = worker_of(engine)
    asked = {"content": text, "parse_special": True}
    async with worker.session.post(worker.base + asking.TOKENIZE, json=asked) as response:
        return list((await response.json())["tokens"])


async def test_control_tokens_of_a_text_act(engine: LlamaEngine) -> None:
    reply, finish = await complete(engine, CHAT)
    assert (reply.content, finish.reason) == ("The capital of France is Paris.", "stop")
    assert finish.usage is not None
    assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (16, 9)


async def test_a_text_may_be_given_as_tokens(engine: LlamaEngine) -> None:
    tokens = await tokens_of(engine, CHAT)
    assert len(tokens) == 16
    reply, finish = await complete(engine, tokens, echo=True)
    assert reply.content == "The capital of France is Paris."
    assert "What is the capital of France?" in (finish.prompt or "")
    _, finish = await complete(engine, CHAT, echo=True)
    assert finish.prompt == CHAT


async def test_thoughts_in_a_text_are_text(engine: LlamaEngine) -> None:
    form = Format(type="grammar", grammar='root ::= "<think>a</think>b"')
    reply, _ = await complete(engine, "x", format=form)
    assert (reply.content, reply.reasoning) == ("<think>a</think>b", "")


async def test_log_probabilities_of_a_text(engine: LlamaEngine) -> None:
    for wanted in (0, 3):
        reply, _ = await complete(engine, CHAT, logprobs=wanted)
        assert "".join(each.token for each in reply.logprobs) == reply.content
        assert {len(each.top) for each in reply.logprobs} == {wanted}


async def test_a_text_stops_and_has_an_end(engine: LlamaEngine) -> None:
    reply, finish = await complete(engine, CHAT, stop=[" of"])
    assert (reply.content, finish.reason) == ("The capital", "stop")
    reply, finish = await complete(engine, CHAT, max_tokens=2)
    assert finish.reason == "length"


@pytest.mark.parametrize("bad", [[2048], [5, -1], []])
async def test_tokens_that_there_are_not(engine: LlamaEngine, bad: list[int]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await complete(engine, bad)
    assert caught.value.param == "prompt"
    assert engine.worker_pid is None


async def test_a_text_over_the_context(engine: LlamaEngine) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        await complete(engine, "hi " * 3000)
    assert (caught.value.param, caught.value.context_size) == ("prompt", 2048)
    assert caught.value.prompt_tokens > 3000


async def test_an_empty_text(engine: LlamaEngine) -> None:
    reply, _ = await complete(engine, "", max_tokens=3)
    assert len(reply.content) < 100


async def test_a_gap_is_filled_by_a_model_that_knows_how(
    engine: LlamaEngine, make_engine: MakeEngine, model_of: ModelOf
) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        await complete(engine, "def f(", "):")
    assert caught.value.param == "suffix"
    filling = make_engine(model_of(HERMES, markers=MARKERS | GAPS))
    parts = [len(await tokens_of(filling, text)) for text in ("def f(", "):")]
    for prompt in ("def f(", await tokens_of(filling, "def f(")):
        _, finish = await complete(filling, prompt, "):", max_tokens=3)
        assert finish.usage is not None
        assert finish.usage.prompt_tokens == sum(parts) + 3
    other, _ = await complete(filling, "def f(", "): pass")
    assert other.content != (await complete(filling, "def f(", "):"))[0].content


async def test_nothing_of_a_text_crosses_owners(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1)
    await complete(engine, CHAT)
    _, again = await complete(engine, CHAT)
    _, other = await complete(engine, CHAT, owner="bob")
    assert again.usage is not None
    assert other.usage is not None
    assert (again.usage.cached_tokens or 0) > 10
    assert other.usage.cached_tokens == 0
