"""The threading rules under clients that do to their histories what clients do, against a slow oracle."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import example, given, settings

from palaver.core.message import Message, root_key
from palaver.core.tree import hang, read_history
from tests.core.clients import Client, Step, clients, steps
from tests.core.oracle import Oracle, Verdict
from tests.core.trees import SECRET, Kept, Sent, Trees, user


class World:
    """The trees of one owner and the apps that talk to it."""

    def __init__(self) -> None:
        self.trees = Trees()
        self.clients = clients()
        self.seen: set[str] = set()

    def run(self, step: Step) -> None:
        client = self.clients[step.client]
        messages = client.request(step)
        heads = {node for node in self.trees.heads.values() if node}
        replies = [n for n in self.trees.nodes if n.generated and n.speaker == client.speaker]
        expected = self._expected(messages, client, step)
        sent = self.trees.send(messages, client.speaker, step.name)
        place = sent.placement
        assert expected == (
            place.conversation,
            place.parent.id if place.parent else None,
            place.matched,
            place.gap,
        )
        self.seen.add(kind(sent, heads, replies, step))
        path_is_what_was_sent(sent, client)
        if step.name is None:
            only_replies_tie(sent, replies)
            a_head_is_extended(sent, heads, replies)
        self._again_writes_nothing(sent, messages, client, step)
        if step.reply is None:
            self.trees.fail(sent)
        else:
            self.trees.reply(sent, step.reply)
            client.hear(step.reply)

    def _expected(self, messages: list[Message], client: Client, step: Step) -> Verdict:
        named = self.trees.named(client.speaker, step.name) if step.name else None
        history = read_history(messages, root_key(SECRET, client.speaker))
        return Oracle(self.trees, history, client.speaker, named).verdict()

    def _again_writes_nothing(self, sent: Sent, messages: list[Message], client: Client, step: Step) -> None:
        """The same request once more finds its own question, unless another place looks the same."""
        if step.name is None and not self._has_one_place(sent):
            return
        named = self.trees.named(client.speaker, step.name) if step.name else None
        again = hang(read_history(messages, root_key(SECRET, client.speaker)), self.trees, named)
        assert again.matched == len(sent.history.messages)
        assert (again.parent.id if again.parent else None) == (sent.question.id if sent.question else None)
        assert again.gap == sent.placement.gap

    def _has_one_place(self, sent: Sent) -> bool:
        ties = [node for node in sent.path if node.generated]
        if not ties:
            return False
        return sum(node.tail == ties[-1].tail for node in self.trees.nodes if node.generated) == 1


def kind(sent: Sent, heads: set[Kept], replies: list[Kept], step: Step) -> str:
    """Which rule was at work."""
    parent = sent.placement.parent
    if sent.placement.gap:
        return "gap after a start" if sent.placement.gap[0] else "gap"
    if step.name:
        return "named" if parent else "second root"
    if parent is None:
        known = any(n.forms == sent.history.forms[: n.depth + 1] for n in replies)
        return "doubt" if known else "new"
    if not sent.written:
        return "repeat"
    return "head" if parent.is_head else "branch"


def path_is_what_was_sent(sent: Sent, client: Client) -> None:
    """The path, but for a recorded gap above a generated reply, is exactly the request."""
    start, end = sent.placement.gap or (0, 0)
    forms = [node.form for node in sent.path]
    assert forms[:start] + forms[end:] == sent.history.forms
    assert all(node.speaker == client.speaker for node in sent.path)
    if sent.placement.gap:
        assert start < end
        assert any(node.generated for node in sent.path[end:])


def only_replies_tie(sent: Sent, replies: Iterable[Kept]) -> None:
    """Without a reply of ours in the history, with the question it answered, a new conversation begins."""
    theirs = {
        form
        for form, m in zip(sent.history.forms, sent.history.messages, strict=True)
        if m.role == "assistant"
    }
    if not any(reply.form in theirs for reply in replies):
        assert sent.placement.conversation is None
    if sent.placement.conversation is not None:
        assert any(stands_on(node, sent) for node in replies)


def a_head_is_extended(sent: Sent, heads: set[Kept], replies: list[Kept]) -> None:
    """Where the longest known beginning is the head of a conversation, that or an equal one is extended."""
    known = [n for n in replies if n.forms == sent.history.forms[: n.depth + 1]]
    longest = [n for n in known if n.depth == max(n.depth for n in known)]
    if sent.placement.gap is None and any(n in heads for n in longest):
        assert any(n in heads and stands_on(n, sent) for n in longest)


def stands_on(node: Kept, sent: Sent) -> bool:
    """Whether the path goes through this message or one of its conversation that cannot be told from it."""
    path = sent.path
    return (
        len(path) > node.depth
        and path[node.depth].conversation == node.conversation
        and (path[node.depth].forms == node.forms)
    )


def step(client: int, action: str, word: str = "hi", reply: str | None = "hello") -> Step:
    return Step(client, action, word, 0, 0, reply, None)  # type: ignore[arg-type]


@settings(max_examples=300)
@given(steps)
@example([step(0, "say"), step(0, "elsewhere")])
@example(
    [step(0, "say"), step(1, "say"), step(0, "say", "what?"), step(1, "say", "what?"), step(0, "repeat")]
)
def test_histories_hang_where_a_comparison_of_whole_paths_puts_them(what_clients_do: list[Step]) -> None:
    world = World()
    for each in what_clients_do:
        world.run(each)


def test_what_the_clients_do_brings_up_every_rule() -> None:
    """The property above would prove little if no gap, no branch and no doubt ever came up."""
    seen: set[str] = set()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(steps)
    def look(what_clients_do: list[Step]) -> None:
        world = World()
        for each in what_clients_do:
            world.run(each)
        seen.update(world.seen)

    look()
    assert seen == {
        "new",
        "head",
        "branch",
        "doubt",
        "gap",
        "gap after a start",
        "repeat",
        "named",
        "second root",
    }


def test_a_request_with_nothing_but_instructions_hangs_nowhere() -> None:
    trees = Trees()
    sent = trees.send([Message("system", "Be brief.")])
    assert sent.placement.conversation is None
    assert sent.question is None
    again = trees.send([user("hi")], name="notes")
    assert trees.send([], name="notes").conversation == again.conversation
