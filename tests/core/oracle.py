"""Where a history must hang, found the slow and obvious way: by comparing whole paths, without keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from palaver.core.tree import History
from tests.core.trees import Kept, Trees


class Verdict(NamedTuple):
    conversation: str | None
    parent: int | None
    matched: int
    gap: tuple[int, int] | None


class Oracle:
    """The three rules of `palaver.core.tree`, for one request."""

    def __init__(self, trees: Trees, history: History, speaker: str | None, named: str | None) -> None:
        self._trees = trees
        self._sent = history.forms
        self._roles = [m.role for m in history.messages]
        self._named = named
        self._mine = [n for n in trees.nodes if n.speaker == speaker]

    def verdict(self) -> Verdict:
        by_path, known = self._by_name() if self._named else self._by_reply()
        return self._by_exchange(known) or by_path or Verdict(self._named, None, 0, None)

    def _by_name(self) -> tuple[Verdict | None, int]:
        here = [n for n in self._mine if n.conversation == self._named]
        found = [n for n in here if n.forms == self._sent[: n.depth + 1]]
        if not found:
            return None, 0
        best = max(found, key=lambda n: (n.depth, self._is_head(n), n.id))
        return Verdict(self._named, best.id, best.depth + 1, None), best.depth + 1

    def _by_reply(self) -> tuple[Verdict | None, int]:
        found = [n for n in self._mine if n.generated and n.forms == self._sent[: n.depth + 1]]
        if not found:
            return None, 0
        deepest = max(n.depth for n in found)
        found = [n for n in found if n.depth == deepest]
        heads = [n for n in found if self._is_head(n)]
        if not heads and len({n.conversation for n in found}) > 1:
            return None, deepest + 1
        verdict = self._further(max(heads or found, key=lambda n: n.id), deepest + 1, None)
        return verdict, verdict.matched

    def _by_exchange(self, known: int) -> Verdict | None:
        for place in range(len(self._sent) - 1, known - 1, -1):
            exchange = self._exchange(self._sent, self._roles, place)
            found = [
                n
                for n in self._mine
                if exchange
                and n.generated
                and self._named in (None, n.conversation)
                and exchange == self._ends(n)
            ]
            if not found:
                continue
            gaps = {n.id: gap for n in found if (gap := self._gap(n, place)) is not None}
            fits = [n for n in found if n.id in gaps]
            heads = [n for n in fits if self._is_head(n)]
            if len(heads) > 1 or not fits or (not heads and len({n.conversation for n in fits}) > 1):
                return None
            tie = max(heads or fits, key=lambda n: n.id)
            return self._further(tie, place + 1, gaps[tie.id])
        return None

    def _exchange(self, forms: Sequence[bytes], roles: Sequence[str], end: int) -> Sequence[bytes] | None:
        """The messages from the user's before place `end` up to there, if a reply stands there."""
        if roles[end] != "assistant":
            return None
        users = [i for i in range(end) if roles[i] == "user"]
        return forms[users[-1] : end + 1] if users else None

    def _ends(self, reply: Kept) -> Sequence[bytes] | None:
        return self._exchange(reply.forms, [n.message.role for n in reply.path], reply.depth)

    def _gap(self, reply: Kept, place: int) -> tuple[int, int] | None:
        """What the client left out of this path: the longest stretch that explains all it sent."""
        path, sent = reply.forms, self._sent[: place + 1]
        for start in range(len(sent)):
            rest = len(sent) - start
            if len(path) > len(sent) and path[:start] == sent[:start] and path[-rest:] == sent[start:]:
                return (start, len(path) - rest)
        return None

    def _further(self, tie: Kept, known: int, gap: tuple[int, int] | None) -> Verdict:
        """Follow what the conversation holds below the tie."""
        wanted = tie.forms
        best = tie
        for form in self._sent[known:]:
            wanted = [*wanted, form]
            below = [n for n in self._mine if n.conversation == tie.conversation and n.forms == wanted]
            if not below:
                break
            best = max(below, key=lambda n: (self._is_head(n), n.id))
            known += 1
        return Verdict(tie.conversation, best.id, known, gap)

    def _is_head(self, node: Kept) -> bool:
        return self._trees.heads[node.conversation] is node
