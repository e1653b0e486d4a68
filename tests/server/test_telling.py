"""Events of a followed reply: who breaks off after any of them has lost nothing, and hears nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from palaver.core.turn import ContentDelta, Delta, ReasoningDelta, ToolCallDelta
from palaver.server.telling import Telling
from palaver.web.rendering import render

DELTAS: list[Delta] = [
    ReasoningDelta("Let me "),
    ReasoningDelta("see."),
    ContentDelta("# Bread\n"),
    ContentDelta("\nof"),
    ContentDelta("another reply", choice=1),
    ContentDelta(" rye\n\n- one\n\nmore\n\n"),
    ReasoningDelta("Hm."),
    ContentDelta("end"),
    ToolCallDelta(0, "call_1", "clock"),
    ToolCallDelta(0, arguments="{}"),
]
TEXT = "".join(delta.text for delta in DELTAS if isinstance(delta, ContentDelta) and not delta.choice)


async def told(known: int, batches: Sequence[int]) -> list[dict[str, Any]]:
    """The events of the deltas that come so many at a time, with those of the end as blocks."""
    telling, events, at = Telling(known), list[dict[str, Any]](), 0
    for size in batches:
        events += await telling.take(DELTAS[at : at + size])
        at += size
    return events + [{"type": "block", **block, "n": telling.n} for block in await telling.end()]


def heard(events: Sequence[dict[str, Any]]) -> tuple[str, str, str, str]:
    """What a page has: the thinking, the text, the calls, and the blocks."""
    of = {kind: "".join(e["text"] for e in events if e["type"] == kind) for kind in ("reasoning", "text")}
    calls = "".join(e["name"] + e["arguments"] for e in events if e["type"] == "call")
    blocks = {event["index"]: event["html"] for event in events if event["type"] == "block"}
    return of["reasoning"], of["text"], calls, "".join(blocks[index] for index in sorted(blocks))


@pytest.mark.parametrize("batches", [[10], [1] * 10, [3, 4, 3], [5, 5]])
@pytest.mark.parametrize("again", [[10], [1] * 10, [2] * 5])
async def test_after_any_event_the_rest_is_told_once(batches: list[int], again: list[int]) -> None:
    whole = await told(0, batches)
    assert heard(whole) == ("Let me see.Hm.", TEXT, "clock{}", render(TEXT))
    assert [event["n"] for event in whole] == sorted(event["n"] for event in whole)
    for stop in range(1, len(whole)):
        rest = await told(whole[stop - 1]["n"], again)
        assert heard([*whole[:stop], *rest]) == heard(whole)
