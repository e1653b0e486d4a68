"""Models that answer in place of another that failed before its first token; and the record that says so."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from palaver.chat import Chat, ChatSettings
from palaver.core.errors import (
    ContextLengthExceeded,
    EngineBroke,
    EngineError,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    PalaverError,
    UnsupportedParameter,
)
from palaver.core.message import ImagePart, ImageUrl, Message, TextPart
from palaver.core.parameters import Format, NamedTool, Parameters, Sampling, Tool
from palaver.core.turn import TurnState
from palaver.engines.base import SAMPLING, Model
from palaver.live import LiveReply
from palaver.running.answering import may_pass
from palaver.stores.base import Tried, TurnRecord
from tests.chat.asking import heard, request, texts
from tests.chat.puppets import OneModel, Play, PuppetEngine, WatchedStore

AWAY = EngineUnavailable("It is away.")
ALL = frozenset(
    SAMPLING
    | {
        "image_url",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "json_object",
        "reasoning",
        "reasoning_effort",
    }
    | {"chat_template_kwargs", "logprobs", "echo", "extra", "prefill", "remote_media"}
)


@pytest.fixture
async def second() -> PuppetEngine:
    return PuppetEngine()


@pytest.fixture
async def third() -> PuppetEngine:
    return PuppetEngine()


@pytest.fixture
async def model(engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine) -> Model:
    fallbacks = (
        Model(name="second", served_as="second-1b", engine=second, defaults=Sampling(top_k=2)),
        Model(name="third", served_as="third-1b", engine=third),
    )
    return Model(
        name="puppet", served_as="puppet-7b", engine=engine, defaults=Sampling(top_p=0.5), fallbacks=fallbacks
    )


async def fails(engine: PuppetEngine, error: Exception, number: int = 0) -> None:
    (await engine.play(number)).fail(error)


async def answers(engine: PuppetEngine, text: str = "hello", number: int = 0) -> Play:
    play = await engine.play(number)
    play.say(text)
    play.finish(model="as it calls itself")
    return play


async def recorded(store: WatchedStore, live: LiveReply) -> TurnRecord:
    await live.ended()
    return await store.turn("local", live.turn)


async def test_the_next_one_answers(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    live = await chat.say(request("hi", parameters=Parameters(seed=3)))
    assert live.model == "puppet"
    await fails(engine, AWAY)
    play = await answers(second)
    assert await heard(live) == "hello"
    assert (live.model, (await live.ended()).error) == ("second", None)
    record = await recorded(store, live)
    assert (record.state, record.requested_model, record.model) == (TurnState.COMPLETED, "puppet", "second")
    assert (record.served_as, record.tried) == ("as it calls itself", [Tried("puppet", "It is away.")])
    assert record.reply is not None
    assert record.reply.model == "second"
    assert (play.options.model, play.options.parameters) == ("second-1b", Parameters(seed=3, top_k=2))
    assert engine.plays[0].options.parameters == Parameters(seed=3, top_p=0.5)
    assert engine.plays[0].closed.is_set()
    assert third.plays == []


async def test_the_log_tells_of_it_without_the_engines_words(
    chat: Chat, engine: PuppetEngine, second: PuppetEngine
) -> None:
    """They may quote the prompt, and a log outlives a deletion."""
    with capture_logs() as logged:
        live = await chat.say(request("hi"))
        await fails(engine, EngineUnavailable("I cannot say canary."))
        await answers(second)
        await live.ended()
    assert [(entry["model"], entry["error"]) for entry in logged] == [("puppet", "EngineUnavailable")]


async def test_what_the_first_one_took_is_no_answer(
    chat: Chat, engine: PuppetEngine, second: PuppetEngine
) -> None:
    """It may accept a request and fail then; readers who wait for that hear nothing of it."""
    live = await chat.say(request("hi"))
    play = await engine.play()
    assert await live.accepted()
    play.fail(EngineBroke("It broke."))
    await answers(second)
    assert await heard(live) == "hello"


async def test_one_after_the_other_is_tried(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    await fails(engine, AWAY)
    await fails(second, EngineRefused("Too many.", status=429))
    await answers(third)
    record = await recorded(store, live)
    assert (record.model, record.tried) == (
        "third",
        [Tried("puppet", "It is away."), Tried("second", "Too many.")],
    )


async def test_after_the_first_token_nobody_else_is_asked(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    play = await engine.play()
    play.say("hel")
    play.fail(EngineBroke("It broke."))
    record = await recorded(store, live)
    assert (record.state, record.model, record.served_as) == (TurnState.INCOMPLETE, "puppet", "puppet-7b")
    assert (record.tried, second.plays) == ([], [])
    assert await texts(store, live) == ["hi", "hel"]


async def test_nor_after_the_first_token_of_a_fallback(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    await fails(engine, AWAY)
    play = await second.play()
    play.think("hm")
    play.fail(EngineTimeout("It took too long."))
    record = await recorded(store, live)
    assert (record.state, record.model, record.served_as) == (TurnState.INCOMPLETE, "second", "second-1b")
    assert (record.tried, record.error_message) == ([Tried("puppet", "It is away.")], "It took too long.")
    assert third.plays == []


REFUSALS = [
    EngineRefused("No.", status=400),
    EngineRefused("Not so.", status=422),
    ContextLengthExceeded(prompt_tokens=9, context_size=5),
    UnsupportedParameter("Not that.", param="seed"),
]


@pytest.mark.parametrize("error", REFUSALS)
async def test_a_request_that_is_refused_is_refused(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, error: PalaverError
) -> None:
    live = await chat.say(request("hi"))
    await fails(engine, error)
    assert (await live.ended()).error is error
    record = await recorded(store, live)
    assert (record.state, record.model, record.tried, second.plays) == (TurnState.FAILED, "puppet", [], [])


async def test_where_all_fail_the_last_error_is_told(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    await fails(engine, AWAY)
    await fails(second, EngineTimeout("It took too long."))
    last = EngineRefused("Out of order.", status=502)
    await fails(third, last)
    assert (await live.ended()).error is last
    record = await recorded(store, live)
    assert (record.state, record.model, record.error_message) == (TurnState.FAILED, "third", "Out of order.")
    assert record.tried == [Tried("puppet", "It is away."), Tried("second", "It took too long.")]
    assert (record.served_as, live.model) == (None, "third")


@pytest.mark.parametrize("error", REFUSALS)
async def test_what_a_fallback_refuses_is_no_news_for_who_asked_another(
    chat: Chat,
    store: WatchedStore,
    engine: PuppetEngine,
    second: PuppetEngine,
    third: PuppetEngine,
    error: PalaverError,
) -> None:
    live = await chat.say(request("hi"))
    timeout = EngineTimeout("It took too long.")
    await fails(engine, AWAY)
    await fails(second, timeout)
    await fails(third, error)
    assert (await live.ended()).error is timeout
    record = await recorded(store, live)
    assert (record.state, record.model, live.model) == (TurnState.FAILED, "second", "second")
    assert record.tried == [Tried("puppet", "It is away."), Tried("third", error.public)]


async def test_a_prompt_too_long_for_a_fallback_passes_it_by(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    second.size = 3
    live = await chat.say(request("one two three four"))
    await fails(engine, AWAY)
    await answers(third)
    record = await recorded(store, live)
    assert record.model == "third"
    assert record.tried[1].model == "second"
    assert "4 tokens" in record.tried[1].error
    assert second.plays == []


IMAGE = Message("user", [TextPart("see"), ImagePart(ImageUrl("data:image/png;base64,AAAA"))])
FAR_IMAGE = Message("user", [ImagePart(ImageUrl("https://example.com/a.png"))])
TOOLS = [Tool(name="now")]


@pytest.mark.parametrize(
    ("missing", "messages", "asked"),
    [
        ("top_k", ["hi"], {"parameters": Parameters(top_k=1)}),
        ("logit_bias", ["hi"], {"parameters": Parameters(logit_bias={"1": 1.0})}),
        ("tools", ["hi"], {"tools": TOOLS}),
        (
            "tools",
            ["hi", Message("assistant", "", tool_call_id=None), Message("tool", "1", tool_call_id="a")],
            {},
        ),
        ("tool_choice", ["hi"], {"tools": TOOLS, "parameters": Parameters(tool_choice="required")}),
        ("tool_choice", ["hi"], {"tools": TOOLS, "parameters": Parameters(tool_choice=NamedTool("now"))}),
        (
            "parallel_tool_calls",
            ["hi"],
            {"tools": TOOLS, "parameters": Parameters(parallel_tool_calls=False)},
        ),
        ("json_object", ["hi"], {"parameters": Parameters(format=Format(type="json_object"))}),
        ("reasoning", ["hi"], {"parameters": Parameters(reasoning=True)}),
        ("reasoning_effort", ["hi"], {"parameters": Parameters(reasoning_effort="low")}),
        ("chat_template_kwargs", ["hi"], {"parameters": Parameters(chat_template_kwargs={"a": 1})}),
        ("logprobs", ["hi"], {"parameters": Parameters(logprobs=0)}),
        ("echo", ["hi"], {"parameters": Parameters(echo=True)}),
        ("extra", ["hi"], {"extra": {"verbosity": "low"}}),
        ("image_url", [IMAGE], {}),
        ("remote_media", [FAR_IMAGE], {}),
    ],
)
async def test_one_that_cannot_do_what_is_asked_is_passed_by(
    chat: Chat,
    store: WatchedStore,
    engine: PuppetEngine,
    second: PuppetEngine,
    third: PuppetEngine,
    missing: str,
    messages: list[Message | str],
    asked: dict[str, object],
) -> None:
    second.capabilities = ALL - {missing}
    third.capabilities = ALL
    live = await chat.say(request(*messages, **asked))
    await fails(engine, AWAY)
    await answers(third)
    record = await recorded(store, live)
    assert record.model == "third"
    assert [tried.model for tried in record.tried] == ["puppet", "second"]
    assert f"does not support `{missing}`" in record.tried[1].error
    assert second.plays == []


async def test_what_asks_for_nothing_keeps_nobody_from_answering(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine
) -> None:
    second.capabilities = frozenset()
    asked = Parameters(
        tool_choice="auto", reasoning=False, parallel_tool_calls=False, chat_template_kwargs={}
    )
    live = await chat.say(request("hi", parameters=asked, extra={"prompt_cache_key": "k"}))
    await fails(engine, AWAY)
    play = await answers(second)
    assert (await recorded(store, live)).model == "second"
    assert (play.options.parameters.reasoning, play.options.parameters.parallel_tool_calls) == (None, None)
    assert play.options.extra == {}


async def test_only_one_that_can_goes_on_with_a_reply(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    for each in (engine, third):
        each.capabilities |= {"prefill"}
    cut = await chat.say(request("count", conversation="room"))
    (await engine.play()).say("1", " 2")
    while len(cut.events) < 2:
        await asyncio.sleep(0)
    await chat.cancel("local", cut.turn)
    [reply] = await store.items("local", str(cut.conversation), limit=1)
    live = await chat.say(request(parent=reply.id))
    await fails(engine, AWAY, 1)
    play = await answers(third, " 3")
    assert await heard(live) == "1 2 3", "its beginning is told once"
    assert (play.options.prefill, second.plays) == (True, [])
    record = await recorded(store, live)
    assert (record.model, [tried.model for tried in record.tried]) == ("third", ["puppet", "second"])
    assert "cannot go on with a reply" in record.tried[1].error


async def test_one_that_is_cancelled_asks_nobody_else(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, second: PuppetEngine, third: PuppetEngine
) -> None:
    live = await chat.say(request("hi"))
    await fails(engine, AWAY)
    await second.play()
    await chat.cancel("local", live.turn)
    assert (await live.ended()).state is TurnState.CANCELLED
    assert second.plays[0].closed.is_set()
    assert third.plays == []
    record = await recorded(store, live)
    assert (record.state, record.model) == (TurnState.CANCELLED, "second")
    assert record.tried == [Tried("puppet", "It is away.")]


async def test_an_engine_that_calls_its_cancellation_a_failure_asks_nobody_else(
    chat: Chat, engine: PuppetEngine, second: PuppetEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = engine.generate

    async def clumsy(*asked: object) -> object:
        try:
            async for event in generate(*asked):  # type: ignore[arg-type]
                yield event
        except asyncio.CancelledError:
            raise EngineUnavailable("The connection was closed.") from None

    monkeypatch.setattr(engine, "generate", clumsy)
    live = await chat.say(request("hi"))
    await engine.play()
    await chat.cancel("local", live.turn)
    assert (await live.ended()).state is TurnState.CANCELLED
    assert second.plays == []


async def test_who_waits_for_the_place_of_a_fallback_gets_it(
    store: WatchedStore, catalog: OneModel, engine: PuppetEngine, second: PuppetEngine
) -> None:
    """Where nobody reads the reply any more: the first engine has nobody waiting."""
    chat = Chat(store, catalog, ChatSettings(grace=0.0))
    live = await chat.say(request("hi", on_leave="grace"))
    await fails(engine, AWAY)
    await second.play()
    second.queue = 1
    with live.reader():
        pass
    assert (await live.ended()).state is TurnState.INCOMPLETE
    assert second.plays[0].closed.is_set()
    await chat.close()


async def test_what_is_not_stored_falls_back_too(
    chat: Chat, engine: PuppetEngine, second: PuppetEngine
) -> None:
    live = await chat.say(request("hi", store=False))
    await fails(engine, AWAY)
    await answers(second)
    assert await heard(live) == "hello"
    assert live.model == "second"


async def test_a_model_without_fallbacks_fails_as_before(
    chat: Chat, store: WatchedStore, catalog: OneModel, engine: PuppetEngine
) -> None:
    catalog.model = msgspec.structs.replace(catalog.model, fallbacks=())
    live = await chat.say(request("hi"))
    await fails(engine, AWAY)
    assert (await live.ended()).error is AWAY
    assert (await recorded(store, live)).tried == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (EngineUnavailable(), True),
        (EngineTimeout(), True),
        (EngineBroke(), True),
        (EngineError(), True),
        (EngineRefused(status=400), False),
        (EngineRefused(status=404), False),
        (EngineRefused(status=408), True),
        (EngineRefused(status=413), False),
        (EngineRefused(status=422), False),
        (EngineRefused(status=429), True),
        (EngineRefused(status=502), True),
        (ContextLengthExceeded(prompt_tokens=2, context_size=1), False),
    ],
)
def test_what_another_may_answer(error: PalaverError, passes: bool) -> None:
    assert may_pass(error) is passes
