"""What slots hold, and never claim: through evictions, restorations, cancellations, deaths and deletions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from palaver.core.errors import EngineRefused, EngineUnavailable
from palaver.engines.llama.kv import saving
from palaver.engines.llama.kv.placing import WORTH
from palaver.engines.llama.kv.seat import Seat
from tests.engines.llama.kv.conftest import CONTEXT, MakeWarm, Warm, ask, settle, until
from tests.engines.llama.kv.fake_worker import TOKEN_BYTES

S, A, B, C, D = (letter * 3 * WORTH for letter in "sabcd")
"""Parts of prompts: one that several have, and others."""
PART = 3 * WORTH


async def left(taking: asyncio.Task[Seat]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await taking


def is_all_free(warm: Warm) -> bool:
    return not any(seat.is_taken for seat in warm.slots._seats)


def holdings(warm: Warm) -> list[str | None]:
    """Of which conversation each slot is said to be."""
    return [None if seat.holding is None else str(seat.holding.conversation) for seat in warm.slots._seats]


# What is gone on with


async def test_a_conversation_goes_on_where_it_was(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    assert await warm.say(S, A) == 0
    assert await warm.say(C, D, conversation="d") == 0
    assert await warm.say(S, A, B) == 2 * PART
    assert warm.worker.done == []
    assert warm.slots.counts == {"prefilled": 5 * PART, "reused": 2 * PART}


async def test_what_makes_room_is_saved_and_comes_back(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    assert await warm.say(S, A, B) == 2 * PART
    assert await warm.say(C, D, A, conversation="d") == 2 * PART
    assert warm.worker.done == ["save", "save", "restore", "save", "restore"]
    assert {name: warm.slots.counts[name] for name in ("saved", "evicted", "restored")} == {
        "saved": 3,
        "evicted": 3,
        "restored": 2,
    }


async def test_six_conversations_with_one_system_prompt_compute_it_once(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    for turn in range(3):
        for name in "abcdef":
            prompt = [S, *(name * 2 * PART for _ in range(turn + 1))]
            before = len(prompt[0]) + 2 * PART * turn
            cached = await warm.say(*prompt, conversation=name)
            assert cached == (before if turn or name != "a" else 0)


async def test_another_owner_reuses_nothing(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A, owner="ada")
    assert await warm.say(S, A, owner="bob") == 0
    assert await warm.say(S, A, B, owner="bob") == 2 * PART
    assert await warm.say(S, A, B, owner="eve") == 0
    assert await warm.say(S, A, owner="ada") == 2 * PART - 1, "its own came back"


async def test_what_is_not_kept_is_never_saved(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A, kept=False)
    await warm.say(C, D, conversation="d")
    await warm.slots.save_idle(warm.worker)
    assert list(warm.saved) == ["d"]
    await warm.say(C, D, A, conversation="x", kept=False)
    await warm.slots.save_all(warm.worker)
    assert list(warm.saved) == ["d"]


async def test_with_another_worker_nothing_is_there(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.start()
    assert await warm.say(S, A, B) == 0


# What was saved, and may be gone


async def test_what_is_wanted_is_not_evicted_by_what_makes_room_for_it(make_warm: MakeWarm) -> None:
    """Three conversations in turn, one slot, and memory for two: the one that is wanted was used longest ago."""
    warm = await make_warm(1, memory=2 * 2 * PART * TOKEN_BYTES)
    for name in "abc":
        await warm.say(S, name * PART, conversation=name)
    for name in "abcabc":
        assert await warm.say(S, name * PART, conversation=name) >= PART
    assert warm.snapshots is not None
    assert warm.snapshots.refused("m") == {}


async def test_what_was_saved_and_is_gone_is_saved_again(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.slots.save_idle(warm.worker)
    assert warm.snapshots is not None
    (saved,) = warm.snapshots.of("m")
    warm.snapshots.drop(saved)
    await warm.say(C, D, conversation="d")
    assert await warm.say(S, A, B) == 2 * PART


async def test_one_longer_than_a_slot_is_not_restored(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, "x" * CONTEXT)
    await warm.say(C, D, conversation="d")
    assert await warm.say(S, "x" * CONTEXT) == 0
    assert warm.snapshots is not None
    assert warm.snapshots.refused("m") == {"layout": 1}


# Which model it is


async def test_which_model_it_is_is_found_out_once_for_each_worker(make_warm: MakeWarm) -> None:
    """Later its file may be another one, and the worker goes on with the one that it has loaded."""
    warm = await make_warm(1)
    await warm.say(S, A)
    warm.identity = msgspec.structs.replace(warm.identity, model="another")
    await warm.say(C, D, conversation="d")
    assert await warm.say(S, A, B) == 2 * PART
    assert warm.identified == 1
    await warm.start()
    assert await warm.say(C, D, A, conversation="d") == 0
    assert warm.snapshots is not None
    assert warm.snapshots.refused("m") == {"model": 1}


async def test_while_that_is_found_out_turns_go_without(
    make_warm: MakeWarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "READY_SECONDS", 0.0)
    warm = await make_warm(1)
    warm.may_identify.clear()
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    idle = asyncio.create_task(warm.slots.save_idle(warm.worker))
    await settle()
    assert warm.worker.asked == []
    assert await warm.say(C, D, A, conversation="d") == 2 * PART, "nobody waits for who saves"
    warm.may_identify.set()
    await idle
    assert list(warm.saved) == ["d"]


async def test_where_it_cannot_be_found_out_nothing_is_saved_and_all_are_answered(
    make_warm: MakeWarm,
) -> None:
    warm = await make_warm(1)
    warm.fails = FileNotFoundError("the model's file is gone")
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    await warm.slots.save_all(warm.worker)
    assert (warm.worker.asked, await warm.say(C, D, A, conversation="d")) == ([], 2 * PART)


async def test_where_there_is_no_folder_all_are_answered(make_warm: MakeWarm, tmp_path: Path) -> None:
    (tmp_path / "kv").write_text("no folder")
    warm = await make_warm(1, disk=1 << 20)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    assert await warm.say(C, D, A, conversation="d") == 2 * PART
    assert warm.worker.asked == []


# Saving that fails


@pytest.mark.parametrize("failure", [500, "cut", "nothing", "full"])
async def test_what_cannot_be_saved_is_lost_and_the_turn_is_answered(
    make_warm: MakeWarm, monkeypatch: pytest.MonkeyPatch, failure: str | int
) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    if isinstance(failure, int):
        warm.worker.failures["save"] = [failure]
    elif failure == "cut":
        warm.worker.changes = lambda file: file.write_bytes(file.read_bytes()[:-1])
    elif failure == "nothing":
        warm.worker.slots[0] = []
    else:
        assert warm.snapshots is not None
        monkeypatch.setattr(warm.snapshots, "memory_quota", 1)
    assert await warm.say(C, D, conversation="d") == 0
    assert (warm.slots.counts["unsaved"], warm.slots.counts["evicted"], warm.saved) == (1, 0, {})
    await warm.rested()
    assert warm.states == 0


async def test_who_leaves_while_a_slot_is_saved_for_him(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    warm.worker.gates["save"] = asyncio.Event()
    taking = asyncio.create_task(warm.take(ask(C, D, conversation="d")))
    await until(lambda: warm.worker.asked)
    taking.cancel()
    await settle()
    assert not taking.done(), "the worker is at it, and would write a file that nobody knows"
    warm.worker.gates.pop("save").set()
    await left(taking)
    await warm.rested()
    assert (is_all_free(warm), warm.states) == (True, 0)
    assert await warm.say(S, A, B) == 2 * PART, "it was not touched"


@pytest.mark.parametrize("action", ["save", "restore"])
async def test_a_worker_that_dies_of_it_leaves_everything_free(make_warm: MakeWarm, action: str) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    warm.worker.gates[action] = asyncio.Event()
    taking = asyncio.create_task(warm.take(ask(S, A, B)))
    await until(lambda: action in warm.worker.asked)
    warm.worker.die()
    with pytest.raises(EngineUnavailable, match="SIGKILL"):
        await taking
    assert is_all_free(warm)
    await warm.rested()
    assert warm.snapshots is not None
    kept = {str(each.head.conversation) for each in warm.snapshots.of("m")}
    assert kept == ({"c"} if action == "save" else {"d"}), "the next worker would die of the same"
    await warm.start()
    assert await warm.say(S, A, B) == (2 * PART if action == "save" else 0)
    assert warm.states == len(kept)


async def test_a_worker_that_is_gone_is_not_asked(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    before = warm.worker
    await warm.say(S, A)
    before.die()
    await warm.start()
    await warm.say(S, A)
    seat = await warm.take(ask(C, D, conversation="d"))
    with pytest.raises(EngineUnavailable, match="SIGKILL"):
        await warm.slots.take(ask(A, B, conversation="x"), before)
    warm.answer(seat, ask(C, D, conversation="d"), [C, D])
    assert await warm.say(C, D, A, conversation="d") == 2 * PART, "who comes late changes nothing"
    assert await warm.say(S, A, B) == 2 * PART


# Restoring that fails


async def test_one_that_the_worker_refuses_is_gone_and_so_is_the_worker_soon(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    warm.worker.failures["restore"] = [400]
    assert await warm.say(S, A, B) == 0
    assert warm.snapshots is not None
    assert warm.snapshots.refused("m") == {"worker": 1}
    assert warm.slots.is_doubtful
    assert list(warm.saved) == ["d"]
    await warm.slots.save_idle(warm.worker)
    await warm.slots.save_all(warm.worker)
    await warm.say(C, D, conversation="d")
    assert list(warm.saved) == ["d"], "what it holds may be anything"
    await warm.start()
    assert await warm.say(C, D, A, conversation="d") == 2 * PART
    assert not warm.slots.is_doubtful


async def test_one_of_another_length_is_not_gone_on_with(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    assert warm.snapshots is not None
    (saved,) = warm.snapshots.of("m")
    saved.head = msgspec.structs.replace(saved.head, tokens=saved.head.tokens - 1)
    assert await warm.say(S, A, B) == 0
    assert warm.snapshots.refused("m") == {"worker": 1}


async def test_who_leaves_while_a_snapshot_is_restored_for_him(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    warm.worker.gates["restore"] = asyncio.Event()
    taking = asyncio.create_task(warm.take(ask(S, A, B)))
    await until(lambda: "restore" in warm.worker.asked)
    taking.cancel()
    await settle()
    assert not taking.done(), "it would come to the slot in the middle of whatever is there then"
    warm.worker.gates.pop("restore").set()
    await left(taking)
    assert (is_all_free(warm), holdings(warm), warm.slots.has_condemned) == (True, [None], True)
    await warm.slots.erase_condemned(warm.worker)
    assert warm.worker.slots == [[]]
    assert await warm.say(S, A, B) == 2 * PART, "the snapshot is still there"


# What nobody knows


async def test_a_slot_taken_from_another_conversation_is_neither_ones_until_the_worker_has_begun(
    make_warm: MakeWarm,
) -> None:
    """Saved under the wrong name it would outlive the deletion of what is in it."""
    warm = await make_warm(1)
    await warm.say(S, A)
    other = ask(S, B, conversation="d")
    seat = await warm.take(other)
    warm.worker.compute(0, list(map(ord, S + B)), seat.reuse)  # and then it leaves
    warm.slots.give_back(seat)
    assert holdings(warm) == [None]
    await warm.slots.save_all(warm.worker)
    assert all(B not in text for text in warm.saved.values())
    assert await warm.slots.forget("ada", "d", warm.worker) == 0
    await warm.slots.erase_condemned(warm.worker)
    assert warm.worker.slots == [[]]


async def test_what_another_owner_left_is_erased_where_the_turn_never_begins(make_warm: MakeWarm) -> None:
    warm = await make_warm(1, memory=0)
    await warm.say(S, A, owner="bob")
    seat = await warm.take(ask(C, D))
    assert not seat.reuse
    warm.slots.give_back(seat)
    await warm.slots.erase_condemned(warm.worker)
    assert "s" not in warm.worker.holds(0)


async def test_a_turn_of_the_same_conversation_that_never_begins_loses_nothing(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    warm.slots.give_back(await warm.take(ask(S, A, B)))
    assert not warm.slots.has_condemned
    assert await warm.say(S, A, B) == 2 * PART


async def test_a_slot_whose_content_is_not_known_is_erased(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    seat = await warm.take(ask(S, A, B))
    warm.slots.begun(seat, ask(S, A, B))
    seat.holding = seat.asked = None  # as where a prefill was broken off
    warm.slots.give_back(seat)
    await warm.slots.erase_condemned(warm.worker)
    assert warm.worker.slots == [[]]


async def test_a_slot_that_was_to_be_erased_is_as_good_as_any_for_the_next(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    seat = await warm.take(ask(S, A))
    await warm.slots.forget("ada", "c", warm.worker)
    warm.answer(seat, ask(S, A), [S, A])
    assert warm.slots.has_condemned
    assert await warm.say(S, B, conversation="d") == 0
    await warm.slots.erase_condemned(warm.worker)
    assert await warm.say(S, B, C, conversation="d") == 2 * PART
    assert warm.slots.counts["erased"] == 0


# Forgetting


async def test_what_is_forgotten_is_gone_from_slots_and_snapshots(make_warm: MakeWarm) -> None:
    warm = await make_warm(2, disk=1 << 20)
    await warm.say(S, A)
    await warm.say(S, B, conversation="d")
    await warm.slots.save_all(warm.worker)
    await warm.say(C, owner="bob", conversation="x")
    assert await warm.slots.forget("ada", "c", warm.worker) == 1 + ("c" in holdings(warm))
    everything = [*map(warm.worker.holds, range(2)), *warm.saved.values()]
    assert not any("a" in text for text in everything)
    assert await warm.slots.forget("ada", None, warm.worker) >= 1
    assert await warm.slots.forget(None, None, warm.worker) == 1
    assert warm.worker.slots == [[], []]
    assert await warm.slots.forget(None, None, warm.worker) == 0


async def test_what_is_in_use_is_erased_when_that_ends(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    seat = await warm.take(ask(S, A))
    assert await warm.slots.forget("ada", "c", warm.worker) == 1, "before the worker has begun, too"
    warm.answer(seat, ask(S, A), [S, A])
    assert (holdings(warm), warm.slots.has_condemned) == ([None, None], True)
    await warm.slots.erase_condemned(warm.worker)
    assert (warm.worker.slots, warm.slots.counts["erased"]) == ([[], []], 1)


async def test_what_is_being_saved_is_forgotten_as_well(make_warm: MakeWarm) -> None:
    warm = await make_warm(1, disk=1 << 20)
    await warm.say(S, A)
    warm.worker.gates["save"] = asyncio.Event()
    idle = asyncio.create_task(warm.slots.save_idle(warm.worker))
    await until(lambda: warm.worker.asked)
    forgetting = asyncio.create_task(warm.slots.forget("ada", "c", warm.worker))
    await settle()
    warm.worker.gates["save"].set()
    await idle
    assert await forgetting == 2
    assert (warm.saved, warm.states, warm.worker.slots) == ({}, 0, [[]])


async def test_a_restoration_for_another_conversation_does_not_bring_it_back(make_warm: MakeWarm) -> None:
    """The other one shares its beginning, and was given its snapshot."""
    warm = await make_warm(1)
    await warm.say(S, A)
    await warm.say(C, D, owner="bob", conversation="x")
    warm.worker.gates["restore"] = asyncio.Event()
    other = ask(S, B, conversation="d")
    taking = asyncio.create_task(warm.take(other))
    await until(lambda: "restore" in warm.worker.asked)
    forgetting = asyncio.create_task(warm.slots.forget("ada", "c", warm.worker))
    await settle()
    warm.worker.gates["restore"].set()
    seat = await taking
    await forgetting
    warm.slots.give_back(seat)  # it never begins
    await warm.slots.erase_condemned(warm.worker)
    assert (warm.worker.slots, "c" in warm.saved) == ([[]], False)


async def test_a_worker_that_erases_no_slots_is_given_something_else(make_warm: MakeWarm) -> None:
    """llama.cpp does so only with a folder for what it saves."""
    warm = await make_warm(2, memory=0)
    await warm.say(S, A)
    assert warm.worker.saves is None
    assert await warm.slots.forget("ada", "c", warm.worker) == 1
    assert not any("a" in warm.worker.holds(slot) for slot in range(2))
    assert warm.slots.counts["erased"] == 1
    assert await warm.say(S, A) == 0


async def test_what_cannot_be_erased_is_tried_again(make_warm: MakeWarm) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    warm.worker.failures = {"erase": [500], "/completion": [500]}
    await warm.slots.forget("ada", "c", warm.worker)
    assert (warm.slots.has_condemned, warm.slots.counts["erased"]) == (True, 0)
    await warm.slots.erase_condemned(warm.worker)
    assert (warm.worker.slots, warm.slots.has_condemned) == ([[]], False)


async def test_snapshots_that_cannot_be_erased_are_said(
    make_warm: MakeWarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)

    async def forget(*_: object) -> int:
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(warm.snapshots, "forget", forget)
        with pytest.raises(EngineRefused, match="not yours") as caught:
            await warm.slots.forget("ada", "c", warm.worker)
    assert caught.value.status == 500
    assert warm.worker.slots == [[]], "the slots are erased all the same"


@pytest.mark.parametrize("running", ["none", "another"])
async def test_with_the_worker_its_slots_are_gone(make_warm: MakeWarm, running: str) -> None:
    warm = await make_warm(2)
    await warm.say(S, A)
    seat = await warm.take(ask(C, D, conversation="d"))
    warm.worker.die()
    another = await warm.start()
    assert await warm.slots.forget("ada", "c", another if running == "another" else None) == 1
    warm.slots.begun(seat, ask(C, D, conversation="d"))
    warm.slots.give_back(seat)
    assert holdings(warm) == [None, None], "that was with the other worker"
    assert await warm.say(C, D, conversation="d") == 0


# Work ahead


async def test_work_ahead_leaves_what_its_conversation_needs_where_that_cannot_be_saved(
    make_warm: MakeWarm,
) -> None:
    warm = await make_warm(1)
    await warm.say(S, A)
    warm.worker.failures["save"] = [500]
    assert await warm.slots.take(ask(S, D, epoch="e2", ahead=True), warm.worker) is None
    assert is_all_free(warm)
    assert await warm.say(S, A, B) == 2 * PART
    seat = await warm.slots.take(ask(S, D, epoch="e2", ahead=True), warm.worker)
    assert seat is not None
    assert list(warm.saved) == ["c"]


async def test_a_turn_waits_for_work_ahead_in_its_slot_and_for_no_other(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    await warm.say(S, A)
    seat = await warm.slots.take(ask(S, A, B, ahead=True), warm.worker)
    assert seat is not None
    waiting = asyncio.create_task(warm.take(ask(S, A, B)))
    other = await warm.take(ask(C, D, conversation="d"))
    await settle()
    assert not waiting.done()
    warm.slots.give_back(other)
    warm.slots.give_back(seat)
    assert (await waiting).number == seat.number


async def test_who_leaves_while_he_waits_for_work_ahead_has_nothing(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    await warm.say(S, A)
    seat = await warm.slots.take(ask(S, A, B, ahead=True), warm.worker)
    assert seat is not None
    waiting = asyncio.create_task(warm.take(ask(S, A, B)))
    await settle()
    waiting.cancel()
    await left(waiting)
    warm.slots.give_back(seat)
    assert is_all_free(warm)


# While idle, and at the end


async def test_while_idle_what_is_new_is_saved_once_it_is_much(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    await warm.say(S, A)
    await warm.slots.save_idle(warm.worker)
    await warm.slots.save_idle(warm.worker)
    await warm.say(S, A, B)
    await warm.slots.save_idle(warm.worker)
    assert warm.slots.counts["saved"] == 1
    await warm.say(S, A, B, "x" * 300)
    await warm.slots.save_idle(warm.worker)
    assert warm.slots.counts["saved"] == 2
    assert warm.saved == {"c": S + A + B + "x" * 300}


async def test_who_comes_stops_it(make_warm: MakeWarm) -> None:
    """Saving a slot stalls whoever is answered."""
    warm = await make_warm(3)
    for name in "ab":
        await warm.say(name * PART, conversation=name)
    warm.worker.gates["save"] = asyncio.Event()
    idle = asyncio.create_task(warm.slots.save_idle(warm.worker))
    await until(lambda: warm.worker.asked)
    taking = asyncio.create_task(warm.take(ask(C, D)))
    await settle()
    warm.worker.gates["save"].set()
    await idle
    assert list(warm.saved) == ["b"], "what was used last first"
    warm.slots.give_back(await taking)
    await warm.slots.save_idle(warm.worker)
    assert sorted(warm.saved) == ["a", "b"]


async def test_in_the_end_all_is_saved_and_nobody_waits_for_a_worker_that_hangs(make_warm: MakeWarm) -> None:
    warm = await make_warm(3)
    for name in "ab":
        await warm.say(name * PART, conversation=name)
    await warm.slots.save_all(warm.worker)
    assert sorted(warm.saved) == ["a", "b"]
    await warm.say(C, D)
    warm.worker.gates["save"] = asyncio.Event()
    parting = asyncio.create_task(warm.slots.save_all(warm.worker))
    await until(lambda: len(warm.worker.asked) == 3)
    parting.cancel()
    await asyncio.wait([parting], timeout=10)
    assert parting.cancelled()
    warm.worker.die()
    await warm.rested()
    assert warm.states == 2


async def test_what_is_in_use_is_not_saved(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    seat = await warm.take(ask(S, A, B))
    await warm.slots.save_idle(warm.worker)
    assert warm.saved == {}
    await warm.slots.save_all(warm.worker)
    assert list(warm.saved) == ["d"]
    warm.slots.give_back(seat)


# What is told


async def test_what_the_slots_hold_is_told_of_the_worker_that_runs(make_warm: MakeWarm) -> None:
    warm = await make_warm(2)
    assert warm.slots.held(warm.worker) == []
    await warm.say(S, A)
    (held,) = warm.slots.held(warm.worker)
    assert (held.owner, held.conversation, held.where, held.tokens) == ("ada", "c", "slot", 2 * PART)
    assert warm.slots.held(None) == warm.slots.held(await warm.start()) == []


async def test_an_epoch_that_a_conversation_has_left_goes_first_and_unsaved(make_warm: MakeWarm) -> None:
    warm = await make_warm(3)
    await warm.say(S, A)
    await warm.say(C, D, conversation="d")
    await warm.turn(ask(B, D, epoch="e2"), [B, D])
    assert await warm.say(C, conversation="x", owner="bob") == 0
    assert (holdings(warm), warm.saved) == (["x", "d", "c"], {})
    assert await warm.turn(ask(B, D, C, epoch="e2"), [B, D, C]) == 2 * PART
