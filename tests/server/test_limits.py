"""The sliding window: never more in a minute than the limit, and nothing is held back much longer than that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palaver.server.limits import MINUTE, STEP, Allowance

STEPS = st.lists(
    st.integers(0, 40_000) | st.sampled_from([0, 1, STEP - 1, STEP, MINUTE - 1, MINUTE]), max_size=80
)
"""How much later each event is than the one before, in milliseconds."""


def moments(steps: list[int]) -> list[int]:
    now, found = 12_345, []
    for step in steps:
        now += step
        found.append(now)
    return found


def within(uses: list[tuple[int, int]], now: int, span: int) -> int:
    """How much was used in the last `span` milliseconds."""
    return sum(amount for at, amount in uses if at > now - span)


@given(steps=STEPS, limit=st.integers(1, 12))
def test_no_minute_has_more_than_the_limit(steps: list[int], limit: int) -> None:
    allowance, taken = Allowance(limit), []
    for now in moments(steps):
        if not allowance.wait(now):
            allowance.use(1, now)
            taken.append((now, 1))
        assert within(taken, now, MINUTE) <= limit


@given(steps=STEPS, amounts=st.lists(st.integers(0, 30), min_size=80, max_size=80), limit=st.integers(1, 50))
def test_what_is_left_is_right_to_a_second(steps: list[int], amounts: list[int], limit: int) -> None:
    allowance, uses = Allowance(limit), list[tuple[int, int]]()
    for now, amount in zip(moments(steps), amounts, strict=False):
        most, least = limit - within(uses, now, MINUTE), limit - within(uses, now, MINUTE + STEP)
        assert max(0, least) <= allowance.remaining(now) <= max(0, most)
        assert (allowance.wait(now) == 0) is (allowance.remaining(now) > 0)
        allowance.use(amount, now)
        uses.append((now, amount))


@given(steps=STEPS, amounts=st.lists(st.integers(0, 30), min_size=80, max_size=80), limit=st.integers(1, 50))
def test_after_the_wait_something_is_left_and_not_before(
    steps: list[int], amounts: list[int], limit: int
) -> None:
    allowance = Allowance(limit)
    now = 0
    for now, amount in zip(moments(steps), amounts, strict=False):
        allowance.use(amount, now)
    wait = allowance.wait(now)
    assert 0 <= wait <= MINUTE
    if wait:
        assert allowance.remaining(now + wait - 1) == 0
        assert allowance.remaining(now + wait) > 0


def test_what_is_overdrawn_is_paid_back_when_it_is_a_minute_old() -> None:
    allowance = Allowance(100)
    allowance.use(99, 0)
    assert allowance.remaining(0) == 1
    allowance.use(5000, 10_000)
    assert (allowance.remaining(10_000), allowance.wait(10_000)) == (0, MINUTE)
    assert allowance.wait(69_999) == 1
    assert (allowance.remaining(70_000), allowance.wait(70_000)) == (100, 0)


def test_a_key_costs_little_memory_whatever_its_limit() -> None:
    allowance = Allowance(1_000_000)
    for now in range(0, 3 * MINUTE, 7):
        allowance.use(1, now)
    assert len(allowance._uses) <= MINUTE // STEP + 1
