"""Thinking: how it is told, and that a reply is the same one however a client sends it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.turn import Accepted, ContentDelta, Delta, Finish, ReasoningDelta, Usage
from palaver.engines.base import SAMPLING
from tests.server.conftest import HandEngine, opened
from tests.server.test_streaming import chunks_of, streaming

QUESTION = {"role": "user", "content": "Hello"}
THOUGHT, SAID = "Let me see.\nYes.", "It is noon."
USAGE = Usage(prompt_tokens=3, completion_tokens=9, reasoning_tokens=6)
PIECES: list[Delta] = [
    ReasoningDelta("Let me see."),
    ReasoningDelta("\nYes."),
    ContentDelta("It is "),
    ContentDelta("noon."),
]

SENT_BACK: list[tuple[dict[str, Any], str | None]] = [
    # the reply as a client sends it back, and the reasoning that the model sees of it
    ({"content": SAID}, None),
    ({"content": SAID, "reasoning": THOUGHT}, THOUGHT),
    ({"content": SAID, "reasoning_content": THOUGHT}, THOUGHT),
    ({"content": SAID, "reasoning": THOUGHT, "reasoning_content": THOUGHT, "tool_calls": []}, THOUGHT),
    ({"content": SAID, "reasoning": "Forgotten."}, "Forgotten."),
    ({"content": f"<think>{THOUGHT}</think>{SAID}"}, THOUGHT),
    ({"content": f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"}, THOUGHT),
    ({"content": [{"type": "text", "text": f"<think>{THOUGHT}</think>\n{SAID}"}]}, THOUGHT),
    ({"content": f"<think>{THOUGHT}</think>{SAID}", "reasoning": "Kept."}, "Kept."),
]


@pytest.mark.parametrize(("sent", "seen"), SENT_BACK, ids=str)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_reply_is_the_same_however_it_comes_back(
    tmp_path: Path, sent: dict[str, Any], seen: str | None, stream: bool
) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING | {"reasoning"})) as door:
        door.hand.put(Accepted(), *PIECES, Finish("stop", USAGE))
        async with streaming(door, stream=stream, reasoning={"enabled": True}) as response:
            data = await response.read()
            first = response.headers["palaver-conversation"]
        if stream:
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(data)]
            assert "".join(delta.get("reasoning", "") for delta in deltas) == THOUGHT
            assert "".join(delta.get("reasoning_content", "") for delta in deltas) == THOUGHT
            assert "".join(delta["content"] for delta in deltas) == SAID
            usage = chunks_of(data)[-1]["usage"]
        else:
            body = await response.json()
            message, usage = body["choices"][0]["message"], body["usage"]
            assert (message["reasoning"], message["reasoning_content"]) == (THOUGHT, THOUGHT)
            assert message["content"] == SAID
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 6}
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        messages = [QUESTION, {"role": "assistant", **sent}, {"role": "user", "content": "And now?"}]
        response, _ = await door.ask(model="test/hand", messages=messages)
        assert response.headers["palaver-conversation"] == first
        reply = door.hand.windows[-1].messages[1]
        assert reply.text == SAID
        assert (reply.reasoning or reply.reasoning_content) == seen


async def test_a_reply_that_was_cut_in_its_thinking(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING)) as door:
        door.hand.put(Accepted(), ReasoningDelta("Let me"), Finish("length"))
        response, answer = await door.ask(model="test/hand")
        assert answer["choices"][0]["message"]["content"] == ""
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        cut = {"role": "assistant", "content": "<think>Let me"}
        again, _ = await door.ask(
            model="test/hand", messages=[QUESTION, cut, {"role": "user", "content": "Go on"}]
        )
        assert again.headers["palaver-conversation"] == response.headers["palaver-conversation"]
        assert door.hand.windows[-1].messages[1].reasoning == "Let me"


async def test_what_a_user_writes_is_no_thinking(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=HandEngine(SAMPLING)) as door:
        door.hand.put(Accepted(), ContentDelta("x"), Finish("stop"))
        text = "<think>What</think> does this tag mean?"
        await door.ask(text, model="test/hand")
        assert door.hand.windows[0].messages[0].text == text
