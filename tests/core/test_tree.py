"""The threading rules, one by one. `test_hang.py` has them all at once."""

from __future__ import annotations

import pytest

from palaver.core.message import Message, root_key
from palaver.core.tree import LARGEST_SLICE, MANY, hang, read_history
from tests.core.trees import SECRET, Trees, assistant, system, user


@pytest.fixture
def trees() -> Trees:
    return Trees()


def talk(
    trees: Trees, *words: str, speaker: str | None = None, before: tuple[Message, ...] = ()
) -> list[Message]:
    """A client that asks the first, third … of `words` and is answered the second, fourth …; its history."""
    history = list(before)
    for question, answer in zip(words[::2], words[1::2], strict=True):
        history.append(user(question))
        trees.reply(trees.send(history, speaker), answer)
        history.append(assistant(answer))
    return history


def conversations(trees: Trees) -> int:
    return len(trees.heads)


def test_a_client_that_resends_everything_leaves_one_conversation(trees: Trees) -> None:
    talk(trees, *(f"{i}" for i in range(40)))
    assert conversations(trees) == 1
    assert len(trees.nodes) == 40


def test_a_clock_in_the_system_text_makes_no_other_conversation(trees: Trees) -> None:
    history: list[Message] = []
    for hour in range(20):
        history.append(user(f"question {hour}"))
        trees.reply(trees.send([system(f"It is {hour} o'clock."), *history]), f"answer {hour}")
        history.append(assistant(f"answer {hour}"))
    assert conversations(trees) == 1
    assert len(trees.nodes) == 40


def test_a_first_message_ties_to_nothing(trees: Trees) -> None:
    talk(trees, "hi", "hello")
    talk(trees, "hi", "hello")
    assert conversations(trees) == 2


def test_a_few_shot_prompt_ties_to_nothing(trees: Trees) -> None:
    shots = (user("2+2?"), assistant("4"), user("3+3?"), assistant("6"))
    talk(trees, "4+4?", "8", before=shots)
    talk(trees, "5+5?", "10", before=shots)
    assert conversations(trees) == 2


def test_a_few_shot_prompt_that_was_once_a_real_talk_ties(trees: Trees) -> None:
    """Content is all there is to go by: this is the same as going on with that conversation."""
    known = talk(trees, "2+2?", "4")
    assert trees.send([*known, user("3+3?")]).conversation == "c0"


def test_the_head_is_extended_not_branched(trees: Trees) -> None:
    talk(trees, "hi", "hello")  # c0 …
    talk(
        trees, "hi", "hello", "more", "sure"
    )  # … is extended by the second question, as content tells no one apart
    talk(trees, "hi", "hello")
    sent = trees.send([user("hi"), assistant("hello"), user("else")])
    assert sent.placement.parent is not None
    assert sent.placement.parent.is_head


def test_of_equal_heads_the_latest_is_extended(trees: Trees) -> None:
    talk(trees, "hi", "hello")
    talk(trees, "hi", "hello")
    assert trees.send([user("hi"), assistant("hello"), user("on")]).conversation == "c1"


def test_an_edited_question_branches(trees: Trees) -> None:
    history = talk(trees, "hi", "hello", "what?", "sure")
    sent = trees.send([*history[:2], user("who?")])
    assert sent.conversation == "c0"
    assert [n.message.text for n in sent.path] == ["hi", "hello", "who?"]


def test_a_regenerated_reply_is_a_sibling(trees: Trees) -> None:
    history = talk(trees, "hi", "hello", "what?", "sure")
    sent = trees.send(history[:3])
    assert sent.written == 0
    reply = trees.reply(sent, "no")
    assert [n.message.text for n in reply.path] == ["hi", "hello", "what?", "no"]
    assert conversations(trees) == 1


def test_a_reply_that_the_client_changed_ties_no_more(trees: Trees) -> None:
    talk(trees, "hi", "hello")
    assert trees.send([user("hi"), assistant("hello!"), user("on")]).conversation == "c1"


