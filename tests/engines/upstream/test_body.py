"""A request in the way of each kind of server: what is renamed, left out, and refused by name."""

import json
from typing import Any

import msgspec
import pytest

from palaver.core.errors import UnsupportedParameter
from palaver.core.message import (
    AudioUrlPart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
)
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.body import (
    chat_request,
    completion_request,
    embedding_request,
    session_of,
)
from palaver.engines.upstream.kinds import KINDS, Detected, Kind

HI = (Message("user", "Hi"),)
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = (
    Tool(name="weather", description="Tells it.", parameters=SCHEMA, strict=True),
    Tool(name="time"),
)
WIRE_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells it.",
            "parameters": SCHEMA,
            "strict": True,
        },
    },
    {"type": "function", "function": {"name": "time"}},
]
BASIC = {"model", "messages", "stream", "stream_options"}


def sent(
    kind: Kind,
    parameters: Parameters | None = None,
    *,
    tools: tuple[Tool, ...] = (),
    version: tuple[int, ...] | None = None,
    messages: tuple[Message, ...] = HI,
    prefill: bool = False,
    **extra: Any,
) -> dict[str, Any]:
    """What such a server is sent besides what all are."""
    options = Options(model="m", parameters=parameters or Parameters(), prefill=prefill, extra=extra)
    request = chat_request(window(*messages, tools=tools), options, Detected(kind, version))
    assert request.path == "/chat/completions"
    body: dict[str, Any] = json.loads(request.body)
    assert body.keys() >= BASIC
    return {name: value for name, value in body.items() if name not in BASIC}


def window(*messages: Message, tools: tuple[Tool, ...] = (), conversation: str | None = None) -> Window:
    return Window(owner="ada", conversation=conversation, turn="t", messages=messages or HI, tools=tools)


def refused(kind: Kind, parameters: Parameters, **others: Any) -> str | None:
    """The field that such a server does not do; None where it does."""
    try:
        sent(kind, parameters, **others)
    except UnsupportedParameter as error:
        return error.param
    return None


# Sampling


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_request_says_nothing_more(kind: Kind) -> None:
    assert sent(kind) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top_k", [0, -1])
def test_values_that_switch_something_off(kind: Kind, top_k: int) -> None:
    """Where it is unknown there is nothing to switch off; else the server may have a default of its own."""
    neutral = Parameters(top_k=top_k, min_p=0.0, repetition_penalty=1.0)
    penalty = "repeat_penalty" if kind in ("llama-server", "lmstudio") else "repetition_penalty"
    expected = {"top_k": -1, "min_p": 0.0, penalty: 1.0}
    if kind in ("openai", "ollama"):
        expected = {}
    elif kind == "lmstudio":
        del expected["min_p"]
    assert sent(kind, neutral) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_all_kinds_know(kind: Kind) -> None:
    parameters = Parameters(temperature=0.5, top_p=0.9, seed=7, stop=["a"], presence_penalty=1.0)
    assert sent(kind, parameters) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["a"],
        "presence_penalty": 1.0,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_max_tokens(kind: Kind) -> None:
    name = "max_completion_tokens" if kind == "openai" else "max_tokens"
    assert sent(kind, Parameters(max_tokens=9)) == {name: 9}


@pytest.mark.parametrize(
    ("name", "value", "none"),
    [
        ("top_k", 40, {"openai", "ollama"}),
        ("min_p", 0.1, {"openai", "ollama", "lmstudio"}),
        ("repetition_penalty", 1.1, {"openai", "ollama"}),
        ("logit_bias", {"7": 1.0}, {"ollama"}),
    ],
)
def test_sampling_that_some_do_not_have(name: str, value: Any, none: set[Kind]) -> None:
    parameters = Parameters(**{name: value})
    assert {kind for kind in KINDS if refused(kind, parameters) == name} == none
    for kind in set(KINDS) - none:
        (own,) = sent(kind, parameters)
        renamed = name == "repetition_penalty" and kind in ("llama-server", "lmstudio")
        assert own == ("repeat_penalty" if renamed else name)


def test_a_refusal_says_whose_it_is() -> None:
    with pytest.raises(UnsupportedParameter, match="Ollama does not support `top_k`"):
        sent("ollama", Parameters(top_k=40))


