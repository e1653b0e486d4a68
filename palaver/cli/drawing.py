"""A conversation's branches as lines of text. Pure.

The branch of the head goes straight down; what leaves it is drawn beside it, above where it goes on:

      3k7q  user       Plan a trip.
      x0mz  assistant  Where to?
      ├─ 81bw  user       To Rome.
      │  c4de  assistant  In which month?
      ppe2  user       To Lisbon.
    * t9aa  assistant  Lisbon is lovely in May.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from palaver.cli.messages import is_cut, short_ids, shown_text
from palaver.cli.wording import harmless

WORDS = 60
"""Characters of a message that are shown."""
ENDS = 2
"""Messages that are always shown of either end of a run without branches."""
Item = Mapping[str, Any]


def drawing(items: Sequence[Item], head: str | None, *, whole: bool = False) -> list[str]:
    """The lines of a tree, whose items come in the order in which they were said.

    Where many follow each other without a branch, those in the middle are only counted, unless the `whole` is
    wanted; but the head and replies that were cut off are always shown.
    """
    return list(_Drawing(items, head, whole).lines())


class _Drawing:
    def __init__(self, items: Sequence[Item], head: str | None, whole: bool) -> None:
        self._head = head
        self._whole = whole
        self._short = short_ids(item["id"] for item in items)
        self._below: dict[str | None, list[Item]] = {}
        for item in items:
            self._below.setdefault(item["parent"], []).append(item)
        self._sizes: dict[str, int] = {}
        for item in reversed(items):  # what stands below a message came after it
            below = self._below.get(item["id"], ())
            self._sizes[item["id"]] = 1 + sum(self._sizes[each["id"]] for each in below)
        self._to_head = _path(items, head)

    def lines(self) -> Iterator[str]:
        firsts = self._below.get(None)
        if firsts:
            yield from self._fork(firsts, "")
            yield from self._branch(self._main(firsts), "", "")

    def _branch(self, first: Item, lead: str, edge: str) -> Iterator[str]:
        """A branch from its first message on. `lead` goes before its first line, `edge` before the others."""
        run = [first]
        while below := self._below.get(run[-1]["id"]):
            if len(below) > 1:
                yield from self._run(run, lead, edge)
                yield from self._fork(below, edge)
                run, lead = [], edge
            run.append(self._main(below))
        yield from self._run(run, lead, edge)

    def _fork(self, below: Sequence[Item], edge: str) -> Iterator[str]:
        """The branches that begin here, but for the one that goes straight on."""
        main = self._main(below)
        for side in below:
            if side is not main:
                yield from self._branch(side, edge + "├─ ", edge + "│  ")

    def _main(self, below: Sequence[Item]) -> Item:
        """What leads to the head; where nothing does, the largest, so that nothing is drawn far to the right."""
        for item in below:
            if item["id"] in self._to_head:
                return item
        return max(below, key=lambda item: self._sizes[item["id"]])

    def _run(self, run: Sequence[Item], lead: str, edge: str) -> Iterator[str]:
        for shown, group in groupby(enumerate(run), lambda each: self._is_shown(each[0], run)):
            several = list(group)
            if not shown and len(several) > 1:
                yield f"  {edge}⋮ {len(several)} more"
                continue
            for place, item in several:
                yield self._line(item, edge if place else lead)

    def _is_shown(self, place: int, run: Sequence[Item]) -> bool:
        item = run[place]
        at_end = place < ENDS or place >= len(run) - ENDS
        return self._whole or at_end or item["id"] == self._head or is_cut(item)

    def _line(self, item: Item, edge: str) -> str:
        mark = "*" if item["id"] == self._head else " "
        cut = "(cut off) " if is_cut(item) else ""
        return f"{mark} {edge}{self._short[item['id']]}  {item['role']:<9}  {cut}{_words(item)}".rstrip()


def _words(item: Item) -> str:
    words = harmless(" ".join(shown_text(item).split()))
    calls = [f"calls {harmless(call['function']['name'])}" for call in item.get("tool_calls", ())]
    words = "  ".join([words, *calls] if words else calls)
    return words if len(words) <= WORDS else words[: WORDS - 1].rstrip() + "…"


def _path(items: Sequence[Item], end: str | None) -> set[str]:
    """The ids on the path to a message."""
    parents: dict[str, str | None] = {item["id"]: item["parent"] for item in items}
    path = set()
    while end is not None:
        path.add(end)
        end = parents[end]
    return path
