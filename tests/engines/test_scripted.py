"""The engine without a model: its own replies, its script, and its arithmetic."""

import asyncio
import json
import math
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
    InvalidRequest,
    UnsupportedParameter,
)
from palaver.core.message import FunctionCall, ImagePart, ImageUrl, Message, TextPart, ToolCall
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.turn import (
    Accepted,
    ContentDelta,
    EngineEvent,
    Finish,
    Prefilled,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from palaver.core.window import Window
from palaver.engines.base import Engine, Options
from palaver.engines.scripted import PROMPTS_KEPT, TOKEN, ScriptedEngine, prompt_tokens, text_tokens
from tests.engines.contract import (
    EngineContract,
    all_of,
    asking,
    collect,
    finish_of,
    logprobs_of,
    replies_of,
    text_of,
    told_of,
    window,
)

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
        text_of(await collect(engine, HELLO, Options(model="m", parameters=Parameters(seed=seed))))
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


async def test_it_keeps_the_options_beside_the_windows() -> None:
    engine = ScriptedEngine()
    asked = [asking(OPTIONS, temperature=i / 100, reasoning_effort="low") for i in range(PROMPTS_KEPT + 5)]
    for each in asked:
        await collect(engine, HELLO, each)
    assert engine.asked == asked[5:]


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
    events = await collect(engine, HELLO, Options(model="m", parameters=Parameters(max_tokens=limit)))
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
    events = await collect(engine, HELLO, Options(model="m", parameters=Parameters(stop=stop)))
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
        ('{"loading": -1}', "negative"),
        ('{"prefill": -0.5}', "negative"),
        ('{"reply": "\xff"}', "Line 1"),
        ('{"reply": "a", "replies": ["b"]}', "not both"),
        ('{"tool_calls": [{"name": ""}]}', "name of a function"),
        ('{"tool_calls": [{"name": "f", "argument": {}}]}', "Line 1"),
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


# What is waited for before anything is said


async def test_a_line_may_take_its_time_to_read_the_prompt(script: Path) -> None:
    engine = scripted(script, {"reply": "Hi", "prefill": 0.02})
    prompt = window(" ".join(["word"] * 99))
    events = await told_of(engine.generate(prompt, OPTIONS))
    assert events[0] == Accepted()
    assert events[1:11] == [Prefilled(step * 10, 100) for step in range(10)]
    assert text_of(events[11:]) == "Hi"


async def test_a_line_may_have_the_model_loaded_first(script: Path) -> None:
    engine = scripted(script, {"reply": "Hi", "loading": 0.1})
    asking = asyncio.create_task(collect(engine, HELLO, OPTIONS))
    seen = [engine.loading]
    while not asking.done():
        await asyncio.sleep(0.01)
        seen.append(engine.loading)
    assert text_of(await asking) == "Hi"
    assert (seen[0], seen[-1]) == (None, None)
    shares = [share for share in seen if share is not None]
    assert shares == sorted(shares)
    assert len(set(shares)) > 1
    assert all(0 <= share < 1 for share in shares)


@pytest.mark.parametrize("line", [{"loading": 60}, {"prefill": 600}])
async def test_closing_ends_what_is_waited_for(script: Path, line: dict[str, Any]) -> None:
    engine = scripted(script, {"reply": "Hi", **line})
    asking = asyncio.create_task(failing(engine))
    await asyncio.sleep(0.02)
    await engine.close()
    async with asyncio.timeout(10):
        _, error = await asking
    assert isinstance(error, EngineUnavailable)


# Several replies


async def test_choices_of_one_request_differ_and_come_mixed() -> None:
    events = await collect(ScriptedEngine(), HELLO, asking(OPTIONS, n=3))
    assert [event.choice for event in events if isinstance(event, ContentDelta)] == [0, 1, 2] * 6
    replies = [reply.content for reply in replies_of(events)]
    assert replies[0] == text_of(await collect(ScriptedEngine(), HELLO, OPTIONS))
    assert len(set(replies)) == 3
    assert finish_of(events) == Finish("stop", Usage(3, 18), "scripted", others=["stop", "stop"])


async def test_a_line_has_a_reply_for_each_choice(script: Path) -> None:
    engine = scripted(script, {"replies": ["one", "one two three"], "reasoning": "hm"})
    events = await collect(engine, HELLO, asking(OPTIONS, n=3, max_tokens=3))
    assert [reply.content for reply in replies_of(events)] == ["one", "one two", "one"]
    assert [reply.finish_reason for reply in replies_of(events)] == ["stop", "length", "stop"]
    assert finish_of(events).usage == Usage(3, 7, reasoning_tokens=3)


# Tools

LOOK = Tool(
    name="look",
    description="Look around here",
    parameters={"type": "object", "properties": {"at": {"type": "string"}, "far": {}}, "required": ["at"]},
)
COUNT = Tool(name="count", parameters={"properties": {"from": {"type": "integer", "minimum": 3}}})
TOOLS = (LOOK, COUNT)


def with_tools(prompt: Window, *tools: Tool) -> Window:
    return Window(owner="local", conversation=None, turn="t", messages=prompt.messages, tools=tools or TOOLS)


def test_the_length_of_tools() -> None:
    assert [prompt_tokens([], [tool]) for tool in TOOLS] == [1 + 3 + 2, 1 + 1]


async def test_a_scripted_call_is_told_in_pieces(script: Path) -> None:
    call = {"name": "look", "arguments": {"at": "the sky", "far": True}}
    engine = scripted(script, {"reply": "Let me", "tool_calls": [call, {"name": "count"}]})
    events = await collect(engine, with_tools(HELLO), OPTIONS)
    assert [event.text for event in events if isinstance(event, ContentDelta)] == ["Let", " me"]
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [(piece.index, piece.name, piece.arguments) for piece in pieces] == [
        (0, "look", ""),
        (0, "", '{"at":'),
        (0, "", ' "the'),
        (0, "", ' sky",'),
        (0, "", ' "far":'),
        (0, "", " true}"),
        (1, "count", ""),
        (1, "", "{}"),
    ]
    assert pieces[0].id != pieces[6].id
    assert not any(piece.id for piece in pieces if not piece.name)
    assert finish_of(events) == Finish("tool_calls", Usage(3 + 8, 10), "scripted")


async def test_scripted_calls_wait_for_a_request_that_allows_them(script: Path) -> None:
    calls = [{"name": "look", "arguments": "{broken"}, {"name": "count", "arguments": {"from": 4}}]
    engine = scripted(script, {"tool_calls": calls})
    prompt = with_tools(HELLO)

    async def made(options: Options, prompt: Window = prompt) -> list[str]:
        (reply,) = replies_of(await collect(engine, prompt, options))
        assert bool(reply.content) is not bool(reply.tool_calls)
        return [f"{call.function.name} {call.function.arguments}" for call in reply.tool_calls]

    assert await made(OPTIONS) == ["look {broken", 'count {"from": 4}']
    assert await made(asking(OPTIONS, tool_choice="required")) == ["look {broken", 'count {"from": 4}']
    assert await made(asking(OPTIONS, parallel_tool_calls=False)) == ["look {broken"]
    assert await made(asking(OPTIONS, tool_choice=NamedTool("count"))) == ['count {"from": 4}']
    assert await made(asking(OPTIONS, tool_choice="none")) == []
    assert await made(OPTIONS, HELLO) == []


async def test_a_call_that_is_demanded_is_made_up() -> None:
    async def made(**asked: Any) -> list[tuple[str, str]]:
        (reply,) = replies_of(await collect(ScriptedEngine(), with_tools(HELLO), asking(OPTIONS, **asked)))
        return [(call.function.name, call.function.arguments) for call in reply.tool_calls]

    assert await made() == []
    assert await made(tool_choice="auto") == []
    assert await made(tool_choice="required") == [("look", '{"at": ""}')]
    assert await made(tool_choice=NamedTool("count")) == [("count", "{}")]
    with pytest.raises(InvalidRequest, match="no tool 'jump'") as refused:
        await made(tool_choice=NamedTool("jump"))
    assert refused.value.param == "tool_choice"


async def test_a_call_is_cut_at_max_tokens(script: Path) -> None:
    engine = scripted(script, {"tool_calls": [{"name": "look", "arguments": {"at": "a b"}}]})
    events = await collect(engine, with_tools(HELLO), asking(OPTIONS, max_tokens=2))
    assert replies_of(events)[0].tool_calls[0].function == FunctionCall("look", '{"at":')
    assert finish_of(events).reason == "length"


async def test_a_stop_in_the_text_leaves_no_call(script: Path) -> None:
    engine = scripted(script, {"reply": "one two", "tool_calls": [{"name": "look"}]})
    events = await collect(engine, with_tools(HELLO), asking(OPTIONS, stop=["two"]))
    assert (text_of(events), finish_of(events).reason) == ("one ", "stop")
    assert not replies_of(events)[0].tool_calls


async def ten_steps(engine: ScriptedEngine) -> tuple[list[str], str]:
    """What a client does that answers each call with the number after the one it was called with."""
    messages = [Message("user", "Count to ten")]
    asked: list[str] = []
    calls: set[str] = set()
    while True:
        prompt = Window(owner="local", conversation=None, turn="t", messages=tuple(messages), tools=(COUNT,))
        (reply,) = replies_of(await collect(engine, prompt, OPTIONS))
        if not reply.tool_calls:
            assert len(calls) == len(asked), "no two calls have the same id"
            return asked, reply.content
        messages.append(reply.message)
        for call in reply.tool_calls:
            calls.add(call.id)
            asked.append(call.function.arguments)
            number = json.loads(call.function.arguments)["from"]
            messages.append(Message("tool", f"now {number + 1}.", tool_call_id=call.id))


def counting(number: int) -> dict[str, Any]:
    return {"tool_calls": [{"name": "count", "arguments": {"from": number}}]}


async def test_ten_steps_of_tools_by_what_the_tools_say(script: Path) -> None:
    lines = [{"when_tool": f"now {i}.", **counting(i)} for i in range(1, 10)]
    engine = scripted(
        script,
        {"when": "Count to ten", **counting(0)},
        *lines,
        {"when_tool": "now 10.", "reply": "Ten!"},
        {"reply": "else"},
    )
    for _ in range(2):
        assert await ten_steps(engine) == ([f'{{"from": {i}}}' for i in range(10)], "Ten!")


async def test_ten_steps_of_tools_in_their_order(script: Path) -> None:
    engine = scripted(script, *map(counting, range(10)), {"reply": "Ten!"})
    assert await ten_steps(engine) == ([f'{{"from": {i}}}' for i in range(10)], "Ten!")


async def test_any_of_the_results_that_a_request_ends_in_counts(script: Path) -> None:
    engine = scripted(
        script,
        {"when": "Rome", "when_tool": "sun", "reply": "sunny Rome"},
        {"when_tool": "sun", "reply": "sunny"},
        {"when": "Rome", "reply": "Rome"},
    )
    results = (Message("tool", "some sun", tool_call_id="a"), Message("tool", "rain", tool_call_id="b"))
    for asked, said in (("in Rome?", "sunny Rome"), ("in Oslo?", "sunny")):
        messages = (Message("user", asked), *results)
        prompt = Window(owner="local", conversation=None, turn="t", messages=messages)
        assert text_of(await collect(engine, prompt, OPTIONS)) == said
        later = Window(
            owner="local", conversation=None, turn="t", messages=(*messages, Message("assistant", "x"))
        )
        unscripted = text_of(await collect(ScriptedEngine(), later, OPTIONS))
        assert text_of(await collect(engine, later, OPTIONS)) == ("Rome" if "Rome" in asked else unscripted)


# Forms


async def formed(form: Format, engine: ScriptedEngine | None = None) -> str:
    return text_of(await collect(engine or ScriptedEngine(), HELLO, asking(OPTIONS, format=form)))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, None),
        ({}, None),
        ({"const": [1]}, [1]),
        ({"enum": ["b", "a"]}, "b"),
        ({"enum": list(range(3000))}, 0),
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3}, "aaa"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"type": ["null", "string"]}, None),
        ({"type": "boolean"}, False),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "minimum": 4.5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "exclusiveMaximum": 0}, -1),
        ({"type": "number", "minimum": 0.5}, 0.5),
        ({"type": "array"}, []),
        ({"items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        (
            {
                "type": "array",
                "prefixItems": [{"const": 1}, {"const": 2}],
                "items": {"const": 3},
                "minItems": 3,
            },
            [1, 2, 3],
        ),
        (
            {
                "type": "object",
                "properties": {
                    "a": {"type": "object", "properties": {"b": {"enum": ["x"]}, "c": {}}, "required": ["b"]},
                    "d": {"type": "string"},
                },
                "required": ["e", "a"],
                "additionalProperties": {"type": "integer"},
            },
            {"a": {"b": "x"}, "e": 0},
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "x"}, 0),
        ({"oneOf": [False, {"type": "string", "pattern": "x"}, {"const": 7}]}, 7),
        (
            {"properties": {"a": {"const": 1}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1},
        ),
        (
            {
                "allOf": [
                    {"$ref": "#/$defs/named"},
                    {"properties": {"age": {"type": "integer"}}, "required": ["age"]},
                ],
                "$defs": {"named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
            },
            {"name": "", "age": 0},
        ),
        (
            {
                "$ref": "#/$defs/a~1tree",
                "$defs": {
                    "a/tree": {
                        "properties": {
                            "left": {"anyOf": [{"$ref": "#/$defs/a~1tree"}, {"type": "null"}]},
                            "right": {"anyOf": [{"$ref": "#/$defs/a~1tree"}, {"type": "null"}]},
                        },
                        "required": ["left", "right"],
                    }
                },
            },
            {"left": None, "right": None},
        ),
    ],
)
async def test_json_by_a_schema_is_the_least_that_fits(schema: Any, value: Any) -> None:
    assert json.loads(await formed(Format(type="json_schema", name="x", schema=schema))) == value


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"enum": []}, "enum"),
        ({"type": "date"}, "no type 'date'"),
        ({"$ref": "#"}, "no end"),
        ({"allOf": [{"$ref": "#"}]}, "no end"),
        ({"allOf": [{"$ref": "#/a"}], "a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, "no end"),
        ({"$ref": "https://example.com/schema"}, "not within"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"type": "array", "minItems": -1}, "minItems"),
        ({"anyOf": []}, "no branch"),
        ({"required": ["a"], "additionalProperties": False}, "allows nothing"),
        (
            {
                "type": "array",
                "minItems": 1000,
                "items": {"type": "array", "minItems": 1000, "items": {"type": "string"}},
            },
            "too large",
        ),
        ({"type": "number", "minimum": 1e300, "multipleOf": 1e-300}, "infinity"),
    ],
)
async def test_schemas_that_nothing_is_made_for(schema: Any, said: str) -> None:
    with pytest.raises(UnsupportedParameter, match=said) as refused:
        await formed(Format(type="json_schema", schema=schema))
    assert refused.value.param == "response_format.json_schema.schema"


