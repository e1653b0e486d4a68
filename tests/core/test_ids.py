from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core import ids

times = st.integers(0, 2**48 - 1)
bodies = st.builds(ids.id_body, times, st.binary(min_size=10, max_size=10))


@given(times, times, st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(one: int, other: int, noise: bytes, more_noise: bytes) -> None:
    first, second = ids.id_body(one, noise), ids.id_body(other, more_noise)
    if one != other:
        assert (first < second) == (one < other)
    else:
        assert (first < second) == (noise < more_noise)


def test_the_body_is_a_ulid() -> None:
    # The example of https://github.com/ulid/spec, 01ARYZ6S41TSV4RRFFQ69G5FAV, in lower case.
    noise = bytes.fromhex("d6764c61efb99302bd5b")
    assert ids.id_body(1469918176385, noise) == "01aryz6s41tsv4rrffq69g5fav"


@pytest.mark.parametrize(
    ("time", "noise"), [(-1, bytes(10)), (2**48, bytes(10)), (0, bytes(9)), (0, bytes(11))]
)
def test_what_does_not_fit_is_refused(time: int, noise: bytes) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        ids.id_body(time, noise)


@given(bodies, st.sampled_from([ids.CONVERSATION, ids.MESSAGE, *ids.TURN_PREFIXES]))
def test_an_id_is_known_by_its_form(body: str, prefix: str) -> None:
    assert ids.is_id(prefix + body, prefix)
    for other in (
        body,
        prefix,
        prefix + body[1:],
        prefix + body + "0",
        prefix + body.upper() + "u",
        prefix * 2 + body,
    ):
        assert not ids.is_id(other, prefix)
    assert not ids.is_id("x" + prefix + body, prefix)


@given(bodies)
def test_a_turn_has_one_id_in_three_forms(body: str) -> None:
    stored = ids.TURN + body
    assert {ids.turn_id(prefix + body) for prefix in ids.TURN_PREFIXES} == {stored}
    assert ids.turn_id(ids.as_chat_completion(stored)) == stored
    assert ids.as_chat_completion(stored).startswith("chatcmpl-")


@pytest.mark.parametrize(
    "text", ["", "turn_", "conv_01arz3ndektsv4rrffq69g5fav", "turn_01arz3ndektsv4rrffq69g5faU"]
)
def test_what_is_no_turns_id_is_none(text: str) -> None:
    assert ids.turn_id(text) is None
