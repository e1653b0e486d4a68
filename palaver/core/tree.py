"""Where a resent history hangs: the threading rules.

A client of the stateless door sends its whole history each time. `read_history` splits it into instructions
and messages and gives each message its key; `hang` finds the place in the owner's trees. Wrongly splitting
costs rows; wrongly merging shows one person's words to another: in doubt, split.

The rules, in order:

1. *A named conversation*: the longest prefix of the history that stands in it, whoever wrote it.
2. *The longest prefix that ends in a reply palaver generated.* A conversation whose head is that reply is
   extended (of several, the latest: their content is equal). Else, if exactly one conversation holds that
   reply, the history branches there. Else a new conversation begins. A client's own assistant message, such
   as a few-shot example, never ties.
3. *A history with a gap* (a client's own sliding window, with or without its first messages) is tied by the
   last exchange that ends in a generated reply, if all that the client sent up to there stands on that path:
   some messages from its root, perhaps none, then a gap, then everything up to the reply. Paths found so
   differ in what the client left out, so several heads are doubt, and doubt splits. It is looked for only
   beyond what rule 1 or 2 found: where rule 2 was in doubt about a reply, this rule does not overrule it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from palaver.core.message import INSTRUCTING, Message, canonical, next_key, path_keys, tail_key

MANY = 64
"""More places than this for one reply or exchange are too many to be told apart: doubt."""
EXCHANGE = 64
"""A reply further than this from the user message before it has no second hash."""
LARGEST_SLICE = 512


class Instruction(msgspec.Struct, frozen=True):
    """System or developer text before the first user message; `at` messages of the path come before it."""

    at: int
    message: Message


class Node(msgspec.Struct, frozen=True):
    """A message as the rules see it. `id` is the store's sequence number, `depth` 0 for a first message."""

    id: int
    conversation: str
    depth: int
    key: bytes
    is_head: bool


class History(msgspec.Struct, frozen=True):
    """A request's messages: instructions apart, the rest with canonical forms and keys."""

    instructions: list[Instruction]
    messages: list[Message]
    forms: list[bytes]
    keys: list[bytes]
    root: bytes

    def replies(self) -> list[int]:
        """The places of assistant messages, last first."""
        return [i for i in range(len(self.messages) - 1, -1, -1) if self.messages[i].role == "assistant"]

    def tail(self, reply: int) -> bytes | None:
        """The second hash of the reply at this place; None where no user message comes before it."""
        return exchange_key(self.root, self.messages, self.forms, reply)


class Placement(msgspec.Struct, frozen=True):
    """Where a history hangs.

    `matched` messages of it are in the tree already; the others become new nodes below `parent`. A
    `conversation` of None means a new one. `gap` is what the client left out: the depths (from, up to) of
    messages on the path that the history does not hold, or None.
    """

    conversation: str | None
    parent: Node | None
    matched: int
    gap: tuple[int, int] | None = None


class Tree(Protocol):
    """What the rules may ask of one owner's trees; the store answers inside the transaction that admits."""

    def replies_with_keys(self, keys: Sequence[bytes], limit: int) -> list[Node]:
        """At most `limit` generated replies with any of these keys, in any conversation of the owner.

        The deepest first, of equal depth the latest.
        """

    def replies_with_tails(
        self, tails: Sequence[bytes], conversation: str | None, limit: int
    ) -> list[tuple[bytes, Node]]:
        """At most `limit` generated replies with any of these second hashes, each with its hash.

        In one conversation, or in any of the owner's where `conversation` is None.
        """

    def nodes_in(self, conversation: str, keys: Sequence[bytes]) -> list[Node]:
        """All messages of a conversation with any of these keys."""

    def forms_up_from(self, node: Node, count: int) -> list[bytes]:
        """The canonical forms of `node` and the messages above it, nearest first, at most `count`."""

    def key_at(self, node: Node, depth: int) -> bytes | None:
        """The key of the message at `depth` on the path to `node`; None where there is none."""


def read_history(
    messages: Sequence[Message], root: bytes, *, goes_on: bool = False, whole: bool = False
) -> History:
    """Split a request's messages into instructions and keyed messages. Never raises.

    With `goes_on` they are the latest of a path: instructions are those that come before all others. What comes
    later was said at that point of the conversation, and stays there. With `whole` all are messages of the path.
    """
    instructions, kept = ([], list(messages)) if whole else apart(messages, goes_on=goes_on)
    forms = [canonical(m) for m in kept]
    return History(instructions, kept, forms, path_keys(root, forms), root)


def apart(messages: Sequence[Message], *, goes_on: bool = False) -> tuple[list[Instruction], list[Message]]:
    """The instructions among messages, and the others. For `goes_on` see `read_history`."""
    speak = INSTRUCTING if goes_on else ("user",)
    first = next((i for i, m in enumerate(messages) if (m.role in speak) is not goes_on), len(messages))
    instructions: list[Instruction] = []
    kept: list[Message] = []
    for i, message in enumerate(messages):
        if i < first and message.role in INSTRUCTING:
            instructions.append(Instruction(len(kept), message))
        else:
            kept.append(message)
    return instructions, kept


def rekeyed(history: History, root: bytes) -> History:
    """The same history with keys that start elsewhere: another end user's, whose conversation it names."""
    return msgspec.structs.replace(history, root=root, keys=path_keys(root, history.forms))


