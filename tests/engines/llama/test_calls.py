"""Calls that a reply has to make: how templates write them, and what is made of what the model says."""

import msgspec
import pytest

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import NamedTool, Tool
from palaver.core.turn import ToolCallDelta
from palaver.engines.llama.calls import (
    MARK,
    PROBE,
    CallForm,
    CallReader,
    arguments_schema,
    call_form,
    forced_tools,
    tool_rules,
)
from palaver.engines.llama.grammar import Grammar
from palaver.engines.llama.weight import HEAVIEST, check_weight, pattern_weight, schema_weight

PLACE = Tool(name="place", parameters={"type": "object", "properties": {"at": {"enum": ["x", "y"]}}})
STOP = Tool(name="stop")
FORM = CallForm("<a>", "<call>", ":")


@pytest.mark.parametrize(
    ("text", "call", "form"),
    [
        (
            "<a>#~#",
            f'<a><call>{{"name": "{PROBE}", "args": {{"{MARK}": 1}}}}',
            ("<a>", '<call>{"name": "', '", "args": '),
        ),
        (
            "<a>#~#",
            f'<a>{{"name": "{PROBE}", "args": {{ "{MARK}": 1}}}}',
            ("<a>", '{"name": "', '", "args": '),
        ),
        ("<a><said>#~#", f'<a><sings>{PROBE}|{{"{MARK}": 1}}', ("<a>", "<sings>", "|")),
        ("#~#", f'[TOOL_CALLS]{PROBE}[ARGS]{{"{MARK}": 1}}', ("", "[TOOL_CALLS]", "[ARGS]")),
        ("<a>[SAY]#~#", f'<a>[SING]{PROBE}{{"{MARK}": 1}}', ("<a>", "[SING]", "")),
    ],
)
def test_how_a_template_writes_calls(text: str, call: str, form: tuple[str, str, str]) -> None:
    found = call_form("Q", "Q" + text, "Q" + call, {})
    assert found is not None
    assert (found.opening, found.before, found.between) == form


@pytest.mark.parametrize(
    "call",
    [
        f"Q<a><function={PROBE}><parameter={MARK}>1",  # no JSON
        f'Q<a>{{"args": {{"{MARK}": 1}}, "name": "{PROBE}"}}',  # the arguments first
        f'Q<a>{PROBE} {PROBE} {{"{MARK}": 1}}',
        f'Q<a>{PROBE} {{"x": 1, "{MARK}": 1}}',
        "Q<a>",  # the call was dropped
        f'other{PROBE} {{"{MARK}": 1}}',  # the question is written in another way
    ],
)
def test_calls_that_are_written_otherwise(call: str) -> None:
    assert call_form("Q", "Q<a>#~#", call, {}) is None


def test_which_tools_are_forced() -> None:
    tools = (STOP, PLACE)
    assert forced_tools("auto", tools) == forced_tools("none", tools) == forced_tools(None, tools) == []
    assert forced_tools("required", tools) == [(0, STOP), (1, PLACE)]
    assert forced_tools(NamedTool("place"), tools) == [(1, PLACE)]
    for choice in (NamedTool("plac"), "required"):
        with pytest.raises(InvalidRequest) as caught:
            forced_tools(choice, ())
        assert caught.value.param == "tool_choice"


def test_the_rules_of_calls() -> None:
    rules = tool_rules(FORM, [(0, STOP), (1, PLACE)], "<call>", named=False)
    for text in (rules.rules, rules.seen):
        grammar = Grammar(f"start: calls\n{text}")
        assert grammar.fault() is None
        assert grammar.fits("<call>stop:{}", whole=True)
        assert grammar.fits('<call>place:{"at": "y"}', whole=True)
        assert not grammar.fits('<call>place:{"at": "z"}', whole=False)
        assert not grammar.fits('<call>place:{"more": "z"}', whole=False)
        assert not grammar.fits("<call>other:{}", whole=False)
    named = tool_rules(FORM, [(1, PLACE)], "", named=True)
    assert Grammar(f"start: calls\n{named.rules}").fits('{"at": "x"}', whole=True)


