"""docs/recipes/continue.md: what Continue sends from the editor and from its command line."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.apps import TEXT, App, Body, kept, result, roles, said, tool, user
from tests.server.conftest import Door, HandEngine, opened, until

HEADERS = {
    "accept": "application/json",
    "authorization": "Bearer sk-any",
    "user-agent": "ls/JS 5.23.2",
    "x-stainless-lang": "js",
    "x-stainless-package-version": "5.23.2",
    "x-stainless-retry-count": "0",
}
ADAPTER = HEADERS | {"user-agent": "OpenAI/JS 5.23.2"}
EDITOR = {"authorization": "Bearer undefined", "api-key": "", "x-api-key": "", "user-agent": "node-fetch"}
"""Autocompletion goes past the SDK; without a configured key, that is what it sends."""
TOOLS = [tool("Read", "filepath"), tool("Bash", "command"), tool("Exit")]
STOPS = [
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|im_start|>",
    "<|im_end|>",
    "/src/",
    "#- coding: utf-8",
    "```",
]


def streamed(messages: list[Body], **more: Any) -> Body:
    usage = {"stream_options": {"include_usage": True}}
    return {"model": "scripted", "messages": messages, "stream": True, **more, **usage}


def gap(before: str, **more: Any) -> Body:
    return {
        "model": "scripted",
        "max_tokens": 4096,
        "temperature": 0.01,
        "stream": True,
        "stop": STOPS,
        "prompt": f"<|fim_prefix|>{before}<|fim_suffix|>\n    return x<|fim_middle|>",
        **more,
    }


async def test_the_command_line_reads_a_file(door: Door) -> None:
    """It resends the same long system message; calls come back beside an empty text."""
    app = App(door, HEADERS)
    history = [{"role": "system", "content": "You work in a terminal."}, user("read the notes")]
    call = await app.stream(streamed(history, tools=TOOLS))
    history += [said(call, ""), result(call, "Error executing tool Read: notes.md does not exist")]
    reply = await app.stream(streamed(history, tools=TOOLS))
    history += [said(reply), user("Thanks")]
    last = await app.stream(streamed(history, tools=TOOLS))
    assert reply.text == "There are no notes."
    assert await kept(door) == [("read the notes", 6)]
    assert await roles(door, last.conversation) == [
        *["user", "assistant", "tool", "assistant"],
        *["user", "assistant"],
    ]


async def test_the_editor_sends_one_space_for_no_text(door: Door) -> None:
    """And limits, and forbids several calls at once."""
    app = App(door, ADAPTER)
    limits = {"max_tokens": 4096, "temperature": 0.2, "parallel_tool_calls": False, "tools": TOOLS}
    history = [user("read the notes")]
    call = await app.stream(streamed(history, **limits))
    history += [said(call, " "), result(call, "notes.md does not exist")]
    reply = await app.stream(streamed(history, **limits))
    assert call.conversation == reply.conversation
    assert await kept(door) == [("read the notes", 4)]


async def test_a_session_gets_its_title(door: Door) -> None:
    body = streamed([user("Given this chat, a concise title of 3-4 words please")], max_tokens=12)
    assert (await App(door, ADAPTER).stream(body)).text == '{ "title": "A Greeting" }'
    assert await kept(door) == []


async def test_each_keystroke_leaves_the_completion_before_it(door: Door) -> None:
    """A request for every key; the connection of the one before is closed, and its work must end with it."""
    editor = App(door, EDITOR)
    for typed in ("def f(x", "def f(x)", "def f(x):"):
        left = await editor.stream(gap(f"tell a long story\n{typed}"), TEXT, leave_after=3)
        assert left.text == "Once upon a"
    await until(lambda: len(door.chat.completing) == 0)
    done = await editor.stream(gap("def f(x):"), TEXT)
    assert (done.reason, done.done) == ("stop", True)
    assert door.scripted.prompts[-1].messages[0].text.startswith("<|fim_prefix|>def f(x):")
    assert await kept(door, include_tasks="true") == []


async def test_code_around_a_gap_ends_at_a_stop(door: Door) -> None:
    reply = await App(door, ADAPTER).stream(gap("x", stop=["so", *STOPS]), TEXT)
    assert (reply.text, reply.reason) == (" and ", "stop")


@pytest.mark.parametrize("path", ["/v1/fim/completions", "/v1/rerank"])
async def test_what_is_not_there_is_said(door: Door, path: str) -> None:
    found = await App(door, ADAPTER).ask({"model": "scripted", "prompt": "x"}, path)
    assert (found.status, found.body["error"]["code"]) == (404, "not_found")
    assert path in found.body["error"]["message"]


@pytest.mark.parametrize("headers", [HEADERS, ADAPTER], ids=["bundled", "openai"])
async def test_vectors_that_it_can_read(door: Door, headers: dict[str, str]) -> None:
    """openai-node up to 6 decodes whatever comes as base64: a list of numbers becomes zeros, without a word."""
    body = {"model": "scripted", "input": ["cat", "dog"], "encoding_format": "base64"}
    packed = [
        each["embedding"] for each in (await App(door, headers).ask(body, "/v1/embeddings")).body["data"]
    ]
    plain = await App(door, EDITOR).ask(body | {"encoding_format": "float"}, "/v1/embeddings")
    for text, numbers in zip(packed, plain.body["data"], strict=True):
        assert isinstance(text, str)
        decoded = struct.unpack(f"<{len(numbers['embedding'])}f", base64.b64decode(text))
        assert list(decoded) == pytest.approx(numbers["embedding"], rel=1e-6)


async def test_models_are_listed_for_autodetect(door: Door) -> None:
    assert [each["id"] for each in (await App(door, ADAPTER).get("/v1/models"))["data"]]


async def test_a_chat_that_is_too_long_is_refused_once(tmp_path: Path) -> None:
    """Its command line repeats what is a 5xx up to eighteen times, so what no repetition helps has to be a 400."""
    async with opened(tmp_path, hand=HandEngine(context=20)) as small:
        asked = streamed([user("a question of more than twenty tokens")]) | {"model": "test/hand"}
        refused = await App(small, HEADERS).stream(asked)
    assert refused.status == 400
    assert refused.error
    assert (refused.error["type"], refused.error["code"]) == (
        "invalid_request_error",
        "context_length_exceeded",
    )
