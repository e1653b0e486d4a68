"""One slot of a worker: what it holds as far as that is known, and who has it."""

from __future__ import annotations

import asyncio
from typing import Any

from palaver.engines.llama.kv import placing
from palaver.engines.llama.kv.placing import Ask, Holding


class Seat:
    """A slot. `holding` is the prompt in it; `asked` is what was asked there last (`fields` make its prompt, `tail`
    follows that), so that its tokens can be told. `reuse` says whether whoever has it may go on with what is there.

    From when somebody has it until the worker has begun with their prompt, either may be there: then it `is_known`
    only where both are of the same conversation. What is not known in the end, or was forgotten, `is_condemned`: it is
    erased once nobody has the slot.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.holding: Holding | None = None
        self.asked: tuple[dict[str, Any], str] | None = None
        self.taker: Ask | None = None
        self.is_free = asyncio.Event()
        self.is_known = True
        self.is_condemned = False
        self.reuse = False
        self.used = 0
        self.used_at = 0.0

    @property
    def is_taken(self) -> bool:
        return self.taker is not None

    @property
    def is_ahead(self) -> bool:
        """Whether it is work ahead of a turn that has it."""
        return self.taker is not None and self.taker.ahead

    def slot(self, saved: int) -> placing.Slot:
        """As it is placed by. `saved` is how many of its tokens snapshots have by now."""
        holding = self.holding
        if holding is not None and saved < holding.saved:
            holding = holding.but(saved=saved)
        return placing.Slot(number=self.number, holding=holding, used=self.used)

    def take(self, ask: Ask) -> None:
        self.taker = ask
        self.is_free.clear()

    def hand_over(self, ask: Ask) -> None:
        """Whoever has it is about to have the worker begin with this prompt."""
        holding = self.holding
        self.reuse = holding is not None and holding.owner == ask.owner
        if not self.reuse:
            self.holding = self.asked = None
        self.is_known = self.reuse and holding is not None and holding.is_like(ask)
        # Either it is computed over, or it is not known in the end.
        self.is_condemned = False

    def hold(self, holding: Holding | None, asked: tuple[dict[str, Any], str] | None = None) -> None:
        """It holds this now."""
        self.holding, self.asked = holding, asked
        self.is_known = True
        self.reuse = holding is not None

    def condemn(self) -> None:
        """Have it be erased, once it is free."""
        self.is_condemned = True
        if not self.is_taken:
            self.holding = self.asked = None

    def give_back(self) -> None:
        self.taker = None
        if self.is_condemned or not self.is_known or self.holding is None:
            self.condemn()
        self.is_free.set()

    def is_of(self, owner: str | None, conversation: str | None) -> bool:
        """Whether something in it is of this conversation, of any of this owner's, or of anybody's; or will be soon."""
        whose = [(each.owner, each.conversation) for each in (self.holding, self.taker) if each is not None]
        if owner is None:
            return bool(whose)
        return any(each == owner and conversation in (None, of) for each, of in whose)