def test_doubt_between_two_conversations_splits(trees: Trees) -> None:
    history = talk(trees, "hi", "hello", "a", "b")
    talk(trees, "hi", "hello", "c", "d")
    first = trees.send([*history[:2], user("e")])
    assert first.conversation == "c2"


def test_doubt_about_a_reply_is_not_overruled_by_a_gap(trees: Trees) -> None:
    """Two conversations hold this beginning; a third that merely ends the same way is no better place."""
    talk(trees, "hi", "hello", "a", "b")
    talk(trees, "hi", "hello", "c", "d")
    talk(trees, "else", "well", "hi", "hello")
    sent = trees.send([user("hi"), assistant("hello"), user("e")])
    assert sent.placement.conversation is None


def test_other_end_users_are_out_of_sight(trees: Trees) -> None:
    history = talk(trees, "hi", "hello", speaker="ann")
    for speaker in ("bob", None, ""):
        assert trees.send([*history, user("on")], speaker).placement.conversation is None
    assert trees.send([*history, user("on")], "ann").conversation == "c0"


class TestGaps:
    def talk(self, trees: Trees, speaker: str | None = None) -> list[Message]:
        return talk(trees, "one", "1", "two", "2", "three", "3", "four", "4", speaker=speaker)

    def test_dropped_beginning(self, trees: Trees) -> None:
        history = self.talk(trees)
        sent = trees.send([*history[4:], user("five")])
        assert sent.conversation == "c0"
        assert sent.placement.gap == (0, 4)
        assert sent.written == 1

    def test_dropped_in_the_middle_of_an_exchange(self, trees: Trees) -> None:
        history = self.talk(trees)
        assert trees.send([*history[5:], user("five")]).placement.gap == (0, 5)

    def test_pinned_beginning(self, trees: Trees) -> None:
        history = self.talk(trees)
        assert trees.send([*history[:2], *history[6:], user("five")]).placement.gap == (2, 6)
        assert trees.send([*history[:1], *history[6:], user("five")]).placement.gap == (1, 6)

    def test_a_window_that_slides_on_stays_in_its_conversation(self, trees: Trees) -> None:
        history = self.talk(trees)
        for i in range(20):
            history.append(user(f"more {i}"))
            sent = trees.send(history[-5:])
            assert sent.conversation == "c0"
            trees.reply(sent, f"sure {i}")
            history.append(assistant(f"sure {i}"))
        assert conversations(trees) == 1
        assert len(trees.nodes) == 48

    def test_of_two_gaps_the_second_splits(self, trees: Trees) -> None:
        history = self.talk(trees)
        sent = trees.send([history[0], *history[3:5], *history[6:], user("five")])
        assert sent.placement.conversation is None

    def test_a_summary_in_place_of_the_beginning_splits(self, trees: Trees) -> None:
        history = self.talk(trees)
        assert trees.send([user("So far: …"), *history[6:], user("five")]).placement.conversation is None

    def test_two_heads_are_doubt(self, trees: Trees) -> None:
        self.talk(trees)
        talk(trees, "uno", "1", "four", "4")
        assert trees.send([user("four"), assistant("4"), user("five")]).placement.conversation is None

    def test_another_end_users_exchange_is_out_of_sight(self, trees: Trees) -> None:
        history = self.talk(trees, speaker="ann")
        assert trees.send([*history[6:], user("five")], "bob").placement.conversation is None

    def test_more_than_there_is_leaves_nothing_out(self, trees: Trees) -> None:
        """The client heard the same twice, the second time from another server: nothing was left out."""
        history = talk(trees, "hi", "hello")
        sent = trees.send([*history, *history, user("on")])
        assert sent.placement.gap is None
        assert [n.form for n in sent.path] == sent.history.forms

    def test_a_common_exchange_hides_no_rare_one(self, trees: Trees) -> None:
        for i in range(MANY + 1):
            talk(trees, f"{i}", f"{i}", "thanks", "welcome")
        history = talk(trees, "one", "1", "thanks", "welcome", "two", "2")
        sent = trees.send([*history[2:], user("three")])
        assert sent.conversation == f"c{MANY + 1}"
        assert sent.placement.gap == (0, 2)

    def test_a_common_exchange_alone_is_doubt(self, trees: Trees) -> None:
        for i in range(MANY + 1):
            talk(trees, f"{i}", f"{i}", "thanks", "welcome", f"{i}", f"{i}")
        talk(trees, "one", "1", "thanks", "welcome")
        sent = trees.send([user("thanks"), assistant("welcome"), user("on")])
        assert sent.placement.conversation is None


