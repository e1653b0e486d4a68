"""`check` finds nothing wrong with what the stateful door leaves in a store, nor with what deleting leaves of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from palaver.core.turn import TurnState
from palaver.stores.base import Store
from palaver.stores.sqlite_upkeep import check
from tests.stores.contract_responses import ASKED, developer, once, reply_of, said, whole
from tests.stores.sqlite_files import ask, opened
from tests.stores.talking import Talker, Told, assistant, system, user


async def fill(store: Store) -> list[Told]:
    """A conversation that has an opening, instructions for once, a branch, and a turn that never began."""
    talker = Talker(store)
    sent = await whole(talker, [developer("dutch"), user("one")], conversation="c", at_head=True)
    first = await talker.admit(**sent, passing=once("brief"), asked=ASKED)
    waits = await talker.put(
        **await whole(talker, [user("w")], conversation="c", at_head=True, passing=once("w"))
    )
    await talker.end(waits.turn, "", TurnState.CANCELLED)
    await talker.end(first.turn, "yes")
    place = await reply_of(store, first)
    second = await said(talker, user("two"), parent=place, passing=once("brief"), asked=ASKED)
    branch = await said(talker, user("other"), parent=place, passing=once("last"))
    history = await talker.admit([system("kind"), user("x")], passing=once("now"))
    await talker.end(history.turn, "sure")
    await store.fork("local", history.conversation, await reply_of(store, history))
    return [first, second, branch, history]


async def test_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await fill(store)
    report = check(path)
    assert (report.problems, report.findings) == (0, [])


async def test_what_deleting_leaves(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        first, second, branch, history = await fill(store)
        await store.delete_turn("local", branch.turn)
        assert check(path).findings == []
        await store.delete_message("local", await reply_of(store, first))
        assert check(path).findings == []
        await store.delete_turn("local", second.turn)
        assert check(path).findings == []
        await store.delete_conversation("local", history.conversation)
        await store.delete_conversation("local", first.conversation)
        [fork] = await store.conversations("local", one_shots=True)
        await store.delete_conversation("local", fork.id)
        assert check(path).findings == []
    assert ask(path, "SELECT count(*) FROM instructions") == 0


async def test_what_was_sent_to_a_palaver_that_did_not_count(tmp_path: Path) -> None:
    """What hangs between the message above and the question."""
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        talker = Talker(store)
        first = await talker.admit([system("kind"), user("one"), assistant("elsewhere"), user("two")])
        await talker.end(first.turn, "yes")
        second = await said(talker, user("three"), parent=await reply_of(store, first))
        question = (await store.turn("local", second.turn)).question
        again = await talker.admit(**await whole(talker, [], parent=question))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE turns SET inputs = NULL")
        connection.commit()
    async with opened(path) as store:
        sent = {
            turn.turn: [item.message.text for item in await store.turn_input("local", turn.turn)]
            for turn in (first, second, again)
        }
        assert list(sent.values()) == [["one", "elsewhere", "two"], ["three"], ["three"]]
        assert (await store.turn("local", first.turn)).inputs is None