def test_special_tokens_stand_in_rules_by_their_numbers_and_are_not_seen() -> None:
    form = CallForm("", "<call>", "<|then|>json", {"<|then|>": 7})
    rules = tool_rules(form, [(0, STOP)], "<call>", named=False)
    assert '"<call>stop" <[7]> "json"' in rules.rules
    assert list(rules.heads) == ["<call>stopjson"]


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_call_is_read_however_it_is_cut(piece: int) -> None:
    reader = CallReader({"a:": "a", "ab:": "ab", "": "bare"}, texts=False)
    said = 'ab:{"x": "}{"}'
    deltas = [delta for at in range(0, len(said), piece) for delta in reader.feed(said[at : at + piece])]
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert calls == deltas
    assert [(call.name, call.index) for call in calls] == [("ab", 0)] + [("", 0)] * (len(calls) - 1)
    assert calls[0].id.startswith("call_")
    assert "".join(call.arguments for call in calls) == 'ab:{"x": "}{"}'.removeprefix("ab:")


@pytest.mark.parametrize(
    "said", ['{"name": "other", "n": {', "hello", '{"name": "st', '{"name": "stop", "n": 1}', ""]
)
@pytest.mark.parametrize("piece", [1, 4, 1000])
def test_what_is_no_call_stays_text(said: str, piece: int) -> None:
    reader = CallReader({'{"name": "stop", "n": ': "stop"}, texts=True)
    pieces: list[object] = [
        part for at in range(0, len(said), piece) for part in reader.feed(said[at : at + piece])
    ]
    pieces += reader.end()
    assert "".join(str(each) for each in pieces) == said
    assert not reader.called


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (None, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({}, {"type": "object", "properties": {}, "additionalProperties": False}),
        (
            {"properties": {"a": {}}},
            {"type": "object", "additionalProperties": False, "properties": {"a": {}}},
        ),
        (
            {"type": "object", "properties": {}, "additionalProperties": True},
            {"type": "object", "properties": {}, "additionalProperties": True},
        ),
        ({"type": "object"}, {"type": "object"}),
        ({"anyOf": [{"required": ["a"]}]}, {"type": "object", "anyOf": [{"required": ["a"]}]}),
    ],
)
def test_the_schema_of_arguments(given: dict[str, object] | None, becomes: dict[str, object]) -> None:
    assert arguments_schema(Tool(name="t", parameters=given), "p") == becomes


@pytest.mark.parametrize(
    ("parameters", "strict", "param"),
    [
        ({"type": "string"}, False, "tools[3].function.parameters.type"),
        ({"properties": {"a": {"type": "frob"}}}, False, "tools[3].function.parameters"),
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, True, "tools[3].function.parameters"),
        (
            {"properties": {"a": {"enum": list(range(3000))}}},
            False,
            "tools[3].function.parameters.properties.a.enum",
        ),
    ],
)
def test_a_schema_that_cannot_be_kept_to(parameters: dict[str, object], strict: bool, param: str) -> None:
    tool = Tool(name="t", parameters=parameters, strict=strict)
    with pytest.raises(InvalidRequest) as caught:
        tool_rules(FORM, [(3, tool)], "", named=True)
    assert caught.value.param == param


def test_what_a_tool_without_strict_asks_for_in_vain_is_told() -> None:
    tool = Tool(name="t", parameters={"properties": {"a": {"type": "array", "uniqueItems": True}}})
    (warning,) = tool_rules(FORM, [(0, tool)], "", named=True).warnings
    assert "uniqueItems" in warning


@pytest.mark.parametrize(
    ("pattern", "weight"),
    [
        ("abc", 3),
        ("[a-z]{3}-\\d{4}", 8),
        ("^(([a-z]{1,30}|x*){1,30}){1,30}$", 27_900),
        ("(a{1000}){1000}", 1_000_000),
        (")(", 1),
        ("a{}b{x}", 6),
    ],
)
def test_the_weight_of_a_pattern(pattern: str, weight: int) -> None:
    assert pattern_weight(pattern) == weight


def test_tools_that_may_be_called_may_not_weigh_too_much() -> None:
    light = Tool(
        name="light",
        parameters=msgspec.json.decode(
            b'{"type": "object", "properties": {"unit": {"enum": ["m", "km"]}, "id": {"pattern": "^[0-9a-f]{32}$"}}}'
        ),
    )
    check_weight([light] * 20)
    schemas: list[dict[str, object]] = [
        {"properties": {"a": {"pattern": "((a{30}){30}){30}"}}},
        {"properties": {"a": {"minLength": HEAVIEST}}},
        {"properties": {f"p{i}": {} for i in range(200)}},
        {"items": [{"enum": list(range(HEAVIEST))}]},
    ]
    for heavy in schemas:
        assert schema_weight(heavy) > HEAVIEST
        with pytest.raises(InvalidRequest) as caught:
            check_weight([light, Tool(name="heavy", parameters=heavy)])
        assert caught.value.param == "tools[1].function.parameters"