async def test_a_schema_of_many_branches_costs_no_more_than_its_size() -> None:
    """Each level demands the next one twice: twenty of them have 2^20 values."""
    levels = {
        f"l{i}": {
            "properties": {"a": {"$ref": f"#/l{i + 1}"}, "b": {"$ref": f"#/l{i + 1}"}},
            "required": ["a", "b"],
        }
        for i in range(20)
    }
    with pytest.raises(UnsupportedParameter, match="too large"):
        await formed(Format(type="json_schema", schema={"$ref": "#/l0", **levels, "l20": {}}))


async def test_a_json_object_has_the_reply() -> None:
    plain = text_of(await collect(ScriptedEngine(), HELLO, OPTIONS))
    assert json.loads(await formed(Format(type="json_object"))) == {"reply": plain}


async def test_a_script_says_what_it_says_in_any_form(script: Path) -> None:
    engine = scripted(script, {"reply": '{"a": 1}'})
    assert await formed(Format(type="json_object"), engine) == '{"a": 1}'
    assert await formed(Format(type="json_schema", schema={}), engine) == '{"a": 1}'


async def test_a_pattern_is_matched_by_the_script_only(script: Path) -> None:
    engine = scripted(script, {"reply": "2026-11"})
    assert await formed(Format(type="regex", pattern=r"\d{4}-\d\d"), engine) == "2026-11"
    for each, pattern in ((engine, r"\d{4}"), (ScriptedEngine(), ".*")):
        with pytest.raises(UnsupportedParameter) as refused:
            await formed(Format(type="regex", pattern=pattern), each)
        assert refused.value.param == "response_format.pattern"
    with pytest.raises(InvalidRequest, match="no regular expression"):
        await formed(Format(type="regex", pattern="("), engine)


