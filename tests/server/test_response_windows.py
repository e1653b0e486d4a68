"""What the model sees of a response's conversation where that is long, and how long that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.server.conftest import Door, HandEngine, opened
from tests.server.responding import ROUTE, by_hand, path_of, shown
from tests.server.test_response_input import developer, system, user


class TestWindows:
    async def test_what_a_conversation_opens_with_is_always_shown(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(context=400)) as door:
            opening = [developer("Speak Dutch."), system("Kindly.")]
            body = await by_hand(
                door, [*opening, user("q0" + "x" * 60)], "a0" + "x" * 60, conversation="room"
            )
            for i in range(1, 8):
                body = await by_hand(door, f"q{i}" + "x" * 60, f"a{i}" + "x" * 60, conversation="room")
                seen = shown(door.hand.windows[-1])
                assert seen[:2] == [("developer", "Speak Dutch."), ("system", "Kindly.")]
                assert sum(len(text) for _, text in seen) <= 400
                assert seen[-1][1].startswith(f"q{i}")
            assert not any(text.startswith("q0") for _, text in seen)
            assert len(await path_of(door, body["conversation"]["id"])) == 18

    async def test_instructions_for_once_are_shown_above_a_new_window(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(context=300)) as door:
            previous = None
            for i in range(6):
                more: dict[str, Any] = {} if previous is None else {"previous_response_id": previous}
                body = await by_hand(door, f"q{i}" + "x" * 40, "a" * 40, instructions=f"i{i}", **more)
                previous = body["id"]
                seen = shown(door.hand.windows[-1])
                assert [text for role, text in seen if role == "system"] == [f"i{i}"]
                assert seen[0] == ("system", f"i{i}")

    async def test_all_of_it_or_nothing(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(context=200)) as door:
            first = await by_hand(door, "q" * 80, "a" * 80)
            body = {"model": "test/hand", "input": "q" * 80, "previous_response_id": first["id"]}
            answered, error = await door.post(ROUTE, {**body, "truncation": "disabled"})
            assert (answered.status, error["error"]["param"]) == (400, "input")
            assert error["error"]["code"] == "context_length_exceeded"
            assert "240" in error["error"]["message"]
            assert (await by_hand(door, "q" * 80, previous_response_id=first["id"]))["truncation"] == "auto"
            answered, error = await door.post(
                ROUTE, {**body, "input": "q", "truncation": "disabled", "max_output_tokens": 100}
            )
            assert (answered.status, error["error"]["param"]) == (400, "max_output_tokens")


class TestCounting:
    async def test_it_is_what_the_model_would_be_shown(self, door: Door) -> None:
        async def count(**asked: Any) -> int:
            answered, body = await door.post(f"{ROUTE}/input_tokens", {"model": "test/hand", **asked})
            assert (answered.status, body["object"]) == (200, "response.input_tokens"), body
            tokens: int = body["input_tokens"]
            return tokens

        assert await count(input="12345") == 5
        assert await count(input=[developer("123"), user("12345")], instructions="12") == 10
        body = await by_hand(door, "12345", "1234567", instructions="12")
        assert await count(input="123", previous_response_id=body["id"]) == 15
        assert await count(input="123", conversation=body["conversation"]["id"]) == 15
        assert await count(input="123", conversation="another") == 3
        assert len(door.hand.windows) == 1
        assert len(await door.chat.store.conversations("local", one_shots=True)) == 1

    async def test_what_would_be_refused_is_refused(self, door: Door) -> None:
        for bad, param in (
            ({"input": ""}, None),
            ({}, "input"),
            ({"input": "x", "max_output_tokens": 1}, "max_output_tokens"),
        ):
            answered, error = await door.post(f"{ROUTE}/input_tokens", {"model": "test/hand", **bad})
            if param is not None:
                assert (answered.status, error["error"]["param"]) == (400, param)
