"""What does not fit the context is refused with both numbers; only `max_tokens` is ever lowered."""

from __future__ import annotations

import msgspec
import pytest

from palaver.chat import Chat
from palaver.core.errors import ContextLengthExceeded
from palaver.core.parameters import Parameters, Sampling
from palaver.core.turn import TurnState
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model
from palaver.live import LiveReply
from palaver.running.counting import TEMPLATE_TOKENS
from tests.chat.asking import request, texts
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore

PROMPT = "one two three four five six seven eight nine ten"


@pytest.fixture
async def engine() -> PuppetEngine:
    return PuppetEngine(size=15)


async def ask(chat: Chat, max_tokens: int | None = None, truncate: bool = False) -> LiveReply:
    parameters = Parameters(max_tokens=max_tokens)
    window = WindowSettings(context_length_exceeded_behavior="truncate" if truncate else None)
    return await chat.say(request(PROMPT, parameters=parameters, window=window))


async def refused(live: LiveReply) -> ContextLengthExceeded:
    outcome = await live.ended()
    assert outcome.state is TurnState.FAILED
    assert isinstance(outcome.error, ContextLengthExceeded)
    with pytest.raises(ContextLengthExceeded):
        await live.accepted()
    return outcome.error


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("truncate", [False, True])
async def test_a_prompt_that_leaves_no_room(
    chat: Chat, store: WatchedStore, engine: PuppetEngine, size: int, truncate: bool
) -> None:
    engine.size = size
    live = await ask(chat, truncate=truncate)
    error = await refused(live)
    assert (error.prompt_tokens, error.context_size, error.param) == (10, size, "messages")
    assert "10" in error.message
    assert str(size) in error.message
    assert engine.plays == []
    record = await store.turn("local", live.turn)
    assert (record.state, record.error_code) == (TurnState.FAILED, "ContextLengthExceeded")
    assert await texts(store, live) == [PROMPT]


async def test_prompt_and_reply_together(chat: Chat, engine: PuppetEngine) -> None:
    error = await refused(await ask(chat, max_tokens=6))
    assert error.param == "max_tokens"
    for number in ("10", "6", "15"):
        assert number in error.message
    assert engine.plays == []


@pytest.mark.parametrize(
    ("asked", "truncate", "given"),
    [(5, False, 5), (6, True, 5), (1000, True, 5), (3, True, 3), (None, False, None)],
)
async def test_what_the_engine_is_told(
    chat: Chat, engine: PuppetEngine, asked: int | None, truncate: bool, given: int | None
) -> None:
    await ask(chat, asked, truncate)
    play = await engine.play()
    assert play.options.parameters.max_tokens == given
    assert [m.text for m in play.window.messages] == [PROMPT]


@pytest.mark.parametrize(("default", "given"), [(80, 5), (4, 4)])
async def test_a_default_is_lowered_silently(
    chat: Chat, catalog: OneModel, engine: PuppetEngine, default: int, given: int
) -> None:
    catalog.model = msgspec.structs.replace(catalog.model, defaults=Sampling(max_tokens=default))
    await ask(chat)
    assert (await engine.play()).options.parameters.max_tokens == given


async def test_a_size_that_the_catalog_knows_goes_first(
    chat: Chat, catalog: OneModel, engine: PuppetEngine, model: Model
) -> None:
    engine.size = None
    catalog.model = msgspec.structs.replace(model, context_size=5)
    error = await refused(await ask(chat))
    assert error.context_size == 5


async def test_an_unknown_size_or_count_refuses_nothing(chat: Chat, engine: PuppetEngine) -> None:
    engine.can_count = False
    await ask(chat, max_tokens=1_000_000)
    assert (await engine.play(0)).options.parameters.max_tokens == 1_000_000
    engine.size, engine.can_count = None, True
    await ask(chat, max_tokens=1_000_000)
    assert (await engine.play(1)).options.parameters.max_tokens == 1_000_000


async def test_a_prompt_that_surely_fits_is_not_counted(
    chat: Chat, engine: PuppetEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> int:
        raise AssertionError("counted for nothing")

    monkeypatch.setattr(engine, "count", fails)
    engine.size = TEMPLATE_TOKENS + 2 * len(PROMPT) + 100
    await ask(chat, max_tokens=10)
    await engine.play()
