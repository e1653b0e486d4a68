"""The engine without a model: its own replies, its script, and its arithmetic."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import (
    ConfigError,
    ContextLengthExceeded,
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from palaver.core.message import FunctionCall, ImagePart, ImageUrl, Message, TextPart, ToolCall
from palaver.core.turn import Accepted, ContentDelta, EngineEvent, Finish, ReasoningDelta, Sampling, Usage
from palaver.core.window import Window
from palaver.engines.base import Engine, Options
from palaver.engines.scripted import PROMPTS_KEPT, TOKEN, ScriptedEngine, prompt_tokens, text_tokens
from tests.engines.contract import EngineContract, collect, finish_of, text_of, window

OPTIONS = Options(model="scripted")
HELLO = window("Hello there")


class TestContract(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return ScriptedEngine(context=200)

    @pytest.fixture
    def options(self) -> Options:
        return OPTIONS


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.jsonl"


def scripted(script: Path, *lines: dict[str, Any], **settings: Any) -> ScriptedEngine:
    script.write_text("\n".join(json.dumps(line) for line in lines))
    return ScriptedEngine(script, **settings)


async def failing(engine: ScriptedEngine, prompt: Window = HELLO) -> tuple[list[EngineEvent], EngineError]:
    events: list[EngineEvent] = []
    try:
        async for event in engine.generate(prompt, OPTIONS):
            events.append(event)
    except EngineError as error:
        return events, error
    pytest.fail("nothing was raised")


# Without a script


async def test_the_reply_names_its_number_and_the_question() -> None:
    engine = ScriptedEngine()
    reply = text_of(
        await collect(engine, window("Hi", "Hello", "one two three four five six seven eight nine"), OPTIONS)
    )
    assert reply.startswith("Reply 2 to: one two three four five six seven eight [")


async def test_any_two_windows_have_different_replies() -> None:
    engine = ScriptedEngine()
    windows = [
        window("Hi"),
        window("Hi", "Hello", "Hi"),
        window("Hi", "Hallo", "Hi"),
        Window(
            owner="local",
            conversation=None,
            turn="t",
            messages=(Message("system", "x"), Message("user", "Hi")),
        ),
        Window(owner="local", conversation=None, turn="t", messages=(Message("user", "Hi", name="Ada"),)),
    ]
    replies = {text_of(await collect(engine, each, OPTIONS)) for each in windows}
    assert len(replies) == len(windows)


async def test_whose_window_it_is_does_not_matter() -> None:
    engine = ScriptedEngine()
    other = Window(owner="else", conversation="conv_1", turn="t", messages=HELLO.messages)
    assert text_of(await collect(engine, other, OPTIONS)) == text_of(await collect(engine, HELLO, OPTIONS))


async def test_the_seed_is_honoured() -> None:
    engine = ScriptedEngine()
    replies = [
        text_of(await collect(engine, HELLO, Options(model="m", sampling=Sampling(seed=seed))))
        for seed in (1, 1, 2)
    ]
    assert replies[0] == replies[1] != replies[2]


async def test_it_streams_word_by_word() -> None:
    events = await collect(ScriptedEngine(), HELLO, OPTIONS)
    assert events[1:5] == [
        ContentDelta("Reply"),
        ContentDelta(" 1"),
        ContentDelta(" to:"),
        ContentDelta(" Hello"),
    ]


async def test_it_keeps_the_last_windows() -> None:
    engine = ScriptedEngine()
    windows = [window("Hi", turn=f"turn-{i}") for i in range(PROMPTS_KEPT + 5)]
    for each in windows:
        await collect(engine, each, OPTIONS)
    assert engine.prompts == windows[5:]


# Tokens


@pytest.mark.parametrize("text", ["", " ", "a", "a b", " a", "a  b ", "one\ntwo three", "ä ö"])
def test_a_text_is_as_long_as_its_pieces(text: str) -> None:
    assert text_tokens(text) == len(TOKEN.findall(text))
    assert "".join(TOKEN.findall(text)) == text


def test_the_length_of_a_prompt() -> None:
    messages = [
        Message("system", "Be brief."),
        Message("user", [TextPart("What is this?"), ImagePart(ImageUrl("data:,"))]),
        Message(
            "assistant", tool_calls=[ToolCall(FunctionCall("look", '{"at": 1}'))], reasoning="Let me look"
        ),
        Message("tool", "a cat"),
    ]
    assert [prompt_tokens([message]) for message in messages] == [3, 5, 1 + 3 + 3, 3]
    assert prompt_tokens(messages) == 18


async def test_the_usage_adds_up(script: Path) -> None:
    engine = scripted(script, {"reply": "one two three", "reasoning": "hm so"})
    assert finish_of(await collect(engine, HELLO, OPTIONS)).usage == Usage(3, 5, reasoning_tokens=2)


@pytest.mark.parametrize(
    ("limit", "said"), [(1, "one"), (2, "one two"), (3, "one two three"), (9, "one two three")]
)
async def test_max_tokens(script: Path, limit: int, said: str) -> None:
    engine = scripted(script, {"reply": "one two three"})
    events = await collect(engine, HELLO, Options(model="m", sampling=Sampling(max_tokens=limit)))
    assert text_of(events) == said
    assert finish_of(events).reason == ("length" if limit < 3 else "stop")


async def test_the_context_ends_a_reply(script: Path) -> None:
    engine = scripted(script, {"reply": "one two three"}, context=5)
    events = await collect(engine, HELLO, OPTIONS)
    assert (text_of(events), finish_of(events).reason) == ("one two", "length")
    assert finish_of(events).usage == Usage(3, 2)


async def test_a_prompt_over_the_context() -> None:
    engine = ScriptedEngine(context=4)
    with pytest.raises(ContextLengthExceeded) as refused:
        await collect(engine, window("one two three four"), OPTIONS)
    assert (refused.value.prompt_tokens, refused.value.context_size) == (5, 4)


@pytest.mark.parametrize(
    ("stop", "said"),
    [([" two"], "one"), (["e"], "on"), (["four", "ree"], "one two th"), ([""], "one two three")],
)
async def test_stop(script: Path, stop: list[str], said: str) -> None:
    engine = scripted(script, {"reply": "one two three"})
    events = await collect(engine, HELLO, Options(model="m", sampling=Sampling(stop=stop)))
    assert (text_of(events), finish_of(events).reason) == (said, "stop")


# With a script


async def test_lines_come_in_their_order_and_again(script: Path) -> None:
    engine = scripted(script, {"reply": "one"}, {"reply": "two"})
    assert [text_of(await collect(engine, HELLO, OPTIONS)) for _ in range(5)] == [
        "one",
        "two",
        "one",
        "two",
        "one",
    ]


async def test_a_line_for_a_question_answers_it_every_time(script: Path) -> None:
    engine = scripted(script, {"reply": "one"}, {"reply": "Edinburgh", "when": "castle"}, {"reply": "two"})
    questions = ["Hi", "Which castle?", "Hi", "A castle!", "Hi"]
    replies = [text_of(await collect(engine, window(question), OPTIONS)) for question in questions]
    assert replies == ["one", "Edinburgh", "two", "Edinburgh", "one"]


async def test_the_last_user_message_is_the_question(script: Path) -> None:
    engine = scripted(script, {"reply": "yes", "when": "castle"})
    assert text_of(await collect(engine, window("castle", "Hm", "else"), OPTIONS)).startswith("Reply 2")
    assert text_of(await collect(engine, window("else", "Hm", "castle"), OPTIONS)) == "yes"


async def test_thinking_comes_first(script: Path) -> None:
    engine = scripted(script, {"reply": "Yes.", "reasoning": "Let me see"})
    assert await collect(engine, HELLO, OPTIONS) == [
        Accepted(),
        *(ReasoningDelta(word) for word in ("Let", " me", " see")),
        ContentDelta("Yes."),
        Finish("stop", Usage(3, 4, reasoning_tokens=3), "scripted"),
    ]


async def test_an_empty_reply(script: Path) -> None:
    engine = scripted(script, {"reply": ""})
    assert await collect(engine, HELLO, OPTIONS) == [Accepted(), Finish("stop", Usage(3, 0), "scripted")]


@pytest.mark.parametrize(("fail", "error"), [("unavailable", EngineUnavailable), ("refused", EngineRefused)])
async def test_failures_before_anything_is_said(script: Path, fail: str, error: type[EngineError]) -> None:
    events, raised = await failing(scripted(script, {"fail": fail}))
    assert (events, type(raised)) == ([], error)


@pytest.mark.parametrize(("kind", "error"), [("break", EngineBroke), ("timeout", EngineTimeout)])
@pytest.mark.parametrize(
    ("after", "said"), [("", 1), (" after 1 token", 1), (" after 2 tokens", 2), (" after 9 tokens", 3)]
)
async def test_failures_in_mid_reply(
    script: Path, kind: str, error: type[EngineError], after: str, said: int
) -> None:
    events, raised = await failing(scripted(script, {"reply": "one two three", "fail": kind + after}))
    assert type(raised) is error
    assert len(events) == 1 + said


async def test_a_stalled_reply_waits_until_it_is_closed(script: Path) -> None:
    engine = scripted(script, {"reply": "one two", "fail": "stall after 1 token"}, {"reply": "next"})
    reply = engine.generate(HELLO, OPTIONS)
    assert [await anext(reply), await anext(reply)] == [Accepted(), ContentDelta("one")]
    waiting = asyncio.ensure_future(anext(reply))
    assert text_of(await collect(engine, HELLO, OPTIONS)) == "next"
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await reply.aclose()


async def test_closing_the_engine_ends_a_stalled_reply(script: Path) -> None:
    engine = scripted(script, {"reply": "one two", "fail": "stall"})
    reply = asyncio.create_task(failing(engine))
    await asyncio.sleep(0)
    await engine.close()
    _, raised = await reply
    assert isinstance(raised, EngineBroke)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no line"),
        ("{", "Line 1"),
        ('{"reply": "a"}\n\n{"repyl": "b"}', "Line 3"),
        ('{"reply": 7}', "Line 1"),
        ('{"fail": "explode"}', "no such failure"),
        ('{"fail": "refused after 2 tokens"}', "no such failure"),
        ('{"delay": -1}', "negative"),
        ('{"reply": "\xff"}', "Line 1"),
    ],
)
def test_scripts_that_are_none(script: Path, text: str, said: str) -> None:
    script.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=said) as refused:
        ScriptedEngine(script)
    assert refused.value.setting == "script"


def test_a_script_that_is_not_there(script: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        ScriptedEngine(script)
