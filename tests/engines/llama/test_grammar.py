"""Forms of a text: what can be kept to is accepted, everything else is refused with its place, nothing is ignored."""

import msgspec
import pytest

from palaver.core.errors import InvalidRequest
from palaver.core.parameters import Format
from palaver.engines.llama.grammar import Grammar, after_thinking, form_grammar, json_rule, nested

NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


def schema(**schema: object) -> Format:
    return Format(type="json_schema", schema=schema)


def regex(pattern: str) -> Format:
    return Format(type="regex", pattern=pattern)


def gbnf(grammar: str) -> Format:
    return Format(type="grammar", grammar=grammar)


@pytest.mark.parametrize(
    ("form", "fitting", "not_fitting"),
    [
        (Format(type="json_object"), ["{}", '{"a": [1, null]}'], ["[]", "", '{"a"', "{}x"]),
        (Format(type="json_object", schema=NUMBERS), ['{"a": 1}'], ["{}", '{"a": "1"}']),
        (schema(**NUMBERS), ['{"a": -12}'], ['{"a": 1, "b": 2}', '{"a": 1.5}']),
        (schema(enum=["x", 3]), ['"x"', "3"], ["x", "4"]),
        (schema(type="string", pattern="^[ab]{2}$"), ['"ab"'], ['"abc"', "ab"]),
        (regex("[0-9]{3}-[a-f]+"), ["123-abc"], ["123-", "x123-a", "123-a "]),
        (regex("^a/b$"), ["a/b"], ["ab", "a/b/"]),
        (regex("(?i)yes|no"), ["YES", "no"], ["yesno", ""]),
        (regex("a\nb"), ["a\nb"], ["ab", "a\\nb"]),
        (regex("\\d+"), ["7"], ["d"]),
        (gbnf('root ::= "yes" | "no"'), ["yes", "no"], ["maybe", ""]),
        (gbnf('root ::= item+ # a list\nitem ::= [a-c]{2} "," '), ["ab,", "ab,ca,"], ["ab", "abc,"]),
        (gbnf('root ::= "\\x41" "\\U0001F600" "\\"" [^"\\\\]'), ['A😀"z'], ['A😀""', "A😀z"]),
        (gbnf('root ::= "%llguidance {}" "/" "\\n"'), ["%llguidance {}/\n"], ["/"]),
        (gbnf('root ::= root "a" | "b"'), ["b", "baa"], ["a", "ab"]),
    ],
)
def test_what_can_be_kept_to(form: Format, fitting: list[str], not_fitting: list[str]) -> None:
    grammar = form_grammar(form)
    assert [grammar.fits(text, whole=True) for text in fitting] == [True] * len(fitting)
    assert [grammar.fits(text, whole=True) for text in not_fitting] == [False] * len(not_fitting)
    for text in fitting:
        assert grammar.fits(text[: len(text) // 2], whole=False)


@pytest.mark.parametrize(
    ("form", "param", "said"),
    [
        (schema(type="frob"), "response_format.json_schema.schema", "frob"),
        (schema(**{"$ref": "#/$defs/x"}), "response_format.json_schema.schema", "does not exist"),
        (schema(**{"$ref": "#"}), "response_format.json_schema.schema", "no text fits"),
        (schema(enum=[]), "response_format.json_schema.schema", "empty"),
        (schema(**{"not": {"type": "string"}}), "response_format.json_schema.schema", "not"),
        (schema(type="array", uniqueItems=True), "response_format.json_schema.schema", "uniqueItems"),
        (schema(type="string", format="zzz"), "response_format.json_schema.schema", "zzz"),
        (schema(type="string", pattern="(("), "response_format.json_schema.schema", "unclosed"),
        (schema(type="string", pattern="^(?=a)b$"), "response_format.json_schema.schema", "look-around"),
        (
            schema(type="string", minLength=5, maxLength=3),
            "response_format.json_schema.schema.minLength",
            "nothing fits",
        ),
        (schema(type="integer", minimum=5, maximum=3), "response_format.json_schema.schema", "minimum"),
        (schema(properties=5), "response_format.json_schema.schema.properties", "object"),
        (
            schema(properties={f"p{i}": {"type": "integer"} for i in range(1500)}, type="object"),
            "response_format.json_schema.schema",
            "max is",
        ),
        (Format(type="json_object", schema={"type": "frob"}), "response_format.schema", "frob"),
        (regex(""), "response_format.pattern", "empty"),
        (regex("("), "response_format.pattern", "unclosed"),
        (regex("[/"), "response_format.pattern", "unclosed"),
        (regex("a\\"), "response_format.pattern", "backslash"),
        (regex("\\bfoo"), "response_format.pattern", "lookaround"),
        (regex("(a)\\1"), "response_format.pattern", "backreference"),
        (regex("a" * 2000), "response_format.pattern", "2000 characters"),
        (gbnf(""), "response_format.grammar", "root"),
        (gbnf('start ::= "a"'), "response_format.grammar", "root"),
        (gbnf("root ::= foo"), "response_format.grammar", "foo"),
        (gbnf('root ::= ( "a"'), "response_format.grammar", r"\)"),
        (gbnf("root ::= root"), "response_format.grammar", "no text fits"),
        (gbnf('root ::= "a" }'), "response_format.grammar", "Expected"),
        (gbnf('root ::= "a" <|im_end|>'), "response_format.grammar", "Expected"),
        (gbnf('%llguidance {}\nstart: "a"'), "response_format.grammar", "Expected"),
        (gbnf('start: "a"'), "response_format.grammar", "Expected"),
        (gbnf("root ::= " + "(" * 3000 + '"a"' + ")" * 3000), "response_format.grammar", "deep"),
        (gbnf('root ::= "a"\n' * 4000), "response_format.grammar", "characters"),
        (gbnf("\0"), "response_format.grammar", "Expected"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_with_its_place(form: Format, param: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        form_grammar(form)
    assert caught.value.param == param
    assert len(str(caught.value)) < 800


def test_a_schema_cannot_bring_options_of_the_library() -> None:
    grammar = form_grammar(schema(**NUMBERS, **{"x-guidance": {"whitespace_flexible": True}}))
    assert not grammar.fits('{\n"a": 1}', whole=True)
    assert 'whitespace_flexible":true' not in grammar.text


def test_bounds_hold_for_schemas_that_come_past_the_door() -> None:
    with pytest.raises(InvalidRequest, match="more than"):
        form_grammar(schema(enum=[f"v{i}" for i in range(3000)]))


@pytest.mark.parametrize("begun", [False, True])
def test_thoughts_may_come_before_a_form(begun: bool) -> None:
    text = "<think>hm</think>\n\n"
    form = form_grammar(gbnf('root ::= "yes" | "{}" "no"'))
    grammar = after_thinking("form", nested("form", form), begun=begun)
    assert grammar.fault() is None
    assert grammar.fits(text + "yes", whole=True)
    assert grammar.fits(text + "{}no", whole=True)
    assert not grammar.fits(text, whole=True)
    assert not grammar.fits(text + "maybe", whole=False)
    assert grammar.fits("yes", whole=True) is not begun


def test_what_a_schema_writes_is_one_line_as_templates_write_it() -> None:
    grammar = Grammar(f"start: {json_rule(NUMBERS)}")
    assert grammar.fits('{"a": 1}', whole=True)
    assert not grammar.fits('{"a":1}', whole=True)
    assert msgspec.json.decode(json_rule(NUMBERS).removeprefix("%json "))["required"] == ["a"]
