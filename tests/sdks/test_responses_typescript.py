"""Responses through the official TypeScript SDK and its helpers, against a served palaver."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sdks.asking import run_node
from tests.sdks.stateful import BEGUN, CITIES, LONG_TEXT, stateful
from tests.sdks.test_responses import WEATHER

__all__ = ["stateful"]


async def test_all_of_it(stateful: tuple[Path, str], node: str) -> None:
    given = {"address": stateful[1], "tools": [WEATHER], "begun": BEGUN}
    got = json.loads(await run_node(node, "responses.mjs", given))
    first, second, third = got["texts"]
    assert first.startswith("Reply 1 to: Hello")
    assert second.startswith("Reply 2 to: More")
    assert third.startswith("Reply 3 to: On")
    assert len(set(got["conversations"])) == 1
    assert got["retrieved"] == got["first"]
    assert got["first"]["metadata"] == {"topic": "demo"}
    assert list(got["asked"].values()) == [[f"Number {n}" for n in range(5)]] * 3
    assert set(got["parsed"]) == set(got["parsed_stream"]) == {"city", "degrees"}
    assert got["calls"] == [["weather", f'{{"city": "{city}"}}'] for city in CITIES]
    assert got["answer"] == "It rains in both."
    assert got["order"] == list(range(len(got["order"])))
    for after, plain, helped, said in got["again"]:
        assert plain == helped == got["order"][after + 1 :]
        assert said == "I look."
    resumed = got["resumed"]
    assert resumed["order"] == list(range(len(resumed["order"])))
    assert resumed["said"] == resumed["stored"] == LONG_TEXT
    assert (got["background"], got["cancelled"]) == ("queued", "cancelled")
    assert got["stopped"] == ["response.incomplete", BEGUN]
    assert got["stopped_again"] == "cancelled"
    assert got["tokens"][0] == got["tokens"][1]
    assert got["compacted"] == ["message", "message", "compaction"]
    assert got["after"].startswith("Reply 3 to: And now?")
    assert "Ada" in got["pocket"]
    assert got["errors"] == [
        ["NotFoundError", 404, "message_deleted", None],
        ["BadRequestError", 400, "previous_response_not_found", "previous_response_id"],
        ["BadRequestError", 400, None, "max_output_tokens"],
        ["BadRequestError", 400, None, "input[0].role"],
    ]
