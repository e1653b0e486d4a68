"""The events of a response: in their order, the same whenever they are heard, and what is stored is what they said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openai import NOT_GIVEN
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from palaver.core.errors import (
    ContextLengthExceeded,
    ConversationBusy,
    EngineBroke,
    EngineRefused,
    PalaverError,
    TurnCancelled,
    UnsupportedParameter,
)
from palaver.core.reply import replies
from palaver.core.turn import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TurnState,
    Usage,
)
from palaver.live import Outcome, replayed
from palaver.server.response_events import output_of
from palaver.server.response_shapes import begun_of
from tests.core.test_reply import streams
from tests.server.event_rules import Event, Hearing, heard
from tests.server.played import Play

ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = Usage(7, 5, 3, 2)


REASONS: tuple[FinishReason, ...] = ("stop", "length", "tool_calls", "content_filter")


def broken(state: TurnState, error: PalaverError | None = None) -> Outcome:
    return Outcome(state=state, finish_reason=None if error else "stop", error=error)


WHOLE = [Outcome(state=TurnState.COMPLETED, finish_reason=reason, usage=USAGE) for reason in REASONS]
ERRORS: list[PalaverError] = [
    EngineBroke(),
    EngineRefused("Slow down.", status=429),
    EngineRefused("No.", status=400),
    ContextLengthExceeded(prompt_tokens=9, context_size=5),
    UnsupportedParameter("No.", param="tools"),
    ConversationBusy(),
]
CANCELLED = [broken(TurnState.CANCELLED), broken(TurnState.CANCELLED, TurnCancelled("It is being deleted."))]
EXACT = {"completed_at", "logprobs"}
"""What is not told twice in the same words: how late it was, and to which text a token belonged."""


def alike(value: Any) -> Any:
    """Without what may differ between two hearings."""
    if isinstance(value, dict):
        return {name: alike(part) for name, part in value.items() if name not in EXACT}
    return [alike(part) for part in value] if isinstance(value, list) else value


@st.composite
def plays(draw: st.DrawFn) -> tuple[Play, list[int]]:
    said = draw(streams())
    cuts = sorted(draw(st.lists(st.integers(0, len(said)), max_size=4)))
    state = TurnState.INCOMPLETE if said else TurnState.FAILED
    endings = [*WHOLE, *CANCELLED, *(broken(state, error) for error in ERRORS)]
    ending, summary = draw(st.sampled_from(endings)), draw(st.sampled_from((None, "auto")))
    return Play(said, ending, background=draw(st.booleans()), summary=summary), cuts


@given(plays())
async def test_they_keep_the_rules_and_say_what_is_stored(drawn: tuple[Play, list[int]]) -> None:
    play, cuts = drawn
    events = await play.live(cuts)
    hearing = heard(events)
    for event in events:
        ADAPTER.validate_python(event)
    says_what_is_stored(play, hearing)
    record = play.record()
    looked_up = msgspec.to_builtins(output_of(begun_of(record), replayed(record)))
    assert alike(looked_up) == alike(hearing.items)


def says_what_is_stored(play: Play, hearing: Hearing) -> None:
    [stored] = replies([d for d in play.said if not d.choice], [play.ending.finish_reason])
    said = dict.fromkeys(("message", "reasoning", "function_call"), "")
    calls = []
    for item, text in zip(hearing.items, hearing.said, strict=True):
        said[item["type"]] += text
        if item["type"] == "function_call":
            calls.append((item["call_id"], item["name"], text))
    assert (said["message"], said["reasoning"]) == (stored.content, stored.reasoning)
    by_name = [(c.id, c.function.name, c.function.arguments) for c in stored.tool_calls]
    assert sorted(calls) == sorted(by_name)


@given(plays())
async def test_late_readers_hear_the_same(drawn: tuple[Play, list[int]]) -> None:
    play, cuts = drawn
    events, late = await play.live(cuts), await play.late()
    assert alike(late) == alike(events)
    heard(late)


@given(plays(), st.data())
async def test_a_stream_that_is_cut_and_resumed_is_whole(
    drawn: tuple[Play, list[int]], data: st.DataObject
) -> None:
    play, cuts = drawn
    events = await play.live(cuts)
    cut = data.draw(st.integers(-1, len(events) - 1))
    rest = await play.late(after=cut)
    assert alike(events[: cut + 1] + rest) == alike(events)
    assert await play.live([], after=cut) == events[cut + 1 :]


@given(plays())
async def test_the_sdk_puts_them_together(drawn: tuple[Play, list[int]]) -> None:
    play, cuts = drawn
    calls = [
        delta.id
        for delta in play.said
        if isinstance(delta, ToolCallDelta) and delta.name and not delta.choice
    ]
    assume(len(set(calls)) == len(calls))  # engines give each call of a reply an id of its own
    for events in (await play.live(cuts), await play.late()):
        state: Any = ResponseStreamState(input_tools=NOT_GIVEN, text_format=NOT_GIVEN)  # type: ignore[arg-type]
        last: Any = None
        for event in events:
            for last in state.handle_event(ADAPTER.validate_python(event)):
                if last.type == "response.output_text.delta":
                    assert last.snapshot.endswith(last.delta)
        told = [item.to_dict() for item in last.response.output]
        expected = events[-1]["response"]["output"]
        assert [item["id"] for item in told] == [item["id"] for item in expected]
        hearing = heard(events)
        texts = [item.get("arguments") or _text(item) for item in told]
        assert texts == hearing.said


def _text(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item.get("content") or item.get("summary") or ())


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


ITEM = ["output_item.added", "content_part.added"]
DONE = ["content_part.done", "output_item.done"]
CALL = ["function_call_arguments.done", "output_item.done"]
PIECE = "function_call_arguments.delta"


async def test_a_text() -> None:
    play = Play([ContentDelta("Hel"), ContentDelta("lo")], WHOLE[0])
    text = ["output_text.delta", "output_text.delta", "output_text.done"]
    begun = ["created", "in_progress"]
    assert kinds(await play.live([1])) == [*begun, *ITEM, *text, *DONE, "completed"]
    background = Play(play.said, WHOLE[0], background=True)
    assert kinds(await background.late())[:3] == ["created", "queued", "in_progress"]


async def test_calls_end_when_the_reply_does() -> None:
    """Their pieces may come mixed; what was thought and said before is over when they begin."""
    said: list[Delta] = [
        ReasoningDelta("Hm."),
        ContentDelta("I look."),
        ToolCallDelta(0, "call_a", "weather", '{"city"'),
        ToolCallDelta(1, "call_b", "now"),
        ToolCallDelta(0, arguments=': "Oslo"}'),
    ]
    events = await Play(said, WHOLE[2]).live([2, 4])
    thought = [*ITEM, "reasoning_text.delta", "reasoning_text.done", *DONE]
    text = [*ITEM, "output_text.delta", "output_text.done", *DONE]
    calls = ["output_item.added", PIECE, "output_item.added", PIECE, *CALL, PIECE, *CALL]
    assert kinds(events) == ["created", "in_progress", *thought, *text, *calls, "completed"]
    assert heard(events).said == ["Hm.", "I look.", '{"city": "Oslo"}', "{}"]


async def test_a_call_that_was_cut_off_is_not_made_whole() -> None:
    said: list[Delta] = [ToolCallDelta(0, "call_a", "now")]
    for ending in (broken(TurnState.INCOMPLETE, EngineBroke()), *CANCELLED, WHOLE[1]):
        play = Play(said, ending)
        for events in (await play.live([]), await play.late()):
            [item] = heard(events).items
            assert (item["arguments"], item["status"]) == ("", "incomplete")


@pytest.mark.parametrize("ending", CANCELLED)
async def test_what_is_stopped_ends_as_incomplete(ending: Outcome) -> None:
    events = await Play([ContentDelta("Hel")], ending).live([])
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
    assert (last["response"]["error"], last["response"]["incomplete_details"]) == (None, None)


async def test_only_the_first_of_several_replies_is_told() -> None:
    said: list[Delta] = [ContentDelta("No", 1), ContentDelta("Yes"), ToolCallDelta(0, "c", "now", "{}", 2)]
    assert heard(await Play(said, WHOLE[0]).live([])).said == ["Yes"]


async def test_tokens_of_one_text_are_told_with_it() -> None:
    """Late readers hear them all with its first piece."""
    tokens = [TokenLogprob("Hel", -0.5), TokenLogprob("lo", -1.5)]
    said: list[Delta] = [ContentDelta(token.token, 0, [token]) for token in tokens]
    play = Play(said, WHOLE[0])
    for events in (await play.live([1]), await play.late()):
        told = [each["token"] for event in events if "delta" in event for each in event["logprobs"]]
        done = [event for event in events if event["type"] == "response.output_text.done"]
        part = events[-1]["response"]["output"][0]["content"][0]
        assert told == [each["token"] for each in part["logprobs"]] == ["Hel", "lo"]
        assert done[0]["logprobs"] == part["logprobs"]
