"""The exception tree, as it is drawn and as it is."""

from __future__ import annotations

import inspect

import pytest

from palaver.core import errors
from palaver.core.errors import (
    ConfigError,
    ContextLengthExceeded,
    EngineRefused,
    PalaverError,
    RequestError,
    StoreOwned,
)


def subclasses(kind: type[PalaverError]) -> list[type[PalaverError]]:
    """A class and all below it, each before its own subclasses, in the order in which they are written."""
    below = sorted(kind.__subclasses__(), key=lambda c: inspect.getsourcelines(c)[1])
    ours = [c for c in below if c.__module__ == errors.__name__]
    return [kind, *(c for child in ours for c in subclasses(child))]


EVERY = subclasses(PalaverError)
PLAIN = [kind for kind in EVERY if kind is not ContextLengthExceeded]


def drawn(kind: type[PalaverError], ahead: str = "", last: bool | None = None) -> list[str]:
    """The names of the tree as the module's docstring draws them."""
    mark = "" if last is None else "└── " if last else "├── "
    below = [c for c in subclasses(kind) if c.__base__ is kind]
    further = ahead if last is None else ahead + ("    " if last else "│   ")
    lines = [ahead + mark + kind.__name__]
    for child in below:
        lines += drawn(child, further, child is below[-1])
    return lines


def test_the_drawn_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    picture = [
        line
        for line in errors.__doc__.splitlines()
        if line.startswith(("PalaverError", "├", "│", "└", "    "))
    ]
    names = [line[: line.index("Error") + 5] if line == "PalaverError" else _name(line) for line in picture]
    assert names == drawn(PalaverError)


def _name(line: str) -> str:
    """A line of the picture without its remark."""
    start = next(i for i, c in enumerate(line) if c.isalpha())
    return line[:start] + line[start:].split(" ", 1)[0]


def test_every_class_of_the_module_is_in_the_tree() -> None:
    defined = {c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__}
    assert defined == set(EVERY)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_class_says_its_docstring_unless_told_otherwise(kind: type[PalaverError]) -> None:
    assert kind.__doc__ is not None
    first_paragraph = inspect.cleandoc(kind.__doc__).split("\n\n")[0]
    assert kind().message == str(kind()) == " ".join(first_paragraph.split())
    assert kind("It broke.").message == str(kind("It broke.")) == "It broke."


@pytest.mark.parametrize("kind", PLAIN)
def test_default_messages_are_meant_for_users(kind: type[PalaverError]) -> None:
    message = kind().message
    assert message.endswith(".")
    assert "`" not in message
    assert "\n" not in message


def test_each_has_a_message_of_its_own() -> None:
    messages = [kind().message for kind in PLAIN]
    assert len(set(messages)) == len(messages)


def test_errors_carry_what_the_api_shows() -> None:
    error = RequestError("No.", param="messages[2].role")
    assert (error.param, error.code) == ("messages[2].role", None)
    assert errors.UnsupportedParameter(param="n").code == "unsupported_parameter"
    assert errors.UnsupportedParameter(param="n", code="other").code == "other"
    assert EngineRefused(status=422).status == 422
    assert StoreOwned(address="http://127.0.0.1:7400").address == "http://127.0.0.1:7400"
    assert ConfigError(setting="port").setting == "port"


def test_a_context_that_is_too_long_names_both_numbers() -> None:
    prompt = ContextLengthExceeded(prompt_tokens=170071, context_size=131072)
    both = ContextLengthExceeded(prompt_tokens=30, context_size=32769, max_tokens=999, param="max_tokens")
    assert (prompt.param, both.param) == ("messages", "max_tokens")
    assert prompt.code == both.code == "context_length_exceeded"
    assert "170071" in prompt.message
    assert "131072" in prompt.message
    assert "32769" in both.message
    assert "999" in both.message
