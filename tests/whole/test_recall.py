"""A fact from the first of forty turns is out of the window, and answers a question all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai

from tests.sdks.waiting import PATIENCE
from tests.whole.serving import server

QUESTION = "What is my dog called?"
SCRIPT = (
    {"when": QUESTION, "tool_calls": [{"name": "recall", "arguments": {"query": "dog called"}}]},
    {"when_tool": "Rex", "reply": "You told me that it is called Rex."},
    {"when": "word", "reply": "Noted. " * 60},
    {"when": "My dog", "reply": "What a name."},
)
SMALL_TALK = (
    "What do cats eat?",
    "What is the capital of France?",
    "Tell me about Lisbon.",
    "What do horses eat?",
    "What is the capital of Italy?",
)


class Talk:
    """A conversation of forty turns and a question, by OpenAI's SDK; what is read of it is read by plain HTTP."""

    def __init__(self, base: str, model: str, **more: Any) -> None:
        self.sdk = openai.OpenAI(base_url=f"{base}/v1", api_key="any", timeout=PATIENCE)
        self.model = model
        self.more = {"conversation": "forty", "parent": "head", **more}

    def ask(self, text: str) -> Any:
        return self.sdk.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": text}], extra_body=self.more
        )

    def got(self, path: str) -> Any:
        return self.sdk.get(path, cast_to=object)


def test_by_a_tool_within_the_turn(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, SCRIPT)), encoding="utf-8")
    with server(tmp_path, f"scripted:{script}", "--window-size", "2400") as (_, base):
        talk = Talk(base, "scripted")
        talk.ask("My dog is called Rex.")
        for number in range(39):
            talk.ask(f"word{number} " * 40)
        asked = talk.ask(QUESTION)
        (choice,) = asked.choices
        assert choice.message.content == "You told me that it is called Rex."
        assert (choice.message.tool_calls or [], choice.finish_reason) == ([], "stop")
        receipt = talk.got(f"/chat/completions/{asked.id}/receipt")
        assert receipt["offers_recall"]
        assert receipt["left_out"][0]["first"] == 0
        first = talk.got("/conversations/forty/messages?order=asc&limit=1")["data"][0]
        (note,) = receipt["notes"]
        assert (note["by"], [quote["message"] for quote in note["quotes"]]) == ("tool", [first["id"]])
        # It is no message: what is kept of the turn are its question and its reply.
        last = talk.got("/conversations/forty/messages?limit=2")["data"]
        assert [each["role"] for each in last] == ["assistant", "user"]


def test_by_a_setting_with_the_bundled_model(tmp_path: Path) -> None:
    with server(tmp_path, "pocket", "--recall", "always", "--window-size", "1024") as (_, base):
        talk = Talk(base, "pocket")
        talk.ask("My name is Ada.")
        for number in range(39):
            talk.ask(SMALL_TALK[number % len(SMALL_TALK)])
        asked = talk.ask("What is my name?")
        receipt = talk.got(f"/chat/completions/{asked.id}/receipt")
        first = talk.got("/conversations/forty/messages?order=asc&limit=1")["data"][0]
        assert receipt["left_out"][0]["first"] == 0
        assert receipt["notes"][-1]["by"] == "setting"
        assert first["id"] in [quote["message"] for quote in receipt["notes"][-1]["quotes"]]
        assert "Ada" in asked.choices[0].message.content