def exchange_key(
    root: bytes, messages: Sequence[Message], forms: Sequence[bytes], reply: int
) -> bytes | None:
    """The second hash of the reply at place `reply`: from the nearest user message before it on.

    None where that is further away than `EXCHANGE`: without a limit, a history of one question and many calls
    would be hashed once for each call.
    """
    for i in range(reply - 1, max(reply - 1 - EXCHANGE, -1), -1):
        if messages[i].role == "user":
            return tail_key(root, forms[i : reply + 1])
    return None


def hang(history: History, tree: Tree, named: str | None = None) -> Placement:
    """Find the place of a history in the owner's trees; `named` is the id of a conversation it belongs to."""
    if named is None:
        by_key, known = _hang_by_reply(history, tree)
    else:
        by_key, known = _hang_named(history, tree, named)
    return _hang_by_tail(history, tree, named, known) or by_key or Placement(named, None, 0)


def _hang_named(history: History, tree: Tree, named: str) -> tuple[Placement | None, int]:
    """The place, and how many messages are known to stand above it."""
    found = _deepest(tree, named, history.keys)
    if found is None:
        return None, 0
    place, node = found
    return Placement(named, node, place + 1), place + 1


def _hang_by_reply(history: History, tree: Tree) -> tuple[Placement | None, int]:
    """The place or, in doubt, none, and how many messages this is the answer for."""
    for places in _growing(history.replies()):
        nodes = tree.replies_with_keys([history.keys[i] for i in places], MANY + 1)
        for place in places:
            at_place = [n for n in nodes if n.key == history.keys[place]]
            if at_place:
                tie = _extend_or_branch(at_place, heads_are_equal=True)
                if tie is None:
                    return None, place + 1
                placement = _below(history, tree, tie, place, None)
                return placement, placement.matched
    return None, 0


def _hang_by_tail(history: History, tree: Tree, named: str | None, known: int) -> Placement | None:
    """Rule 3, for exchanges beyond the first `known` messages, whose place is known by their keys."""
    places = [i for i in history.replies() if i >= known]
    for some in _growing(places):
        tails = {tail: i for i in reversed(some) if (tail := history.tail(i)) is not None}
        found = tree.replies_with_tails(list(tails), named, MANY + 1)
        if len(found) > MANY:
            found = _last_found(tree, named, sorted(tails, key=tails.__getitem__, reverse=True))
        if len(found) > MANY:
            return None
        if found:
            place = max(tails[tail] for tail, _ in found)
            nodes = [node for tail, node in found if tails[tail] == place]
            return _tie_in_the_middle(history, tree, nodes, place)
    return None


def _last_found(tree: Tree, named: str | None, tails: Sequence[bytes]) -> list[tuple[bytes, Node]]:
    """What the first of these second hashes finds that finds anything: a common exchange hides no other."""
    for tail in tails:
        if found := tree.replies_with_tails([tail], named, MANY + 1):
            return found
    return []


def _tie_in_the_middle(history: History, tree: Tree, nodes: list[Node], place: int) -> Placement | None:
    gaps = {node.id: _gap(history, tree, node, place) for node in nodes}
    tie = _extend_or_branch([n for n in nodes if gaps[n.id] is not None], heads_are_equal=False)
    return None if tie is None else _below(history, tree, tie, place, gaps[tie.id])


def _gap(history: History, tree: Tree, node: Node, place: int) -> tuple[int, int] | None:
    """What the path to `node` holds and the history does not; None if the history holds anything foreign."""
    if node.depth <= place:
        return None  # the path is no longer than what the client sent: nothing can be left out of it
    stored = tree.forms_up_from(node, place + 1)
    same = 0
    while same < len(stored) and stored[same] == history.forms[place - same]:
        same += 1
    from_root = place + 1 - same
    if from_root and tree.key_at(node, from_root - 1) != history.keys[from_root - 1]:
        return None
    return (from_root, node.depth + 1 - same)


def _extend_or_branch(nodes: list[Node], *, heads_are_equal: bool) -> Node | None:
    """The node to hang on: a head, or the reply inside the one conversation that holds it, or none."""
    heads = [n for n in nodes if n.is_head]
    if heads and (heads_are_equal or len(heads) == 1):
        return max(heads, key=lambda n: n.id)
    if not heads and len(nodes) <= MANY and len({n.conversation for n in nodes}) == 1:
        return max(nodes, key=lambda n: n.id)
    return None


def _below(history: History, tree: Tree, tie: Node, place: int, gap: tuple[int, int] | None) -> Placement:
    """Follow what the conversation holds below the tie already, so that nothing is written twice."""
    keys, parent = [], tie.key
    for form in history.forms[place + 1 :]:
        parent = next_key(parent, form)
        keys.append(parent)
    found = _deepest(tree, tie.conversation, keys)
    if found is None:
        return Placement(tie.conversation, tie, place + 1, gap)
    further, node = found
    return Placement(tie.conversation, node, place + 1 + further + 1, gap)


def _deepest(tree: Tree, conversation: str, keys: Sequence[bytes]) -> tuple[int, Node] | None:
    """The last of `keys` that a message of the conversation has, and the best such: the head or newest."""
    for places in _growing(range(len(keys) - 1, -1, -1)):
        nodes = tree.nodes_in(conversation, [keys[i] for i in places])
        for place in places:
            at_place = [n for n in nodes if n.key == keys[place]]
            if at_place:
                return place, max(at_place, key=lambda n: (n.is_head, n.id))
    return None


def _growing(items: Sequence[int]) -> Iterator[Sequence[int]]:
    """Slices of 4, 16, 64 … items: the first nearly always answers, a miss takes few queries, all small."""
    start, size = 0, 4
    while start < len(items):
        yield items[start : start + size]
        start, size = start + size, min(size * 4, LARGEST_SLICE)
