"""The rules of a response's events, as OpenAI's SDKs and its description of the API have them, checked apart from what
makes the events."""

from __future__ import annotations

from typing import Any

import msgspec

Event = dict[str, Any]
TERMINAL = {
    "response.completed": ("completed",),
    "response.incomplete": ("incomplete", "cancelled"),
    "response.failed": ("failed",),
}
"""The last events, with the status that the response has in each."""
TEXTS = {
    "message": ("output_text", "content_part", "output_text"),
    "reasoning": ("reasoning_text", "content_part", "reasoning_text"),
    "summary": ("reasoning_summary_text", "reasoning_summary_part", "summary_text"),
}
"""Of items that have text: how their events, those of their part, and that part are called."""


def events_in(stream: bytes) -> list[Event]:
    """The events of a stream, whose comments are left out; each has its type on a line of its own, too."""
    found = []
    for block in stream.decode().split("\n\n"):
        if block and not block.startswith(":"):
            first, data = block.split("\n")
            event = msgspec.json.decode(data.removeprefix("data: "))
            assert first == f"event: {event['type']}"
            found.append(event)
    return found


class Hearing:
    """Hears the events of one response, and asserts that each may come where it does."""

    def __init__(self) -> None:
        self.id = ""
        self.items: list[dict[str, Any]] = []
        """What was added, as it was when it was done; until then as it was added."""
        self.said: list[str] = []
        """The text, or the arguments, of each item, put together of its deltas."""
        self.stages: list[str] = []
        self.heard: list[str] = []
        self.last: Event | None = None
        self.is_summed = False
        """Whether thinking is told in place of a summary of it."""

    def hear(self, event: Event) -> None:
        assert self.last is None, "nothing comes after the last event"
        assert event["sequence_number"] == len(self.heard)
        kind = event["type"]
        if "response" in event:
            self._response(kind, event)
        else:
            assert self.heard[-1:] != ["response.created"], "it is said to have begun first"
            self._item(kind, event)
        self.heard.append(kind)

    def _response(self, kind: str, event: Event) -> None:
        response = event["response"]
        self.id = self.id or response["id"]
        self.is_summed = response["reasoning"]["summary"] is not None
        assert response["id"] == self.id
        assert set(event) == {"type", "sequence_number", "response"}
        if kind in TERMINAL:
            assert self.heard[1:]
            assert response["status"] in TERMINAL[kind]
            assert all(stage == "done" for stage in self.stages)
            assert response["output"] == self.items
            self.last = event
            return
        before = {
            "response.created": [],
            "response.queued": ["response.created"],
            "response.in_progress": ["response.created", "response.queued"][: 1 + response["background"]],
        }
        assert self.heard == before[kind]
        assert response["output"] == []
        assert response["usage"] is response["error"] is response["completed_at"] is None
        begun = "queued" if response["background"] and kind != "response.in_progress" else "in_progress"
        assert response["status"] == begun

    def _item(self, kind: str, event: Event) -> None:
        at = event["output_index"]
        if kind == "response.output_item.added":
            assert at == len(self.items), "each comes once, one after the other"
            self._added(event["item"])
            return
        item = self.items[at]
        if kind == "response.output_item.done":
            self._done(at, item, event["item"])
            return
        assert event["item_id"] == item["id"]
        if item["type"] == "function_call":
            self._call(kind, at, item, event)
        else:
            self._text(kind, at, item, event)

    def _added(self, item: dict[str, Any]) -> None:
        assert item["status"] == "in_progress"
        assert item["id"] not in [other["id"] for other in self.items]
        assert item.get("content", []) == item.get("summary", []) == []
        assert item.get("arguments", "") == ""
        assert item["type"] in ("message", "reasoning", "function_call")
        self.items.append(item)
        self.said.append("")
        self.stages.append("open" if item["type"] == "function_call" else "added")

    def _text(self, kind: str, at: int, item: dict[str, Any], event: Event) -> None:
        is_summary = item["type"] == "reasoning" and self.is_summed
        name, around, part = TEXTS["summary" if is_summary else item["type"]]
        assert event["summary_index" if is_summary else "content_index"] == 0
        if kind == f"response.{around}.added":
            assert (self.stages[at], event["part"]["type"], event["part"]["text"]) == ("added", part, "")
            self.stages[at] = "open"
        elif kind == f"response.{name}.delta":
            assert self.stages[at] == "open"
            assert event["delta"]
            assert isinstance(event.get("logprobs", []), list)
            assert ("logprobs" in event) is (item["type"] == "message")
            self.said[at] += event["delta"]
        elif kind == f"response.{name}.done":
            assert (self.stages[at], event["text"]) == ("open", self.said[at])
            assert ("logprobs" in event) is (item["type"] == "message")
            self.stages[at] = "said"
        else:
            assert kind == f"response.{around}.done"
            assert (self.stages[at], event["part"]["type"]) == ("said", part)
            assert event["part"]["text"] == self.said[at]
            self.stages[at] = "part done"

    def _call(self, kind: str, at: int, item: dict[str, Any], event: Event) -> None:
        assert self.stages[at] == "open"
        if kind == "response.function_call_arguments.delta":
            assert event["delta"]
            self.said[at] += event["delta"]
        else:
            assert kind == "response.function_call_arguments.done"
            assert (event["name"], event["arguments"]) == (item["name"], self.said[at])
            self.stages[at] = "part done"

    def _done(self, at: int, added: dict[str, Any], item: dict[str, Any]) -> None:
        assert self.stages[at] == "part done"
        same = ("id", "type", "role", "call_id", "name")
        assert [item.get(name) for name in same] == [added.get(name) for name in same]
        assert item["status"] in ("completed", "incomplete")
        if item["type"] == "function_call":
            assert item["arguments"] == self.said[at]
        else:
            is_summary = item["type"] == "reasoning" and self.is_summed
            told, empty = ("summary", "content") if is_summary else ("content", "summary")
            assert [part["text"] for part in item[told]] == [self.said[at]]
            assert item.get(empty, []) == []
        self.items[at] = item
        self.stages[at] = "done"


def heard(events: list[Event]) -> Hearing:
    """What a whole stream says; asserts that it is one."""
    hearing = Hearing()
    for event in events:
        hearing.hear(event)
    assert hearing.last is not None
    return hearing