# Thinking, log probabilities, echo


@pytest.mark.parametrize(
    ("asked", "thinks"),
    [
        ({}, True),
        ({"reasoning": True}, True),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning": False}, False),
        ({"reasoning_effort": "none"}, False),
    ],
)
async def test_a_request_may_do_without_thinking(script: Path, asked: dict[str, Any], thinks: bool) -> None:
    engine = scripted(script, {"reply": "Yes.", "reasoning": "Let me"})
    events = await collect(engine, HELLO, asking(OPTIONS, **asked))
    assert any(isinstance(event, ReasoningDelta) for event in events) is thinks
    assert finish_of(events).usage == (Usage(3, 3, reasoning_tokens=2) if thinks else Usage(3, 1))


@pytest.mark.parametrize("most", [0, 1, 3, 20])
async def test_log_probabilities_are_such(most: int) -> None:
    events = await collect(ScriptedEngine(), HELLO, asking(OPTIONS, logprobs=most))
    told = logprobs_of(events)
    assert "".join(each.token for each in told) == text_of(events)
    for each in told:
        assert bytes(each.bytes or []).decode() == each.token
        assert [top.token for top in each.top[:1]] == [each.token][:most]
        assert len({top.token for top in each.top}) == most
        assert [top.logprob for top in each.top] == sorted((top.logprob for top in each.top), reverse=True)
        assert math.exp(each.logprob) <= 1
        assert sum(math.exp(top.logprob) for top in each.top) <= 1 + 1e-9
    again = await collect(ScriptedEngine(), HELLO, asking(OPTIONS, logprobs=most))
    assert logprobs_of(again) == told