def test_what_was_learnt_is_left_out() -> None:
    options = Options(model="m", parameters=Parameters(max_tokens=9))
    learnt = frozenset({"max_tokens", "stream_options"})
    body = json.loads(chat_request(window(), options, Detected("other"), learnt).body)
    assert "stream_options" not in body
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_parameters_that_palaver_does_not_know_never_replace_those_it_does() -> None:
    extra: Any = {"top_a": 0.5, "model": "x", "stream": False, "messages": [], "temperature": 2}
    assert sent("vllm", Parameters(temperature=0.0), **extra) == {"temperature": 0.0, "top_a": 0.5}


@pytest.mark.parametrize(
    ("name", "knowing"),
    [
        ("safety_model", {"together", "other"}),
        ("moderation", {"openai", "other"}),
        ("prediction", {"openai", "other"}),
        ("web_search_options", {"openai", "other"}),
    ],
)
def test_services_that_most_would_ignore(name: str, knowing: set[Kind]) -> None:
    asked: dict[str, Any] = {name: {"x": 1}}
    assert {kind for kind in KINDS if refused(kind, Parameters(), **asked) != name} == knowing
    assert sent("other", **asked) == asked


# Tools


@pytest.mark.parametrize("kind", KINDS)
def test_tools_as_they_are(kind: Kind) -> None:
    assert sent(kind, tools=TOOLS) == {"tools": WIRE_TOOLS}
    assert "tools" not in sent(kind, Parameters(tool_choice="none", parallel_tool_calls=False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_is_forced(kind: Kind) -> None:
    required = Parameters(tool_choice="required")
    named = Parameters(tool_choice=NamedTool("time"))
    if kind == "ollama":  # it ignores the field
        assert refused(kind, required, tools=TOOLS) == "tool_choice"
        assert refused(kind, named, tools=TOOLS) == "tool_choice"
        return
    assert sent(kind, required, tools=TOOLS) == {"tools": WIRE_TOOLS, "tool_choice": "required"}
    if kind in ("llama-server", "lmstudio"):  # they know no object: the one tool is all there is
        expected: Any = {"tools": WIRE_TOOLS[1:], "tool_choice": "required"}
    else:
        expected = {
            "tools": WIRE_TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "time"}},
        }
    assert sent(kind, named, tools=TOOLS) == expected


def test_a_call_that_is_forbidden() -> None:
    forbidden = Parameters(tool_choice="none")
    assert sent("vllm", forbidden, tools=TOOLS) == {"tools": WIRE_TOOLS, "tool_choice": "none"}
    assert sent("ollama", forbidden, tools=TOOLS) == {}, "it would ignore the wish: it sees no tools"
    assert sent("ollama", Parameters(tool_choice="auto"), tools=TOOLS) == {"tools": WIRE_TOOLS}


@pytest.mark.parametrize("kind", KINDS)
def test_calls_one_at_a_time(kind: Kind) -> None:
    one, many = (Parameters(parallel_tool_calls=each) for each in (False, True))
    if kind in ("ollama", "lmstudio"):
        assert refused(kind, one, tools=TOOLS) == "parallel_tool_calls"
        assert sent(kind, many, tools=TOOLS) == {"tools": WIRE_TOOLS}
    else:
        assert sent(kind, one, tools=TOOLS) == {"tools": WIRE_TOOLS, "parallel_tool_calls": False}


# Forms


FORM = Format(type="json_schema", schema=SCHEMA, name="point", strict=True)
WIRE_FORM = {
    "type": "json_schema",
    "json_schema": {"name": "point", "strict": True, "schema": SCHEMA},
}


