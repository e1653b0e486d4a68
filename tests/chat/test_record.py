"""What is kept, by the server's setting and the request's word."""

from __future__ import annotations

import pytest

from palaver.chat import Chat, ChatSettings, Record
from palaver.core.errors import InvalidRequest, TurnNotFound
from tests.chat.asking import heard, request, user
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore


@pytest.mark.parametrize(
    ("record", "store_it", "named", "kept"),
    [
        ("all", None, None, True),
        ("all", True, None, True),
        ("all", False, None, False),
        ("all", False, "notes", False),
        ("asked", None, None, False),
        ("asked", True, None, True),
        ("asked", None, "notes", True),
        ("asked", False, "notes", False),
        ("none", None, None, False),
        ("none", False, None, False),
        ("none", None, "notes", False),
    ],
)
async def test_whether_a_turn_is_kept(
    store: WatchedStore,
    catalog: OneModel,
    engine: PuppetEngine,
    record: Record,
    store_it: bool | None,
    named: str | None,
    kept: bool,
) -> None:
    chat = Chat(store, catalog, ChatSettings(record=record))
    live = await chat.say(request("hi", store=store_it, conversation=named))
    play = await engine.play()
    play.say("hello")
    play.finish()
    assert await heard(live) == "hello"
    assert (live.conversation is not None) == kept
    assert len(await store.conversations("local", one_shots=True)) == kept
    if not kept:
        assert play.window.messages == (user("hi"),)
        assert play.window.conversation is None
        assert store.done == []
        with pytest.raises(TurnNotFound):
            await store.turn("local", live.turn)
    await chat.close()


async def test_nothing_is_stored_where_nothing_is_recorded(store: WatchedStore, catalog: OneModel) -> None:
    chat = Chat(store, catalog, ChatSettings(record="none"))
    with pytest.raises(InvalidRequest) as caught:
        await chat.say(request("hi", store=True))
    assert caught.value.param == "store"
    await chat.close()