async def test_the_prompt_is_told_as_text() -> None:
    prompt = window("Hi", "Hello", "And now?")
    finish = finish_of(await collect(ScriptedEngine(), prompt, asking(OPTIONS, echo=True)))
    assert finish.prompt == "user: Hi\nassistant: Hello\nuser: And now?"


# Texts to go on with


async def completed(
    engine: ScriptedEngine, prompt: str | list[int], suffix: str | None = None, **asked: Any
) -> str:
    return text_of(await all_of(engine.complete(prompt, suffix, window(), asking(OPTIONS, **asked))))


async def test_texts_have_no_template() -> None:
    engine = ScriptedEngine()
    events = await all_of(engine.complete("Once upon a time", None, window(), asking(OPTIONS, echo=True)))
    assert text_of(events).startswith(" and so on [")
    finish = finish_of(events)
    assert (finish.usage, finish.prompt) == (Usage(4, 4), "Once upon a time")
    assert engine.prompts[-1].messages == (Message("user", "Once upon a time"),)


async def test_texts_with_their_gaps_have_different_replies() -> None:
    engine = ScriptedEngine()
    said = [
        await completed(engine, "Once"),
        await completed(engine, "Once", "the end"),
        await completed(engine, "Once", ""),
        await completed(engine, "Twice"),
        await completed(engine, [1, 2]),
        await completed(engine, "Once", seed=1),
    ]
    assert len(set(said)) == len(said)


