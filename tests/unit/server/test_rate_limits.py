from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.server.rate_limits import Spent, format_duration


def later(spent: Spent, seconds: float) -> float:
    """What still counts then, by the two windows' own rule."""
    turn_s = max(spent.current_ttl_s - 60, 0)
    if seconds <= turn_s:
        return spent.previous * max(spent.previous_ttl_s - seconds, 0) / 60 + spent.current
    return spent.current * max(spent.current_ttl_s - seconds, 0) / 60


@given(
    previous=st.integers(0, 10_000), current=st.integers(0, 10_000), turn_s=st.floats(0.01, 60), most=st.floats(0, 9999)
)
def test_after_the_wait_no_more_than_allowed_counts_and_before_it_more(
    previous: int, current: int, turn_s: float, most: float
) -> None:
    spent = Spent(previous, turn_s if previous else 0.0, current, turn_s + 60)
    wait_s = spent.wait_s(most)
    assert later(spent, wait_s + 1e-6) <= most + 1e-6 * (previous + current + 1)
    assert 0 <= wait_s <= 120
    if wait_s > 0.01:
        assert later(spent, wait_s - 0.01) > most - 1e-6 * (previous + current + 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.1201, "121ms"), (1, "1s"), (8.635, "8.64s"), (59.999, "60s"), (60, "1m0s"), (89.2, "1m30s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
