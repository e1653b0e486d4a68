"""Which slot a turn goes to, and what becomes of what is there. Pure.

A slot holds one computed prompt. A turn goes where most of its own prompt is; if that would destroy much of another
one, that is saved, or what both share is copied into another slot, by way of a snapshot. What nobody shares anything
with makes room in the order of its last use. Only prompts of the same owner are ever shared.

Work ahead of a turn (`Ask.ahead`) never takes what its own conversation needs now, unless that can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

import msgspec

from palaver.engines.llama.kv.prefix import Prefix

WORTH = 16
"""Tokens that are worth a snapshot: fewer are prefilled as fast as one is saved and restored, even by the smallest of
models. With one of a billion weights it pays from the second token on."""
COPY_SHARE = 64
"""What is shared is worth copying where it is at least one token of so many: a slot is saved and restored whole."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A computed prompt: whose it is, about what it begins with (`prefix`), and how many tokens it has.

    `kept` says that it may be saved; `saved` of its tokens are in a snapshot. `left` says that its conversation has
    gone on to another epoch: nobody is likely to come back to it. `ids` are its tokens as far as they are known.
    """

    owner: str
    conversation: str | None
    epoch: str = ""
    prefix: Prefix
    tokens: int
    kept: bool = False
    saved: int = 0
    left: bool = False
    ids: tuple[int, ...] = ()

    def shared(self, owner: str, prefix: Prefix) -> int:
        """About how many tokens of it a prompt of this owner begins with."""
        return self.prefix.share(prefix, self.tokens) if owner == self.owner else 0

    def is_like(self, ask: Ask) -> bool:
        """Whether what is computed for this prompt would be called the same: only its length is another then."""
        return (self.owner, self.conversation, self.epoch, self.kept) == (
            ask.owner,
            ask.conversation,
            ask.epoch,
            ask.kept,
        )

    def but(self, **changes: Any) -> Holding:
        """The same with something changed."""
        return msgspec.structs.replace(self, **changes)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot that nobody uses now. `used` tells slots apart by their last use: a higher number is later."""

    number: int
    holding: Holding | None
    used: int = 0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants a slot for which prompt. `ahead` says that it is work ahead of a turn."""

    owner: str
    conversation: str | None
    prefix: Prefix
    epoch: str = ""
    kept: bool = False
    ahead: bool = False


class Source(Enum):
    """Where the beginning of a prompt comes from."""

    HERE = "here"
    """It is in the slot, if anywhere."""
    SNAPSHOT = "snapshot"
    SLOT = "slot"
    """Another slot, whose content is copied by way of a snapshot."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Use slot `number`, with the beginning of the prompt from `source`. `save` what is in the slot first. `copied` is
    the slot to copy."""

    number: int
    source: Source = Source.HERE
    save: bool = False
    copied: int | None = None


def choose(free: Sequence[Slot], ask: Ask, *, snapshot: int = 0, can_save: bool = False) -> Placement | None:
    """Where a prompt goes. `snapshot` is how many of its tokens the best snapshot has. None only for work ahead of a
    turn, where it would cost what is worth more."""

    def shared(slot: Slot) -> int:
        return slot.holding.shared(ask.owner, ask.prefix) if slot.holding else 0

    may_go = _expendable(free, ask, can_save=can_save) if ask.ahead else list(free)
    candidates = [slot for slot in free if not _is_own_now(slot, ask)] if ask.ahead else list(free)
    best = max(candidates, key=lambda slot: (shared(slot), slot.used), default=None)
    if best is not None and best.holding is not None:
        here = shared(best)
        goes_on = best.holding.prefix.begins(ask.prefix)
        if here >= max(1 if goes_on else WORTH, snapshot - WORTH):
            lost = best.holding.tokens - here
            if goes_on or lost <= WORTH or best.holding.left:
                return Placement(number=best.number)
            victim = _least([slot for slot in may_go if slot is not best])
            if victim is not None or best in may_go:
                return _shared_out(
                    best, victim, here, lost, snapshot, can_save=can_save, may_go=best in may_go
                )
    victim = _least(may_go)
    if victim is None:
        return None
    source = Source.SNAPSHOT if snapshot >= WORTH else Source.HERE
    return Placement(number=victim.number, source=source, save=can_save and is_worth_saving(victim.holding))


def is_worth_saving(holding: Holding | None, least: int = WORTH) -> bool:
    """Whether so much of it is in no snapshot that it is worth one."""
    return (
        holding is not None and holding.kept and not holding.left and holding.tokens - holding.saved >= least
    )


def _shared_out(
    best: Slot, victim: Slot | None, here: int, lost: int, snapshot: int, *, can_save: bool, may_go: bool
) -> Placement:
    """Where a prompt goes that shares much with `best`, which has as much of its own to lose, and `may_go` or not."""
    save = victim is not None and can_save and is_worth_saving(victim.holding)
    if victim is not None and snapshot >= here - WORTH and snapshot >= WORTH:
        return Placement(number=victim.number, source=Source.SNAPSHOT, save=save)
    is_much = best.holding is not None and here >= best.holding.tokens // COPY_SHARE
    if victim is not None and can_save and best.holding is not None and best.holding.kept:
        if not is_much:
            return Placement(number=victim.number, save=save)
        return Placement(number=victim.number, source=Source.SLOT, save=save, copied=best.number)
    if may_go and can_save and is_worth_saving(best.holding):
        return Placement(number=best.number, save=True)
    if victim is not None and (lost > here or not may_go):
        return Placement(number=victim.number, save=save)
    return Placement(number=best.number)


def _least(slots: Sequence[Slot]) -> Slot | None:
    """The slot whose content is worth the least: none, what was left behind, what was used longest ago."""

    def order(slot: Slot) -> tuple[Literal[0, 1, 2], int]:
        if slot.holding is None:
            return 0, slot.used
        return (1 if slot.holding.left else 2), slot.used

    return min(slots, key=order, default=None)


def _is_own_now(slot: Slot, ask: Ask) -> bool:
    """Whether the slot holds what the next turn of the same conversation goes on with: another epoch than the one
    that is prepared."""
    holding = slot.holding
    return (
        holding is not None
        and (holding.owner, holding.conversation) == (ask.owner, ask.conversation)
        and holding.epoch != ask.epoch
        and not holding.left
    )


def _expendable(free: Sequence[Slot], ask: Ask, *, can_save: bool) -> list[Slot]:
    """The slots that work ahead of a turn may take. What cannot be saved stays where it was used after the
    conversation itself was, and the conversation's own in any case; what can be is taken only for want of others. What
    the same epoch has is gone on with; a prompt without one, as of a title or a text, goes on with nothing."""

    def lasts(slot: Slot) -> bool:
        holding = slot.holding
        if holding is None or holding.left or (can_save and holding.kept):
            return True
        return bool(ask.epoch) and holding.is_like(ask)

    own = [slot for slot in free if _is_own_now(slot, ask)]
    since = min((slot.used for slot in own), default=0)
    others = [slot for slot in free if slot not in own and (lasts(slot) or slot.used < since)]
    return others or [slot for slot in own if lasts(slot)]