async def test_what_token_numbers_cost() -> None:
    events = await all_of(
        ScriptedEngine().complete([7, 12, 9], "a gap", window(), asking(OPTIONS, echo=True))
    )
    finish = finish_of(events)
    assert finish.usage is not None
    assert (finish.usage.prompt_tokens, finish.prompt) == (3 + 2, "#7 #12 #9")


async def test_a_script_goes_on_with_texts(script: Path) -> None:
    engine = scripted(script, {"when": "Once", "reply": " upon a time"}, {"fail": "unavailable"})
    assert await completed(engine, "Once") == " upon a time"
    with pytest.raises(EngineUnavailable):
        await completed(engine, "else")


async def test_texts_over_the_context() -> None:
    engine = ScriptedEngine(context=6)
    with pytest.raises(ContextLengthExceeded) as refused:
        await completed(engine, "a b c d e f g")
    assert (refused.value.prompt_tokens, refused.value.param) == (7, "messages")
    with pytest.raises(ContextLengthExceeded, match="Given: 4 `inputs` tokens and 3") as refused:
        await completed(engine, "a b c d", max_tokens=3)
    assert refused.value.param == "max_tokens"
    assert await completed(engine, "a b c d", max_tokens=2) == " and so"
    assert await completed(engine, "a b c d") == " and so"


