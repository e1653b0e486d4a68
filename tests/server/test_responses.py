"""Responses: what they look like, looked up, listened to again, and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palaver.core.parameters import Format, Parameters
from palaver.core.turn import ContentDelta, ReasoningDelta, TokenLogprob, TopLogprob, Usage
from palaver.engines.base import SAMPLING
from tests.server.conftest import Door, HandEngine, opened
from tests.server.event_rules import heard
from tests.server.responding import (
    ROUTE,
    by_hand,
    events_of,
    found,
    input_items,
    path_of,
    respond,
    says,
    sent_again,
    streamed,
)

ABILITIES = SAMPLING | {
    "json_schema",
    "json_object",
    "regex",
    "grammar",
    "reasoning",
    "reasoning_effort",
    "logprobs",
}


class TestShapes:
    async def test_a_whole_response(self, door: Door) -> None:
        says(door, "Hello ", "there", usage=Usage(9, 4, 3, 1))
        answered, body = await door.post(
            ROUTE, {"model": "test/hand", "input": "Hi", "instructions": "Be kind."}
        )
        id, conversation = body["id"], body["conversation"]["id"]
        assert answered.headers["palaver-turn"] == id
        assert answered.headers["palaver-conversation"] == conversation
        assert body["completed_at"] >= body["created_at"] > 1_700_000_000
        message = "msg_" + id.removeprefix("resp_")
        text = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}
        del body["completed_at"], body["created_at"]
        assert body == {
            "id": id,
            "object": "response",
            "status": "completed",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": "Be kind.",
            "max_output_tokens": None,
            "max_tool_calls": None,
            "model": "test/hand",
            "output": [
                {
                    "id": message,
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [text],
                }
            ],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "conversation": {"id": conversation},
            "prompt_cache_key": None,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": None,
            "service_tier": "default",
            "store": True,
            "temperature": None,
            "text": {"format": {"type": "text"}, "verbosity": None},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": None,
            "truncation": "disabled",
            "usage": {
                "input_tokens": 9,
                "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
                "output_tokens": 4,
                "output_tokens_details": {"reasoning_tokens": 1},
                "total_tokens": 13,
            },
            "user": None,
            "metadata": {},
        }
        assert [item.id for item in await door.chat.store.items("local", conversation, limit=1)] == [message]

    async def test_what_was_asked_is_told_again_and_after(self, tmp_path: Path) -> None:
        asked: dict[str, Any] = {
            "instructions": "Be brief.",
            "max_output_tokens": 99,
            "max_tool_calls": 3,
            "metadata": {"a": "b"},
            "reasoning": {"effort": "high", "summary": "auto"},
            "safety_identifier": "anna",
            "prompt_cache_key": "key",
            "temperature": 0.5,
            "top_p": 0.9,
            "text": {
                "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
            },
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 2,
            "truncation": "auto",
            "user": "anna",
        }
        async with opened(tmp_path, hand=HandEngine(ABILITIES, context=4096)) as door:
            body = await by_hand(door, "Hi", **asked)
            parameters = door.hand.options[0].parameters
            told = {name: body[name] for name in asked if name in body}
            form = {**asked["text"]["format"]}
            assert told == {
                **{name: asked[name] for name in asked if name not in ("text", "include")},
                "text": {"format": form, "verbosity": None},
            }
            assert parameters == Parameters(
                temperature=0.5,
                top_p=0.9,
                max_tokens=99,
                format=Format(type="json_schema", schema={"type": "object"}, name="n", strict=True),
                reasoning_effort="high",
                logprobs=2,
            )
            assert await found(door, body["id"]) == body
            later = await events_of(door, body["id"])
            assert later[-1]["response"] == body

    async def test_the_events_that_are_stored_are_those_that_came(self, door: Door) -> None:
        says(door, ReasoningDelta("Hm."), "Hel", "lo", usage=Usage(1, 2))
        events = await streamed(door, model="test/hand", temperature=0.3, metadata={"a": "b"})
        assert heard(events).said == ["Hm.", "Hello"]
        id = events[0]["response"]["id"]
        assert await events_of(door, id) == events
        for after in range(len(events) + 2):
            assert await events_of(door, id, after) == events[after + 1 :]

    async def test_an_answer_that_came_to_its_limit(self, door: Door) -> None:
        says(door, "Once upon", reason="length")
        body = await respond(door, model="test/hand", max_output_tokens=16)
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert (body["output"][0]["status"], body["completed_at"]) == ("incomplete", None)
        assert await found(door, body["id"]) == body
        says(door, "No.", reason="content_filter")
        events = await streamed(door, "Other", model="test/hand")
        assert events[-1]["type"] == "response.incomplete"
        assert heard(events).last is events[-1]
        assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}

    async def test_an_answer_without_a_word(self, door: Door) -> None:
        says(door, usage=Usage(3, 0))
        body = await respond(door, model="test/hand")
        assert (body["status"], body["output"], body["usage"]["output_tokens"]) == ("completed", [], 0)
        assert await found(door, body["id"]) == body
        again = await respond(door, "And now?", previous_response_id=body["id"])
        assert again["conversation"] == body["conversation"]
        assert [role for role, _ in await path_of(door, body["conversation"]["id"])] == [
            "user",
            "user",
            "assistant",
        ]

    async def test_probabilities_are_told_where_they_are_asked_for(self, tmp_path: Path) -> None:
        token = TokenLogprob("Hi", -0.5, [72, 105], top=[TopLogprob("Ho", -1.5)])
        shown = {
            "token": "Hi",
            "bytes": [72, 105],
            "logprob": -0.5,
            "top_logprobs": [{"token": "Ho", "bytes": [72, 111], "logprob": -1.5}],
        }
        async with opened(tmp_path, hand=HandEngine(ABILITIES)) as door:
            says(door, ContentDelta("Hi", logprobs=[token]))
            asked: dict[str, Any] = {
                "include": ["message.output_text.logprobs"],
                "top_logprobs": 1,
                "model": "test/hand",
            }
            events = await streamed(door, **asked)
            body = events[-1]["response"]
            assert body["output"][0]["content"][0]["logprobs"] == [shown]
            told = [event["logprobs"] for event in events if "logprobs" in event]
            assert told == [[shown], [shown]]
            assert await events_of(door, body["id"]) == events
            says(door, "x")
            await respond(door, model="test/hand")
            assert [o.parameters.logprobs for o in door.hand.options] == [1, None]

    async def test_what_the_model_saw_is_told_where_it_is_asked_for(self, door: Door) -> None:
        first = await respond(door, "One")
        body = await respond(door, "Two", previous_response_id=first["id"], context=True)
        assert body["context"]["path"] == 3
        events = await streamed(door, "Three", previous_response_id=body["id"], context=True)
        assert events[-1]["response"]["context"]["path"] == 5
        assert [event for event in events[:-1] if "context" in event.get("response", {})] == []
        assert "context" not in await found(door, body["id"])

    async def test_thinking_is_an_item_and_may_be_sent_back(self, door: Door) -> None:
        body = await by_hand(door, "Why?", ReasoningDelta("Let me "), ReasoningDelta("see."), "So.")
        thought, said = body["output"]
        assert (thought["type"], thought["summary"]) == ("reasoning", [])
        assert thought["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
        again = [
            {"role": "user", "content": "Why?"},
            *sent_again([thought, said]),
            {"role": "user", "content": "And?"},
        ]
        more = await by_hand(door, again)
        assert more["conversation"] == body["conversation"]
        assert door.hand.windows[1].messages[1].reasoning == "Let me see."
        assert [item["id"] for item in await input_items(door, more["id"])][1:3] == [
            thought["id"],
            said["id"],
        ]
