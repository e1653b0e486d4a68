"""A window that was chosen, with what goes with it."""

from __future__ import annotations

import msgspec

from palaver.core.epoch import Epoch
from palaver.core.path import Step
from palaver.core.recall import Note, Recall, recalled
from palaver.core.receipt import Receipt
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.running.making import Making


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A window with the options that go with it, and what it is: its epoch and its receipt.

    `steps` are its messages, and `new` those that no turn of its path showed before. `notes` are what was recalled for
    them in its epoch, of which the last, `fresh` ones are this turn's. `above` is the id of the turn whose reply it
    answers. `room` is how long prompts may be, in tokens, None for any length.
    """

    window: Window
    options: Options
    epoch: Epoch
    receipt: Receipt
    steps: list[Step]
    new: list[Step]
    made: Making
    notes: list[Note] = []
    fresh: int = 0
    above: str | None = None
    room: int | None = None

    @property
    def own_notes(self) -> list[Note]:
        """What was recalled for this turn."""
        return self.notes[len(self.notes) - self.fresh :]

    @property
    def recalls(self) -> list[Recall]:
        """The same, as it is kept."""
        return [note.recall for note in self.own_notes]

    def with_note(self, note: Note, tokens: int) -> Fitted:
        """The same with one more note, which is about so many `tokens` long."""
        notes = [*self.notes, note]
        composed = self.made.composed(self.steps, notes)
        receipt, known = self.receipt, self.receipt.prompt_tokens
        longer = None if known is None else known + tokens
        return msgspec.structs.replace(
            self,
            window=msgspec.structs.replace(self.window, messages=composed.messages),
            options=self.made.lowered(longer, is_estimate=True),
            receipt=msgspec.structs.replace(receipt, prompt_tokens=longer, recalled=recalled(notes)),
            notes=notes,
            fresh=self.fresh + 1,
        )


def quoted(fitted: Fitted | None) -> set[str]:
    """The other conversations (ids) that a window quotes something of."""
    notes = fitted.notes if fitted is not None else []
    return {each.conversation for note in notes for each in note.quoted if each.conversation}