# Vectors


async def vectors(*texts: str, dimensions: int | None = None) -> list[list[float]]:
    return (await ScriptedEngine().embed(list(texts), dimensions, window(), OPTIONS)).vectors


async def test_texts_of_the_same_words_are_near() -> None:
    cat, cats, ship = await vectors(
        "The cat sleeps on the sofa", "the CAT sleeps on a sofa!", "Ships sail across wide oceans"
    )
    assert [len(each) for each in (cat, cats, ship)] == [64] * 3
    assert all(math.isclose(math.hypot(*each), 1) for each in (cat, cats, ship))
    near, far = (sum(map(float.__mul__, cat, other)) for other in (cats, ship))
    assert near > 0.8
    assert far < 0.4


async def test_fewer_dimensions_are_the_first_ones() -> None:
    ((whole,), (short,), (one,)) = [await vectors("a cat", dimensions=d) for d in (None, 8, 1)]
    length = math.hypot(*whole[:8])
    assert short == pytest.approx([each / length for each in whole[:8]])
    assert one in ([1.0], [-1.0])


@pytest.mark.parametrize("dimensions", [0, 65, -1])
async def test_dimensions_it_does_not_have(dimensions: int) -> None:
    with pytest.raises(UnsupportedParameter, match="1 to 64") as refused:
        await vectors("a", dimensions=dimensions)
    assert refused.value.param == "dimensions"


async def test_what_vectors_cost() -> None:
    engine = ScriptedEngine(context=4)
    assert (await engine.embed(["a b c", "d"], None, window(), OPTIONS)).prompt_tokens == 4
    numbers = await engine.embed([[7, 12], [7]], None, window(), OPTIONS)
    assert numbers.prompt_tokens == 3
    assert numbers.vectors == await vectors("#7 #12", "#7")
    assert len({tuple(each) for each in await vectors(" ", "…", "a")}) == 3
    with pytest.raises(ContextLengthExceeded):
        await engine.embed(["a", "a b c d e"], None, window(), OPTIONS)
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await engine.embed(["a"], None, window(), OPTIONS)
