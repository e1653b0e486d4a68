"""Which slot a prompt goes to, and what becomes of what is there: by rules that hold for any slots, and by example."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.engines.llama.kv.placing import (
    WORTH,
    Ask,
    Holding,
    Placement,
    Slot,
    Source,
    choose,
    is_worth_saving,
)
from palaver.engines.llama.kv.prefix import Prefix

PARTS = [b"a" * 20, b"b" * 400, b"c" * 400, b"d" * 3000]

prefixes = st.builds(
    lambda before, messages: Prefix.of_parts([*before, *messages]),
    st.sampled_from([[b"s" * 400], [b"s" * 400], [b"t" * 20], []]),
    st.lists(st.sampled_from(PARTS), max_size=3),
)
owners = st.sampled_from(["ada", "ada", "bob"])
conversations = st.sampled_from(["c", "d", None])
epochs = st.sampled_from(["e1", "e2"])


@st.composite
def holdings(draw: st.DrawFn) -> Holding:
    prefix = draw(prefixes)
    tokens = draw(st.sampled_from([prefix.size // 4, prefix.size // 4 + 100, prefix.size // 20]))
    return Holding(
        owner=draw(owners),
        conversation=draw(conversations),
        epoch=draw(epochs),
        prefix=prefix,
        tokens=tokens,
        kept=draw(st.booleans()),
        saved=draw(st.sampled_from([0, 0, tokens // 2, tokens])),
        left=draw(st.booleans()),
    )


@st.composite
def rows(draw: st.DrawFn, least: int = 0) -> list[Slot]:
    """Free slots: some numbers are missing, as others have those."""
    numbers = draw(st.lists(st.integers(0, 7), unique=True, min_size=least, max_size=5))
    used = draw(st.permutations(range(1, len(numbers) + 1)))
    return [
        Slot(number=number, holding=draw(st.none() | holdings()), used=at)
        for number, at in zip(numbers, used, strict=True)
    ]


asks = st.builds(
    Ask,
    owner=owners,
    conversation=conversations,
    prefix=prefixes,
    epoch=epochs,
    kept=st.booleans(),
    ahead=st.booleans(),
)
snapshots = st.sampled_from([0, 0, WORTH, 50, 100, 200, 1000])


def shared(slot: Slot, ask: Ask) -> int:
    return slot.holding.shared(ask.owner, ask.prefix) if slot.holding else 0


def goes_on(slot: Slot, ask: Ask) -> bool:
    """Whether a prompt begins with all that is in a slot, or almost."""
    holding = slot.holding
    if holding is None or holding.owner != ask.owner:
        return False
    return holding.prefix.begins(ask.prefix) or holding.tokens - shared(slot, ask) <= WORTH


def is_own_now(slot: Slot, ask: Ask) -> bool:
    """Whether it is what the next turn of the same conversation goes on with, and not what is worked on."""
    holding = slot.holding
    return (
        holding is not None
        and not holding.left
        and (holding.owner, holding.conversation) == (ask.owner, ask.conversation)
        and holding.epoch != ask.epoch
    )


def named(free: Sequence[Slot], number: int | None) -> Slot:
    (slot,) = (each for each in free if each.number == number)
    return slot


@given(rows(), asks, snapshots, st.booleans())
def test_a_prompt_goes_to_a_slot_that_is_free_and_only_work_ahead_to_none(
    free: list[Slot], ask: Ask, snapshot: int, can_save: bool
) -> None:
    placed = choose(free, ask, snapshot=snapshot, can_save=can_save)
    if placed is None:
        assert ask.ahead or not free
        return
    assert placed.number in {slot.number for slot in free}
    if placed.source is Source.SLOT:
        assert placed.copied in {slot.number for slot in free} - {placed.number}
    else:
        assert placed.copied is None
    assert can_save or not (placed.save or placed.source is Source.SLOT)


@given(rows(), asks, snapshots, st.booleans())
def test_owners_share_nothing(free: list[Slot], ask: Ask, snapshot: int, can_save: bool) -> None:
    placed = choose(free, ask, snapshot=snapshot, can_save=can_save)
    if placed is not None and placed.source is Source.SLOT:
        copied = named(free, placed.copied).holding
        assert copied is not None
        assert copied.owner == ask.owner
    # What others hold weighs the same whatever it is.
    theirs = [
        msgspec.structs.replace(slot, holding=slot.holding.but(prefix=Prefix.of_parts([b"x"])))
        if slot.holding is not None and slot.holding.owner != ask.owner
        else slot
        for slot in free
    ]
    assert choose(theirs, ask, snapshot=snapshot, can_save=can_save) == placed


@given(rows(), asks, snapshots)
@settings(max_examples=300)
def test_what_is_worth_saving_is_saved_or_gone_on_with(free: list[Slot], ask: Ask, snapshot: int) -> None:
    placed = choose(free, ask, snapshot=snapshot, can_save=True)
    if placed is None:
        return
    taken = named(free, placed.number)
    if is_worth_saving(taken.holding) and not placed.save:
        assert placed.source is Source.HERE
        assert goes_on(taken, ask)


@given(rows(least=1), asks, snapshots, st.booleans())
def test_a_snapshot_is_used_where_it_has_much_more_than_any_slot(
    free: list[Slot], ask: Ask, snapshot: int, can_save: bool
) -> None:
    placed = choose(free, ask, snapshot=snapshot, can_save=can_save)
    most = max(shared(slot, ask) for slot in free)
    if placed is not None and snapshot >= WORTH and snapshot > most + WORTH:
        assert placed.source is Source.SNAPSHOT
    if snapshot < WORTH:
        assert placed is None or placed.source is not Source.SNAPSHOT


@given(rows(least=1), asks, snapshots)
def test_a_turn_finds_about_the_most_that_is_anywhere(free: list[Slot], ask: Ask, snapshot: int) -> None:
    """Where everything can be saved and so be copied."""
    ask = msgspec.structs.replace(ask, ahead=False)
    free = [
        msgspec.structs.replace(slot, holding=slot.holding.but(kept=True)) if slot.holding else slot
        for slot in free
    ]
    placed = choose(free, ask, snapshot=snapshot, can_save=True)
    assert placed is not None
    there = {
        Source.HERE: shared(named(free, placed.number), ask),
        Source.SNAPSHOT: snapshot,
        Source.SLOT: shared(named(free, placed.copied), ask) if placed.copied is not None else 0,
    }[placed.source]
    most = max(snapshot, *(shared(slot, ask) for slot in free), 0)
    assert there >= most - WORTH


@given(rows(), asks, snapshots, st.booleans())
@settings(max_examples=300)
def test_work_ahead_never_costs_what_cannot_be_saved_and_is_needed_more(
    free: list[Slot], ask: Ask, snapshot: int, can_save: bool
) -> None:
    ask = msgspec.structs.replace(ask, ahead=True)
    placed = choose(free, ask, snapshot=snapshot, can_save=can_save)
    if placed is None:
        return
    taken = named(free, placed.number)
    holding = taken.holding
    if holding is None or holding.left or (can_save and holding.kept):
        return
    assert not is_own_now(taken, ask)
    own = [slot.used for slot in free if is_own_now(slot, ask)]
    is_older = bool(own) and taken.used < min(own)
    assert is_older or holding.is_like(ask) or goes_on(taken, ask)


@given(rows(), asks, snapshots, st.booleans())
def test_work_ahead_takes_the_conversations_own_slot_only_for_want_of_another(
    free: list[Slot], ask: Ask, snapshot: int, can_save: bool
) -> None:
    ask = msgspec.structs.replace(ask, ahead=True)
    placed = choose(free, ask, snapshot=snapshot, can_save=can_save)
    if placed is None or not is_own_now(named(free, placed.number), ask):
        return
    others = [slot for slot in free if not is_own_now(slot, ask)]
    assert not any(slot.holding is None or slot.holding.left for slot in others)
    assert placed.save or not is_worth_saving(named(free, placed.number).holding)


# By example. A part of a prompt has some 300 tokens, and a letter.

PART = 300


def prefix(parts: str) -> Prefix:
    return Prefix.of_parts([(letter * PART).encode() for letter in parts])


def holding(parts: str, conversation: str | None = "c", owner: str = "ada", epoch: str = "e1") -> Holding:
    return Holding(
        owner=owner,
        conversation=conversation,
        epoch=epoch,
        prefix=prefix(parts),
        tokens=PART * len(parts),
        kept=True,
    )


def row(*holdings: Holding | None) -> list[Slot]:
    """Slots used one after the other."""
    return [Slot(number=n, holding=each, used=n + 1) for n, each in enumerate(holdings)]


def ask(parts: str, conversation: str | None = "c", owner: str = "ada", epoch: str = "e1") -> Ask:
    return Ask(owner=owner, conversation=conversation, prefix=prefix(parts), epoch=epoch, kept=True)


def ahead(parts: str, epoch: str) -> Ask:
    return msgspec.structs.replace(ask(parts, epoch=epoch), ahead=True)


def test_a_conversation_goes_on_where_it_is() -> None:
    free = row(holding("sx", "d"), holding("sa"), holding("sy", "f"))
    assert choose(free, ask("sab"), can_save=True) == Placement(number=1)
    assert choose(free, ask("sab"), can_save=False) == Placement(number=1)


def test_a_reply_is_asked_for_again_where_the_first_was() -> None:
    longer = holding("sa").but(tokens=2 * PART + 200)
    assert choose(row(longer, None), ask("sa"), can_save=True) == Placement(number=0)
    short = Prefix.of_parts([b"s" * PART, b"a" * PART, b"b" * WORTH])
    edited = holding("sa").but(prefix=short, tokens=short.size)
    assert choose(row(edited, None), ask("saX"), can_save=True) == Placement(number=0), "little is lost"


def test_a_branch_from_far_up_leaves_the_other_where_it_is() -> None:
    free = row(holding("sabcdef"), None)
    assert choose(free, ask("saX"), can_save=True) == Placement(number=1, source=Source.SLOT, copied=0)
    assert choose(free, ask("saX"), snapshot=2 * PART, can_save=True) == Placement(
        number=1, source=Source.SNAPSHOT
    )
    assert choose(free, ask("saX"), can_save=False) == Placement(number=1), "more is lost than gained"
    assert choose(row(holding("sabc"), None), ask("sabX"), can_save=False) == Placement(number=0)


def test_with_one_slot_a_branch_is_saved_before_another_takes_its_place() -> None:
    assert choose(row(holding("sabc")), ask("saX"), can_save=True) == Placement(number=0, save=True)
    saved = holding("sabc").but(saved=4 * PART)
    assert choose(row(saved), ask("saX"), can_save=True) == Placement(number=0)
    other = choose(row(holding("sabc")), ask("xyz", "d"), snapshot=3 * PART, can_save=True)
    assert other == Placement(number=0, source=Source.SNAPSHOT, save=True)


def test_of_six_conversations_with_one_system_prompt_none_costs_another() -> None:
    """Two slots; the system prompt is in what was saved of each."""
    free = row(holding("sa", "a"), holding("sb", "b"))
    third = choose(free, ask("sc", "c"), can_save=True)
    assert third == Placement(number=0, source=Source.SLOT, save=True, copied=1)
    later = choose(
        row(holding("se", "e"), holding("sf", "f")), ask("sa2", "a"), snapshot=2 * PART, can_save=True
    )
    assert later == Placement(number=0, source=Source.SNAPSHOT, save=True)


def test_what_is_not_kept_is_not_copied_and_nothing_else_pays_for_that() -> None:
    once = holding("sa", None).but(kept=False)
    free = row(holding("xyz", "d"), once)
    assert choose(free, ask("sbc"), can_save=True) == Placement(number=1), "as much is lost as gained"
    long = holding("sabcd", None).but(kept=False)
    assert choose(row(holding("xyz", "d"), long), ask("sX"), can_save=True) == Placement(number=0, save=True)


def test_what_is_left_behind_goes_first_then_what_was_used_longest_ago() -> None:
    left = holding("x", "f").but(left=True)
    free = row(holding("y", "g"), left, holding("z", "h"))
    assert choose(free, ask("ab"), can_save=True) == Placement(number=1)
    assert choose([free[0], free[2]], ask("ab"), can_save=True) == Placement(number=0, save=True)
    assert choose([*free, Slot(number=3, holding=None, used=9)], ask("ab"), can_save=True) == Placement(
        number=3
    )


def test_another_owner_with_the_same_prompt_begins_anew() -> None:
    free = row(holding("sab", "c", owner="bob"), None)
    assert choose(free, ask("sab"), can_save=True) == Placement(number=1)
    assert choose(free[:1], ask("sab"), can_save=True) == Placement(number=0, save=True)


def test_the_epoch_to_come_is_prepared_beside_the_one_of_now() -> None:
    now, other = holding("sabcd"), holding("sxyz", "d")
    assert choose(row(other, now), ahead("sd", "e2"), can_save=True) == Placement(
        number=0, source=Source.HERE, save=True
    )
    assert choose(row(other, now), ahead("sd", "e2"), can_save=False) == Placement(number=0)
    assert choose(row(now, other), ahead("sd", "e2"), can_save=False) is None, "the other was used since"
    assert choose(row(now), ahead("sd", "e2"), can_save=False) is None
    assert choose(row(now), ahead("sd", "e2"), can_save=True) == Placement(number=0, save=True)


def test_the_epoch_to_come_goes_on_where_it_was_begun() -> None:
    begun = holding("sd", epoch="e2").but(tokens=100)
    for can_save in (True, False):
        assert choose(row(begun, holding("sabcd")), ahead("sd", "e2"), can_save=can_save) == Placement(
            number=0
        )


def test_nothing_free_is_nothing() -> None:
    assert choose([], ask("a")) is None


def test_a_title_takes_no_slot_that_holds_a_text() -> None:
    """Neither belongs to a conversation or an epoch, and what is computed of a text is for the next one like it."""
    title = Ask(owner="ada", conversation=None, prefix=Prefix.of_parts([b"name it"]), ahead=True)
    text = Holding(owner="ada", conversation=None, prefix=Prefix.of_parts([b"def f" * 900]), tokens=1000)
    for can_save in (False, True):
        assert choose([Slot(number=0, holding=text, used=1)], title, can_save=can_save) is None
