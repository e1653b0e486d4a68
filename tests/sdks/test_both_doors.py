"""What one door has begun the other goes on with, with the official SDKs: conversations, and a loop of ten steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.sdks.asking import LANGUAGES, SDKS, Language, Sdk, python_client, run_node
from tests.sdks.conftest import serving
from tests.sdks.waiting import LONG, within
from tests.whole.serving import rows

Door = Literal["completions", "responses"]
DOORS: tuple[Door, ...] = ("completions", "responses")
STEPS = 10
QUESTION = "Count to ten"
PARAMETERS = {"type": "object", "properties": {"to": {"type": "integer"}}, "required": ["to"]}
FUNCTIONS: list[dict[str, Any]] = [{"name": name, "parameters": PARAMETERS} for name in ("add", "note")]


def calls(step: int) -> list[dict[str, Any]]:
    """What is called in a step: every second time two functions at once."""
    names = ("add", "note") if step % 2 else ("add",)
    return [{"name": name, "arguments": {"to": step}} for name in names]


SCRIPT: list[dict[str, Any]] = [
    {"when": QUESTION, "tool_calls": calls(0)},
    *(
        {"when_tool": f"So far {n}.", "reasoning": "On. ", "reply": f"Step {n}. ", "tool_calls": calls(n)}
        for n in range(1, STEPS)
    ),
    {"when_tool": f"So far {STEPS}.", "reply": "That is ten."},
    {},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a server whose model counts."""
    folder = tmp_path_factory.mktemp("doors")
    script = folder / "counting.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in SCRIPT))
    with serving(folder, "--model", f"scripted:{script}") as address:
        yield folder, address


def messages_with(folder: Path, question: str) -> list[dict[str, Any]]:
    """All messages of the one conversation that has this question."""
    found = rows(
        folder, "SELECT conversation, role, body ->> 'content' AS content FROM messages ORDER BY seq"
    )
    (conversation,) = {row["conversation"] for row in found if row["content"] == question}
    return [row for row in found if row["conversation"] == conversation]


@dataclass
class Loop:
    """An app in the midst of a loop; it keeps the history in the form of chat completions, as its own."""

    messages: list[Any]
    last: str | None = None
    news: list[Any] = field(default_factory=list)
    called: list[list[Any]] = field(default_factory=list)
    said: str = ""

    def took(self, id: str, text: str | None, made: list[tuple[str, str, str]]) -> None:
        """A reply has come: do what it calls for."""
        self.last, self.said, self.news = id, text or "", []
        told = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in made
        ]
        self.messages.append({"role": "assistant", "content": text, **({"tool_calls": told} if told else {})})
        for id, name, arguments in made:
            to = json.loads(arguments)["to"]
            self.called.append([id, name, to])
            result = f"So far {to + 1}." if name == "add" else "Noted."
            self.messages.append({"role": "tool", "tool_call_id": id, "content": result})
            self.news.append({"type": "function_call_output", "call_id": id, "output": result})

    def ask(self, door: Door, sdk: Sdk, address: str) -> None:
        if door == "responses":
            self._ask_responses(address)
        else:
            self._ask_completions(sdk, address)

    def _ask_completions(self, sdk: Sdk, address: str) -> None:
        tools = [{"type": "function", "function": function} for function in FUNCTIONS]
        with python_client(sdk, address) as client:
            reply = client.chat.completions.create(model="scripted", messages=self.messages, tools=tools)
        message = reply.choices[0].message
        made = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
        self.took(reply.id, message.content, made)

    def _ask_responses(self, address: str) -> None:
        tools = [{"type": "function", **function} for function in FUNCTIONS]
        more: dict[str, Any] = {"previous_response_id": self.last} if self.last else {}
        with python_client("openai", address) as client:
            response = client.responses.create(
                model="scripted", input=self.news or self.messages, tools=tools, **more
            )
        made = [(c.call_id, c.name, c.arguments) for c in response.output if c.type == "function_call"]
        self.took(response.id, response.output_text or None, made)


def go_through(sdk: Sdk, address: str, question: str, first: Door) -> Loop:
    loop = Loop([{"role": "user", "content": question}])
    second: Door = "completions" if first == "responses" else "responses"
    for step in range(STEPS + 1):
        loop.ask(first if step < STEPS // 2 else second, sdk, address)
    return loop


@pytest.mark.parametrize("first", DOORS)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_ten_steps_begun_on_one_door_and_ended_on_the_other(
    served: tuple[Path, str], node: str, sdk: Sdk, language: Language, first: Door
) -> None:
    folder, address = served
    question = f"{QUESTION}, {sdk} {language} {first}"
    if language == "python":
        async with within(LONG, "the SDK to go through the loop"):
            loop = await asyncio.to_thread(go_through, sdk, address, question, first)
        called, said = loop.called, loop.said
    else:
        given = {
            "sdk": sdk,
            "address": address,
            "question": question,
            "functions": FUNCTIONS,
            "first": first,
            "steps": STEPS,
        }
        got = json.loads(await run_node(node, "crossing.mjs", given))
        called, said = got["called"], got["said"]
    wanted = [(call["name"], step) for step in range(STEPS) for call in calls(step)]
    assert [(name, to) for _, name, to in called] == wanted
    assert len({id for id, *_ in called}) == len(wanted)
    assert said == "That is ten."
    roles = [row["role"] for row in messages_with(folder, question)]
    steps = [role for step in range(STEPS) for role in ("assistant", *["tool"] * len(calls(step)))]
    assert roles == ["user", *steps, "assistant"]


@pytest.mark.parametrize("sdk", SDKS)
async def test_a_conversation_goes_there_and_back(served: tuple[Path, str], sdk: Sdk) -> None:
    folder, address = served

    def talk() -> list[str]:
        history: list[Any] = [{"role": "system", "content": "Be brief."}]
        with python_client(sdk, address) as chats, python_client("openai", address) as client:
            for question in (f"{sdk}?", "And?"):
                history.append({"role": "user", "content": question})
                reply = chats.chat.completions.create(model="scripted", messages=history)
                history.append({"role": "assistant", "content": reply.choices[0].message.content})
            last = reply.id
            for question in ("Here?", "Still?"):
                response = client.responses.create(
                    model="scripted", input=question, previous_response_id=last
                )
                history += [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": response.output_text},
                ]
                last = response.id
            history.append({"role": "user", "content": "Back?"})
            reply = chats.chat.completions.create(model="scripted", messages=history)
            history.append({"role": "assistant", "content": reply.choices[0].message.content})
            response = client.responses.create(
                model="scripted", input="Once more?", previous_response_id=reply.id
            )
            history += [
                {"role": "user", "content": "Once more?"},
                {"role": "assistant", "content": response.output_text},
            ]
        return [message["content"] for message in history[1:]]

    async with within(LONG, "the SDKs to talk"):
        texts = await asyncio.to_thread(talk)
    assert [row["content"] for row in messages_with(folder, f"{sdk}?")] == texts
    assert texts[-1].startswith("Reply 6 to: Once more?")
