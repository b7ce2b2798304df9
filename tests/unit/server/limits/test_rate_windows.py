from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.server.limits.rate_counts import Spent

AMOUNTS = {"limit": st.integers(1, 5000), "previous": st.integers(0, 5000), "current": st.integers(0, 100_000)}


def later(spent: Spent, seconds: float) -> float:
    """What still counts then, minute by minute."""
    minutes, part = divmod(spent.passed + seconds / 60, 1)
    previous, current = spent.previous, spent.current
    for _ in range(int(minutes)):
        previous, current = min(current, spent.limit), max(current - spent.limit, 0)
    return previous * (1 - part) + current


@given(**AMOUNTS, passed=st.floats(0, 0.999), most=st.floats(0, 9999))
def test_after_the_wait_no_more_than_allowed_counts_and_before_it_more(
    limit: int, previous: int, current: int, passed: float, most: float
) -> None:
    spent = Spent(limit, min(previous, limit), current, passed)
    wait_s = spent.wait_s(most)
    slack = 1e-5 * (limit + current)
    assert wait_s >= 0
    assert later(spent, wait_s + 1e-4) <= most + slack
    if wait_s > 0.01:
        assert later(spent, wait_s - 0.01) > most - slack


@given(**AMOUNTS, minutes=st.integers(0, 30))
def test_many_minutes_are_as_many_times_one(limit: int, previous: int, current: int, minutes: int) -> None:
    spent = step = Spent(limit, min(previous, limit), current, 0.0)
    for _ in range(minutes):
        step = Spent(limit, *step.after(1), 0.0)
    assert spent.after(minutes) == (step.previous, step.current)


def test_an_overdraft_of_240_limits_takes_240_minutes() -> None:
    assert Spent(1000, 0, 240_000, 0.0).wait_s(999) == pytest.approx(240 * 60, abs=1)
    assert Spent(1000, 0, 1000, 0.0).wait_s(999) == pytest.approx(60, abs=1)


def test_what_is_given_back_was_spent() -> None:
    assert Spent(10, 5, 7, 0.5).plus(-3) == Spent(10, 5, 4, 0.5)
    assert Spent(10, 5, 7, 0.5).plus(-9) == Spent(10, 3, 0, 0.5)
    assert Spent(10, 5, 7, 0.5).plus(-99) == Spent(10, 0, 0, 0.5)