@pytest.mark.parametrize("kind", KINDS)
def test_json(kind: Kind) -> None:
    assert sent(kind, Parameters(format=FORM)) == {"response_format": WIRE_FORM}
    any_object: dict[str, Any] = {"type": "json_object"}
    if kind == "lmstudio":
        any_object = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}},
        }
    assert sent(kind, Parameters(format=Format(type="json_object"))) == {"response_format": any_object}
    by_schema = sent(kind, Parameters(format=Format(type="json_object", schema=SCHEMA)))
    assert by_schema["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("kind", "version", "regex", "grammar"),
    [
        ("together", None, {"response_format": {"type": "regex", "pattern": "a+"}}, None),
        ("openai", None, None, None),
        (
            "vllm",
            (0, 33, 0),
            {"structured_outputs": {"regex": "a+"}},
            {"structured_outputs": {"grammar": "root ::= x"}},
        ),
        (
            "vllm",
            None,
            {"structured_outputs": {"regex": "a+"}},
            {"structured_outputs": {"grammar": "root ::= x"}},
        ),
        ("vllm", (0, 10, 2), {"guided_regex": "a+"}, {"guided_grammar": "root ::= x"}),
        ("sglang", None, {"regex": "a+"}, {"ebnf": "root ::= x"}),
        ("llama-server", None, None, {"grammar": "root ::= x"}),
        ("ollama", None, None, None),
        ("lmstudio", None, None, None),
        ("other", None, None, None),
    ],
)
def test_text_by_a_pattern_or_grammar(
    kind: Kind, version: tuple[int, ...] | None, regex: Any, grammar: Any
) -> None:
    forms = (Format(type="regex", pattern="a+"), Format(type="grammar", grammar="root ::= x"))
    for form, expected in zip(forms, (regex, grammar), strict=True):
        parameters = Parameters(format=form)
        if expected is None:
            assert refused(kind, parameters) == "response_format"
        else:
            assert sent(kind, parameters, version=version) == expected


# Thinking