class TestMany:
    """One question that is asked for ever, as a monitor does."""

    def test_the_latest_of_many_heads_is_extended(self, trees: Trees) -> None:
        for _ in range(2 * MANY):
            talk(trees, "ping", "pong")
        assert trees.send([user("ping"), assistant("pong"), user("on")]).conversation == f"c{2 * MANY - 1}"

    def test_too_many_without_a_head_are_doubt(self, trees: Trees) -> None:
        question = trees.send([user("ping")], name="monitor")
        for _ in range(MANY + 1):
            trees.reply(question, "pong")
        trees.reply(trees.send([user("ping"), assistant("pong"), user("on")]), "sure")
        for reply in [n for n in trees.nodes if n.message.text == "pong"]:
            assert trees.heads["c0"] is not reply
        assert trees.send([user("ping"), assistant("pong"), user("off")]).placement.conversation is None


class TestNamed:
    def test_what_stands_in_it_is_not_written_again(self, trees: Trees) -> None:
        trees.send([user("hi"), assistant("of mine"), user("a")], name="notes")
        sent = trees.send([user("hi"), assistant("of mine"), user("b")], name="notes")
        assert sent.written == 1
        assert sent.conversation == "c0"

    def test_the_end_of_a_long_one_is_found(self, trees: Trees) -> None:
        history = [user(str(i)) for i in range(3 * LARGEST_SLICE)]
        trees.send(history, name="notes")
        sent = trees.send([*history, user("more")], name="notes")
        assert sent.written == 1
        sent = trees.send([*history[:5], user("else")], name="notes")
        assert sent.written == 1
        assert len(sent.path) == 6

    def test_nothing_in_common_is_another_root(self, trees: Trees) -> None:
        trees.send([user("hi")], name="notes")
        sent = trees.send([user("else")], name="notes")
        assert sent.conversation == "c0"
        assert sent.path[0].parent is None

    def test_a_gap_in_it_is_found(self, trees: Trees) -> None:
        history: list[Message] = []
        for word in "abc":
            history.append(user(word))
            trees.reply(trees.send(history, name="notes"), word)
            history.append(assistant(word))
        talk(trees, "else", "x", "c", "c")
        sent = trees.send([*history[4:], user("d")], name="notes")
        assert sent.conversation == "c0"
        assert sent.placement.gap == (0, 4)


def test_asking_never_fetches_a_whole_history_at_once(trees: Trees) -> None:
    asked: list[int] = []

    class Counting(Trees):
        def replies_with_keys(self, keys, limit):  # type: ignore[no-untyped-def]
            asked.append(len(keys))
            return super().replies_with_keys(keys, limit)

        def nodes_in(self, conversation, keys):  # type: ignore[no-untyped-def]
            asked.append(len(keys))
            return super().nodes_in(conversation, keys)

    history = [m for i in range(2000) for m in (user(str(i)), assistant(str(i)))]
    tree = Counting()
    root = root_key(SECRET, None)
    hang(read_history(history, root), tree)
    hang(read_history(history, root), tree, "c0")
    assert max(asked) == LARGEST_SLICE
    assert len(asked) < 30
