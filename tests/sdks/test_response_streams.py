"""Responses as they come, and as they are heard again, through the official Python SDK and its helpers."""

from __future__ import annotations

from typing import Any

import openai

from tests.sdks.stateful import BEGUN, LONG_TEXT, sdk, stateful

__all__ = ["sdk", "stateful"]


def said(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


async def test_a_stream_is_heard_again_from_anywhere(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model="scripted", input="Think", reasoning={"effort": "low"}) as stream:
        events: list[Any] = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == said(events) == "Forty two."
    plain = await sdk.responses.create(model="scripted", input="Think", stream=True)
    assert [event.type async for event in plain] == [event.type for event in events]
    for after in range(-1, len(events), 4):
        more: Any = {} if after < 0 else {"starting_after": after}
        again = await sdk.responses.retrieve(final.id, stream=True, **more)
        numbers = [event.sequence_number async for event in again]
        assert numbers == list(range(after + 1, len(events)))
        async with sdk.responses.stream(response_id=final.id, **more) as helped:
            heard = [event async for event in helped]
            assert await helped.get_final_response() == final
        assert heard == events[after + 1 :]


async def test_a_stream_that_was_left_is_gone_on_with(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="scripted", input="Tell me slowly", stream=True)
    heard: list[Any] = []
    async for event in stream:
        heard.append(event)
        if len(heard) == 15:
            break
    await stream.close()
    id = heard[0].response.id
    rest = await sdk.responses.retrieve(id, stream=True, starting_after=heard[-1].sequence_number)
    heard += [event async for event in rest]
    assert [event.sequence_number for event in heard] == list(range(len(heard)))
    assert heard[-1].type == "response.completed"
    assert said(heard) == heard[-1].response.output_text == LONG_TEXT
    assert (await sdk.responses.retrieve(id)).output_text == LONG_TEXT


async def test_one_in_the_background_is_heard_and_cancelled(sdk: openai.AsyncOpenAI) -> None:
    begun = await sdk.responses.create(model="scripted", input="Go on for ever", background=True)
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    stream = await sdk.responses.retrieve(begun.id, stream=True)
    heard: list[Any] = []
    async for event in stream:
        heard.append(event)
        if event.type == "response.output_text.delta" and said(heard) == BEGUN:
            assert (await sdk.responses.retrieve(begun.id)).status == "in_progress"
            assert (await sdk.responses.cancel(begun.id)).status == "cancelled"
    assert heard[-1].type == "response.incomplete"
    assert heard[-1].response.status == "cancelled"
    left = await sdk.responses.cancel(begun.id)
    assert (left.status, left.output_text) == ("cancelled", BEGUN)
    assert await sdk.responses.retrieve(begun.id) == left
    after = await sdk.responses.create(model="scripted", input="Next", previous_response_id=begun.id)
    assert after.output_text.startswith("Reply 2 to: Next")


async def test_one_that_breaks_off(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="scripted", input="Please break", stream=True)
    heard: list[Any] = [event async for event in stream]
    assert heard[-1].type == "response.failed"
    assert heard[-1].response.error.code == "server_error"
    assert (await sdk.responses.retrieve(heard[0].response.id)).output_text == said(heard) == BEGUN
    short = await sdk.responses.create(model="scripted", input="Tell me slowly", max_output_tokens=16)
    assert short.status == "incomplete"
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"


async def test_a_real_model_remembers(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="pocket", input="My name is Ada.")
    async with sdk.responses.stream(
        model="pocket", input="What's my name?", previous_response_id=first.id
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert "Ada" in final.output_text
    assert said(events) == final.output_text
    assert final.usage is not None
    assert final.usage.output_tokens > 0
