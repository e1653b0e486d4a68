from __future__ import annotations

import msgspec
import pytest

from palaver.core.parameters import Format, NamedTool, Parameters, Sampling, Tool, sampling_of

EVERYTHING = Parameters(
    max_tokens=5,
    temperature=0.0,
    top_p=0.9,
    top_k=1,
    min_p=0.1,
    repetition_penalty=1.1,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    seed=7,
    stop=["END"],
    logit_bias={"12": -100.0},
    n=3,
    tool_choice=NamedTool("weather"),
    parallel_tool_calls=False,
    format=Format(type="json_schema", schema={"type": "object"}, name="answer", strict=True),
    reasoning=True,
    reasoning_effort="low",
    chat_template_kwargs={"thinking": True},
    logprobs=0,
    echo=True,
)


def test_what_was_asked_goes_over_the_defaults() -> None:
    asked = Sampling(temperature=0.0, max_tokens=5)
    merged = asked.over(Sampling(temperature=0.7, top_p=0.9, stop=["END"]))
    assert merged == Sampling(temperature=0.0, max_tokens=5, top_p=0.9, stop=["END"])
    assert asked.over(Sampling()) == asked


def test_defaults_of_sampling_leave_the_rest_of_the_parameters() -> None:
    asked = Parameters(n=2, logprobs=3, seed=1)
    assert asked.over(Sampling(seed=9, top_k=4)) == Parameters(n=2, logprobs=3, seed=1, top_k=4)
    assert EVERYTHING.over(Sampling(max_tokens=1, stop=["x"])) == EVERYTHING


def test_how_a_reply_is_drawn_is_a_part_of_what_is_asked() -> None:
    sampling = sampling_of(EVERYTHING)
    assert type(sampling) is Sampling
    assert msgspec.to_builtins(EVERYTHING).items() >= msgspec.to_builtins(sampling).items()
    assert sampling_of(Parameters()) == Sampling()


@pytest.mark.parametrize("asked", [Parameters(), EVERYTHING, Parameters(tool_choice="required")])
def test_parameters_are_kept_as_json(asked: Parameters) -> None:
    assert msgspec.json.decode(msgspec.json.encode(asked), type=Parameters) == asked


def test_what_was_not_asked_takes_no_room() -> None:
    assert msgspec.json.encode(Parameters()) == b"{}"
    assert msgspec.json.encode(Tool(name="now")) == b'{"name":"now"}'
    assert msgspec.json.encode(Format(type="json_object")) == b'{"type":"json_object"}'


def test_what_earlier_versions_kept_is_understood() -> None:
    kept = b'{"max_tokens":9,"temperature":0.5,"stop":["END"]}'
    assert msgspec.json.decode(kept, type=Parameters) == Parameters(
        max_tokens=9, temperature=0.5, stop=["END"]
    )
