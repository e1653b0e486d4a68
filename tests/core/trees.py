"""An owner's trees in plain Python: what the threading rules are tested with, and a model of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from palaver.core.message import Message, canonical, next_key, root_key
from palaver.core.tree import History, Node, Placement, exchange_key, hang, read_history

SECRET = b"sixteen bytes or more of an owner"


@dataclass(eq=False)
class Kept:
    """A message in a tree. `speaker` is the end user whose conversation it stands in."""

    id: int
    conversation: str
    speaker: str | None
    parent: Kept | None
    message: Message
    form: bytes
    key: bytes
    tail: bytes | None = None
    generated: bool = False
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        self.depth = self.parent.depth + 1 if self.parent else 0

    @property
    def path(self) -> list[Kept]:
        above = self.parent.path if self.parent else []
        return [*above, self]

    @property
    def forms(self) -> list[bytes]:
        return [node.form for node in self.path]


@dataclass
class Sent:
    """What became of a request: where the rules put it, and the message it is answered below."""

    history: History
    placement: Placement
    conversation: str
    question: Kept | None
    written: int
    before: Kept | None

    @property
    def path(self) -> list[Kept]:
        return self.question.path if self.question else []


class Trees:
    """One owner's conversations; implements `palaver.core.tree.Tree` without any index."""

    def __init__(self) -> None:
        self.nodes: list[Kept] = []
        self.heads: dict[str, Kept | None] = {}
        self.sent: list[Sent] = []
        self.speakers: dict[str, str | None] = {}
        self.names: dict[tuple[str | None, str], str] = {}

    def replies_with_keys(self, keys: Sequence[bytes], limit: int) -> list[Node]:
        found = [n for n in self.nodes if n.generated and n.key in keys]
        found.sort(key=lambda n: (n.depth, n.id), reverse=True)
        return [self._node(n) for n in found[:limit]]

    def replies_with_tails(
        self, tails: Sequence[bytes], conversation: str | None, limit: int
    ) -> list[tuple[bytes, Node]]:
        found = [
            (n.tail, self._node(n))
            for n in self.nodes
            if n.tail is not None and n.tail in tails and conversation in (None, n.conversation)
        ]
        return found[:limit]

    def nodes_in(self, conversation: str, keys: Sequence[bytes]) -> list[Node]:
        return [self._node(n) for n in self.nodes if n.conversation == conversation and n.key in keys]

    def forms_up_from(self, node: Node, count: int) -> list[bytes]:
        return self.kept(node).forms[::-1][:count]

    def key_at(self, node: Node, depth: int) -> bytes | None:
        path = self.kept(node).path
        return path[depth].key if 0 <= depth < len(path) else None

    def _node(self, kept: Kept) -> Node:
        return Node(kept.id, kept.conversation, kept.depth, kept.key, self.heads[kept.conversation] is kept)

    def kept(self, node: Node) -> Kept:
        return self.nodes[node.id]

    def named(self, speaker: str | None, name: str) -> str:
        """The id of the conversation of this name; a new one is made."""
        if (speaker, name) not in self.names:
            self.names[speaker, name] = self._new_conversation(speaker)
        return self.names[speaker, name]

    def _new_conversation(self, speaker: str | None) -> str:
        conversation = f"c{len(self.heads)}"
        self.heads[conversation] = None
        self.speakers[conversation] = speaker
        return conversation

    def send(self, messages: Sequence[Message], speaker: str | None = None, name: str | None = None) -> Sent:
        """Admit a request, as a store does."""
        named = self.named(speaker, name) if name is not None else None
        history = read_history(messages, root_key(SECRET, speaker))
        placement = hang(history, self, named)
        conversation = placement.conversation or self._new_conversation(speaker)
        question = self.kept(placement.parent) if placement.parent else None
        written = 0
        for message, form in zip(
            history.messages[placement.matched :], history.forms[placement.matched :], strict=True
        ):
            question = self._add(conversation, speaker, question, message, form)
            written += 1
        before = self.heads[conversation]
        if before is None or placement.parent is not None:
            self.heads[conversation] = question
        sent = Sent(history, placement, conversation, question, written, before)
        self.sent.append(sent)
        return sent

    def reply(self, sent: Sent, text: str) -> Kept:
        """Answer a request, as a store does."""
        message = Message("assistant", text)
        speaker = self.speakers[sent.conversation]
        reply = self._add(sent.conversation, speaker, sent.question, message, canonical(message))
        path = reply.path
        reply.generated = True
        reply.tail = exchange_key(
            root_key(SECRET, speaker), [n.message for n in path], [n.form for n in path], len(path) - 1
        )
        if self.heads[sent.conversation] is sent.question:
            self.heads[sent.conversation] = reply
        return reply

    def fail(self, sent: Sent) -> None:
        """End a request without a reply, as a store does."""
        question, before = sent.question, sent.before
        if question is None or self.heads[sent.conversation] is not question:
            return
        if before is question:
            others = [s for s in self.sent if s.question is question and s.before is not question]
            before = others[-1].before if others else question.parent
        if before is not None:
            self.heads[sent.conversation] = before

    def _add(
        self, conversation: str, speaker: str | None, parent: Kept | None, message: Message, form: bytes
    ) -> Kept:
        above = parent.key if parent else root_key(SECRET, speaker)
        kept = Kept(len(self.nodes), conversation, speaker, parent, message, form, next_key(above, form))
        self.nodes.append(kept)
        return kept


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def system(text: str) -> Message:
    return Message("system", text)
