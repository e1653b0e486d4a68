"""Keys: equal for equal paths of one speaker, and never otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import KEY_BYTES, Message, canonical, next_key, path_keys, root_key, tail_key
from palaver.core.tree import EXCHANGE, exchange_key, read_history, rekeyed
from tests.core.messages import messages

SECRET, OTHER_SECRET = bytes(range(32)), bytes(range(1, 33))
ROOT = root_key(SECRET, None)
names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
forms = st.lists(st.binary(max_size=3), max_size=5)


@given(names, names)
def test_every_speaker_starts_elsewhere(one: str | None, other: str | None) -> None:
    assert (root_key(SECRET, one) == root_key(SECRET, other)) == (one == other)
    assert root_key(SECRET, one) != root_key(OTHER_SECRET, one)
    assert len(root_key(SECRET, one)) == KEY_BYTES


def test_nobody_is_not_somebody_without_a_name() -> None:
    assert root_key(SECRET, None) != root_key(SECRET, "")


@given(forms, forms)
def test_keys_are_equal_where_paths_are(one: list[bytes], other: list[bytes]) -> None:
    ends = [path_keys(ROOT, path)[-1:] for path in (one, other)]
    assert (ends[0] == ends[1]) == (one == other)


@given(forms)
def test_a_path_is_keyed_step_by_step(path: list[bytes]) -> None:
    keys = path_keys(ROOT, path)
    above = [ROOT, *keys]
    assert keys == [next_key(parent, form) for parent, form in zip(above, path, strict=False)]


@given(forms, forms)
def test_exchanges_are_told_apart_and_keyed_apart_from_paths(one: list[bytes], other: list[bytes]) -> None:
    assert (tail_key(ROOT, one) == tail_key(ROOT, other)) == (one == other)
    assert tail_key(ROOT, one) != tail_key(root_key(SECRET, "ann"), one)
    assert tail_key(ROOT, one) not in path_keys(ROOT, one)


def test_the_pieces_of_an_exchange_do_not_run_together() -> None:
    assert tail_key(ROOT, [b"ab", b"c"]) != tail_key(ROOT, [b"a", b"bc"])


@given(st.lists(messages, max_size=6), names)
def test_a_history_can_be_keyed_anew_for_another_speaker(sent: list[Message], name: str | None) -> None:
    root = root_key(SECRET, name)
    assert rekeyed(read_history(sent, ROOT), root) == read_history(sent, root)


def test_an_exchange_goes_up_to_the_user_message_before_it() -> None:
    sent = [Message("user", "a"), Message("user", "b"), Message("tool", "c"), Message("assistant", "d")]
    history = read_history(sent, ROOT)
    assert history.tail(3) == tail_key(ROOT, [canonical(m) for m in sent[1:]])
    assert read_history(sent[2:], ROOT).tail(1) is None


def test_an_exchange_that_is_too_long_has_no_second_hash() -> None:
    calls = [Message("tool", str(i)) for i in range(EXCHANGE)]
    near = [Message("user", "a"), *calls[1:], Message("assistant", "b")]
    far = [Message("user", "a"), *calls, Message("assistant", "b")]
    for sent, known in ((near, True), (far, False)):
        kept = [canonical(m) for m in sent]
        assert (exchange_key(ROOT, sent, kept, len(sent) - 1) is not None) == known