@pytest.mark.parametrize(
    ("kind", "off", "on"),
    [
        ("together", {"reasoning": {"enabled": False}}, {"reasoning": {"enabled": True}}),
        ("openai", {"reasoning_effort": "none"}, {"reasoning_effort": "medium"}),
        *(
            (
                kind,
                {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
                {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
            )
            for kind in ("vllm", "sglang", "llama-server")
        ),
        ("ollama", {"reasoning_effort": "none"}, {"reasoning_effort": "medium"}),
        ("lmstudio", {"reasoning_effort": "none"}, {"reasoning_effort": "medium"}),
        ("other", {"reasoning": {"enabled": False}}, {"reasoning": {"enabled": True}}),
    ],
)
def test_thinking_is_switched(kind: Kind, off: Any, on: Any) -> None:
    assert sent(kind, Parameters(reasoning=False)) == off
    assert sent(kind, Parameters(reasoning=True)) == on
    effort = sent(kind, Parameters(reasoning=True, reasoning_effort="high"))
    assert effort["reasoning_effort"] == "high"


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_of_the_template(kind: Kind) -> None:
    wanted = Parameters(chat_template_kwargs={"enable_thinking": True, "date": "x"}, reasoning=False)
    if kind in ("openai", "ollama", "lmstudio"):
        assert refused(kind, wanted) == "chat_template_kwargs"
        return
    arguments = sent(kind, wanted)["chat_template_kwargs"]
    assert arguments["enable_thinking"] is True, "what was asked for by its own name counts"
    assert arguments["date"] == "x"


# Log probabilities, several replies, going on, echo


@pytest.mark.parametrize(
    ("kind", "none", "three"),
    [
        ("together", {"logprobs": 1}, {"logprobs": 3}),
        *(
            (kind, {"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 3})
            for kind in ("openai", "vllm", "sglang", "ollama", "other")
        ),
        ("llama-server", {"logprobs": True, "top_logprobs": 1}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
def test_logprobs(kind: Kind, none: Any, three: Any) -> None:
    assert sent(kind, Parameters(logprobs=0)) == none
    assert sent(kind, Parameters(logprobs=3)) == three


def test_logprobs_that_would_not_come() -> None:
    wanted = Parameters(logprobs=0)
    assert refused("lmstudio", wanted) == "logprobs"
    assert refused("ollama", wanted, version=(0, 12, 10)) == "logprobs"
    assert refused("ollama", wanted, version=(0, 12, 11)) is None
    assert refused("llama-server", wanted, tools=TOOLS) == "logprobs"
    assert refused("vllm", wanted, tools=TOOLS) is None


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_with_a_reply(kind: Kind) -> None:
    messages = (*HI, Message("assistant", "Hel"))
    if kind in ("vllm", "sglang", "llama-server"):
        assert sent(kind, messages=messages, prefill=True) == {
            "continue_final_message": True,
            "add_generation_prompt": False,
        }
    else:
        with pytest.raises(UnsupportedParameter) as error:
            sent(kind, messages=messages, prefill=True)
        assert error.value.param == "parent"


@pytest.mark.parametrize("kind", KINDS)
def test_no_chat_is_echoed(kind: Kind) -> None:
    assert refused(kind, Parameters(echo=True)) == "echo"


# Sessions


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_prompt_is_cached(kind: Kind) -> None:
    def request(conversation: str | None) -> tuple[dict[str, str], Any]:
        made = chat_request(window(conversation=conversation), Options(model="m", extra={}), Detected(kind))
        return made.headers, json.loads(made.body).get("prompt_cache_key")

    session = session_of(window(conversation="conv_1"))
    expected: dict[Kind, Any] = {
        "vllm": ({"X-Session-ID": session}, None),
        "sglang": ({"x-smg-routing-key": session}, None),
        "openai": ({}, session),
    }
    assert request("conv_1") == expected.get(kind, ({}, None))
    assert request(None) == ({}, None)


def test_a_session_tells_nothing_and_is_always_the_same() -> None:
    assert session_of(window(conversation="conv_1")) == "3053ff3f54e8ba544461f17ce142298e"
    sessions = {
        session_of(Window(owner=owner, conversation=each, turn="t", messages=HI))
        for owner in ("ada", "bob")
        for each in ("conv_1", "conv_2")
    }
    assert len(sessions) == 4
    assert all(each and len(each) == 32 and "ada" not in each for each in sessions)


# The history


def history(kind: Kind, *messages: Message) -> list[dict[str, Any]]:
    made = chat_request(window(*messages), Options(model="m"), Detected(kind))
    told: list[dict[str, Any]] = json.loads(made.body)["messages"]
    return told


CALL = ToolCall(FunctionCall("weather", '{"city":"Bonn"}'), id="c1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_of_calls(kind: Kind) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Bonn"}'},
    }
    assert history(
        kind,
        Message("user", "Rain?"),
        Message("assistant", tool_calls=[CALL]),
        Message("tool", "rain", tool_call_id="c1"),
        Message("assistant"),
    ) == [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_by_the_name_that_is_read(kind: Kind, field: str) -> None:
    named: Any = {field: "Hm"}
    (told,) = history(kind, Message("assistant", "Yes", **named))
    name = {
        "together": "reasoning",
        "ollama": "reasoning",
        "openai": None,
        "other": field,
    }.get(kind, "reasoning_content")
    assert told == {"role": "assistant", "content": "Yes"} | ({name: "Hm"} if name else {})


@pytest.mark.parametrize("kind", KINDS)
def test_developers_are_the_system_to_most(kind: Kind) -> None:
    (told,) = history(kind, Message("developer", "Be brief."))
    assert told["role"] == ("developer" if kind in ("openai", "other") else "system")


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "7", "nothing", "{" * 5000])
def test_calls_with_arguments_that_are_no_object(arguments: str) -> None:
    """A model wrote them: a history that holds them must not be refused for ever."""
    message = Message("assistant", tool_calls=[ToolCall(FunctionCall("a", arguments), id="c1")])
    kinds: list[Kind] = ["vllm", "sglang", "llama-server", "ollama", "lmstudio"]
    for kind in kinds:
        (told,) = history(kind, message)
        shown = json.loads(told["tool_calls"][0]["function"]["arguments"])
        assert shown == ({} if not arguments else {"text": arguments})
    (told,) = history("openai", message)
    assert told["tool_calls"][0]["function"]["arguments"] == arguments


IMAGE = ImagePart(ImageUrl("data:image/png;base64,AAAA"))


@pytest.mark.parametrize("kind", KINDS)
def test_images_go_everywhere(kind: Kind) -> None:
    (told,) = history(kind, Message("user", [TextPart("What?"), IMAGE]))
    assert told["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


def test_content_that_a_server_cannot_take() -> None:
    message = Message("user", [AudioUrlPart(MediaUrl("data:audio/wav;base64,AAAA"))])
    refusing: list[Kind] = ["ollama", "lmstudio", "openai"]
    for kind in refusing:
        with pytest.raises(UnsupportedParameter, match="audio_url") as error:
            history(kind, message)
        assert error.value.param == "messages"
    for kind in set(KINDS) - set(refusing):
        assert history(kind, message)[0]["content"][0]["type"] == "audio_url"


def test_text_in_parts() -> None:
    message = Message("user", [TextPart("One "), TextPart("two")])
    assert history("ollama", message) == [{"role": "user", "content": "One two"}]
    assert len(history("openai", message)[0]["content"]) == 2
    refusal = Message("assistant", [RefusalPart("No.")])
    assert history("openai", refusal)[0]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert history("together", refusal)[0]["content"] == [{"type": "text", "text": "No."}]
    assert history("ollama", refusal)[0]["content"] == "No."


# Texts and vectors


def completion(kind: Kind, parameters: Parameters | None = None, **others: Any) -> dict[str, Any]:
    options = Options(model="m", parameters=parameters or Parameters())
    prompt, suffix = others.get("prompt", "Once"), others.get("suffix")
    request = completion_request(prompt, suffix, window(), options, Detected(kind))
    assert request.path == "/completions"
    body: dict[str, Any] = json.loads(request.body)
    return {name: value for name, value in body.items() if name not in BASIC}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_to_go_on_with(kind: Kind) -> None:
    assert completion(kind, Parameters(max_tokens=5)) == {"prompt": "Once", "max_tokens": 5}
    takes_numbers = kind in ("openai", "vllm", "sglang", "llama-server", "other")
    takes_suffix = kind in ("openai", "ollama", "other")
    if takes_numbers:
        assert completion(kind, prompt=[1, 2])["prompt"] == [1, 2]
    else:
        with pytest.raises(UnsupportedParameter) as error:
            completion(kind, prompt=[1, 2])
        assert error.value.param == "prompt"
    if takes_suffix:
        assert completion(kind, suffix="end")["suffix"] == "end"
    else:
        with pytest.raises(UnsupportedParameter) as error:
            completion(kind, suffix="end")
        assert error.value.param == "suffix"


def test_what_a_text_to_go_on_with_does_not_take() -> None:
    for parameters, param in (
        (Parameters(reasoning=True), "reasoning"),
        (Parameters(reasoning_effort="low"), "reasoning_effort"),
        (Parameters(chat_template_kwargs={"a": 1}), "chat_template_kwargs"),
    ):
        with pytest.raises(UnsupportedParameter) as error:
            completion("vllm", parameters)
        assert error.value.param == param
    with pytest.raises(UnsupportedParameter) as error:
        completion("ollama", Parameters(format=FORM))
    assert error.value.param == "response_format"
    with pytest.raises(UnsupportedParameter) as error:
        completion("lmstudio", Parameters(logprobs=1))
    assert error.value.param == "logprobs"


def test_forms_and_logprobs_of_a_text() -> None:
    assert completion("vllm", Parameters(format=FORM))["response_format"] == WIRE_FORM
    assert completion("llama-server", Parameters(format=FORM))["json_schema"] == SCHEMA
    grammar = Parameters(format=Format(type="grammar", grammar="root ::= x"))
    assert completion("llama-server", grammar)["grammar"] == "root ::= x"
    assert completion("openai", Parameters(logprobs=3))["logprobs"] == 3
    assert completion("together", Parameters(logprobs=0))["logprobs"] == 1


def test_vectors_are_asked_for_as_numbers() -> None:
    options = Options(model="m", extra={"encoding_format": "base64", "user": "ada"})
    request = embedding_request(["a", "b"], 64, options, Detected("vllm"))
    assert request.path == "/embeddings"
    assert json.loads(request.body) == {
        "model": "m",
        "input": ["a", "b"],
        "encoding_format": "float",
        "dimensions": 64,
        "user": "ada",
    }
    numbers = embedding_request([[1, 2]], None, options, Detected("vllm"))
    assert json.loads(numbers.body)["input"] == [[1, 2]]
    with pytest.raises(UnsupportedParameter) as error:
        embedding_request([[1, 2]], None, options, Detected("ollama"))
    assert error.value.param == "input"


def test_several_replies_are_asked_for_at_once() -> None:
    assert sent("vllm", Parameters(n=3)) == {"n": 3}
    assert msgspec.json.decode(
        completion_request("Once", None, window(), Options(model="m"), Detected("vllm")).body
    ) == {"model": "m", "prompt": "Once", "stream": True, "stream_options": {"include_usage": True}}
