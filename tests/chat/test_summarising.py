"""Summaries: made in idle time before the epoch that needs them, shown by its windows, gone with what they are of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from palaver.chat import Chat, ChatSettings
from palaver.core.errors import EngineBroke, EngineError, InvalidRequest, SummaryNotFound
from palaver.core.turn import FinishReason
from palaver.deletion import Deletion
from palaver.engines.base import Model
from tests.chat.asking import system
from tests.chat.puppets import OneModel, WatchedStore
from tests.chat.summing import ON, Home, SummingEngine


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings(window=ON)


@pytest.fixture
async def home(store: WatchedStore, settings: ChatSettings) -> AsyncIterator[Home]:
    engine = SummingEngine()
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), settings)
    yield Home(chat, engine)
    engine.may_sum_up.set()
    await chat.close()


async def test_one_is_made_in_idle_time_and_the_epoch_that_comes_begins_with_it(home: Home) -> None:
    live = await home.until_begun()
    assert live.receipt is not None
    (summary,) = await home.summaries()
    assert live.receipt.prepared
    assert live.receipt.summary == summary.ref
    assert live.receipt.summary_failed is None
    assert live.receipt.seen[0][0] == summary.stop
    assert (summary.version, summary.model, summary.is_off, summary.is_stale) == (1, "puppet", False, False)
    (text,) = home.shown()
    assert summary.text in text
    assert "written by puppet" in text
    assert {(asked.conversation, asked.kept) for asked in home.engine.summed} == {(None, False)}
    read = "".join(asked.messages[1].text for asked in home.engine.summed)
    path = await home.chat.store.path("local", summary.message)
    assert len(path) == summary.stop
    assert all(step.message.text in read for step in path)


async def test_each_is_made_of_the_one_before_and_of_what_came_since(home: Home) -> None:
    for _ in range(3):
        live = await home.until_begun()
    newest, before, _ = await home.summaries()
    assert live.receipt is not None
    assert live.receipt.summary == newest.ref
    asked = [window.messages[1].text for window in home.engine.summed]
    first = next(text for text in asked if before.text in text)
    assert first.startswith("The summary so far:")
    assert sum("user: q1 " in text for text in asked) == 1, "what is summed up is not read again"


async def test_instructions_and_what_was_said_stay_over_many_epochs(home: Home) -> None:
    told = [system("Be brief.")]
    live = await home.ask(instructions=told)
    home.id = live.conversation or ""
    before = await home.chat.store.path(
        "local", (await home.chat.store.conversation("local", home.id)).head or ""
    )
    for _ in range(20):
        while True:
            live = await home.ask(instructions=told)
            assert home.engine.prompts[-1].messages[0] == told[0]
            if live.receipt and live.receipt.began:
                break
    assert len(await home.summaries()) >= 20
    reasons = {each.epoch.reason for each in await home.chat.store.epochs("local", home.id, limit=100)}
    assert reasons == {"start", "overflow"}
    head = (await home.chat.store.conversation("local", home.id)).head or ""
    assert (await home.chat.store.path("local", head))[: len(before)] == before


async def test_the_epoch_stays_until_its_summary_is_another(home: Home) -> None:
    await home.until_begun()
    (summary,) = await home.summaries()
    live = await home.ask()
    assert live.receipt is not None
    assert not live.receipt.began
    assert live.receipt.summary == summary.ref
    edited = await home.chat.store.edit_summary("local", home.id, summary.id, "It was about bread.")
    assert edited is not None
    assert (edited.version, edited.model) == (2, None)
    live = await home.ask()
    assert live.receipt is not None
    assert (live.receipt.began, live.receipt.reason, live.receipt.summary) == (True, "user", edited.ref)
    assert "edited by the user" in home.shown()[0]
    assert "about bread" in home.shown()[0]
    await home.chat.store.switch_summary("local", home.id, summary.id, is_off=True)
    live = await home.ask()
    assert live.receipt is not None
    assert (live.receipt.reason, live.receipt.summary, home.shown()) == ("user", None, [])
    await home.chat.store.switch_summary("local", home.id, summary.id, is_off=False)
    again, _ = await home.chat.summaries.now.ask("local", home.id, to=summary.message, model=None)
    assert (again.id, again.version, again.model) == (summary.id, 3, "puppet")
    live = await home.ask()
    assert live.receipt is not None
    assert (live.receipt.reason, live.receipt.summary) == ("user", again.ref)


async def test_a_deleted_one_is_shown_no_more_and_the_epoch_says_so(home: Home) -> None:
    await home.until_begun()
    (summary,) = await home.summaries()
    await Deletion(home.chat).summary("local", home.id, summary.id)
    live = await home.ask()
    assert live.receipt is not None
    assert (live.receipt.reason, live.receipt.summary, home.shown()) == ("deletion", None, [])
    with pytest.raises(SummaryNotFound):
        await home.chat.store.summary("local", home.id, summary.id)


async def test_it_goes_with_any_message_that_it_is_of_and_later_ones_lack_that(home: Home) -> None:
    await home.until_begun()
    (summary,) = await home.summaries()
    path = await home.chat.store.path("local", summary.message)
    await Deletion(home.chat).message("local", home.id, path[0].id)
    assert await home.summaries() == []
    live = await home.ask()
    assert live.receipt is not None
    assert (live.receipt.reason, home.shown()) == ("deletion", [])
    home.engine.summed.clear()
    await home.until_begun()
    assert home.engine.summed
    assert all(
        f"user: {path[0].message.text}" not in window.messages[1].text for window in home.engine.summed
    )


async def test_what_is_deleted_while_it_is_summed_up_leaves_no_summary(home: Home) -> None:
    home.engine.may_sum_up.clear()
    while not home.engine.summed:
        home.id = (await home.ask(settle=False)).conversation or ""
        for _ in range(20):
            await asyncio.sleep(0.005)
    head = (await home.chat.store.conversation("local", home.id)).head or ""
    first = (await home.chat.store.path("local", head))[0]
    await Deletion(home.chat).message("local", home.id, first.id)
    home.engine.may_sum_up.set()
    await home.until_settled()
    assert await home.summaries() == []


@pytest.mark.parametrize(
    ("says", "ends", "error", "word"),
    [
        ("...", "stop", None, "empty"),
        ("They talked about", "length", None, "too_long"),
        ("word " * 2000, "stop", None, "too_long"),
        ("x", "stop", EngineBroke("It fell over."), "failed"),
    ],
)
async def test_one_that_comes_to_nothing_leaves_the_window_without_and_the_receipt_says_why(
    home: Home, says: str, ends: FinishReason, error: Exception | None, word: str
) -> None:
    home.engine.says, home.engine.ends, home.engine.error = [says] * 9, ends, error
    live = await home.until_begun()
    assert live.receipt is not None
    assert (live.receipt.summary, live.receipt.summary_failed) == (None, word)
    live = await home.ask()
    assert live.receipt is not None
    assert live.receipt.summary_failed == word, "as long as the epoch lasts"
    assert await home.summaries() == []


async def test_a_turn_that_needs_the_room_waits_for_none(home: Home) -> None:
    home.engine.may_sum_up.clear()
    for _ in range(40):
        live = await home.ask(settle=False)
        if live.receipt and live.receipt.reason == "overflow":
            break
    assert live.receipt is not None
    assert (live.receipt.prepared, live.receipt.summary_failed) == (False, "none_yet")


async def test_a_turn_that_comes_drops_what_is_being_made_and_it_is_made_later(home: Home) -> None:
    home.engine.may_sum_up.clear()
    while not home.engine.summed:
        await home.ask(settle=False)
        for _ in range(20):
            await asyncio.sleep(0.005)
    live = await home.ask(settle=False)
    home.id = live.conversation or ""
    assert await home.summaries() == []
    home.engine.may_sum_up.set()
    await home.until_settled()
    assert len(await home.summaries()) == 1


async def test_one_is_stale_once_something_it_is_of_was_edited(home: Home) -> None:
    await home.until_begun()
    (summary,) = await home.summaries()
    path = await home.chat.store.path("local", summary.message)
    await home.ask(parent=path[1].id, conversation=None)
    (summary,) = await home.summaries()
    assert summary.is_stale
    assert home.shown() == []


async def test_what_is_no_use_or_may_cost_something_is_not_asked(home: Home) -> None:
    home.engine.capabilities -= {"titles"}
    live = await home.until_begun()
    assert live.receipt is not None
    assert (live.receipt.summary_failed, home.engine.summed) == ("none_yet", [])
    with pytest.raises(InvalidRequest) as caught:
        await home.chat.summaries.now.ask("local", home.id, to=None, model=None)
    assert caught.value.param == "model"
    home.engine.capabilities |= {"titles", "paid"}
    with pytest.raises(InvalidRequest):
        await home.chat.summaries.now.ask("local", home.id, to=None, model=None)
    made, _ = await home.chat.summaries.now.ask("local", home.id, to=None, model="puppet")
    assert made.text == f"They talked, part {len(home.engine.summed)}."


async def test_a_failure_that_somebody_waits_for_is_told(home: Home) -> None:
    await home.until_begun()
    home.engine.says = [""]
    (summary,) = await home.summaries()
    with pytest.raises(EngineError, match="said nothing"):
        await home.chat.summaries.now.ask("local", home.id, to=summary.message, model=None)
    assert await home.summaries() == [summary]


async def test_one_that_is_deleted_takes_those_along_that_were_made_of_it(home: Home) -> None:
    home.engine.says = ["They spoke of ZANZIBAR."] * 20
    for _ in range(2):
        await home.until_begun()
    later, first = await home.summaries()
    assert later.stop > first.stop
    await Deletion(home.chat).summary("local", home.id, first.id)
    assert await home.summaries() == []
    home.engine.says.clear()
    home.engine.summed.clear()
    for reason in ("deletion", "overflow"):
        live = await home.until_begun()
        assert live.receipt is not None
        assert live.receipt.reason == reason
    assert home.engine.summed
    assert not any("ZANZIBAR" in window.messages[1].text for window in home.engine.summed)
    assert not any("ZANZIBAR" in text for text in home.shown())


class TestUpstream:
    """A server behind palaver prefills nothing ahead, and may cost money: `summary_model` names it."""

    @pytest.fixture
    def settings(self) -> ChatSettings:
        return ChatSettings(window=ON, summary_model="puppet")

    async def test_one_is_made_in_idle_time_and_shown(self, home: Home) -> None:
        home.engine.capabilities = home.engine.capabilities - {"settle", "titles"} | {"paid"}
        live = await home.until_begun()
        assert live.receipt is not None
        (summary,) = await home.summaries()
        assert (live.receipt.prepared, live.receipt.summary) == (True, summary.ref)
        assert summary.text in home.shown()[0]
        assert home.engine.settled == [], "it is asked for nothing that it has not"


class TestOff:
    @pytest.fixture
    def settings(self) -> ChatSettings:
        return ChatSettings()

    async def test_without_the_setting_nobody_is_asked(self, home: Home) -> None:
        live = await home.until_begun()
        assert live.receipt is not None
        assert (live.receipt.summary, live.receipt.summary_failed, home.engine.summed) == (None, None, [])
